"""One task through a head: right-hand sides, scores, work, and updates that land where retraining does."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.influence import objective_on
from support.small import blobs, fitted, poisoned_task, small_model
from unlearning.errors import InputError
from unlearning.influence import Head, InfluenceProblem, solve_dense
from unlearning.influence.settings import FeatureSettings
from unlearning.task import REMOVED, Corrections, Split, UnlearningTask


@pytest.mark.usefixtures("float64")
class TestProblem:
    @staticmethod
    def problem(corrections: Corrections, rows: int = 60, **settings) -> tuple[InfluenceProblem, UnlearningTask]:
        split = blobs(rows)
        task = UnlearningTask(Split(split.images, split.labels), corrections, blobs(20, seed=1), 3)
        return InfluenceProblem(small_model(), task, FeatureSettings(**settings)), task

    @pytest.mark.parametrize("kind", ["labels", "removal", "images", "mixed"])
    def test_right_hand_side_is_the_difference_of_the_two_objectives_gradients(self, kind: str) -> None:
        rows = np.array([50, 3, 17])  # unsorted on purpose
        split = blobs(60)
        labels = (split.labels[rows] + 1) % 3
        images = None
        if kind == "removal":
            labels = np.full(3, REMOVED)
        if kind == "mixed":
            labels[1] = REMOVED
        if kind in ("images", "mixed"):
            images = blobs(3, seed=9).images
        problem, _ = self.problem(Corrections(rows, labels, images))

        given = objective_on(small_model(), split)
        keep = np.setdiff1d(np.arange(60), rows[labels == REMOVED])
        fixed_images, fixed_labels = split.images.copy(), split.labels.copy()
        fixed_labels[rows] = labels
        if images is not None:
            fixed_images[rows] = images
        corrected = objective_on(small_model(), Split(fixed_images[keep], fixed_labels[keep]), normaliser=60)
        at = given.head.parameters()
        expected = corrected.gradient(at) - given.gradient(at)
        np.testing.assert_allclose(problem.right_hand_side(problem.initial), expected, atol=1e-8)
        elsewhere = at + 0.1
        np.testing.assert_allclose(
            problem.right_hand_side(elsewhere), corrected.gradient(elsewhere) - given.gradient(at), atol=1e-8
        )

    def test_half_precision_features_are_close(self) -> None:
        corrections = Corrections(np.arange(5), np.zeros(5, int))
        half, full = (self.problem(corrections, feature_dtype=d)[0] for d in ("float16", "float64"))
        expected = full.right_hand_side(full.initial)
        error = tf.norm(half.right_hand_side(half.initial) - expected) / tf.norm(expected)
        assert 0 < float(error) < 1e-2
        with pytest.raises(InputError, match="feature_dtype"):
            self.problem(corrections, feature_dtype="int8")

    def test_work_is_counted_where_it_is_done(self) -> None:
        problem, _ = self.problem(Corrections(np.arange(5), np.full(5, REMOVED)))
        assert problem.work.forward_rows == 60 + 10  # half of the 20 validation rows: those that choose
        problem.right_hand_side(problem.initial)
        problem.right_hand_side(problem.initial)
        assert problem.work.gradient_rows == 2 * 5
        problem.validation_score(problem.initial)
        assert problem.work.forward_rows == 60 + 10 + 10

    def test_validation_accuracy_is_that_of_the_model_on_the_rows_that_choose(self) -> None:
        problem, task = self.problem(Corrections(np.arange(5), np.zeros(5, int)))
        predictions = np.asarray(small_model()(task.choosing.images)).argmax(-1)
        assert problem.validation_score(problem.initial) == np.mean(predictions == task.choosing.labels)
        assert problem.validation_score(problem.initial * np.nan) == -1


def test_second_order_agrees_with_retraining_for_logistic_regression() -> None:
    """A strongly convex objective: the update from the old optimum must land on the new one.

    Four of 200 labels change. One Newton step is exact to second order in the change; three re-linearised steps must
    be exact to solver tolerance. A no-op fails both.
    """
    from unlearning.influence.newton import damped_solve
    from unlearning.methods.second_order import SecondOrder

    rng = np.random.default_rng(0)
    images = rng.standard_normal((200, 5)).astype(np.float32)
    true = (images @ rng.standard_normal((5, 3))).argmax(-1)
    given = true.copy()
    given[:4] = (given[:4] + 1) % 3

    def regression() -> keras.Model:
        keras.utils.set_random_seed(0)
        penalty = keras.regularizers.L2(0.01)
        return keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(3, kernel_regularizer=penalty, bias_regularizer=penalty)]
        )

    def optimum(labels: np.ndarray) -> tf.Tensor:
        objective = objective_on(regression(), Split(images, labels), trainable_from="all")
        at = objective.head.parameters()
        for _ in range(30):
            if float(tf.norm(objective.gradient(at))) < 1e-7:
                break
            at = at - solve_dense(objective.product("hessian"), at, objective.gradient(at), [0.0]).vectors[0]
        assert float(tf.norm(objective.gradient(at))) < 1e-6
        return at

    trained, retrained = optimum(given), optimum(true)
    model = Head(regression(), "all").repaired(trained)
    task = UnlearningTask(Split(images, given), Corrections(np.arange(4), true[:4]), Split(images, true), 3)
    distance = float(tf.norm(trained - retrained))
    for steps, tolerance in ((1, 0.15), (3, 1e-3)):
        method = SecondOrder(
            steps=steps,
            patience=9,
            dampings=(1e-7,),
            step_lengths=(1.0,),
            cg_rtol=1e-6,
            cg_iterations=60,
            curvature="hessian",
        )
        problem = InfluenceProblem(model, task, method)
        solve = damped_solve(problem, method, np.random.default_rng(0))
        at = problem.initial
        for _ in range(steps):
            gradient = len(images) * problem.right_hand_side(at)
            at = at - solve(at, gradient).vectors[0]
        assert float(tf.norm(at - retrained)) < tolerance * distance


def test_updates_repair_a_poisoned_model() -> None:
    """End to end on the tiny task: each regains accuracy on true labels, and the input model stays as it was."""
    from unlearning import methods
    from unlearning.evaluation import accuracy

    task, true = poisoned_task()
    model = fitted(small_model(hidden=16), task.train)
    before = [w.copy() for w in model.get_weights()]
    oracle = Split(task.train.images, true)
    factors = {"solver": "kronecker", "steps": 2}
    for name, options in (
        ("first-order", {}),
        ("second-order", {}),
        ("second-order-single", {}),
        ("second-order", factors | {"curvature": "bound"}),
        ("second-order", factors),
        ("fine-tuning", {"trainable_from": "hidden", "cache_features": True, "epochs": 20, "learning_rates": [0.02]}),
    ):
        outcome = methods.get(name, options).unlearn(model, task)
        assert outcome.applied
        assert accuracy(outcome.model, oracle) > accuracy(model, oracle) + 0.05
        assert outcome.validation_accuracy_after > outcome.validation_accuracy_before
        assert outcome.validation_accuracy_after == accuracy(outcome.model, task.validation)
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
