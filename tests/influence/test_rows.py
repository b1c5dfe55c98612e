"""Tables of rows: stacked images, row numbers across parts, memory and disk."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from support.influence import objective_on
from support.small import blobs, small_model
from unlearning.influence import RowStore
from unlearning.influence.rows import _Stacked


def test_stacked_parts_answer_as_one_array() -> None:
    parts = [np.arange(6, dtype=np.float32).reshape(3, 2), 10 + np.arange(4, dtype=np.float32).reshape(2, 2)]
    stacked, whole = _Stacked(parts), np.concatenate(parts)
    assert (len(stacked), stacked.shape, stacked.dtype) == (5, (5, 2), np.float32)
    assert stacked.nbytes == whole.nbytes == 40
    np.testing.assert_array_equal(stacked[np.array([4, 0, 2, 3, 2])], whole[[4, 0, 2, 3, 2]])
    np.testing.assert_array_equal(np.asarray(stacked), whole)


@pytest.mark.parametrize(("limit", "in_memory"), [(40, True), (39, False)])
def test_rows_above_the_limit_are_read_batch_by_batch(limit: int, in_memory: bool) -> None:
    array = np.arange(10, dtype=np.float32).reshape(5, 2)
    store = RowStore(array, tf.float64, limit)
    assert store.in_memory is in_memory and store.rows == 5
    fetch = tf.function(store.fetch)
    graph = fetch.get_concrete_function(tf.TensorSpec([None], tf.int64))
    assert graph.structured_outputs.shape.as_list() == [None, 2]  # layers need the shape of a row
    found = fetch(tf.constant([4, 0, 4], tf.int64))
    assert found.dtype == tf.float64
    np.testing.assert_array_equal(found, array[[4, 0, 4]])


@pytest.mark.parametrize("batch_rows", [1, 3, 4, 8, 9])
def test_predictions_of_whole_and_of_cut_batches(batch_rows: int) -> None:
    model, split = small_model(), blobs(8)
    objective = objective_on(model, split, batch_rows=batch_rows)
    expected = model(split.images).numpy().argmax(axis=-1)
    np.testing.assert_array_equal(objective.predictions(objective.head.parameters()), expected)
