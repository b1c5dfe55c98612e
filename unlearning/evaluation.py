"""How good a classifier is: accuracies on fixed splits, the restored share, per-class reports, traces of wrong labels.

Every score in a result file is computed here, by the same code on the same rows for every method; see `score_model`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning import feeding
from unlearning.errors import InputError
from unlearning.interop import (
    as_logit_model,
    gives_probabilities,
    outputs_probabilities,
    probability_floor,
    two_classes,
    two_columns,
)
from unlearning.profiling import spending
from unlearning.task import Split

if TYPE_CHECKING:
    import keras


def predict(model: keras.Model, images: np.ndarray, batch_size: int = 512) -> np.ndarray:
    """Returns the model's class scores, in inference mode.

    Args:
        model: A classifier.
        images: Array of shape `(rows, height, width, channels)`. One that is read from disk is indexed a batch at a
            time.
        batch_size: Rows a forward pass.

    Returns:
        float32 array of shape `(rows, classes)`: logits or probabilities, whichever the model outputs. One output of a
        binary classifier gives two columns.
    """
    return _predict(model, images, batch_size).astype(np.float32, copy=False)


def predict_probabilities(model: keras.Model, images: np.ndarray, batch_size: int = 512) -> np.ndarray:
    """Returns the model's class probabilities, in inference mode.

    They are made of the logits, in float64: a softmax in float32 knows no probability below 1e-38, one in float16 none
    below 6e-8. A model that ends in a softmax is copied for that, without it.

    Args:
        model: A classifier with logits or probabilities.
        images: See `predict`.
        batch_size: See `predict`.

    Returns:
        float64 array of shape `(rows, classes)`, NaN where the model's outputs are not finite.
    """
    opened, closed = _opened(model, images)
    return probabilities(_predict(opened, images, batch_size), closed)


def _opened(model: keras.Model, images: np.ndarray) -> tuple[keras.Model, bool]:
    """Returns a model with the same probabilities, and whether it puts these out, if possible one with logits."""
    few = np.asarray(images[:8])
    model = two_classes(model, few)
    closed = bool(len(few)) and gives_probabilities(model, few)
    if closed:
        with contextlib.suppress(InputError):  # of which no copy can be made
            work = as_logit_model(model, few)
            if not gives_probabilities(work, few):
                return work, False
    return model, closed


def _ask(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the classes that the model itself predicts, int64 `(rows,)`, and `predict_probabilities`."""
    scores = _predict(model, images, 512)
    opened, closed = _opened(model, images)
    found = scores if opened is model else _predict(opened, images, 512)
    return scores.argmax(axis=-1), probabilities(found, closed)


