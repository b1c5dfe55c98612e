"""One contract for every registered method, those of other packages included."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Annotated

import keras
import numpy as np
import pytest

from support.methods import NAMES, typical_names
from support.small import fitted, poisoned_task, small_model
from unlearning import methods
from unlearning.errors import InputError
from unlearning.evaluation import accuracy
from unlearning.interop import copy_model
from unlearning.methods import FLAGGED, NOTHING, RIGHT_LABELS
from unlearning.methods.base import Method, conclude
from unlearning.methods.sharding import Sharding
from unlearning.progress import Reporter, reporting
from unlearning.records import UnlearnConfig, config_hash
from unlearning.registry import Role
from unlearning.settings import Count, Share, since
from unlearning.task import (
    OutcomeStatus,
    Split,
    UnlearningOutcome,
    UnlearningTask,
)

QUICK = {
    "auto": {"least_seconds": 300, "learning_rate": 0.01, "batch_size": 32},
    "second-order-lissa": {"steps": 2, "lissa_iterations": 30, "lissa_scale": 2000.0, "lissa_batch_rows": 64},
    "first-order-reference": {"steps": 2, "tau": 1e-3},
    "sap": {"alphas": [1e4, 1e3, 300, 100, 30, 10, 3], "trusted_count": 60, "per_layer": True},
    "sap+first-order": {"sap.trusted_count": 60},
    "fspmu": {"epochs": 15, "learning_rate": 0.01, "batch_size": 32},
    "fspmu-corrected": {"epochs": 15, "learning_rate": 0.01, "batch_size": 32},
    "fspmu-reference": {"epochs": 8, "learning_rate": 0.02, "milestones": [6], "batch_size": 32, "preset": "nll"},
    "fspmu-gmm": {"epochs": 8, "learning_rate": 0.02, "batch_size": 32, "preset": "nll", "gmm_normalise": True},
    "fspmu-memorised": {"epochs": 8, "learning_rate": 0.02, "batch_size": 32, "gmm_normalise": True},
    "scrub": {"epochs": 8, "learning_rate": 0.05, "milestones": [6], "batch_size": 32},
    "retraining": {"epochs": 40, "recipe": {"learning_rate": 0.01, "batch_size": 32}},
    "retraining-unflagged": {"epochs": 40, "recipe": {"learning_rate": 0.01, "batch_size": 32}},
    "sharding": {"shards": 2, "epochs": 3, "recipe": {"learning_rate": 0.02, "batch_size": 4}},
    "fine-tuning": {"epochs": 15, "learning_rates": [0.01], "batch_size": 32},
    "fine-tuning-constant": {"epochs": 15, "learning_rates": [0.01], "batch_size": 32},
    "annealing": {"epochs": 15, "learning_rates": [0.01], "batch_size": 32},
    "fine-tuning-trusted": {"epochs": 10, "learning_rates": [0.01, 0.003], "batch_size": 16, "trusted_count": 90},
}
"""The published constants belong to a network of a million weights; these fit the toy one."""


SILENT_ROWS = 512
"""On average one sign of life comes from so many rows that are passed through the network, or less."""


@pytest.fixture(params=NAMES)
def method(request) -> Method:
    return methods.get(request.param, QUICK.get(request.param))


@pytest.fixture(params=typical_names())
def typical(request) -> Method:
    """One method of each class."""
    return methods.get(request.param, QUICK.get(request.param))


@pytest.fixture(scope="module")
def functional() -> tuple[keras.Model, UnlearningTask]:
    """A model in Keras' functional style that draws in training and ends in a softmax, trained on the poisoned rows."""
    task, _ = poisoned_task()
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 1))
    hidden = keras.layers.Dense(16, activation="relu")(keras.layers.Flatten()(inputs))
    hidden = keras.layers.Dropout(0.2)(hidden)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(hidden))
    return fitted(model, task.train, at_once=False), task


def may_stay(method: Method) -> bool:
    """Whether a method promises no repair: annealing trains on the wrong labels."""
    return getattr(method, "rows", "") == "given"


