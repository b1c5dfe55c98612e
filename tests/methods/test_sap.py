"""Scaled Activation Projection as a method, and in a chain."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from support.projection import (
    TOY,
    attached,
    same,
)
from unlearning import methods
from unlearning.errors import InputError
from unlearning.evaluation import accuracy
from unlearning.interop import copy_model
from unlearning.methods.sap import Sap
from unlearning.task import Corrections, Split, WorkCount


class TestSap:
    def test_is_the_callback_on_a_copy(self, poisoned) -> None:
        model, task = poisoned
        before = model.get_weights()
        outcome = Sap(**TOY).unlearn(model, task)
        copy = copy_model(model)
        report = attached(copy, task.train, task.choosing, **TOY).project()
        assert outcome.applied and same(outcome.model.get_weights(), copy.get_weights())
        assert same(before, model.get_weights())
        assert outcome.work == report.work + WorkCount(forward_rows=2 * len(task.validation))
        assert outcome.details == report.details()
        assert outcome.rows["trusted_rows"].tolist() == report.trusted_rows.tolist()
        assert [{**row, "seconds": 0} for row in outcome.history] == [{**row, "seconds": 0} for row in report.history]
        assert outcome.validation_accuracy_after == accuracy(outcome.model, task.validation)

    def test_true_labels_are_never_read(self, poisoned) -> None:
        model, task = poisoned
        method = Sap(**TOY)
        reference = method.unlearn(model, task)
        rng = np.random.default_rng(5)
        for corrections in (
            Corrections(np.empty(0, np.int64), np.empty(0, np.int64)),
            Corrections(task.corrections.rows, rng.permutation(task.corrections.labels)),
            Corrections(np.arange(100, 200), rng.integers(0, 3, 100)),
        ):
            other = method.unlearn(model, dataclasses.replace(task, corrections=corrections))
            assert same(reference.model.get_weights(), other.model.get_weights())
            assert same([reference.rows["trusted_rows"]], [other.rows["trusted_rows"]])
            assert reference.details == other.details and reference.work == other.work

    def test_given_labels_are(self, poisoned) -> None:
        model, task = poisoned
        reference = Sap(**TOY).unlearn(model, task).rows["trusted_rows"]
        labels = task.train.labels.copy()
        labels[reference] = (labels[reference] + 1) % 3
        changed = dataclasses.replace(task, train=Split(task.train.images, labels))
        assert not set(Sap(**TOY).unlearn(model, changed).rows["trusted_rows"]) & set(reference)

    def test_trusted_rows_of_the_task(self, poisoned) -> None:
        model, task = poisoned
        rows = np.arange(60, 120)
        outcome = Sap(**TOY).unlearn(model, dataclasses.replace(task, trusted_rows=rows))
        assert outcome.rows["trusted_rows"].tolist() == rows.tolist() and outcome.details["trusted_count"] == 60
        for wrong in (np.array([240]), np.array([-1]), np.empty(0, np.int64)):
            with pytest.raises(InputError, match="`trusted_rows`"):
                Sap(**TOY).unlearn(model, dataclasses.replace(task, trusted_rows=wrong))

    def test_seed_of_the_task(self, poisoned) -> None:
        model, task = poisoned
        draw = {
            seed: Sap(**TOY, selection="random").unlearn(model, dataclasses.replace(task, seed=seed)) for seed in (1, 2)
        }
        assert not np.array_equal(draw[1].rows["trusted_rows"], draw[2].rows["trusted_rows"])

    def test_overrides_and_configuration(self) -> None:
        method = methods.get("sap", {"alphas": "[100, 10]", "per_layer": "true", "include": '["conv*"]'})
        assert isinstance(method, Sap) and method.alphas == (100.0, 10.0) and method.per_layer
        config = method.config()
        assert config["include"] == ["conv*"] and json.loads(json.dumps(config)) == config
        for overrides in ({"alpha": 3}, {"selection": "lowest"}, {"statistics": "none"}, {"trusted_count": "many"}):
            (name,) = overrides
            with pytest.raises(InputError, match=rf"`sap\.{name}`"):
                methods.get("sap", overrides)

    def test_no_true_labels_no_flags_needed(self) -> None:
        assert not methods.needs_flagged("sap") and methods.needs_flagged("sap+second-order")
