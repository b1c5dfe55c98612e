"""Detectors that judge every row by a probe of their own, which has had no chance to memorise the row's label.

The trained model may have learned every wrong label by heart, and its features with them. `PatchRidge` starts from
features that no label has shaped and predicts each row without itself, in closed form. `EarlyStoppedProbe` trains the
model's architecture afresh and stops before memorisation sets in: networks fit right labels first (Arpit et al., ICML
2017). Both cost far less than the training that they judge, the first a minute or two, the second a few epochs.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import keras
import numpy as np
from scipy.special import softmax

from unlearning import feeding
from unlearning.detection.base import Evidence
from unlearning.detection.cuts import AnchoredCut
from unlearning.detection.patches import PatchFeatures
from unlearning.detection.ridge import LeaveOneOut, calibrate, leave_one_out
from unlearning.errors import invalid

_MIRROR_ROWS = 2000  # that decide whether images may be mirrored


@dataclasses.dataclass(frozen=True)
class PatchRidge(AnchoredCut):
    """Leave-one-out ridge regression on label-free patch features.

    See `unlearning.detection.patches` and `unlearning.detection.ridge`. The model is not looked at. `scores` are
    log-odds against the given label; probabilities come from one temperature on the leave-one-out predictions.

    Attributes:
        filters: Number of patches; an image gets `2 * filters * grid**2` features.
        patch: Side of a patch, in pixels of the image shrunk to 32.
        grid: Responses are averaged over `grid x grid` regions.
        activation: Filter responses below it count as none.
        mirror: Let an image and its mirror image count as the same; null decides by leave-one-out accuracy on the given
            labels of up to 2,000 rows.
        penalties: Of the ridge regression, in units of the number of rows; the leave-one-out error chooses.
    """

    filters: int = 512
    patch: int = 6
    grid: int = 2
    activation: float = 0.25
    mirror: bool | None = None
    penalties: tuple[float, ...] = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("filters", "patch", "grid"):
            if getattr(self, name) < 1:
                raise invalid(name, "a positive integer", getattr(self, name))
        if not self.activation >= 0:
            raise invalid("activation", "a float of at least 0", self.activation)
        if not self.penalties or not min(self.penalties) > 0:
            raise invalid("penalties", "a non-empty list of positive floats", self.penalties)

    def probabilities(self, evidence: Evidence) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns class probabilities `(rows, K)` of every row without itself, and what there is to tell."""
        images, labels = evidence.split.images, evidence.labels
        features = PatchFeatures(
            images,
            filters=self.filters,
            size=self.patch,
            threshold=self.activation,
            grid=self.grid,
            seed=evidence.seed,
        )
        mirror = self._mirror(features, evidence) if self.mirror is None else self.mirror
        found = self._ridge(features(images, mirror=mirror), labels, evidence.num_classes)
        probabilities = calibrate(found.predictions, labels)
        agreeing = float(np.mean(found.predictions.argmax(-1) == labels))
        details = {
            "out_of_sample": True,
            "features": features.count,
            "mirror": mirror,
            "penalty": found.penalty,
            "leave_one_out_accuracy": agreeing,
        }
        return probabilities, details

    def _ridge(self, features: np.ndarray, labels: np.ndarray, num_classes: int) -> LeaveOneOut:
        return leave_one_out(features, labels, num_classes, self.penalties)

    def _mirror(self, features: PatchFeatures, evidence: Evidence) -> bool:
        """Whether mirrored images help to predict the given labels of some rows."""
        rows = np.random.default_rng(evidence.seed).permutation(len(evidence.labels))[:_MIRROR_ROWS]
        some = evidence.split.subset(np.sort(rows))
        plain, mirrored = (
            self._ridge(features(some.images, mirror=mirror), some.labels, evidence.num_classes).predictions.argmax(-1)
            for mirror in (False, True)
        )
        return bool(np.mean(mirrored == some.labels) > np.mean(plain == some.labels))