def brief(method: Method) -> Method:
    """The same with three passes over the rows, for what asks no improvement of it."""
    passes = getattr(method, "epochs", None) or 0
    return method.changed(epochs=3) if passes > 3 and not getattr(method, "milestones", ()) else method


class Contract:
    """What every method keeps; a class that derives from this says which `method`."""

    def test_improves_the_poisoned_model_and_never_touches_it(self, typical: Method, poisoned) -> None:
        """A method replaced by a no-op fails here."""
        method, (model, task) = typical, poisoned
        weights = [w.copy() for w in model.get_weights()]
        images, labels = task.train.images.copy(), task.train.labels.copy()
        with reporting(Reporter()) as heard:
            outcome = method.unlearn(model, task)
        assert heard.signs > sum(vars(outcome.work).values()) / SILENT_ROWS, "on more rows nobody would hear for long"
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
        assert outcome.applied or may_stay(method)
        assert outcome.work.gradient_rows or outcome.work.forward_rows > 2 * len(task.validation)

    def test_the_seed_alone_decides_of_a_softmax_model_with_dropout(self, typical: Method, functional) -> None:
        """Nor does what the process has drawn before, which other stages of an experiment do or leave out."""
        model, task = functional
        outcomes = []
        for drawn in (1, 2):
            keras.utils.set_random_seed(drawn)
            outcomes.append(typical.unlearn(model, task))
        first, second = outcomes
        for a, b in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert first.work == second.work
        scores = [row["validation_accuracy"] for row in first.history if "validation_accuracy" in row]
        assert scores == [row["validation_accuracy"] for row in second.history if "validation_accuracy" in row]
        # Told nothing, a method may find what is better and yet too little to be taken on so few rows.
        assert first.applied or may_stay(typical) or (not typical.needs_flagged and max(scores) > scores[0])
        np.testing.assert_allclose(np.asarray(first.model(task.validation.images)).sum(-1), 1, atol=1e-5)

    def test_returns_the_input_when_nothing_can_improve(self, typical: Method, poisoned) -> None:
        """Validation labels that the model already predicts leave nothing to gain."""
        model, task = poisoned
        perfect = Split(task.validation.images, np.asarray(model(task.validation.images)).argmax(-1))
        outcome = brief(typical).unlearn(model, dataclasses.replace(task, validation=perfect))
        assert not outcome.applied
        # Methods that choose nothing, such as retraining, have a proposal nevertheless.
        assert outcome.status in (
            OutcomeStatus.NOTHING_IMPROVED,
            OutcomeStatus.WORSE_ON_VALIDATION,
            OutcomeStatus.NOT_BEYOND_CHANCE,
        )
        for a, b in zip(model.get_weights(), outcome.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_survives_a_model_with_non_finite_gradients(self, typical: Method, poisoned) -> None:
        model, task = poisoned
        images = task.train.images.copy()
        images[5] = np.inf  # a flagged row whose features, and so whose gradient, are not finite
        images[200] = np.nan
        outcome = brief(typical).unlearn(model, dataclasses.replace(task, train=Split(images, task.train.labels)))
        assert all(np.isfinite(w).all() for w in outcome.model.get_weights())
        assert outcome.validation_accuracy_after >= outcome.validation_accuracy_before

    def test_configuration_is_json(self, method: Method) -> None:
        assert json.loads(json.dumps(method.config())) == method.config()

    def test_a_model_of_another_shape_is_refused(self, method: Method, poisoned) -> None:
        _, task = poisoned
        wrong_classes = small_model(classes=4)
        with pytest.raises(InputError, match="3 outputs"):
            method.unlearn(wrong_classes, task)


class TestContract(Contract):
    """Runs over everything in the registry, so a new method is held to it by being registered."""


class HalfWay(Method):
    """Part of a first-order step."""

    share: Share = 0.5
    """How far to go."""

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        started = time.perf_counter()
        whole = methods.get("first-order").unlearn(model, task)
        proposal = copy_model(model)
        pairs = zip(model.get_weights(), whole.model.get_weights(), strict=True)
        proposal.set_weights([(1 - self.share) * old + self.share * new for old, new in pairs])
        return conclude(model, proposal, task, started=started, work=whole.work, history=whole.history)


class HalfWayLater(HalfWay):
    """The same in a later version, with one more hyperparameter."""

    again: Annotated[Count, since("0.2", before=0)] = 0
    """How many times more."""


@pytest.fixture
def registered() -> Iterator[None]:
    methods.register("half-way", HalfWay, role=Role.CONTROL, needs={"flagged"}, preset={"share": 0.75})
    yield
    methods.METHODS.remove("half-way")


class TestStranger(Contract):
    """A method that another package has registered is one like all others."""

    @pytest.fixture
    def method(self, registered) -> Method:
        return methods.get("half-way")

    @pytest.fixture
    def typical(self, method: Method) -> Method:
        return method

    def test_is_found_by_name_alone_and_in_a_chain(self, registered) -> None:
        assert methods.available()[-1] == "half-way" and methods.summaries()["half-way"] == "Part of a first-order step"
        assert methods.get("half-way").config() == {"share": 0.75}
        assert methods.get("half-way", {"share": "0.1"}).config() == {"share": 0.1}
        assert methods.get("sap+half-way", {"half-way.share": 1}).config()["half-way"] == {"share": 1.0}
        entry = methods.entry("sap+half-way")
        assert (entry.role, entry.family, entry.needs) == (Role.CONTROL, "sap+half-way", {"flagged"})
        assert methods.needs_flagged("half-way")

    def test_a_wrong_value_is_refused_by_name(self, registered) -> None:
        for overrides, name in (({"share": 2}, "half-way.share"), ({"shares": 1}, "half-way.shares")):
            with pytest.raises(InputError, match=f"`{name}`"):
                methods.get("half-way", overrides)

    def test_a_taken_name_is_refused(self, registered) -> None:
        for name in ("half-way", "sap", "sap+half-way"):
            with pytest.raises(InputError, match="`name`"):
                methods.register(name, HalfWay)
        assert methods.METHODS.load("sap") is not HalfWay

    def test_a_hyperparameter_added_later_leaves_old_records_alone(self) -> None:
        def hashed(method: Method) -> str:
            shared = {"method": "half-way", "variant": "", "validation": "noisy", "seed": 1}
            return config_hash(UnlearnConfig(hyperparameters=method.config(), **shared))

        before, now = HalfWay(share=0.75), HalfWayLater(share=0.75)
        assert json.dumps(now.config()) == json.dumps(before.config()) and hashed(now) == hashed(before)
        assert now.changed(again=2).config() == {"share": 0.75, "again": 2}
        assert hashed(now.changed(again=2)) != hashed(before)
        assert now.changed(again=2).changed(again=0).config() == before.config()


class TestRegistry:
    def test_neither_listing_nor_building_modules_imports_keras(self) -> None:
        code = (
            "import importlib, sys, unlearning.methods as m; m.summaries(); "
            "[e.load() for e in m.METHODS.entries()]; importlib.import_module('unlearning.methods.chain'); "
            "importlib.import_module('unlearning.methods.detected'); "
            "assert not {'keras', 'tensorflow'} & set(sys.modules); print(len(m.available()))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert int(done.stdout) == len(methods.available())

    def test_entries_say_what_the_methods_need(self) -> None:
        for name in methods.available():
            needs, own = methods.entry(name).needs, methods.get(name).needs
            assert needs in (NOTHING, FLAGGED, RIGHT_LABELS) and needs == (needs if own is None else own), name
            assert ("flagged" in needs) == methods.needs_flagged(name), name
        assert set(methods.summaries()) == set(methods.available())

    def test_the_entry_of_a_chain_is_that_of_its_stages(self) -> None:
        entry = methods.entry("sap+second-order-lissa")
        assert (entry.name, entry.family) == ("sap+second-order-lissa", "sap+second-order")
        assert entry.needs == RIGHT_LABELS
        assert entry.role is Role.PUBLISHED and methods.entry("fspmu-gmm+sap").needs == set()
        with pytest.raises(InputError, match="third-order"):
            methods.entry("sap+third-order")

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
