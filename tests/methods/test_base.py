"""The promise that every method keeps: never worse on validation, and no improvement by chance."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from support.small import small_model
from unlearning.interop import copy_model
from unlearning.methods.base import conclude
from unlearning.task import OutcomeStatus, WorkCount


class TestConclude:
    @staticmethod
    def settle(proposal: keras.Model | None, poisoned):
        model, task = poisoned
        return conclude(model, proposal, task, started=0.0, work=WorkCount(1, 2, 3))

    def test_a_worse_proposal_is_dropped(self, poisoned) -> None:
        outcome = self.settle(small_model(hidden=16, seed=7), poisoned)
        assert not outcome.applied and outcome.status is OutcomeStatus.WORSE_ON_VALIDATION
        assert outcome.work == WorkCount(1 + 2 * (480 + 60), 2, 3)

    @pytest.mark.parametrize("is_stage", [True, False])
    def test_what_is_as_good_is_no_improvement(self, is_stage: bool, poisoned) -> None:
        model, task = poisoned
        same = copy_model(model)
        outcome = self.settle(same, (model, dataclasses.replace(task, is_stage=is_stage)))
        assert not outcome.applied and outcome.model is not same
        status = OutcomeStatus.NOTHING_IMPROVED if is_stage else OutcomeStatus.NOT_BEYOND_CHANCE
        assert outcome.status is status

    def test_a_non_finite_proposal_is_dropped(self, poisoned) -> None:
        broken = small_model(hidden=16)
        broken.set_weights([w * np.nan for w in broken.get_weights()])
        outcome = self.settle(broken, poisoned)
        assert outcome.status is OutcomeStatus.NON_FINITE and not outcome.applied