@dataclasses.dataclass(frozen=True)
class EarlyStoppedProbe(AnchoredCut):
    """The model's architecture, trained afresh on the given labels for a few epochs only.

    The probabilities of all epochs are averaged (as Pleiss et al., NeurIPS 2020, average margins): a wrong label that
    is learned in the end was doubted for most of the time. `scores` are log-odds of the mean probabilities.

    Attributes:
        epochs: Passes over the rows.
        folds: 0: one probe that sees all rows; 2 or more: as many probes, each judging the rows it has not seen.
        optimizer: `adam` or `sgd` (momentum 0.9).
        learning_rate: Of the optimizer.
        batch_size: Rows a step.
        augment: Random shifts and mirroring while training.
        average: Mean over epochs; false takes the last epoch alone.
    """

    epochs: int = 10
    folds: int = 0
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 128
    augment: bool = False
    average: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise invalid(name, "a positive integer", getattr(self, name))
        if self.folds < 0 or self.folds == 1:
            raise invalid("folds", "0, or an integer of at least 2", self.folds)
        if self.optimizer not in ("adam", "sgd"):
            raise invalid("optimizer", "adam or sgd", self.optimizer)
        if not self.learning_rate > 0:
            raise invalid("learning_rate", "a positive float", self.learning_rate)

    def probabilities(self, evidence: Evidence) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns class probabilities `(rows, K)`, averaged over epochs, and what there is to tell."""
        from sklearn.model_selection import KFold

        rows = np.arange(len(evidence.labels))
        if self.folds > len(rows):
            raise invalid("folds", f"at most the number of rows ({len(rows)})", self.folds)
        parts = [(rows, rows)]
        if self.folds:
            parts = list(KFold(self.folds, shuffle=True, random_state=evidence.seed).split(rows))
        probabilities = np.zeros((len(rows), evidence.num_classes))
        history: list[dict[str, Any]] = []
        for number, (seen, judged) in enumerate(parts):
            probabilities[judged] = self._probe(evidence, seen, judged, number, history)
        return probabilities, {"out_of_sample": bool(self.folds), "folds": self.folds, "epochs": history}

    def _probe(
        self, evidence: Evidence, seen: np.ndarray, judged: np.ndarray, fold: int, history: list[dict[str, Any]]
    ) -> np.ndarray:
        """Trains one probe and returns the probabilities of the rows it judges, `(judged, K)`."""
        from unlearning.evaluation import predict, probabilities
        from unlearning.interop import as_logit_model, check_classifier, has_graph, outputs_probabilities
        from unlearning.training import ShuffledBatches

        if not has_graph(evidence.model):
            raise invalid(
                "model", "a Sequential or functional model, to be built with fresh weights", evidence.model.name
            )
        keras.utils.set_random_seed(evidence.seed + fold)
        fresh = keras.models.clone_model(as_logit_model(evidence.model))
        optimizer = (
            keras.optimizers.Adam(self.learning_rate)
            if self.optimizer == "adam"
            else keras.optimizers.SGD(self.learning_rate, momentum=0.9)
        )
        closed = outputs_probabilities(check_classifier(fresh, evidence.split.images, evidence.num_classes))
        fresh.compile(optimizer=optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not closed))
        taught = evidence.split.subset(seen)
        batches = ShuffledBatches(
            taught.images, taught.labels, batch_size=self.batch_size, seed=evidence.seed + fold, augment=self.augment
        )
        asked = evidence.split.subset(judged)
        total = np.zeros((len(judged), evidence.num_classes))
        for epoch in range(self.epochs):
            fitted = feeding.fit(fresh, batches, initial_epoch=epoch, epochs=epoch + 1)
            if not self.average and epoch < self.epochs - 1:
                continue
            scores = predict(fresh, asked.images)
            if not np.isfinite(scores).all():
                raise invalid("learning_rate", "one with which the probe does not diverge", self.learning_rate)
            found = probabilities(scores)
            agreeing = float(np.mean(found.argmax(-1) == asked.labels))
            history.append(
                {"fold": fold, "epoch": epoch + 1, "loss": float(fitted.history["loss"][-1]), "agreement": agreeing}
            )
            total = total + found if self.average else found
        return total / total.sum(axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class Pooled(AnchoredCut):
    """`patches` and `probe` together: the geometric mean of their class probabilities.

    The two err on different rows, one knowing nothing but linear functions of patch statistics, the other whatever the
    network learns first. A logarithmic opinion pool averages their log-odds (Genest and Zidek, Statistical Science 1,
    1986).

    Attributes:
        filters: See `PatchRidge`.
        epochs: Passes of the probe over the rows.
        batch_size: Its rows a step.
        augment: Random shifts and mirroring while the probe trains, which also puts memorisation off; null: where
            `patches` finds that mirrored images help.
    """

    filters: int = 512
    epochs: int = 15
    batch_size: int = 128
    augment: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        PatchRidge(filters=self.filters)  # checks its options, as the next line does
        self._probe(augment=False)

    def probabilities(self, evidence: Evidence) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns the geometric means `(rows, K)`, and what there is to tell."""
        first, patches = PatchRidge(filters=self.filters).probabilities(evidence)
        augment = patches["mirror"] if self.augment is None else self.augment
        second, probe = self._probe(augment).probabilities(evidence)
        pooled = softmax(np.log(np.maximum(first, 1e-12)) / 2 + np.log(np.maximum(second, 1e-12)) / 2, axis=-1)
        return pooled, {"out_of_sample": False, "patches": patches, "probe": {**probe, "augment": augment}}

    def _probe(self, augment: bool) -> EarlyStoppedProbe:
        return EarlyStoppedProbe(epochs=self.epochs, batch_size=self.batch_size, augment=augment)
