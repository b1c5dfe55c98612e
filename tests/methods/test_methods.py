"""One contract for every registered method, and what is special to each."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys

import keras
import numpy as np
import pytest

from support.small import blobs, fitted, poisoned_task, small_model
from unlearning import methods
from unlearning.errors import InputError
from unlearning.evaluation import accuracy
from unlearning.methods.base import Method, conclude
from unlearning.methods.first_order import FirstOrder
from unlearning.methods.second_order import SecondOrder
from unlearning.methods.sharding import Sharding
from unlearning.task import REMOVED, Corrections, OutcomeStatus, SolveStatus, Split, UnlearningTask, WorkCount

QUICK = {
    "second-order-lissa": {"steps": 2, "lissa_iterations": 30, "lissa_scale": 500.0, "lissa_batch_rows": 64},
    "first-order-reference": {"steps": 2, "tau": 1e-3},
    "sap": {"alphas": [1e4, 1e3, 300, 100, 30, 10, 3], "trusted_count": 60, "per_layer": True},
    "sap+first-order": {"sap.trusted_count": 60},
    "fspmu": {"epochs": 8, "learning_rate": 0.02, "milestones": [6], "batch_size": 32, "preset": "nll"},
    "fspmu-gmm": {"epochs": 8, "learning_rate": 0.02, "batch_size": 32, "preset": "nll", "gmm_normalise": True},
    "fspmu-memorised": {"epochs": 8, "learning_rate": 0.02, "batch_size": 32, "gmm_normalise": True},
    "scrub": {"epochs": 8, "learning_rate": 0.05, "milestones": [6], "batch_size": 32},
    "retraining": {"epochs": 40, "recipe": {"learning_rate": 0.01, "batch_size": 32}},
    "retraining-unflagged": {"epochs": 40, "recipe": {"learning_rate": 0.01, "batch_size": 32}},
    "sharding": {"shards": 2, "epochs": 3, "recipe": {"learning_rate": 0.02, "batch_size": 4}},
    "fine-tuning": {"epochs": 15, "learning_rates": [0.01], "batch_size": 32},
    "fine-tuning-trusted": {"epochs": 10, "learning_rates": [0.01, 0.003], "batch_size": 16, "trusted_count": 90},
}
"""The published constants belong to a network of a million weights; these fit the toy one."""


@pytest.fixture(params=[*methods.available(), "sap+first-order"])
def method(request) -> Method:
    return methods.get(request.param, QUICK.get(request.param))


class TestContract:
    """Runs over everything in the registry, so a new method is held to it by being registered."""

    def test_never_touches_the_input_and_never_gets_worse(self, method: Method, poisoned) -> None:
        model, task = poisoned
        weights = [w.copy() for w in model.get_weights()]
        images, labels = task.train.images.copy(), task.train.labels.copy()
        outcome = method.unlearn(model, task)
        for old, now in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, now)
        np.testing.assert_array_equal(task.train.images, images)
        np.testing.assert_array_equal(task.train.labels, labels)

        assert outcome.model is not model
        assert outcome.validation_accuracy_before == accuracy(model, task.validation)
        assert outcome.validation_accuracy_after == accuracy(outcome.model, task.validation)
        assert outcome.validation_accuracy_after >= outcome.validation_accuracy_before
        now = outcome.model.get_weights()
        # An ensemble holds several times the model's weights; every other method returns the same network.
        assert [w.shape for w in now] == [w.shape for w in weights] or isinstance(method, Sharding)
        changed = len(now) != len(weights) or any(not np.array_equal(a, b) for a, b in zip(weights, now, strict=True))
        assert changed == outcome.applied == (outcome.status is OutcomeStatus.IMPROVED)
        assert outcome.duration_s > 0
        assert outcome.work.forward_rows >= 2 * len(task.validation)
        assert outcome.history[0]["step"] == 0

    def test_improves_the_poisoned_model(self, method: Method, poisoned) -> None:
        """A method replaced by a no-op fails here."""
        outcome = method.unlearn(*poisoned)
        assert outcome.applied
        work = outcome.work
        assert work.gradient_rows or work.forward_rows > 2 * len(poisoned[1].validation)

    def test_same_seed_same_result(self, method: Method, poisoned) -> None:
        first, second = method.unlearn(*poisoned), method.unlearn(*poisoned)
        for a, b in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert first.work == second.work

    def test_returns_the_input_when_nothing_can_improve(self, method: Method, poisoned) -> None:
        """Validation labels that the model already predicts leave nothing to gain."""
        model, task = poisoned
        perfect = Split(task.validation.images, model.predict(task.validation.images, verbose=0).argmax(-1))
        outcome = method.unlearn(model, dataclasses.replace(task, validation=perfect))
        assert not outcome.applied
        assert outcome.status is OutcomeStatus.NOTHING_IMPROVED
        for a, b in zip(model.get_weights(), outcome.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_survives_a_model_with_non_finite_gradients(self, method: Method, poisoned) -> None:
        model, task = poisoned
        images = task.train.images.copy()
        images[5] = np.inf  # a flagged row whose features, and so whose gradient, are not finite
        images[200] = np.nan
        outcome = method.unlearn(model, dataclasses.replace(task, train=Split(images, task.train.labels)))
        assert all(np.isfinite(w).all() for w in outcome.model.get_weights())
        assert outcome.validation_accuracy_after >= outcome.validation_accuracy_before

    def test_configuration_is_json(self, method: Method) -> None:
        assert json.loads(json.dumps(method.config())) == method.config()

    def test_works_on_a_softmax_functional_model(self, method: Method) -> None:
        task, _ = poisoned_task()
        inputs = keras.Input((6, 6, 1))
        hidden = keras.layers.Dense(16, activation="relu")(keras.layers.Flatten()(inputs))
        model = fitted(keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(hidden)), task.train)
        outcome = method.unlearn(model, task)
        assert outcome.applied
        np.testing.assert_allclose(outcome.model.predict(task.validation.images, verbose=0).sum(-1), 1, atol=1e-5)

    def test_a_model_of_another_shape_is_refused(self, method: Method, poisoned) -> None:
        _, task = poisoned
        wrong_classes = small_model(classes=4)
        with pytest.raises(InputError, match="3 outputs"):
            method.unlearn(wrong_classes, task)


class TestInfluenceMethods:
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

    @pytest.mark.parametrize("name", ["first-order", "second-order"])
    def test_corrected_images_help(self, name: str) -> None:
        """A backdoor: a bright corner means class 0. Correcting image and label must weaken it."""
        rng = np.random.default_rng(0)
        true, rows = blobs(240, seed=3), np.arange(80)
        images, labels = true.images.copy(), true.labels.copy()
        images[rows, 0, 0], labels[rows] = 4.0, 0
        model = fitted(small_model(hidden=16), Split(images, labels))
        triggered = blobs(120, seed=4)
        triggered.images[:, 0, 0] = 4.0
        validation = blobs(120, seed=5)
        half = rng.random(120) < 0.5
        validation.images[half, 0, 0] = 4.0  # the user knows of the trigger and validates with it
        task = UnlearningTask(
            Split(images, labels), Corrections(rows, true.labels[rows], true.images[rows]), validation, 3
        )
        outcome = methods.get(name, {"trainable_from": "all"}).unlearn(model, task)
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
        method = SecondOrder(steps=1, curvature_rows=100, cg_iterations=5, cg_rtol=1e-9, power_iterations=4)
        outcome = method.unlearn(model, task)
        assert outcome.work.curvature_rows == 100 * (5 + 4) == 100 * sum(r.matvecs for r in outcome.solves)
        assert outcome.work.gradient_rows == 2 * len(task.corrections)
        assert len(outcome.solves) == len(method.dampings)
        largest = outcome.solves[0].lambda_max
        assert [r.damping for r in outcome.solves] == pytest.approx([d * largest for d in method.dampings])

    def test_dense_and_conjugate_gradients_take_the_same_step(self, poisoned) -> None:
        model, task = poisoned
        shared = {"steps": 1, "trainable_from": "logits", "step_lengths": [1.0], "curvature_rows": None}
        cg = methods.get("second-order", {**shared, "cg_rtol": 1e-6, "cg_iterations": 200, "power_iterations": 300})
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


class TestRegistry:
    def test_listing_imports_no_tensorflow(self) -> None:
        code = (
            "import sys, unlearning.methods as m; m.summaries(); assert 'tensorflow' not in sys.modules; "
            "print(len(m.available()))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert int(done.stdout) == len(methods.available())

    @pytest.mark.parametrize(
        ("name", "overrides", "match"),
        [
            ("third-order", {}, "first-order"),
            ("second-order", {"stpes": 3}, "steps"),
            ("second-order", {"steps": "many"}, "second-order.steps"),
            ("second-order", {"steps": 0}, "second-order.steps"),
            ("second-order", {"solver": "magic"}, "solver"),
            ("second-order", {"dampings": "[]"}, "dampings"),
            ("second-order", {"curvature_rows": -1}, "curvature_rows"),
            ("second-order", {"smoothing": 1.5}, "smoothing"),
            ("first-order", {"tau": -1.0}, "tau"),
            ("first-order", {"steps": 0}, "steps"),
            ("first-order", {"error_rows": 0}, "error_rows"),
        ],
    )
    def test_bad_input(self, name: str, overrides: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            methods.get(name, overrides)

    def test_text_values_are_parsed(self) -> None:
        config = methods.get(
            "second-order",
            {"steps": "3", "dampings": "[0.5, 0.1]", "curvature_rows": "null", "trainable_from": "hidden"},
        ).config()
        assert (config["steps"], config["dampings"], config["curvature_rows"]) == (3, [0.5, 0.1], None)
        assert config["trainable_from"] == "hidden"


class TestConclude:
    @staticmethod
    def settle(proposal: keras.Model | None, poisoned):
        model, task = poisoned
        return conclude(model, proposal, task, started=0.0, work=WorkCount(1, 2, 3))

    def test_a_worse_proposal_is_dropped(self, poisoned) -> None:
        outcome = self.settle(small_model(hidden=16, seed=7), poisoned)
        assert not outcome.applied and outcome.status is OutcomeStatus.NOTHING_IMPROVED
        assert outcome.work == WorkCount(1 + 2 * 120, 2, 3)

    def test_a_non_finite_proposal_is_dropped(self, poisoned) -> None:
        broken = small_model(hidden=16)
        broken.set_weights([w * np.nan for w in broken.get_weights()])
        outcome = self.settle(broken, poisoned)
        assert outcome.status is OutcomeStatus.NON_FINITE and not outcome.applied
