"""What is special to the first-order and the second-order update."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from support.small import blobs, fitted, small_model
from unlearning import methods
from unlearning.evaluation import accuracy
from unlearning.methods.first_order import FirstOrder
from unlearning.methods.second_order import SecondOrder
from unlearning.task import REMOVED, Corrections, OutcomeStatus, SolveStatus, Split, UnlearningTask


class TestUpdates:
    @pytest.mark.parametrize("name", ["first-order", "second-order"])
    def test_nothing_flagged(self, name: str, poisoned) -> None:
        model, task = poisoned
        none = Corrections(np.empty(0, np.int64), np.empty(0, np.int64))
        outcome = methods.get(name).unlearn(model, dataclasses.replace(task, corrections=none))
        assert outcome.status is OutcomeStatus.NOTHING_FLAGGED and not outcome.applied

    @pytest.mark.parametrize("name", ["first-order", "second-order"])
    def test_removal_helps_too(self, name: str, poisoned) -> None:
        model, task = poisoned
        removal = Corrections(task.corrections.rows, np.full(len(task.corrections), REMOVED))
        assert methods.get(name).unlearn(model, dataclasses.replace(task, corrections=removal)).applied

    @pytest.mark.parametrize(
        ("name", "options"), [("first-order", {}), ("second-order", {"curvature": "gauss-newton"})]
    )
    def test_corrected_images_help(self, name: str, options: dict) -> None:
        """A backdoor: a bright corner means class 0. Correcting image and label must weaken it."""
        rng = np.random.default_rng(0)
        true, rows = blobs(240, seed=3), np.arange(80)
        images, labels = true.images.copy(), true.labels.copy()
        images[rows, 0, 0], labels[rows] = 4.0, 0
        model = fitted(small_model(hidden=16), Split(images, labels))
        triggered = blobs(120, seed=4)
        triggered.images[:, 0, 0] = 4.0
        validation = blobs(480, seed=5)
        half = rng.random(480) < 0.5
        validation.images[half, 0, 0] = 4.0  # the user knows of the trigger and validates with it
        task = UnlearningTask(
            Split(images, labels), Corrections(rows, true.labels[rows], true.images[rows]), validation, 3
        )
        outcome = methods.get(name, {"trainable_from": "all", **options}).unlearn(model, task)
        assert outcome.applied
        assert accuracy(outcome.model, triggered) > accuracy(model, triggered)

    def test_the_fixed_step_is_the_published_formula(self, poisoned) -> None:
        """Parameters minus `tau` times the sum of gradient differences, by plain Keras and one tape."""
        import tensorflow as tf

        model, task = poisoned
        tau = 1e-3
        outcome = FirstOrder(tau=tau, trainable_from="logits").unlearn(model, task)
        rows, flagged = task.corrections.rows, task.corrections
        layer = model.get_layer("logits")
        with tf.GradientTape() as tape:
            logits = model(task.train.images[rows], training=False)
            difference = tf.reduce_sum(
                tf.nn.sparse_softmax_cross_entropy_with_logits(flagged.labels, logits)
                - tf.nn.sparse_softmax_cross_entropy_with_logits(task.train.labels[rows], logits)
            )
        kernel, bias = tape.gradient(difference, [layer.kernel.value, layer.bias.value])
        assert outcome.applied
        repaired = outcome.model.get_layer("logits")
        np.testing.assert_allclose(repaired.kernel, layer.kernel - tau * kernel, atol=1e-5)
        np.testing.assert_allclose(repaired.bias, layer.bias - tau * bias, atol=1e-5)

    def test_the_published_recursion_takes_its_whole_step(self, poisoned) -> None:
        """Its solution is the step; a damped solve tries several lengths instead."""
        settings = {"steps": 1, "lissa_iterations": 5, "lissa_scale": 2000.0, "lissa_batch_rows": 64}
        outcome = methods.get("second-order-lissa", settings).unlearn(*poisoned)
        assert [row["step_length"] for row in outcome.history[1:]] == [1.0]

    def test_only_the_named_part_moves(self, poisoned) -> None:
        model, task = poisoned
        outcome = SecondOrder(steps=1, trainable_from="logits").unlearn(model, task)
        moved = [
            layer.name
            for layer in model.layers
            if any(
                not np.array_equal(a, b)
                for a, b in zip(layer.get_weights(), outcome.model.get_layer(layer.name).get_weights(), strict=True)
            )
        ]
        assert moved == ["logits"]

    def test_work_of_one_solve_is_what_it_says(self, poisoned) -> None:
        model, task = poisoned
        method = SecondOrder(
            solver="cg", steps=1, curvature_rows=100, cg_iterations=5, cg_rtol=1e-9, power_iterations=4
        )
        outcome = method.unlearn(model, task)
        products = 5 + 4 + len(method.dampings)  # the last ones for the residuals
        assert outcome.work.curvature_rows == 100 * products == 100 * sum(r.matvecs for r in outcome.solves)
        assert outcome.work.gradient_rows == 2 * len(task.corrections)
        assert len(outcome.solves) == len(method.dampings)
        largest = outcome.solves[0].lambda_max
        assert [r.damping for r in outcome.solves] == pytest.approx([d * largest for d in method.dampings])

    def test_dense_and_conjugate_gradients_take_the_same_step(self, poisoned) -> None:
        model, task = poisoned
        shared = {"steps": 1, "trainable_from": "logits", "step_lengths": [1.0], "dampings": [0.1, 0.01]}
        shared["curvature_rows"] = None
        cg = methods.get(
            "second-order", {**shared, "solver": "cg", "cg_rtol": 1e-6, "cg_iterations": 200, "power_iterations": 300}
        )
        dense = methods.get("second-order", {**shared, "solver": "dense"})
        solutions = []
        for method in (cg, dense):
            outcome = method.unlearn(model, task)
            solutions.append(outcome)
        # The dense route damps by the same eigenvalue only as well as the power iteration found it.
        for a, b in zip(solutions[0].model.get_weights(), solutions[1].model.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-2)

    def test_divergence_of_lissa_is_a_status_not_an_exception(self, poisoned) -> None:
        outcome = methods.get("second-order-lissa", {"steps": 1, "lissa_scale": 1e-4}).unlearn(*poisoned)
        assert outcome.solves[0].status is SolveStatus.DIVERGED
        assert outcome.status is OutcomeStatus.NON_FINITE and not outcome.applied
        assert math.isfinite(outcome.validation_accuracy_after)
