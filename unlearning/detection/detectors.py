"""The detectors. Each ranks rows by one idea of what a wrong label looks like, then draws a line through the ranking.

All of them read the given labels only. Those that judge with the trained model itself are blind to labels it has
memorised; `cross-validation` and `neighbours` judge a row by other rows, and see through that as far as the features
have not memorised the labels too.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any, Literal

import keras
import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.stats import rankdata

from unlearning import detection
from unlearning.detection.base import Detection, DetectionStatus, Detector, Evidence
from unlearning.detection.cuts import AnyCut, MixtureCut, check_share, constant, first_ranked, is_constant
from unlearning.detection.features import last_dense
from unlearning.errors import InputError, invalid
from unlearning.evaluation import label_loss

_BLOCK = 8192  # rows of features in one float64 block


@dataclasses.dataclass(frozen=True)
class LossMixture(MixtureCut):
    """Two Gaussians on the cross-entropies of the given labels; suspects are the rows of the higher one.

    Li, Socher and Hoi, "DivideMix" (ICLR 2020), section 3.1, with its constants. Two departures: the line is drawn at
    one crossing of the posterior (see `Mixture.boundary`), and a mixture that has collapsed says so. A model that was
    trained until it memorised its labels gives wrong labels no higher loss.

    `scores` are cross-entropies in nats.
    """

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        probabilities, labels = evidence.probabilities, evidence.labels
        losses = label_loss(probabilities, labels)
        return self._split(losses, labels, probabilities.argmax(-1), evidence.seed, {"out_of_sample": False})


@dataclasses.dataclass(frozen=True)
class LossRanking(Detector):
    """The rows of the highest cross-entropy.

    `scores` are cross-entropies in nats; `threshold` is the lowest of a suspect.

    Attributes:
        share: Share of rows to call suspect.
        count: Number of rows to call suspect; replaces `share`.
    """

    share: float = 0.2
    count: int | None = None

    def __post_init__(self) -> None:
        check_share("share", self.share)
        if self.count is not None and self.count < 1:
            raise invalid("count", "a positive integer", self.count)

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        probabilities, rows = evidence.probabilities, len(evidence.labels)
        if self.count is not None and self.count > rows:
            raise invalid("count", f"at most the number of rows ({rows})", self.count)
        losses, suggested = label_loss(probabilities, evidence.labels), probabilities.argmax(-1)
        details = {"out_of_sample": False}
        if is_constant(losses):
            return constant(losses, suggested, details)
        return first_ranked(losses, suggested, self.count or max(1, round(self.share * rows)), details)


@dataclasses.dataclass(frozen=True)
class ConfidentLearning(Detector):
    """Confident learning (Northcutt, Jiang and Chuang, JAIR 70, 2021) as implemented by cleanlab, which must be there.

    `scores` are one minus cleanlab's label quality, in [0, 1]; cleanlab decides who is suspect, so that there is no
    threshold.

    Attributes:
        out_of_sample: Judge by cross-validated probabilities of a probe rather than by the model's own. Confident
            learning assumes them: a model's probabilities on its own training rows repeat the labels.
        filter_by: cleanlab's rule for suspects.
        rank_by: cleanlab's label quality.
        probe: See `CrossValidation`.
        folds: See `CrossValidation`.
        inverse_penalty: See `CrossValidation`.
        neighbours: See `CrossValidation`.
    """

    out_of_sample: bool = True
    filter_by: Literal[
        "prune_by_noise_rate",
        "prune_by_class",
        "both",
        "confident_learning",
        "predicted_neq_given",
        "low_normalized_margin",
        "low_self_confidence",
    ] = "prune_by_noise_rate"
    rank_by: Literal["self_confidence", "normalized_margin"] = "normalized_margin"
    probe: Literal["logistic", "neighbours"] = "logistic"
    folds: int = 5
    inverse_penalty: float = 1.0
    neighbours: int = 30

    def __post_init__(self) -> None:
        _check_probe(self.folds, self.inverse_penalty, self.neighbours)

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        try:
            from cleanlab.filter import find_label_issues
            from cleanlab.rank import get_label_quality_scores
        except ImportError as error:
            raise InputError("confident-learning needs cleanlab. Install it with: pip install cleanlab") from error

        if self.out_of_sample:
            probabilities = _out_of_sample(evidence, self.probe, self.folds, self.inverse_penalty, self.neighbours)
        else:
            probabilities = evidence.probabilities
        suggested = probabilities.argmax(-1)
        try:
            # One process: on Linux cleanlab would fork, which a process that holds TensorFlow does not survive.
            issues = find_label_issues(evidence.labels, probabilities, filter_by=self.filter_by, n_jobs=1)
            quality = get_label_quality_scores(evidence.labels, probabilities, method=self.rank_by)
        except (ValueError, AssertionError) as error:
            raise InputError(f"cleanlab cannot judge these labels: {error}") from error
        details = {"out_of_sample": self.out_of_sample, "filter_by": self.filter_by, "rank_by": self.rank_by}
        scores, suspects = 1 - np.asarray(quality, dtype=np.float64), np.flatnonzero(issues)
        if is_constant(scores):
            return constant(scores, suggested, details)
        status = DetectionStatus.OK if len(suspects) else DetectionStatus.NOTHING_SUSPECT
        return Detection(scores, suspects, suggested, None, status, details)


@dataclasses.dataclass(frozen=True)
class SelfInfluence(AnyCut):
    """The length of a row's own loss gradient in the last dense layer, in a metric of choice.

    With logits `W^T h + b` the gradient of the cross-entropy is `h (p - y)^T` for the kernel and `p - y` for the bias,
    so that its squared length is `||p - y||^2 * h~^T M h~`, where `h~` is the features (and a 1 for the bias). `M` is
    the identity (the self-influence of TracIn at one checkpoint; Pruthi et al., NeurIPS 2020), or with `curvature` the
    inverse of the damped second moment `A = mean(h~ h~^T) + damping * mean(diag) * I`: the feature factor of a
    Kronecker-factored Gauss-Newton matrix, which stops rows with large features from looking suspicious.

    `scores` are lengths, not squares; with `curvature` in units of the metric.

    Attributes:
        curvature: Use the inverse second moment.
        damping: In units of the mean diagonal of the second moment.
    """

    curvature: bool = False
    damping: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.damping > 0:
            raise invalid("damping", "a positive float", self.damping)

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        layer = _logit_layer(evidence)
        probabilities, labels = evidence.probabilities, evidence.labels
        errors = probabilities.copy()
        errors[np.arange(len(labels)), labels] -= 1
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(labels), _BLOCK)]

        def features(block: slice) -> np.ndarray:
            values = evidence.features[block].astype(np.float64)
            return np.hstack([values, np.ones((len(values), 1))]) if layer.use_bias else values

        factor = None
        if self.curvature:
            moment = sum(features(block).T @ features(block) for block in blocks) / len(labels)
            moment = np.asarray(moment)
            level = float(np.trace(moment)) / len(moment)
            try:
                factor = cho_factor(moment + self.damping * (level or 1.0) * np.eye(len(moment)))
            except LinAlgError as error:
                raise invalid("damping", "enough to make the second moment positive definite", self.damping) from error
        lengths = np.empty(len(labels))
        for block in blocks:
            values = features(block)
            turned = values if factor is None else cho_solve(factor, values.T).T
            lengths[block] = np.einsum("nd,nd->n", values, turned)
        scores = np.sqrt(np.einsum("nk,nk->n", errors, errors) * np.maximum(lengths, 0))
        details = {"out_of_sample": False, "layer": layer.name, "bias": bool(layer.use_bias)}
        return self._cut(scores, labels, probabilities.argmax(-1), evidence.seed, details)


def _logit_layer(evidence: Evidence) -> keras.layers.Dense:
    """The last dense layer, if its outputs are the logits: nothing but a softmax may follow."""
    layer = last_dense(evidence.model)
    position = [id(other) for other in evidence.model.layers].index(id(layer))
    behind = evidence.model.layers[position + 1 :]
    softmax = (keras.activations.softmax, keras.activations.linear)
    plain = all(
        isinstance(other, keras.layers.Softmax) or getattr(other, "activation", None) in softmax for other in behind
    )
    if layer.units != evidence.num_classes or layer.activation not in softmax or not plain:
        raise invalid("model", "a Dense layer of logits at the end, with or without a softmax", layer.name)
    return layer


@dataclasses.dataclass(frozen=True)
class Neighbours(AnyCut):
    """The share of a row's nearest neighbours, in penultimate features, that carry another label.

    `scores` are in [0, 1]; by default a row is suspect if most of its neighbours disagree. `suggested_labels` are the
    neighbours' majority. A row is never its own neighbour. Where classes have fewer rows than there are neighbours,
    even good rows disagree with most of them: lower `neighbours`, or draw the line by mixture or share.

    Attributes:
        neighbours: How many.
        metric: `cosine` or `euclidean`.
        weighted: Weigh neighbours by the inverse of their distance.
    """

    cut: Literal["mixture", "share", "value"] = "value"
    value: float | None = 0.5
    neighbours: int = 30
    metric: Literal["cosine", "euclidean"] = "cosine"
    weighted: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise invalid("neighbours", "a positive integer", self.neighbours)
        if self.metric not in ("cosine", "euclidean"):
            raise invalid("metric", "cosine or euclidean", self.metric)

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        from sklearn.neighbors import NearestNeighbors

        labels = evidence.labels
        if self.neighbours >= len(labels):
            raise invalid("neighbours", f"less than the number of rows ({len(labels)})", self.neighbours)
        index = NearestNeighbors(n_neighbors=self.neighbours, metric=self.metric).fit(evidence.features)
        distances, found = index.kneighbors()  # of the fitted rows, each without itself
        weights = np.ones_like(distances)
        if self.weighted:
            # A copy of the row lies at distance zero; the floor lets it outvote the others, but stay finite.
            floor = 1e-6 * max(float(distances.mean()), 1e-30)
            weights = 1 / np.maximum(distances, floor)
        votes = np.zeros((len(labels), evidence.num_classes))
        np.add.at(votes, (np.arange(len(labels))[:, np.newaxis], labels[found]), weights)
        votes /= votes.sum(axis=-1, keepdims=True)
        scores = 1 - votes[np.arange(len(labels)), labels]
        details = {"out_of_sample": True, "metric": self.metric, "neighbours": self.neighbours}
        return self._cut(scores, labels, votes.argmax(-1), evidence.seed, details)


@dataclasses.dataclass(frozen=True)
class CrossValidation(AnyCut):
    """Minus the log-probability of the given label under a probe that was fitted without the row.

    The rows are divided into folds; each fold is judged by a classifier on penultimate features fitted to the others
    (scikit-learn). The probe cannot have memorised the row's label. The features may have: they come from the model
    that was trained on it.

    `scores` are in nats.

    Attributes:
        probe: `logistic` (multinomial logistic regression on standardised features) or `neighbours`.
        folds: Number of folds.
        inverse_penalty: Of the logistic regression, scikit-learn's `C`.
        neighbours: Of the nearest-neighbour probe; a label that none of them carries gets half a vote.
    """

    probe: Literal["logistic", "neighbours"] = "logistic"
    folds: int = 5
    inverse_penalty: float = 1.0
    neighbours: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_probe(self.folds, self.inverse_penalty, self.neighbours)

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        probabilities = _out_of_sample(evidence, self.probe, self.folds, self.inverse_penalty, self.neighbours)
        # A probe without a single vote for the label would put it infinitely far out, beyond any Gaussian.
        floor = 0.5 / self.neighbours if self.probe == "neighbours" else 1e-12
        scores = label_loss(np.maximum(probabilities, floor), evidence.labels)
        details = {"out_of_sample": True, "probe": self.probe, "folds": self.folds}
        return self._cut(scores, evidence.labels, probabilities.argmax(-1), evidence.seed, details)


def _check_probe(folds: int, inverse_penalty: float, neighbours: int) -> None:
    if folds < 2:
        raise invalid("folds", "an integer of at least 2", folds)
    if not inverse_penalty > 0:
        raise invalid("inverse_penalty", "a positive float", inverse_penalty)
    if neighbours < 1:
        raise invalid("neighbours", "a positive integer", neighbours)


def _out_of_sample(evidence: Evidence, probe: str, folds: int, inverse_penalty: float, neighbours: int) -> np.ndarray:
    """Cross-validated probabilities of the given labels from penultimate features, float64 `(rows, K)`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = evidence.labels
    present, counts = np.unique(labels, return_counts=True)
    if counts.max() < folds:
        raise invalid("folds", f"at most the rows of the largest class ({counts.max()})", folds)
    if np.count_nonzero(counts > 1) < 2:  # or a fold could be left with one class to learn from
        raise invalid("split.labels", "at least two classes with two rows or more", f"{len(present)} classes")
    if probe == "logistic":
        judge: Any = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=300))
    elif probe == "neighbours":
        fewest = len(labels) - -(-len(labels) // folds) - len(present)  # folds differ by at most one row a class
        if neighbours > fewest:
            raise invalid(
                "neighbours", f"at most {max(fewest, 0)} with {len(labels)} rows in {folds} folds", neighbours
            )
        judge = KNeighborsClassifier(n_neighbors=neighbours, metric="cosine")
    else:
        raise invalid("probe", "logistic or neighbours", probe)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=evidence.seed)
    with warnings.catch_warnings():
        # Rare classes miss from some folds, where their probability is zero; and an unconverged probe still ranks.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        judged = cross_val_predict(judge, evidence.features, labels, cv=splitter, method="predict_proba")
    probabilities = np.zeros((len(labels), evidence.num_classes))
    probabilities[:, present] = judged
    return probabilities


