"""Selective synaptic dampening of a trained model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from unlearning import methods
from unlearning.errors import InputError
from unlearning.influence.dampening import dampening
from unlearning.influence.head import Head
from unlearning.influence.rows import RowStore
from unlearning.influence.squares import SquaredGradients
from unlearning.methods.ssd import Ssd
from unlearning.task import REMOVED, Corrections, OutcomeStatus, WorkCount


class TestSsd:
    def test_weights_are_multiplied_by_the_published_factor(self, poisoned) -> None:
        model, task = poisoned
        outcome = Ssd().unlearn(model, task)
        head = Head(model, "all")
        squares = SquaredGradients(head, RowStore.from_images(head, [task.train.images]), task.train.labels)
        factors = dampening(squares.mean(task.corrections.rows), squares.mean(np.arange(240)), outcome.details["alpha"])
        assert outcome.applied and 0 < np.mean(factors < 1) < 1
        expected = head.parameters().numpy() * factors
        np.testing.assert_allclose(Head(outcome.model, "all").parameters().numpy(), expected, rtol=1e-4, atol=1e-7)
        # The flagged rows are among all rows, so that no ratio exceeds 240 / 60.
        assert 1 < outcome.details["largest_ratio"] <= 4 + 1e-6
        assert outcome.work == WorkCount(
            # Every candidate on the rows that choose, both models on all and on the flagged rows.
            forward_rows=240 * (1 + len(Ssd().alphas) + len(Ssd().shares)) + 2 * (480 + 60),
            gradient_rows=240,
        )

    def test_shares_are_the_shares_dampened(self, poisoned) -> None:
        model, task = poisoned
        outcome = Ssd(alphas=(), shares=(0.3, 0.1)).unlearn(model, task)
        assert [row["dampened"] for row in outcome.history[1:]] == pytest.approx([0.1, 0.3], abs=0.01)

    def test_corrected_labels_are_not_looked_at(self, poisoned) -> None:
        model, task = poisoned
        removal = Corrections(task.corrections.rows, np.full(60, REMOVED))
        method = Ssd(alphas=(3.0,), shares=())
        first, second = (method.unlearn(model, t) for t in (task, dataclasses.replace(task, corrections=removal)))
        for a, b in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_the_published_variant_and_a_named_part(self, poisoned) -> None:
        model, task = poisoned
        outcome = Ssd(squares="batches", trainable_from="logits").unlearn(model, task)
        assert outcome.details["parameters"] == 16 * 3 + 3
        assert outcome.work.gradient_rows == 240 + 60
        for layer in model.layers[:-1]:
            for a, b in zip(layer.get_weights(), outcome.model.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)

    def test_nothing_flagged(self, poisoned) -> None:
        model, task = poisoned
        none = Corrections(np.empty(0, np.int64), np.empty(0, np.int64))
        outcome = Ssd().unlearn(model, dataclasses.replace(task, corrections=none))
        assert outcome.status is OutcomeStatus.NOTHING_FLAGGED and not outcome.applied

    @pytest.mark.parametrize(
        ("overrides", "match"),
        [
            ({"alphas": [], "shares": []}, "alphas"),
            ({"shares": [0.5, 1.0]}, "shares"),
            ({"alphas": [1.0, 0.0]}, "alphas"),
            ({"dampening_constant": 0}, "dampening_constant"),
            ({"squares": "rows"}, "squares"),
            ({"batch_rows": 0}, "batch_rows"),
        ],
    )
    def test_bad_input(self, overrides: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            methods.get("ssd", overrides)
