"""The last layer refitted exactly, on features computed once: what a frozen network still allows.

    minimise over W, b   (1/n) sum_i CE(W' f_i + b, y~_i) + penalty/2 ||W||^2,   f_i: what the last dense layer takes in

No step of the trained layer is kept: the minimum is that of a training which had seen the corrected labels only, as far
as the layer goes. `solver="newton"` finds it under the curvature's bound (see `unlearning.influence.softmax`),
`"ridge"` takes least squares in place of the cross-entropy, with the penalty of least exact leave-one-out error (see
`unlearning.detection.ridge`), and `"scikit-learn"` is `LogisticRegression`, for comparison. A penalty of the others is
chosen on validation rows.

Example:
    >>> from unlearning.methods.last_layer import LastLayer
    >>> outcome = LastLayer().unlearn(model, task)
    >>> outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    True
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import MinLen

from unlearning.activations import upper_part
from unlearning.errors import InputError
from unlearning.methods.base import TOLD_BY_ROWS, Method, conclude, corrected_rows
from unlearning.settings import Positive, PositiveFloat
from unlearning.task import OutcomeStatus, Split, UnlearningOutcome, UnlearningTask, WorkCount

if TYPE_CHECKING:
    import keras

    from unlearning.influence.softmax import Linear


class LastLayer(Method):
    """An exact refit of the last dense layer."""

    rows: Literal["corrected", "unflagged", "given"] = "corrected"
    """`"corrected"`: all rows with corrected labels, less the removed ones; `"unflagged"`: those nobody flagged;
    `"given"`: all rows as they are, a control."""
    solver: Literal["newton", "ridge", "scikit-learn"] = "newton"
    """`"newton"` and `"scikit-learn"` minimise the cross-entropy, `"ridge"` the squared error of class indicators."""
    penalties: Annotated[tuple[PositiveFloat, ...], MinLen(1)] = (0.1, 0.03, 0.01, 0.003, 0.001)
    """To be tried, in units of standardised features."""
    iterations: Positive = 100
    """Most steps a penalty."""

    @property
    def needs(self) -> frozenset[str]:
        """See `Method.needs`."""
        return TOLD_BY_ROWS[self.rows]

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        from unlearning.detection.features import last_dense
        from unlearning.interop import check_classifier, copy_model

        started = time.perf_counter()
        check_classifier(model, task.train.images, task.num_classes)
        if self.needs_flagged and not len(task.corrections):
            return conclude(model, None, task, started=started, work=WorkCount(), status=OutcomeStatus.NOTHING_FLAGGED)
        rows = task.train if self.rows == "given" else corrected_rows(task, keep_flagged=self.rows == "corrected")
        proposal = copy_model(model, task.train.images)
        layer = last_dense(proposal)
        known, choosing = self._features(proposal, layer, rows, task.choosing)
        work = WorkCount(forward_rows=len(known) + len(choosing))
        self._check_output(proposal, layer, choosing, task.choosing)

        def score(logits: np.ndarray) -> float:
            return float(np.mean(logits.argmax(axis=1) == choosing.labels))

        kernel, bias = np.asarray(layer.kernel), np.asarray(layer.bias) if layer.use_bias else 0.0
        history: list[dict[str, Any]] = []

        def note(accuracy: float, **columns: Any) -> None:
            seconds = time.perf_counter() - started
            history.append({"step": len(history), "validation_accuracy": accuracy, "seconds": seconds, **columns})

        best, chosen = score(choosing.images @ kernel + bias), None
        note(best, penalty=None)
        if not all(np.isfinite(part.images).all() for part in (known, choosing)):
            status = OutcomeStatus.NON_FINITE
            return conclude(model, None, task, started=started, work=work, history=history, status=status)
        for layer_found in self._fit(known, task.num_classes, layer.use_bias):
            accuracy = score(layer_found.logits(choosing.images))
            work += WorkCount(gradient_rows=layer_found.iterations * len(known))
            note(accuracy, penalty=layer_found.penalty)
            if accuracy > best:
                best, chosen = accuracy, layer_found
        if chosen is not None:
            layer.kernel.assign(chosen.kernel)
            if layer.use_bias:
                layer.bias.assign(chosen.bias)
        return conclude(
            model,
            None if chosen is None else proposal,
            task,
            started=started,
            work=work,
            history=history,
            told=self.needs,
            details={} if chosen is None else {"penalty": chosen.penalty},
        )

    def _features(self, model: keras.Model, layer: keras.layers.Dense, *parts: Split) -> list[Split]:
        """Returns rows with what the layer takes in, `(rows, features)`, in place of their images."""
        below = upper_part(model, layer.name, dtype="float32")
        found = [
            Split(np.asarray(part.images) if below is None else below.activations(part.images), part.labels)
            for part in parts
        ]
        if found[0].images.ndim != 2:
            shape = found[0].images.shape[1:]
            raise InputError("model", f"one feature vector a row in front of layer {layer.name!r}", shape)
        return found

    def _fit(self, rows: Split, classes: int, intercept: bool) -> Iterator[Linear]:
        from unlearning.influence.softmax import Standardised, fit_ridge, fit_softmax

        targets = np.eye(classes)[rows.labels]
        if self.solver == "newton":
            yield from fit_softmax(
                Standardised(rows.images, intercept), targets, self.penalties, iterations=self.iterations
            )
        elif self.solver == "ridge":
            from unlearning.detection.ridge import leave_one_out

            found = leave_one_out(rows.images.copy(), rows.labels, classes, self.penalties)
            yield fit_ridge(Standardised(rows.images, intercept), targets, found.penalty)
        else:
            yield from self._library(Standardised(rows.images, intercept), rows.labels, classes)

    def _library(self, features: Any, labels: np.ndarray, classes: int) -> Iterator[Linear]:
        from sklearn.linear_model import LogisticRegression

        for penalty in sorted(self.penalties, reverse=True):
            fit = LogisticRegression(
                C=1 / (len(labels) * penalty), max_iter=self.iterations, fit_intercept=features.intercept
            ).fit(features.rows, labels)
            kernel = np.zeros((features.rows.shape[1], classes))
            bias = np.full(classes, -1e3 if features.intercept else 0.0)  # a class that no row has
            coefficients, offset = fit.coef_.T, fit.intercept_
            if len(fit.classes_) == 2:  # one column for two classes
                coefficients, offset = (
                    np.concatenate([-coefficients, coefficients], 1) / 2,
                    np.array([-1, 1]) * offset / 2,
                )
            kernel[:, fit.classes_] = coefficients
            bias[fit.classes_] = offset if features.intercept else 0.0
            yield features.back(kernel, bias, penalty, int(np.max(fit.n_iter_)))

    def _check_output(self, model: keras.Model, layer: keras.layers.Dense, features: Split, choosing: Split) -> None:
        """Raises `InputError` unless what the layer puts out are the class scores, up to a softmax."""
        from unlearning.evaluation import predict

        few = slice(0, 64)
        scores = features.images[few] @ np.asarray(layer.kernel) + (np.asarray(layer.bias) if layer.use_bias else 0.0)
        said = predict(model, choosing.subset(np.arange(len(choosing))[few]).images)
        if scores.shape != said.shape or np.mean(scores.argmax(axis=1) == said.argmax(axis=1)) < 0.95:
            raise InputError(
                "model",
                "class scores that its last dense layer puts out, with or without a softmax",
                f"something else behind layer {layer.name!r} (choose another method, such as fine-tuning)",
            )
