"""How good a classifier is: accuracies on fixed splits, the restored share, per-class reports, confusion matrices.

Every number in a result file that says "accuracy" is computed here, by the same code for every method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, log_loss

from unlearning.errors import invalid
from unlearning.interop import outputs_probabilities
from unlearning.task import Split


def predict(model: keras.Model, images: np.ndarray, batch_size: int = 512) -> np.ndarray:
    """Returns the model's class scores, in inference mode.

    Args:
        model: A classifier.
        images: Array of shape `(rows, height, width, channels)`. One that is read from disk is indexed a batch at a
            time.
        batch_size: Rows a forward pass.

    Returns:
        float32 array of shape `(rows, classes)`: logits or probabilities, whichever the model outputs.
    """
    if not len(images):
        raise invalid("images", "at least one image", "none")
    # Keras converts its whole input first. One call a batch avoids that; it costs some 50 ms, less than reading does.
    step = len(images) if type(images) is np.ndarray else batch_size
    starts = range(0, len(images), step)
    scores = [model.predict(np.asarray(images[s : s + step]), batch_size=batch_size, verbose=0) for s in starts]
    return np.concatenate(scores).astype(np.float32, copy=False)


def accuracy(model: keras.Model, split: Split, batch_size: int = 512) -> float:
    """Returns the share of rows whose highest score is at their label."""
    return float(accuracy_score(split.labels, predict(model, split.images, batch_size).argmax(axis=-1)))


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Turns class scores into float64 probabilities; probabilities pass through."""
    scores = np.asarray(scores, dtype=np.float64)
    if outputs_probabilities(scores):
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
    scores = predict(model, split.images)
    classes = np.arange(scores.shape[-1])
    table: dict[str, Any] = classification_report(
        split.labels,
        scores.argmax(axis=-1),
        labels=classes,
        target_names=list(class_names) if class_names is not None else [str(c) for c in classes],
        output_dict=True,
        zero_division=0,
    )
    # Without every class among the labels scikit-learn reports a micro average in place of the (equal) accuracy.
    table.setdefault("accuracy", float(accuracy_score(split.labels, scores.argmax(axis=-1))))
    table["loss"] = float(log_loss(split.labels, probabilities(scores), labels=classes))
    return table


def confusion(model: keras.Model, split: Split, num_classes: int) -> np.ndarray:
    """Returns the `(classes, classes)` count matrix, labels in rows and predictions in columns."""
    predictions = predict(model, split.images).argmax(axis=-1)
    return confusion_matrix(split.labels, predictions, labels=np.arange(num_classes))


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
