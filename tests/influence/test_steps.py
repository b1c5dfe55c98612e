"""The gradient difference of one step: what it is for every kind of correction, and which way it moves."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from unlearning.influence import InfluenceProblem
from unlearning.influence.settings import FeatureSettings
from unlearning.influence.steps import Step, Walk, summed_gradient, walk
from unlearning.methods import first_order, second_order
from unlearning.task import REMOVED, Corrections, OutcomeStatus, Split, UnlearningTask

ROWS, FLAGGED, CLASSES, WIDTH = 40, 12, 3, 60
KINDS = ("labels", "removal", "images", "mixed")


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def memorised(kind: str) -> tuple[keras.Model, UnlearningTask]:
    """A softmax regression that answers every row as it was given, wrong ones included, and what to correct."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, CLASSES, ROWS)
    images = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
    given = true.copy()
    flagged = rng.permutation(ROWS)[:FLAGGED]
    given[flagged] = (true[flagged] + 1) % CLASSES
    corrected, fixed = true[flagged], None
    if kind in ("removal", "mixed"):
        corrected = np.where(np.arange(FLAGGED) < (FLAGGED if kind == "removal" else 4), REMOVED, corrected)
    if kind in ("images", "mixed"):
        fixed = images[flagged]
        images[flagged] += np.eye(WIDTH, dtype=np.float32)[given[flagged]] * 3  # a mark that goes with the wrong label
    task = UnlearningTask(
        Split(images, given), Corrections(flagged, corrected, fixed), Split(images, given), CLASSES, seed=1
    )
    model = keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(CLASSES)])
    # Fewer rows than weights a class: least squares meets every given label.
    model.set_weights([5 * np.linalg.pinv(images) @ np.eye(CLASSES)[given], np.zeros(CLASSES)])
    return model, task


def differentiate(task: UnlearningTask, model: keras.Model, rows: str) -> np.ndarray:
    problem = InfluenceProblem(model, task, FeatureSettings())
    found = summed_gradient(problem, problem.initial, np.random.default_rng(0), rows=rows, error_rows=1000)
    return found.numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", ["flagged", "errors"])
