"""How good a detection is where the bad rows are known: for experiments, never for a detector."""

from __future__ import annotations

import numpy as np

from unlearning.detection.base import Detection
from unlearning.errors import InputError


def score_detection(detection: Detection, bad_rows: np.ndarray) -> dict[str, float | None]:
    """Scores suspects and ranking against the rows that are truly bad.

    Args:
        detection: What a detector returned.
        bad_rows: Row numbers whose label (or image) is wrong.

    Returns:
        `precision`, `recall` and `f1` of the suspects (0 where undefined), and `auroc` and `average_precision` of the
        scores, which are None where all rows are bad or none is.

    Raises:
        InputError: If a row number is out of range.
    """
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

    rows = len(detection.scores)
    bad_rows = np.asarray(bad_rows, dtype=np.int64)
    if len(bad_rows) and not 0 <= bad_rows.min() <= bad_rows.max() < rows:
        raise InputError("bad_rows", f"row numbers 0..{rows - 1}", f"{bad_rows.min()}..{bad_rows.max()}")
    bad, suspect = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
    bad[bad_rows], suspect[detection.suspects] = True, True
    precision, recall, f1, _ = precision_recall_fscore_support(bad, suspect, average="binary", zero_division=0)
    both = bool(bad.any() and not bad.all())
    return {
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "auroc": float(roc_auc_score(bad, detection.scores)) if both else None,
        "average_precision": float(average_precision_score(bad, detection.scores)) if both else None,
    }
