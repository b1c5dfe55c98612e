"""What cannot be repaired is refused before anything is computed, and says what to do."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from support.small import blobs, poisoned_task, small_model
from unlearning import detect, methods, repair
from unlearning.data import load_data
from unlearning.errors import InputError
from unlearning.task import Corrections, UnlearningTask

LAYERS = keras.layers


def two_inputs() -> keras.Model:
    one, other = keras.Input((6, 6, 1), name="left"), keras.Input((6, 6, 1), name="right")
    return keras.Model([one, other], LAYERS.Dense(3)(LAYERS.Flatten()(LAYERS.Concatenate()([one, other]))))


def frozen() -> keras.Model:
    model = small_model()
    model.trainable = False
    return model


def broken() -> keras.Model:
    model = small_model()
    model.get_layer("hidden").bias.assign(np.full(4, np.nan))
    return model


def nameless_loss() -> keras.Model:
    model = small_model()
    model.compile("sgd", lambda true, predicted: keras.ops.mean(predicted))
    return model


class TestModels:
    @pytest.mark.parametrize(
        ("make", "match"),
        [
            (two_inputs, "one input.*2 inputs: left, right"),
            (frozen, "frozen.*Set trainable = True"),
            (broken, "not finite.*hidden/bias.*train it again"),
            (lambda: "model.keras", "a Keras model, such as load_model"),
        ],
    )
    @pytest.mark.parametrize("method", ["second-order", "sap"])
    def test_repair(self, make: Callable[[], keras.Model], match: str, method: str) -> None:
        rows = blobs(40)
        flagged = {0: -1} if method == "second-order" else None
        with pytest.raises(InputError, match=match):
            repair(make(), rows, flagged=flagged, method=method, validation=rows)

    @pytest.mark.parametrize(("make", "match"), [(two_inputs, "one input"), (broken, "not finite")])
    def test_detection(self, make: Callable[[], keras.Model], match: str) -> None:
        with pytest.raises(InputError, match=match):
            detect(make(), blobs(40), detector="loss-mixture")

    def test_a_loss_without_a_name_is_none_of_it(self) -> None:
        rows = blobs(40)
        assert repair(nameless_loss(), rows, flagged={0: -1}, method="first-order", validation=rows).model is not None


class TestRows:
    @pytest.mark.parametrize("name", ["fspmu", "scrub", "retraining-unflagged"])
    def test_all_rows_are_flagged(self, name: str) -> None:
        task, _ = poisoned_task(rows=30, flips=0)
        everything = Corrections(np.arange(30), (task.train.labels + 1) % 3)
        told = UnlearningTask(task.train, everything, task.validation, 3)
        with pytest.raises(InputError, match=r"All 30 training rows are flagged.*Flag only"):
            methods.get(name).unlearn(small_model(), told)


class TestData:
    @pytest.mark.parametrize("source", ["./nowhere", "/tmp/no/where", "~/nowhere", "x/nowhere.npz", "nowhere.npz"])
    def test_what_is_missing_is_called_missing(self, source: str) -> None:
        with pytest.raises(InputError, match=r"existing (\.npz )?file"):
            load_data(source)
