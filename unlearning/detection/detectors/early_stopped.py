"""Judging every row by the model's own architecture, trained afresh and stopped before memorisation sets in.

Networks fit right labels first (Arpit et al., ICML 2017). A few epochs cost far less than the training they judge.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from pydantic import model_validator

from unlearning import feeding
from unlearning.detection.base import Evidence
from unlearning.detection.cuts import AnchoredCut
from unlearning.errors import InputError
from unlearning.evaluation import predict_probabilities
from unlearning.interop import gives_probabilities
from unlearning.settings import Count, Positive, PositiveFloat
from unlearning.streams import stream_seed


class EarlyStoppedProbe(AnchoredCut):
    """The model's architecture, trained afresh on the given labels for a few epochs only.

    The probabilities of all epochs are averaged (as Pleiss et al., NeurIPS 2020, average margins): a wrong label that
    is learned in the end was doubted for most of the time. `scores` are log-odds of the mean probabilities.
    """

    epochs: Positive = 10
    """Passes over the rows."""
    folds: Count = 0
    """0: one probe that sees all rows; 2 or more: as many probes, each judging the rows it has not seen."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """`adam` or `sgd` (momentum 0.9)."""
    learning_rate: PositiveFloat = 1e-3
    """Of the optimizer."""
    batch_size: Positive = 128
    """Rows a step."""
    augment: bool = False
    """Random shifts and mirroring while training."""
    average: bool = True
    """Mean over epochs; false takes the last epoch alone."""

    @model_validator(mode="after")
    def _folds_make_sense(self) -> Self:
        if self.folds == 1:
            raise InputError("folds", "0, or an integer of at least 2", self.folds)
        return self

    def probabilities(self, evidence: Evidence) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns class probabilities `(rows, K)`, averaged over epochs, and what there is to tell."""
        from sklearn.model_selection import KFold

        rows = np.arange(len(evidence.labels))
        if self.folds > len(rows):
            raise InputError("folds", f"at most the number of rows ({len(rows)})", self.folds)
        parts = [(rows, rows)]
        if self.folds:
            seed = stream_seed(evidence.seed, "detector", "folds")
            parts = list(KFold(self.folds, shuffle=True, random_state=seed).split(rows))
        probabilities = np.zeros((len(rows), evidence.num_classes))
        history: list[dict[str, Any]] = []
        for number, (seen, judged) in enumerate(parts):
            probabilities[judged] = self._probe(evidence, seen, judged, number, history)
        return probabilities, {"out_of_sample": bool(self.folds), "folds": self.folds, "epochs": history}

    def _probe(
        self, evidence: Evidence, seen: np.ndarray, judged: np.ndarray, fold: int, history: list[dict[str, Any]]
    ) -> np.ndarray:
        """Trains one probe and returns the probabilities of the rows it judges, `(judged, K)`."""
        import keras

        from unlearning.training import ShuffledBatches, draw_afresh

        seed = stream_seed(evidence.seed, "detector", "probe", fold)
        fresh = draw_afresh(evidence.model, seed)
        optimizer = (
            keras.optimizers.Adam(self.learning_rate)
            if self.optimizer == "adam"
            else keras.optimizers.SGD(self.learning_rate, momentum=0.9)
        )
        closed = gives_probabilities(fresh, evidence.split.images, evidence.num_classes)
        fresh.compile(optimizer=optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not closed))
        taught = evidence.split.subset(seen)
        batches = ShuffledBatches(
            taught.images, taught.labels, batch_size=self.batch_size, seed=seed, augment=self.augment
        )
        asked = evidence.split.subset(judged)
        total = np.zeros((len(judged), evidence.num_classes))
        for epoch in range(self.epochs):
            fitted = feeding.fit(fresh, batches, initial_epoch=epoch, epochs=epoch + 1)
            if not self.average and epoch < self.epochs - 1:
                continue
            found = predict_probabilities(fresh, asked.images)
            if not np.isfinite(found).all():
                raise InputError("learning_rate", "one with which the probe does not diverge", self.learning_rate)
            agreeing = float(np.mean(found.argmax(-1) == asked.labels))
            history.append(
                {"fold": fold, "epoch": epoch + 1, "loss": float(fitted.history["loss"][-1]), "agreement": agreeing}
            )
            total = total + found if self.average else found
        return total / total.sum(axis=-1, keepdims=True)
