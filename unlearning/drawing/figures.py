"""Static figures of one repair or detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.drawing import canvas, palette

_STEEP = 40  # times as high as the middle one is the highest bar of a logarithmic axis
_TAIL = 0.002  # of the rows may lie beyond the bins at an end
_MOST_NAMES = 20  # beyond this many classes, class names no longer fit on the axes


@canvas.styled()
def draw_confusions(folder: Path, matrices: Mapping[str, np.ndarray], class_names: Sequence[str]) -> None:
    """Draws confusion matrices, one PNG each, as shares of each true class.

    Args:
        folder: Where `confusion_<key>.png` goes.
        matrices: Count matrices `(classes, classes)` by key, labels in rows.
        class_names: Names in label order.
    """
    names = list(map(canvas.name_text, class_names)) if len(class_names) <= _MOST_NAMES else []
    for key, matrix in matrices.items():
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        figure, axes = canvas.new_figure(6.5, 5.5)
        # Not Seaborn's heat map: it draws every figure once more to see whether names overlap.
        figure.colorbar(axes.imshow(shares, vmin=0, vmax=1, cmap="viridis", interpolation="nearest"))
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        axes.grid(visible=False)
        correct = np.trace(matrix) / max(matrix.sum(), 1)
        axes.set(xlabel="predicted class", ylabel="true class", title=f"{key}: accuracy {100 * correct:.1f} %")
        canvas.save(figure, folder / f"confusion_{key}.png")


@canvas.styled()
def draw_steps(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Draws validation accuracy over steps.

    Args:
        path: The PNG.
        history: Rows with `step` and `validation_accuracy`.
    """
    figure, axes = canvas.new_figure(5, 3.5)
    steps = [row["step"] for row in history]
    axes.plot(steps, [100 * row["validation_accuracy"] for row in history], marker="o", color=palette.BLUE)
    axes.set(xlabel="step", ylabel="validation accuracy (%)")
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=8)
    canvas.save(figure, path)


@canvas.styled()
def draw_projection(path: Path, details: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
    """Draws the spectra of a projection's layers, and validation accuracy over its scale `alpha`.

    Args:
        path: The PNG.
        details: `layers`, each with `name`, `ranks` and `ratios`.
        history: Rows with `alpha`, `round` and `validation_accuracy`; the first is the unmodified network.
    """
    figure, (left, right) = canvas.new_figure(10, 4, columns=2)
    colours = _colours(len(details["layers"]))
    for layer, colour in zip(details["layers"], colours, strict=True):
        left.plot(layer["ranks"], layer["ratios"], color=colour, label=canvas.name_text(layer["name"]))
    smallest = min((r for layer in details["layers"] for r in layer["ratios"] if r > 1e-12), default=1e-12)
    left.set(xscale="log", yscale="log", ylim=(smallest / 2, 1), xlabel="rank", ylabel="share of the second moment")
    canvas.label_powers(left.xaxis, left.yaxis)
    if len(details["layers"]) <= _MOST_NAMES:
        left.legend(fontsize=6)
    right.axhline(100 * history[0]["validation_accuracy"], color=palette.POISONED, linestyle="--", label="unmodified")
    scored = [row for row in history if row.get("alpha") and not row.get("layer")]
    for number in sorted({row["round"] for row in scored}):
        rows = [row for row in scored if row["round"] == number]
        accuracies = [100 * row["validation_accuracy"] for row in rows]
        right.plot([row["alpha"] for row in rows], accuracies, marker="o", label=f"round {number}")
    right.set(xscale="log", xlabel="alpha", ylabel="validation accuracy (%)")
    canvas.label_powers(right.xaxis)
    right.legend()
    canvas.save(figure, path)


@canvas.styled()
def draw_mixture(
    path: Path,
    scores: np.ndarray,
    *,
    mixture: Mapping[str, Any] | None = None,
    threshold: float | None = None,
    bad_rows: np.ndarray | None = None,
    label: str = "score",
) -> None:
    """Draws the histogram of a detector's scores, with the densities and the line that divide it.

    Args:
        path: The PNG.
        scores: Array of shape `(rows,)`.
        mixture: `means`, `variances` and `weights` of two Gaussians in the unit of the scores, or None.
        threshold: The score that divides, or None.
        bad_rows: Rows known to be bad, drawn in a colour of their own, or None where they are not known.
        label: What the scores are.
    """
    from scipy.stats import norm

    figure, axes = canvas.new_figure(6, 4)
    edges = _edges(scores, threshold)
    if scores.min() < edges[0] or scores.max() > edges[-1]:
        label += "; the outermost bars hold all beyond"
    scores = np.clip(scores, edges[0], edges[-1])
    if bad_rows is None:
        axes.hist(scores, bins=edges, color=palette.GREY, alpha=0.6, label="rows")
    else:
        bad = np.zeros(len(scores), dtype=bool)
        bad[bad_rows] = True
        # One in front of the other: on a logarithmic axis the upper part of a stack would look small.
        for chosen, colour, name in ((~bad, palette.GOOD, "good rows"), (bad, palette.BAD, "bad rows")):
            axes.hist(scores[chosen], bins=edges, color=colour, alpha=0.6, label=name)
    if mixture is not None:
        points = np.linspace(edges[0], edges[-1], 1000)
        rows = len(scores) * (edges[1] - edges[0])  # from a density to rows a bar
        for name, style, mean, variance, weight in zip(
            ("lower", "higher"), ("--", "-"), mixture["means"], mixture["variances"], mixture["weights"], strict=True
        ):
            density = rows * weight * norm.pdf(points, mean, np.sqrt(variance))
            axes.plot(points, density, color="black", linestyle=style, label=f"{name} component")
    if threshold is not None:
        axes.axvline(threshold, color=palette.THRESHOLD, label="threshold")
    axes.set(xlabel=label, ylabel="rows")
    counts = np.histogram(scores, edges)[0]
    if counts.max() > _STEEP * np.median(counts[counts > 0]):
        # A few bars would hide all others. Half a row is the lowest: a density would fall without end.
        axes.set_yscale("log")
        axes.set_ylim(0.5, 2 * counts.max())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
        axes.minorticks_off()
    else:
        axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=True, framealpha=0.85, edgecolor="none")
    canvas.save(figure, path)


def _edges(scores: np.ndarray, threshold: float | None) -> np.ndarray:
    """The edges of 60 bins that end before outliers; of a single one of scores nearly equal, or too far apart."""
    with np.errstate(all="ignore"):
        try:
            whole = np.histogram_bin_edges(scores, bins=60)
            low, high = np.quantile(scores, (_TAIL, 1 - _TAIL))
            if threshold is not None:
                low, high = min(low, threshold), max(high, threshold)
            far = 0 < high - low < 0.5 * (whole[-1] - whole[0])
            return np.linspace(low, high, 61) if far else whole
        except ValueError:
            return np.array([scores.min(), np.nextafter(scores.max(), np.inf)])


def _colours(count: int) -> list:
    import matplotlib

    return list(matplotlib.colormaps["viridis"](np.linspace(0, 0.95, count)))