@dataclasses.dataclass(frozen=True)
class Combination(AnyCut):
    """The mean, over several detectors, of each row's rank.

    `scores` are in [0, 1]: the mean of `(rank - 1) / (rows - 1)`, ties sharing their mean rank. `suggested_labels` are
    the members' most frequent suggestion, the first member's where they tie.

    Attributes:
        members: Registered detectors, run with their own defaults; predictions and features are computed once.
        cut: As elsewhere, or `members`: as many suspects as the members call suspect in the median. Mean ranks spread
            over [0, 1] whatever they rank, so that a mixture always finds two groups in them.
    """

    members: tuple[str, ...] = ("loss-mixture", "neighbours", "cross-validation")
    cut: Literal["members", "mixture", "share", "value"] = "members"  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.cut != "members":  # the other choices are checked where they are made
            super().__post_init__()
        if not self.members or len(set(self.members)) != len(self.members) or "combination" in self.members:
            raise invalid("members", "different detectors other than combination", ", ".join(self.members))
        for name in self.members:
            detection.get(name)

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        rows = len(evidence.labels)
        found = {name: detection.get(name).examine(evidence) for name in self.members}
        ranks = [(rankdata(one.scores) - 1) / (rows - 1) for one in found.values()]
        votes = np.zeros((rows, evidence.num_classes))
        for place, one in enumerate(found.values()):
            votes[np.arange(rows), one.suggested_labels] += 1 - 1e-6 * place
        scores, suggested = np.mean(ranks, axis=0), votes.argmax(-1)
        counts = {name: len(one.suspects) for name, one in found.items()}
        details = {
            "members": {name: {"status": str(one.status), "suspects": counts[name]} for name, one in found.items()}
        }
        if self.cut != "members":
            return self._cut(scores, evidence.labels, suggested, evidence.seed, details)
        return self._counted(scores, suggested, int(np.median(list(counts.values()))), details)
