"""What detectors share, what a detection must be, and which rows and models are refused."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from support.detection import detect, scored
from support.small import blobs, small_model
from unlearning.detection import Detection, DetectionStatus, Evidence
from unlearning.detection.features import last_dense, penultimate_features
from unlearning.errors import InputError
from unlearning.task import Split


def detection(scores=(0.0, 1.0, 2.0), suspects=(), labels=(0, 0, 0)) -> Detection:
    return Detection(np.array(scores), np.array(suspects), np.array(labels), None, DetectionStatus.OK)


@pytest.mark.parametrize("suspects", [(), (0,), (2,), (0, 1, 2), (0, 2)])
def test_ascending_row_numbers_are_suspects(suspects: tuple[int, ...]) -> None:
    found = detection(suspects=suspects)
    assert found.suspects.tolist() == list(suspects) and found.suspects.dtype == np.int64
    assert found.suggested_labels.dtype == np.int64 and found.details == {}


@pytest.mark.parametrize("suspects", [(-1,), (-1, 2), (3,), (0, 3), (1, 1), (2, 0)])
def test_what_is_no_row_or_comes_twice_is_refused(suspects: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"ascending row numbers in 0\.\.2"):
        detection(suspects=suspects)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"scores": [[0.0, 1.0, 2.0]]}, "one finite score a row"),
        ({"scores": (0.0, 1.0, np.inf)}, "one finite score a row"),
        ({"labels": (0, 0, 0, 0)}, r"one label a row \(3\)"),
    ],
)
def test_scores_and_labels_are_one_a_row(change: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        detection(**change)


def test_two_rows_are_enough_and_one_is_not() -> None:
    model, split = scored(np.array([0.1, 3.0]))
    assert detect("loss-ranking", model, split, classes=2, count=1).suspects.tolist() == [1]
    with pytest.raises(InputError, match="at least two rows"):
        detect("loss-ranking", model, split.subset(np.arange(1)), classes=2)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_are_those_of_the_classes(label: int) -> None:
    model, split = scored(np.array([0.1, 3.0, 0.2]))
    with pytest.raises(InputError, match=r"classes 0\.\.1"):
        detect("loss-ranking", model, Split(split.images, np.array([0, label, 0])), classes=2)
    both = detect("loss-ranking", model, Split(split.images, np.array([0, 1, 0])), classes=2, count=1)
    assert both.scores.argmax() != 1  # the likelier class


def test_features_that_are_not_finite_are_refused() -> None:
    model, split = small_model(), blobs(20)
    evidence = Evidence(model, split, 3, 0)
    assert evidence.features.shape == (20, 4) and evidence.features is evidence.features
    layer = model.get_layer("hidden")
    layer.set_weights([np.full_like(w, np.nan) for w in layer.get_weights()])
    with pytest.raises(InputError, match="finite features on every row"):
        _ = Evidence(model, split, 3, 0).features
    with pytest.raises(InputError, match="finite outputs on every row"):
        _ = Evidence(model, split, 3, 0).probabilities


def test_the_last_of_several_dense_layers_is_meant() -> None:
    model = small_model()
    assert last_dense(model).name == "logits"


def test_features_are_those_of_the_call_that_makes_the_scores() -> None:
    """A layer that is called twice, and one that another model called before."""
    images = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4, name="shared")
    hidden = keras.layers.Activation("relu")(shared(inputs))
    twice = keras.Model(inputs, shared(hidden))
    kernel, bias = shared.get_weights()
    np.testing.assert_allclose(penultimate_features(twice, images), np.maximum(images @ kernel + bias, 0), atol=1e-6)

    other = keras.Input((4,))
    again = keras.Model(other, shared(keras.layers.Rescaling(3.0)(other)))
    np.testing.assert_allclose(penultimate_features(again, images), 3 * images, rtol=1e-6)


def test_what_was_found_cannot_be_changed() -> None:
    for found in (detection(), Evidence(small_model(), blobs(3), 3, 0)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            found.seed = 1
        assert found != dataclasses.replace(found)  # arrays have no one truth to compare by
