"""SISA: an ensemble on disjoint shards, so that wrong rows cost only the shards that hold them.

Bourtoule et al., *Machine Unlearning*, IEEE S&P 2021: the training rows are split at random into `shards` parts, one
model is trained on each, and the ensemble aggregates their answers. A row that turns out wrong is unlearned by training
its shard again on what the row should have been; the result is what training without the mistake would have given
(shards are not sliced further here). The price is paid in advance and in accuracy: each model sees a fraction of the
rows. It pays while flagged rows sit in few shards. A few times `s log s` flagged rows,
spread at random, hit all `s` shards, and the unlearning then costs a full training.

A user's model is a single network, so the ensemble is trained on the given labels first. That is SISA's preparation:
its time and work are reported apart, in `details` and in the outcome's `preparation_duration_s`. The outcome's
`duration_s` and `work` are those of the unlearning, as if the ensemble had been there. The outcome's model is one
functional model of built-in layers and operations that holds all constituents.

Example:
    >>> from unlearning.methods.sharding import Sharding
    >>> method = Sharding(shards=10, epochs=20)  # then method.unlearn(model, task), as every method
    >>> method.config()["shards"]
    10
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unlearning.errors import InputError
from unlearning.methods.base import conclude, corrected_rows
from unlearning.methods.retraining import Retraining, train_anew
from unlearning.settings import Positive
from unlearning.streams import stream, stream_seed
from unlearning.task import OutcomeStatus, Split, UnlearningOutcome, UnlearningTask, WorkCount

if TYPE_CHECKING:
    import keras

Aggregation = Literal["vote", "mean"]


class Sharding(Retraining):
    """SISA; the fields of `Retraining` say how each constituent is trained, and what becomes of flagged rows."""

    shards: Positive = 5
    """Number of parts, and of constituent models."""
    aggregation: Aggregation = "vote"
    """`"vote"` (majority, ties by the summed probabilities) or `"mean"` (of the probabilities)."""

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        from unlearning.evaluation import accuracy
        from unlearning.interop import check_classifier

        started = time.perf_counter()
        check_classifier(model, task.train.images, task.num_classes)
        if self.shards > len(task.train):
            raise InputError("shards", f"at most the {len(task.train)} training rows", self.shards)
        if not len(task.corrections):
            return conclude(model, None, task, started=started, work=WorkCount(), status=OutcomeStatus.NOTHING_FLAGGED)
        shards = assign_shards(len(task.train), self.shards, task.seed)
        cpu, status = time.process_time(), None

        prepared = _Constituents(self, model, task.seed)
        for number, rows in enumerate(shards):
            if not prepared.train(number, task.train.subset(rows)):
                status = OutcomeStatus.NON_FINITE
                break
        details: dict[str, Any] = {"shards": self.shards}
        if status is None:
            ensemble = combine(list(prepared.models.values()), self.aggregation)
            details["prepared_validation_accuracy"] = accuracy(ensemble, task.validation)
            prepared.work += WorkCount(forward_rows=len(task.validation))
        preparation_s, preparation_cpu_s = time.perf_counter() - started, time.process_time() - cpu
        details |= {
            "preparation_duration_s": preparation_s,
            "preparation_cpu_s": preparation_cpu_s,
            "preparation_work": dataclasses.asdict(prepared.work),
        }

        started = time.perf_counter()
        affected = [n for n, rows in enumerate(shards) if np.isin(rows, task.corrections.rows).any()]
        renewed = _Constituents(self, model, task.seed)
        retrained_rows = 0
        for number in affected if status is None else ():
            # A shard whose rows are all removed has nothing left to say; its constituent goes with them.
            part = corrected_rows(task, keep_flagged=self.rows == "corrected", among=shards[number])
            retrained_rows += len(part)
            if len(part) and not renewed.train(number, part):
                status = OutcomeStatus.NON_FINITE
                break
        proposal, work = None, renewed.work
        before = after = accuracy(model, task.choosing)
        if status is None:
            kept = {number: m for number, m in prepared.models.items() if number not in affected}
            both = kept | renewed.models
            proposal = combine([both[number] for number in sorted(both)], self.aggregation)
            after = accuracy(proposal, task.choosing)
            details |= {"constituents": len(both)}
            work += WorkCount(forward_rows=len(task.choosing))
        details |= {"affected_shards": affected, "retrained_rows": retrained_rows, "training_rows": len(task.train)}
        outcome = conclude(
            model,
            proposal,
            task,
            started=started,
            work=work + WorkCount(forward_rows=len(task.choosing)),
            history=[{"step": 0, "validation_accuracy": before}, {"step": 1, "validation_accuracy": after}],
            status=status,
            details=details,
        )
        return dataclasses.replace(outcome, preparation_duration_s=preparation_s, preparation_cpu_s=preparation_cpu_s)


def assign_shards(rows: int, shards: int, seed: int) -> list[np.ndarray]:
    """Splits row numbers at random into parts whose sizes differ by at most one.

    Args:
        rows: Number of rows.
        shards: Number of parts.
        seed: Seed.

    Returns:
        One ascending int64 array a part; every row is in exactly one.
    """
    order = stream(seed, "method", "shards").permutation(rows)
    return [np.sort(part) for part in np.array_split(order, shards)]


def combine(constituents: Sequence[keras.Model], aggregation: Aggregation) -> keras.Model:
    """Makes one model of several.

    With `v_k` of `s` votes for class `k` and mean probability `p_k`, a vote scores `(v_k + p_k) / (s + 1)`. The scores
    add up to one, and a tie goes to the larger sum of probabilities: `p_k` stays below 1 as long as any vote goes
    elsewhere, so it never outweighs a vote.

    Args:
        constituents: Models with logit outputs and inputs of one shape.
        aggregation: `"vote"` or `"mean"`.

    Returns:
        A functional model of built-in parts, from images to class scores that add up to one.
    """
    import keras

    first = constituents[0].inputs[0]
    images = keras.Input(first.shape[1:], dtype=first.dtype, name="images")
    parts = [
        # The constituents may be Sequential and all have the same name; nested layers need names of their own.
        keras.Model(model.inputs[0], model.outputs[0], name=f"constituent_{number}")(images)
        for number, model in enumerate(constituents)
    ]
    probabilities = [keras.layers.Softmax(name=f"probabilities_{n}")(part) for n, part in enumerate(parts)]
    scores = keras.layers.Average(name="mean")(probabilities) if len(parts) > 1 else probabilities[0]
    if aggregation == "vote" and len(parts) > 1:
        votes = [
            keras.ops.one_hot(keras.ops.argmax(p, axis=-1), int(p.shape[-1]), dtype=p.dtype) for p in probabilities
        ]
        total = keras.layers.Add(name="votes")([*votes, scores])
        scores = keras.layers.Rescaling(1 / (len(parts) + 1), name="scores")(total)
    return keras.Model(images, scores, name="ensemble")


class _Constituents:
    """Models of some shards, and the work of training them."""

    def __init__(self, method: Sharding, model: keras.Model, seed: int) -> None:
        self._settings, self._model, self._seed = method.settings(), model, seed
        self._trained: keras.Model | None = None
        self.models: dict[int, keras.Model] = {}
        self.work = WorkCount()

    def train(self, number: int, rows: Split) -> bool:
        """Trains the constituent of one shard; False where the training diverged."""
        from unlearning.interop import copy_model
        from unlearning.training import TrainingDivergedError

        # The seed depends on the shard alone: what training without the mistake would have given, it gives again.
        seed = stream_seed(self._seed, "method", "shard", number)
        epochs = self._settings.epochs
        try:
            self._trained, _ = train_anew(self._model, rows, self._settings, seed, again=self._trained)
            self.models[number] = copy_model(self._trained, rows.images)
        except TrainingDivergedError:
            epochs = 1
        self.work += WorkCount(gradient_rows=epochs * len(rows))
        return number in self.models