def test_the_gradient_is_the_closed_form_of_softmax_regression(kind: str, rows: str) -> None:
    """`sum (p - y) x'` over what is taught, less the same over what is untaught, from the definition in NumPy."""
    model, task = memorised(kind)
    kernel, bias = (np.asarray(w, np.float64) for w in model.get_weights())
    flagged = task.corrections

    def summed(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        errors = softmax(images @ kernel + bias) - np.eye(CLASSES)[labels]
        return np.concatenate([(images.T @ errors).ravel(), errors.sum(0)])

    given = task.train.subset(flagged.rows)
    fixed = given.images if flagged.images is None else flagged.images
    kept = flagged.labels != REMOVED
    expected = summed(fixed[kept], flagged.labels[kept]) - summed(given.images, given.labels)
    if rows == "errors":
        # The model answers every flagged row with its given label, so that all are errors; with corrected images it may
        # err on these, too.
        said = (fixed @ kernel + bias).argmax(-1)
        again = kept & (said != flagged.labels) & (flagged.images is not None)
        expected += summed(fixed[again], flagged.labels[again]) - summed(fixed[again], said[again])
    np.testing.assert_allclose(differentiate(task, model, rows), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", ["flagged", "errors"])
def test_a_small_step_parts_from_the_wrong_labels(kind: str, rows: str) -> None:
    model, task = memorised(kind)
    flagged, size = task.corrections, WIDTH * CLASSES
    gradient = differentiate(task, model, rows)
    kernel, bias = model.get_weights()
    length = 1e-2 / np.linalg.norm(gradient)
    moved = kernel - length * gradient[:size].reshape(kernel.shape), bias - length * gradient[size:]
    given = task.train.subset(flagged.rows)
    fixed = given.images if flagged.images is None else flagged.images
    each, kept = np.arange(FLAGGED), flagged.labels != REMOVED

    def asked(images: np.ndarray, labels: np.ndarray, weights: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return softmax((images @ weights[0] + weights[1]).astype(np.float64))[each[: len(labels)], labels]

    wrong = [asked(given.images, given.labels, weights) for weights in ((kernel, bias), moved)]
    assert wrong[1].mean() < wrong[0].mean() - 1e-6
    right = [asked(fixed[kept], flagged.labels[kept], weights) for weights in ((kernel, bias), moved)]
    assert not kept.any() or right[1].mean() > right[0].mean() + 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["first-order", "second-order"])
def test_a_whole_update_by_errors_parts_from_the_wrong_labels(kind: str, name: str) -> None:
    """One step of fixed length of each method, its curvature included."""
    model, task = memorised(kind)
    settings = {"rows": "errors", "error_rows": 1000, "trainable_from": "all"}
    if name == "first-order":
        method = first_order.FirstOrder(tau=1e-3, **settings)
    else:
        method = second_order.SecondOrder(step_lengths=(0.01,), dampings=(1.0,), steps=1, **settings)
    flagged = task.corrections
    problem = InfluenceProblem(model, task, method)
    rng = np.random.default_rng(0)
    gradient = summed_gradient(problem, problem.initial, rng, rows="errors", error_rows=1000)
    step = method._prepare(problem, rng)(problem.initial, gradient, 0.0)
    repaired = problem.head.repaired(step.parameters)
    before, after = (softmax(np.asarray(m(task.train.images), np.float64))[flagged.rows] for m in (model, repaired))
    wrong = task.train.labels[flagged.rows]
    assert after[np.arange(FLAGGED), wrong].mean() < before[np.arange(FLAGGED), wrong].mean()


def test_rows_that_nothing_is_wrong_with_leave_nothing_to_learn() -> None:
    """A removed row that the model answers with another class than the given one has nothing to be untaught."""
    model, task = memorised("removal")
    said = np.asarray(model(task.train.images)).argmax(-1)
    labels = said.copy()
    labels[:5] = (said[:5] + 1) % CLASSES
    removed = Corrections(np.arange(5), np.full(5, REMOVED))
    other = UnlearningTask(Split(task.train.images, labels), removed, task.validation, CLASSES)
    problem = InfluenceProblem(model, other, FeatureSettings())
    rng = np.random.default_rng(0)
    assert summed_gradient(problem, problem.initial, rng, rows="errors", error_rows=1000) is None


class TestWalk:
    """The loop, with steps whose scores are written down."""

    def walk(self, scores: list[float], *, patience: int = 10, broken: int | None = None, **ends: Any) -> Walk:
        model, task = memorised("labels")
        problem = InfluenceProblem(model, task, FeatureSettings())
        self.problem, self.seen = problem, []

        def propose(current: tf.Tensor, gradient: tf.Tensor, best: float) -> Step:
            number = len(self.seen) + 1
            self.seen.append(best)
            if number == broken:
                return Step(None, -1.0, {}, **ends)
            return Step(problem.initial + float(number), scores[number - 1], {"length": number})

        return walk(
            problem,
            propose,
            np.random.default_rng(0),
            steps=len(scores),
            rows="flagged",
            error_rows=1,
            is_over=lambda without: without >= patience,
            started=0.0,
        )

    def at(self, taken: Walk) -> float | None:
        return None if taken.best is None else float((taken.best - self.problem.initial)[0])

    def test_the_best_step_is_kept_and_ties_go_to_the_earlier_one(self) -> None:
        start = self.walk([]).history[0]["validation_accuracy"]
        taken = self.walk([start + 0.1, start + 0.3, start + 0.2, start + 0.3])
        assert self.at(taken) == 2.0
        assert [row["validation_accuracy"] for row in taken.history[1:]] == pytest.approx(
            [start + 0.1, start + 0.3, start + 0.2, start + 0.3]
        )
        assert self.seen == pytest.approx([start, start + 0.1, start + 0.3, start + 0.3])
        assert self.at(self.walk([start, start])) is None, "as good as the start is no gain"

    def test_it_is_over_after_steps_in_a_row_without_a_gain(self) -> None:
        start = self.walk([]).history[0]["validation_accuracy"]
        self.walk([start - 1, start + 0.1, start, start, start + 0.2], patience=2)
        assert len(self.seen) == 4, "a gain starts the count again"

    @pytest.mark.parametrize("failed", [True, False])
    def test_nothing_usable_ends_it_with_the_reason(self, failed: bool) -> None:
        start = self.walk([]).history[0]["validation_accuracy"]
        taken = self.walk([start + 0.1, 1.0, 1.0], broken=2, failed=failed)
        assert len(self.seen) == 2 and self.at(taken) == 1.0 and len(taken.history) == 2
        assert taken.status is (OutcomeStatus.NON_FINITE if failed else None)

    def test_a_gradient_that_is_not_finite_ends_it_before_a_step(self, monkeypatch) -> None:
        broken = tf.constant([float("nan"), 1.0])
        monkeypatch.setattr("unlearning.influence.steps.summed_gradient", lambda *_, **__: broken)
        taken = self.walk([1.0])
        assert taken.status is OutcomeStatus.NON_FINITE and not self.seen and taken.best is None
