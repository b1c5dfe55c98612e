"""Judging rows by others: the loss of the given label under a probe that never saw the row.

That sees through labels that the model has memorised, as far as its features have not memorised them too.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from unlearning.detection.base import Detection, Evidence
from unlearning.detection.cuts import AnyCut
from unlearning.errors import InputError
from unlearning.evaluation import label_loss
from unlearning.progress import progress_bar
from unlearning.settings import Positive, PositiveFloat, Settings
from unlearning.streams import stream_seed


class Unseen(Settings):
    """What detectors share that judge every row by a classifier on penultimate features fitted without it."""

    probe: Literal["logistic", "neighbours"] = "logistic"
    """`logistic` (multinomial logistic regression on standardised features) or `neighbours`."""
    folds: Annotated[int, Ge(2)] = 5
    """Number of folds."""
    inverse_penalty: PositiveFloat = 1.0
    """Of the logistic regression, scikit-learn's `C`."""
    neighbours: Positive = 30
    """Of the nearest-neighbour probe; a label that none of them carries gets half a vote."""

    def judge_unseen(self, evidence: Evidence, features: np.ndarray | None = None) -> np.ndarray:
        """Returns cross-validated class probabilities, float64 `(rows, K)`, by penultimate features or by others."""
        from sklearn.base import clone
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        labels, features = evidence.labels, evidence.features if features is None else features
        present, counts = np.unique(labels, return_counts=True)
        if counts.max() < self.folds:
            raise InputError("folds", f"at most the rows of the largest class ({counts.max()})", self.folds)
        if np.count_nonzero(counts > 1) < 2:  # or a fold could be left with one class to learn from
            raise InputError("split.labels", "at least two classes with two rows or more", f"{len(present)} classes")
        if self.probe == "logistic":
            judge: Any = make_pipeline(StandardScaler(), LogisticRegression(C=self.inverse_penalty, max_iter=300))
        else:
            # Folds differ by at most one row a class.
            fewest = len(labels) - -(-len(labels) // self.folds) - len(present)
            if self.neighbours > fewest:
                expected = f"at most {max(fewest, 0)} with {len(labels)} rows in {self.folds} folds"
                raise InputError("neighbours", expected, self.neighbours)
            judge = KNeighborsClassifier(n_neighbors=self.neighbours, metric="cosine")
        seed = stream_seed(evidence.seed, "detector", "folds")
        splitter = StratifiedKFold(self.folds, shuffle=True, random_state=seed)
        probabilities = np.zeros((len(labels), evidence.num_classes))
        with warnings.catch_warnings():
            # Rare classes miss from some folds, where their probability is zero; and an unconverged probe still ranks.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("ignore", ConvergenceWarning)
            for seen, asked in progress_bar(list(splitter.split(features, labels)), description="judging", unit="fold"):
                fitted = clone(judge).fit(features[seen], labels[seen])
                probabilities[np.ix_(asked, fitted.classes_)] = fitted.predict_proba(features[asked])
        return probabilities


class CrossValidation(Unseen, AnyCut):
    """Minus the log-probability of the given label under a probe that was fitted without the row.

    The rows are divided into folds; each fold is judged by a classifier on penultimate features fitted to the others
    (scikit-learn). The probe cannot have memorised the row's label. The features may have: they come from the model
    that was trained on it.

    `scores` are in nats.
    """

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        probabilities = self.judge_unseen(evidence)
        # A probe without a single vote for the label would put it infinitely far out, beyond any Gaussian.
        floor = 0.5 / self.neighbours if self.probe == "neighbours" else 1e-12
        scores = label_loss(np.maximum(probabilities, floor), evidence.labels)
        details = {"out_of_sample": True, "probe": self.probe, "folds": self.folds}
        return self._cut(scores, evidence.labels, probabilities.argmax(-1), evidence.seed, details)
