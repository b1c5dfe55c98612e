"""The projection inside an ordinary `fit`."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from support.projection import (
    TOY,
    same,
)
from support.small import poisoned_task, small_model
from unlearning.evaluation import accuracy, predict
from unlearning.projection.callback import ScaledActivationProjection
from unlearning.task import OutcomeStatus, Split


@pytest.fixture(autouse=True)
def eager_predict() -> None:
    """Here Keras predicts as it always does."""


class TestInFit:
    """Inside an ordinary `fit`."""

    @pytest.fixture(scope="class")
    def compiled(self) -> keras.Model:
        model = small_model(hidden=8)
        model.compile(
            optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
        )
        return model

    @staticmethod
    def _fit(model: keras.Model, epochs: int, **arguments: Any):
        task, _ = poisoned_task()
        train = (task.train.images, task.train.labels)
        validation = (task.validation.images, task.validation.labels)
        sap = ScaledActivationProjection(train, validation, **TOY, **arguments)
        seen: list[tuple[int, float]] = []

        def look(epoch: int, logs: Any) -> None:
            seen.append((len(sap.reports), accuracy(model, task.validation)))

        watcher = keras.callbacks.LambdaCallback(on_epoch_end=look)
        history = model.fit(
            *train, batch_size=32, epochs=epochs, verbose=0, callbacks=[sap, watcher], validation_data=validation
        )
        return task, sap, seen, history.history

    @pytest.mark.parametrize(
        ("epochs", "every", "counts"),
        [(5, 2, [0, 1, 1, 2, 2, 3]), (4, 2, [0, 1, 1, 2, 2]), (2, None, [0, 0, 1])],
    )
    def test_when(self, epochs: int, every: int | None, counts: list[int], compiled) -> None:
        model = compiled
        task, sap, seen, history = self._fit(model, epochs, every=every)
        assert [*(count for count, _ in seen), len(sap.reports)] == counts
        assert len(history["accuracy"]) == len(history["val_accuracy"]) == epochs
        for report in sap.reports:
            assert report.validation_accuracy_after >= report.validation_accuracy_before
        assert accuracy(model, task.validation) == sap.reports[-1].validation_accuracy_after
        for epoch, (count, score) in enumerate(seen):
            if count > (seen[epoch - 1][0] if epoch else 0):
                assert score == sap.reports[count - 1].validation_accuracy_after

    def test_falls_back_to_the_trained_weights(self, compiled) -> None:
        """Labels that the model predicts itself leave nothing to gain."""
        task, _ = poisoned_task()
        images, weights = task.validation.images, []
        sap = ScaledActivationProjection(task.train, task.validation, **TOY)

        def own_labels(epoch: int, logs: Any) -> None:
            sap._validation = Split(images, predict(compiled, images).argmax(1))
            weights.extend(compiled.get_weights())

        own = keras.callbacks.LambdaCallback(on_epoch_end=own_labels)
        compiled.fit(task.train.images, task.train.labels, epochs=1, verbose=0, callbacks=[own, sap])
        (report,) = sap.reports
        assert report.validation_accuracy_before == 1.0 and not report.applied
        assert report.status is OutcomeStatus.NOTHING_IMPROVED
        assert same(weights, compiled.get_weights())
