"""Scaled Activation Projection as a method: nobody needs to say which labels are wrong.

    K' = alpha P ((alpha - 1) P + I)^-1 K,   P = second moment of a layer's inputs on trusted rows, trace 1

Kodge, Ravikumar, Saha and Roy, AAAI 2025. The work is done by the callback in `unlearning.projection`; here it runs on
a copy of a trained model. Unlike the published code, neither the trusted rows nor `alpha` are chosen with true labels.

Example:
    >>> from unlearning.methods.sap import Sap
    >>> outcome = Sap(trusted_count=50).unlearn(model, task)
    >>> outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    True
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from unlearning.methods import NOTHING
from unlearning.methods.base import Method, conclude
from unlearning.projection.settings import ProjectionSettings
from unlearning.task import UnlearningOutcome, UnlearningTask

if TYPE_CHECKING:
    import keras


class Sap(ProjectionSettings, Method):
    """The projection of a trained model; flagged rows are not looked at."""

    @property
    def needs_flagged(self) -> bool:
        """See `Method.needs_flagged`."""
        return False

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        from unlearning.interop import check_classifier, copy_model
        from unlearning.projection.callback import ScaledActivationProjection

        started = time.perf_counter()
        check_classifier(model, task.train.images, task.num_classes)
        proposal = copy_model(model, task.train.images)
        callback = ScaledActivationProjection(
            task.train, task.choosing, settings=self, trusted_rows=task.trusted_rows, seed=task.seed
        )
        callback.set_model(proposal)
        report = callback.project()
        return conclude(
            model,
            proposal if report.applied else None,
            task,
            started=started,
            work=report.work,
            history=report.history,
            status=report.status,
            told=NOTHING,
            details=report.details(),
            rows={"trusted_rows": report.trusted_rows},
        )
