"""Importances of weights to flagged and to all rows, and what a dampened model scores, each from single rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from support.small import poisoned_task, small_model
from unlearning.evaluation import accuracy
from unlearning.influence.dampening import Dampening
from unlearning.influence.head import Head
from unlearning.influence.rows import RowStore
from unlearning.influence.squares import SquaredGradients
from unlearning.task import Corrections, UnlearningTask, WorkCount


def task_with(flagged: int) -> UnlearningTask:
    task, _ = poisoned_task(rows=40, flips=flagged, validation=60)
    return task


def squares_of_rows(boundary: str | None, task: UnlearningTask) -> np.ndarray:
    """The squared gradients of every row, `(rows, size)`."""
    head = Head(small_model(), boundary)
    store = RowStore.from_images(head, [task.train.images])
    squares = SquaredGradients(head, store, task.train.labels, batch_rows=1)
    return np.array([squares.mean(np.array([row])) for row in range(40)])


@pytest.mark.parametrize("flagged", [1, 10, 40])
def test_importances_are_means_over_the_flagged_and_over_all_rows(flagged: int) -> None:
    task = task_with(flagged)
    backwards = Corrections(task.corrections.rows[::-1], task.corrections.labels[::-1])
    rows = squares_of_rows("logits", task)
    forget, full, work = Dampening(
        small_model(), dataclasses.replace(task, corrections=backwards), "logits"
    ).importances(16, "examples")
    np.testing.assert_allclose(forget, rows[:flagged].mean(0), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(full, rows.mean(0), rtol=1e-4, atol=1e-9)
    assert work == WorkCount(forward_rows=40, gradient_rows=40)  # what lies below is computed once


def test_the_whole_model_has_nothing_below_it() -> None:
    _, _, work = Dampening(small_model(), task_with(10), "all").importances(16, "examples")
    assert work == WorkCount(gradient_rows=40)


def test_batches_of_one_row_are_rows() -> None:
    task = task_with(10)
    rows = squares_of_rows("logits", task)
    forget, full, work = Dampening(small_model(), task, "logits").importances(1, "batches")
    np.testing.assert_allclose(forget, rows[:10].mean(0), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(full, rows.mean(0), rtol=1e-4, atol=1e-9)
    assert work == WorkCount(forward_rows=40, gradient_rows=50)  # flagged rows are differentiated twice


def test_scores_are_those_of_the_model_with_its_weights_multiplied() -> None:
    task, model = task_with(10), small_model()
    dampened = Dampening(model, task, "hidden")
    assert dampened.score(None) == accuracy(model, task.choosing)
    factors = np.random.default_rng(0).uniform(-1, 1, dampened.head.size)
    repaired = dampened.repaired(factors)
    assert dampened.score(factors) == accuracy(repaired, task.choosing)
    before, after = (Head(m, "hidden").parameters().numpy() for m in (model, repaired))
    np.testing.assert_allclose(after, before * factors, rtol=1e-6)
    np.testing.assert_array_equal(model.get_layer("conv").kernel, repaired.get_layer("conv").kernel)
