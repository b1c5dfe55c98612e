"""What counts as the same answer, and which rows are asked again."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from unlearning.errors import InputError
from unlearning.influence.determinism import _alike, check_images, check_model


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([1000.0, 0.0], [1000.0, 0.9], True),  # a thousandth of the largest
        ([1000.0, 0.0], [1000.0, 1.1], False),
        ([1.0, 1.0], [1.0, 1.0015], True),  # and one of the value itself
        ([1.0, 1.0], [1.0, 1.0025], False),
        ([np.inf, 1.0], [np.inf, 1.5], False),  # what is infinite is no measure for the others
        ([np.inf, 1.0], [np.inf, 1.0], True),
        ([np.nan, 1.0], [np.nan, 1.0], True),
        ([np.nan, 1.0], [1.0, 1.0], False),
        ([0.0, 0.0], [0.0, 1e-9], False),
        ([1_000_000, 1], [1_000_001, 1], False),  # whole numbers are not rounded
        ([3, 1], [3, 1], True),
        ([True, False], [True, True], False),
    ],
)
def test_answers_are_alike_but_for_rounding(one: list, other: list, same: bool) -> None:
    assert _alike(np.array(one), np.array(other)) is same


class Restless(np.ndarray):
    """Rows of which one is another at every reading."""

    row, calls = 0, 0

    def __getitem__(self, rows):
        found = np.asarray(self)[rows].copy()
        Restless.calls += 1
        found[np.asarray(rows) == Restless.row] += Restless.calls
        return found


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
@pytest.mark.parametrize("row", [0, 29])
def test_first_and_last_row_are_read_again(row: int, kind: type) -> None:
    images = np.ones((30, 2, 2, 1), kind).view(Restless)
    Restless.row = row
    with pytest.raises(InputError, match=f"two of row {row}"):
        check_images(images)


class Sorted(np.ndarray):
    """Rows that come in ascending order, in whatever order they are asked for."""

    def __getitem__(self, rows):
        return np.asarray(self)[np.sort(rows)]


def test_the_order_of_asking_is_kept() -> None:
    with pytest.raises(InputError, match="two of row"):
        check_images(np.arange(30.0).reshape(30, 1, 1, 1).view(Sorted))


class Folding(keras.layers.Layer):
    """Puts parts of a row beside each other into the batch, or takes them out again."""

    def __init__(self, shape: tuple[int, ...], **options) -> None:
        super().__init__(**options)
        self.shape = shape

    def call(self, inputs):
        return keras.ops.reshape(inputs, (-1, *self.shape))

    def compute_output_shape(self, _):
        return (None, *self.shape)


def windows() -> keras.Model:
    """Folds each row into four, works on these, and puts the row together again."""
    inputs = keras.Input((4, 3))
    parts = keras.layers.Dense(2)(Folding((3,))(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(Folding((4, 2))(parts))))


class Counter(keras.layers.Layer):
    """Puts out how often it was called, as whole numbers."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.calls = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, inputs):
        self.calls.assign_add(1)
        return keras.ops.cast(keras.ops.zeros_like(inputs), "int32") + 1000 * self.calls

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, "int32")


def test_a_layer_may_fold_rows_into_its_batch() -> None:
    check_model(windows(), np.random.default_rng(0).normal(size=(20, 4, 3)))


def test_whole_numbers_that_change_are_named() -> None:
    inputs = keras.Input((3,))
    numbers = keras.ops.cast(Counter(name="counter")(inputs), "float32")
    with pytest.raises(InputError, match="layer 'counter' draws"):
        check_model(keras.Model(inputs, keras.layers.Dense(3)(numbers)), np.ones((20, 3)))


def test_one_row_is_enough() -> None:
    check_model(windows(), np.ones((1, 4, 3)))
    check_images(np.ones((1, 4, 3)))
