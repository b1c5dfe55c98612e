"""Static figures of one repair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_MOST_NAMES = 20  # beyond this many classes, class names no longer fit on the axes


def draw_confusions(folder: Path, matrices: Mapping[str, np.ndarray], class_names: Sequence[str]) -> None:
    """Draws confusion matrices, one PNG each, as shares of each true class.

    Args:
        folder: Where `confusion_<key>.png` goes.
        matrices: Count matrices `(classes, classes)` by key, labels in rows.
        class_names: Names in label order.
    """
    import seaborn as sns

    for key, matrix in matrices.items():
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        figure, axes = _axes(6.5, 5.5)
        names = list(class_names) if len(class_names) <= _MOST_NAMES else False
        sns.heatmap(shares, vmin=0, vmax=1, cmap="viridis", xticklabels=names, yticklabels=names, square=True, ax=axes)
        correct = np.trace(matrix) / max(matrix.sum(), 1)
        axes.set(xlabel="predicted class", ylabel="true class", title=f"{key}: accuracy {100 * correct:.1f} %")
        _save(figure, folder / f"confusion_{key}.png")


def draw_steps(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Draws validation accuracy over steps.

    Args:
        path: The PNG.
        history: Rows with `step` and `validation_accuracy`.
    """
    figure, axes = _axes(5, 3.5)
    steps = [row["step"] for row in history]
    axes.plot(steps, [100 * row["validation_accuracy"] for row in history], marker="o")
    axes.set(xlabel="step", ylabel="validation accuracy (%)", xticks=steps)
    axes.grid(alpha=0.3)
    _save(figure, path)


def _axes(width: float, height: float):  # type: ignore[no-untyped-def]
    # A figure of its own canvas: no display, no global state, nothing to close.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _save(figure, path: Path) -> None:  # type: ignore[no-untyped-def]
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
