"""What a training compiles: schedules, and models that come again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from support.training import (
    tiny_data,
    tiny_model,
)
from unlearning.errors import InputError
from unlearning.training import (
    ShuffledBatches,
    TrainSettings,
    backup,
    train,
)


@keras.saving.register_keras_serializable("tests")
class Counting(keras.layers.Layer):
    """Counts how often training is traced."""

    traced = 0

    def call(self, x, training=False):
        Counting.traced += bool(training)
        return x


class TestTrainingAgain:
    """A model that is trained twice is traced once, and the second training knows nothing of the first."""

    def model(self) -> keras.Model:
        keras.utils.set_random_seed(0)
        layers = keras.layers
        return keras.Sequential(
            [keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(4), Counting(), layers.Dense(3)]
        )

    def train(self, model: keras.Model, folder: Path, rows: int, **settings: Any) -> list[np.ndarray]:
        files = {"checkpoint": folder / "m.keras", "log": folder / "l.csv"}
        batches = ShuffledBatches(*tiny_data(rows), batch_size=16)
        model.set_weights(self.model().get_weights())
        train(model, batches, settings=TrainSettings(epochs=2, **settings), **files)
        return model.get_weights()

    @pytest.mark.parametrize("schedule", ["constant", "cosine"])
    def test_from_the_start(self, tmp_path: Path, schedule: str) -> None:
        model = self.model()
        first = self.train(model, tmp_path, 64, schedule=schedule)
        Counting.traced = 0
        again = self.train(model, tmp_path, 64, schedule=schedule)
        assert Counting.traced == 0
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize(
        ("rows", "first", "second"),
        [
            (64, {"learning_rate": 0.1}, {"learning_rate": 0.01}),
            (64, {}, {"optimizer": "sgd"}),
            (20, {"schedule": "cosine"}, {"schedule": "cosine"}),  # a schedule over fewer steps
        ],
    )
    def test_in_another_way(self, tmp_path: Path, rows: int, first: dict, second: dict) -> None:
        model = self.model()
        self.train(model, tmp_path, 64, **first)
        expected = self.train(self.model(), tmp_path, rows, **second)
        for one, other in zip(expected, self.train(model, tmp_path, rows, **second), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_after_other_hands(self, tmp_path: Path) -> None:
        """Whoever compiled the model in between, or froze a layer, is not gone along with."""
        model = self.model()
        self.train(model, tmp_path, 64)
        expected = self.train(self.model(), tmp_path, 64)
        model.compile(optimizer="sgd", loss="mse")
        for one, other in zip(expected, self.train(model, tmp_path, 64), strict=True):
            np.testing.assert_array_equal(one, other)
        model.layers[-1].trainable = False
        frozen = self.train(model, tmp_path, 64)
        moved = [bool(np.any(one != other)) for one, other in zip(self.model().get_weights(), frozen, strict=True)]
        assert moved == [True, True, False, False]


class TestStepSchedule:
    @staticmethod
    def rates(tmp_path: Path, data, interrupt: int | None = None, **options) -> list[float]:
        """The learning rate of every step, also of a training that is interrupted and resumed."""
        seen: list[float] = []

        class Watch(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch: int, logs=None) -> None:
                if epoch == interrupt:
                    raise KeyboardInterrupt

            def on_train_batch_begin(self, batch: int, logs=None) -> None:
                seen.append(float(self.model.optimizer.learning_rate))

        def run() -> None:
            train(
                tiny_model(),
                data,
                settings=TrainSettings(schedule="step", optimizer="sgd", **options),
                checkpoint=tmp_path / "m.keras",
                log=tmp_path / "l.csv",
                backup_dir=tmp_path / "backup",
                callbacks=[Watch()],
            )

        if interrupt is not None:
            with pytest.raises(KeyboardInterrupt):
                run()
            interrupt = None
        run()
        return seen

    @pytest.mark.parametrize("kind", ["tuple", "batches"])
    def test_the_rate_drops_after_exactly_so_many_epochs(
        self, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """40 rows in batches of 16 are 3 steps an epoch."""
        monkeypatch.setattr(backup, "WRITING_SHARE", math.inf)  # or the interrupted run would repeat an epoch
        data = tiny_data()
        if kind == "batches":
            data = ShuffledBatches(*data, batch_size=16)
        options = {"batch_size": 16, "learning_rate": 0.01}
        for interrupt in (None, 3):
            rates = self.rates(tmp_path, data, interrupt, epochs=6, milestones=(2, 5), decay=0.5, **options)
            np.testing.assert_allclose(rates, [0.01] * 6 + [0.005] * 9 + [0.0025] * 3, rtol=1e-6)
        rates = self.rates(tmp_path, data, epochs=2, milestones=(100,), **options)
        np.testing.assert_allclose(rates, [0.01] * 6, rtol=1e-6)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"schedule": "step"}, "milestones"),
            ({"milestones": (3,)}, "milestones"),
            ({"schedule": "step", "milestones": (0,)}, "ascending"),
            ({"schedule": "step", "milestones": (3, 3)}, "ascending"),
            ({"schedule": "step", "milestones": (3,), "decay": 0.0}, "decay"),
            ({"schedule": "step", "milestones": (3,), "decay": 1.5}, "decay"),
            ({"decay": 0.5}, "decay"),
            ({"nesterov": False}, "nesterov"),
        ],
    )
    def test_bad_settings(self, options: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            TrainSettings(epochs=5, **options)
