"""When the callback projects, and what it refuses before anything is trained."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from support.projection import TOY, linear, random_split
from unlearning.errors import InputError
from unlearning.projection.callback import ScaledActivationProjection
from unlearning.projection.settings import ProjectionSettings
from unlearning.task import Split


class Noting(ScaledActivationProjection):
    """Notes after which epoch it projects instead of doing it."""

    def __init__(self, every: int | None) -> None:
        super().__init__(random_split(), random_split(), every=every)
        self.epoch, self.projected = 0, []

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.epoch = epoch + 1
        super().on_epoch_end(epoch, logs)

    def project(self):
        self.projected.append(self.epoch)


@pytest.mark.parametrize(
    ("every", "epochs"), [(None, [5]), (1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (5, [5]), (4, [4, 5]), (9, [5])]
)
def test_it_projects_every_so_many_epochs_and_at_the_end(every: int | None, epochs: list[int]) -> None:
    model, split = linear(), random_split()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    noting = Noting(every)
    model.fit(split.images, split.labels, epochs=5, verbose=0, callbacks=[noting])
    assert noting.projected == epochs


def test_a_training_without_epochs_projects_nothing() -> None:
    noting = Noting(None)
    noting.on_train_end()
    assert noting.projected == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"every": 0}, "every"),
        ({"every": -1}, "every"),
        ({"trusted_rows": np.array([40])}, "trusted_rows"),
        ({"trusted_rows": np.array([-1])}, "trusted_rows"),
        ({"trusted_count": 0}, "trusted_count"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        ScaledActivationProjection(random_split(), random_split(), **options)


def test_pairs_are_splits_and_overrides_change_given_settings() -> None:
    split, settings = random_split(), ProjectionSettings(trusted_count=9, alphas=(2.0,))
    sap = ScaledActivationProjection((split.images, split.labels), split, settings=settings, alphas=(30.0,))
    assert (sap._settings.trusted_count, sap._settings.alphas) == (9, (30.0,))
    assert isinstance(sap._train, Split) and len(sap._train) == 40


def test_a_model_without_layers_to_project_is_refused_before_it_is_trained() -> None:
    model, split = linear(), random_split()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = model.get_weights()
    sap = ScaledActivationProjection(split, split, **TOY, include=["nothing*"])
    with pytest.raises(InputError, match="include"):
        model.fit(split.images, split.labels, epochs=1, verbose=0, callbacks=[sap])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_without_a_model_it_says_how_to_get_one() -> None:
    with pytest.raises(InputError, match="set_model"):
        ScaledActivationProjection(random_split(), random_split()).project()