@spending("scores")
def _predict(model: keras.Model, images: np.ndarray, batch_size: int) -> np.ndarray:
    """Is `predict` in the dtype of the model's outputs."""
    if not len(images):
        raise InputError("images", "at least one image", "none")

    def read(index: int) -> np.ndarray:
        return np.asarray(images[index * batch_size : (index + 1) * batch_size])

    return two_columns(np.asarray(feeding.predict(model, read, -(-len(images) // batch_size))), model)


def accuracy(model: keras.Model, split: Split, batch_size: int = 512) -> float:
    """Returns the share of rows whose highest score is at their label."""
    return _share_of_hits(split.labels, predict(model, split.images, batch_size).argmax(axis=-1))


def likelihood(model: keras.Model, split: Split, batch_size: int = 512) -> float:
    """Returns the geometric mean of the probabilities of the rows' labels: the reciprocal of the perplexity."""
    losses = label_loss(predict_probabilities(model, split.images, batch_size), split.labels)
    return float(np.exp(-np.mean(losses)))


def _share_of_hits(labels: np.ndarray, predictions: np.ndarray) -> float:
    return float(np.mean(labels == predictions))


def probabilities(scores: np.ndarray, closed: bool | None = None) -> np.ndarray:
    """Turns class scores into float64 probabilities.

    Args:
        scores: Array of shape `(rows, classes)`.
        closed: Whether these are probabilities already; a zero among those in less than float64 becomes what their
            dtype can just tell from it. None to judge by their looks.

    Returns:
        float64 array of shape `(rows, classes)`, each row summing to one.
    """
    closed = outputs_probabilities(scores) if closed is None else closed
    floor = 0.0 if scores.dtype == np.float64 else probability_floor(scores.dtype)
    scores = np.asarray(scores, dtype=np.float64)
    if closed:
        scores = np.maximum(scores, floor)
        return scores / scores.sum(axis=-1, keepdims=True)
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def label_loss(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns minus the log-probability of each row's label, in nats.

    Args:
        probabilities: float64 array of shape `(rows, classes)`.
        labels: Integer array of shape `(rows,)`.

    Returns:
        float64 array of shape `(rows,)`, finite.
    """
    chosen = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(chosen, np.finfo(np.float64).tiny))


def report(model: keras.Model, split: Split, class_names: Sequence[str] | None = None) -> dict[str, Any]:
    """Returns scikit-learn's classification report as a dictionary, with the cross-entropy under `loss`.

    Args:
        model: A classifier.
        split: The rows to score.
        class_names: Keys of the per-class entries; class numbers as text where None.

    Returns:
        Mapping from class to precision, recall, F1 and support, and `accuracy`, `macro avg`, `weighted avg`, `loss`.
    """
    from sklearn.metrics import classification_report, log_loss

    predictions, found = _ask(model, split.images)
    classes = np.arange(found.shape[-1])
    table: dict[str, Any] = classification_report(
        split.labels,
        predictions,
        labels=classes,
        target_names=list(class_names) if class_names is not None else [str(c) for c in classes],
        output_dict=True,
        zero_division=0,
    )
    # Without every class among the labels scikit-learn reports a micro average in place of the (equal) accuracy.
    table.setdefault("accuracy", _share_of_hits(split.labels, predictions))
    table["loss"] = float(log_loss(split.labels, found, labels=classes))
    return table


def confusion(model: keras.Model, split: Split, num_classes: int) -> np.ndarray:
    """Returns the `(classes, classes)` count matrix, labels in rows and predictions in columns."""
    return _count(split.labels, predict(model, split.images).argmax(axis=-1), num_classes)


def _count(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(labels, predictions, labels=np.arange(num_classes))


def restored_share(before: float, after: float, clean: float) -> float | None:
    """Returns the share of the lost accuracy that came back, `(after - before) / (clean - before)`.

    Args:
        before: Accuracy of the poisoned model.
        after: Accuracy of the repaired model.
        clean: Accuracy of the model trained without the corruption.

    Returns:
        The share (1 is full recovery, more than 1 is possible), or None where nothing was lost.
    """
    lost = clean - before
    return (after - before) / lost if lost > 0 else None


def class_report(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> dict[str, dict[str, float]]:
    """Returns precision, recall, F1 and support of every class, as scikit-learn defines them.

    Args:
        labels: Integer array of shape `(rows,)`.
        predictions: The predicted classes, same shape.
        num_classes: Number of classes; one without rows or predictions gets zeros.

    Returns:
        Mapping from the class number, as text, to `precision`, `recall`, `f1-score` and `support`.
    """
    from sklearn.metrics import classification_report

    names = [str(k) for k in range(num_classes)]
    table = classification_report(
        labels, predictions, labels=np.arange(num_classes), target_names=names, output_dict=True, zero_division=0
    )
    return {name: {key: float(value) for key, value in table[name].items()} for name in names}


def agreement(predictions: np.ndarray, labels: np.ndarray) -> float | None:
    """Returns the share of rows where two arrays of classes are equal, or None where there are no rows."""
    return float(np.mean(predictions == labels)) if len(labels) else None


def membership_auc(member_losses: np.ndarray, other_losses: np.ndarray) -> float | None:
    """Returns how well losses tell rows that were trained on from rows that were not.

    The attacker says "trained on" where the loss of a row's label is low (Yeom et al., *Privacy Risk in Machine
    Learning*, CSF 2018). The area under the ROC curve is the probability that a row that was trained on has the lower
    loss of the two, ties counting half.

    Args:
        member_losses: Losses of rows that were trained on, shape `(members,)`.
        other_losses: Losses of rows that were not, labelled in the same way, shape `(others,)`.

    Returns:
        The area: 0.5 means no trace, 1 that every row gives itself away. None where either side is empty.
    """
    from sklearn.metrics import roc_auc_score

    if not len(member_losses) or not len(other_losses):
        return None
    members = np.concatenate([np.ones(len(member_losses)), np.zeros(len(other_losses))])
    return float(roc_auc_score(members, -np.concatenate([member_losses, other_losses])))


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredRows:
    """What every repair of one poisoned model is scored on.

    Attributes:
        test: The test rows with their true labels.
        bad: The bad training rows as they were trained on (given labels, patched images).
        bad_true_labels: Their true labels, int64 array `(bad,)`.
        held_out: Rows never trained on that were corrupted like the bad ones, with the wrong labels; may be empty.
        reference: Classes that a retrained model predicts on the test rows, int64 array `(test,)`, or None.
        num_classes: Number of classes.
    """

    test: Split
    bad: Split
    bad_true_labels: np.ndarray
    held_out: Split
    reference: np.ndarray | None
    num_classes: int


def name_scores(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the scores of a model before and after its repair under the names of result files.

    Args:
        before: What `score_model` says of the poisoned model.
        after: What it says of the repaired model, on the same rows.

    Returns:
        The fields `acc_before_fix`, `corrected_accuracy_before`, `bad_label_agreement_before`, `class_report_before`,
        `membership_auc_before`, `disagreement_before` of `records.UnlearningResults`, the same of `after`, and under
        `confusions` two count matrices of shape `(classes, classes)`.
    """
    fields: dict[str, Any] = {"confusions": {}}
    for when, found in (("before", before), ("after", after)):
        scores = dict(found)
        fields["confusions"][when] = scores.pop("confusion")
        fields[f"acc_{when}_fix"] = scores.pop("accuracy")
        fields |= {f"{name}_{when}": value for name, value in scores.items()}
    return fields


@dataclasses.dataclass(frozen=True, eq=False)
class _Answers:
    """What a model says of the rows it is scored on: predicted classes, and losses of the rows' labels."""

    rows: ScoredRows
    test: np.ndarray
    bad: np.ndarray
    bad_losses: np.ndarray
    held_out_losses: np.ndarray

    def confusion(self) -> np.ndarray:
        return _count(self.rows.test.labels, self.test, self.rows.num_classes)

    def disagreement(self) -> float | None:
        reference = self.rows.reference
        same = None if reference is None else agreement(self.test, reference)
        return None if same is None else 1.0 - same


_SCORES: dict[str, Callable[[_Answers], Any]] = {
    "accuracy": lambda said: _share_of_hits(said.rows.test.labels, said.test),
    "confusion": _Answers.confusion,
    "class_report": lambda said: class_report(said.rows.test.labels, said.test, said.rows.num_classes),
    "corrected_accuracy": lambda said: agreement(said.bad, said.rows.bad_true_labels),
    "bad_label_agreement": lambda said: agreement(said.bad, said.rows.bad.labels),
    "membership_auc": lambda said: membership_auc(said.bad_losses, said.held_out_losses),
    "disagreement": _Answers.disagreement,
}
"""The scores of a model by name. One added here stands in result files as `<name>_before` and `<name>_after`, once
`records.UnlearningResults` has these fields."""


def score_model(model: keras.Model, rows: ScoredRows) -> dict[str, Any]:
    """Scores a model.

    Args:
        model: A poisoned or repaired model.
        rows: What to score on.

    Returns:
        `accuracy`, `corrected_accuracy`, `bad_label_agreement`, `class_report`, `membership_auc`, `disagreement` as
        `records.UnlearningResults` defines them, and `confusion`, a count matrix of shape `(classes, classes)`.
    """
    classes = predict(model, rows.test.images).argmax(axis=-1)
    bad, bad_losses = _answer(model, rows.bad)
    _, held_out_losses = _answer(model, rows.held_out)
    said = _Answers(rows, classes, bad, bad_losses, held_out_losses)
    return {name: score(said) for name, score in _SCORES.items()}


def _answer(model: keras.Model, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Returns the predicted classes and the losses of the labels; of no rows, none."""
    if not len(split):
        return np.empty(0, np.int64), np.empty(0)
    predictions, found = _ask(model, split.images)
    return predictions, label_loss(found, split.labels)
