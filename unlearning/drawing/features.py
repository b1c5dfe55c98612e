"""Where rows lie in feature space before and after a repair: t-SNE, and angles to the class centroids.

A repair that works on features draws rows with right labels onto the centroid of their class and lets rows with wrong
ones go. Both figures show the features that the last dense layer takes in, with retain rows (those the repair kept)
apart from forget rows (those it took for wrong).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.drawing import canvas, palette
from unlearning.errors import InputError
from unlearning.streams import stream, stream_seed

_MOST_NAMES = 20  # beyond this many classes a legend is longer than the figure
_FEWEST_POINTS = 4


def centroids_by_label(features: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns the unit centroids of the given labels.

    Args:
        features: Array of shape `(rows, features)`.
        labels: Integer array of shape `(rows,)`.
        num_classes: `K`.

    Returns:
        float64 array of shape `(K, features)`; see `unlearning.centroids.losses.class_centroids`.
    """
    from unlearning.centroids import losses

    weights = losses.class_weights(labels, num_classes)
    return losses.class_centroids(np.asarray(features, np.float64), weights).numpy()


def label_angles(features: np.ndarray, labels: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Returns the angle between each row's features and the centroid of its label.

    Args:
        features: Array of shape `(rows, features)`.
        labels: Integer array of shape `(rows,)`.
        centroids: Array of shape `(K, features)`, unit rows, or zeros for a class without rows.

    Returns:
        float64 array of shape `(rows,)`, degrees in 0..180; NaN where the centroid or the features are zero.
    """
    from unlearning.centroids import losses

    features = np.asarray(features, np.float64)
    cosine = losses.cosines(features, np.asarray(centroids, np.float64)).numpy()[np.arange(len(labels)), labels]
    defined = np.any(centroids != 0, axis=1)[labels] & np.any(features != 0, axis=1)
    return np.where(defined, np.degrees(np.arccos(np.clip(cosine, -1, 1))), np.nan)


def summarise_angles(angles: np.ndarray, forget: np.ndarray) -> dict[str, dict[str, Any]]:
    """Returns the angles' mean and standard deviation by group.

    Args:
        angles: Degrees, shape `(rows,)`; NaN is left out.
        forget: Boolean mask of shape `(rows,)`.

    Returns:
        `rows`, `mean` and `std` under `retain` and `forget`; the last two are None without rows.
    """
    groups = {}
    for name, chosen in (("retain", ~forget), ("forget", forget)):
        defined = angles[chosen & np.isfinite(angles)]
        mean, std = (float(defined.mean()), float(defined.std())) if len(defined) else (None, None)
        groups[name] = {"rows": len(defined), "mean": mean, "std": std}
    return groups


def embed(features: np.ndarray, *, perplexity: float = 30, learning_rate: float = 350, seed: int = 0) -> np.ndarray:
    """Embeds L2-normalised features in the plane by t-SNE (scikit-learn), on one thread, so that a seed is a result.

    Args:
        features: Finite array of shape `(rows, features)`, at least four rows.
        perplexity: At most a third of the other rows; small sets get less.
        learning_rate: Small sets get a quarter of their rows, but at least 50; more would blow them apart.
        seed: Of the embedding.

    Returns:
        float32 array of shape `(rows, 2)`.

    Raises:
        InputError: If there are too few rows, or features are not finite.
    """
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    features = np.asarray(features, np.float64)
    rows = len(features)
    if features.ndim != 2 or rows < _FEWEST_POINTS:
        raise InputError("features", f"at least {_FEWEST_POINTS} rows of features", f"shape {features.shape}")
    if not np.isfinite(features).all():
        raise InputError("features", "finite numbers", f"{np.count_nonzero(~np.isfinite(features))} that are not")
    unit = normalize(features)
    # The principal components would be divided by their spread; without any there is nothing to begin with.
    spread = unit.shape[1] > 1 and np.ptp(unit, axis=0).max() > 1e-6
    tsne = TSNE(
        perplexity=min(perplexity, (rows - 1) / 3),
        learning_rate=min(learning_rate, max(50.0, rows / 4)),
        init="pca" if spread else "random",
        random_state=stream_seed(seed, "drawing", "embedding"),
    )
    with threadpool_limits(1):
        return tsne.fit_transform(unit)


@canvas.styled()
def draw_tsne(
    paths: Sequence[Path],
    before: np.ndarray,
    after: np.ndarray,
    *,
    given: np.ndarray,
    true: np.ndarray,
    forget: np.ndarray,
    centroids: np.ndarray,
    class_names: Sequence[str],
    most_rows: int = 2000,
    perplexity: float = 30,
    learning_rate: float = 350,
    seed: int = 0,
) -> np.ndarray:
    """Draws t-SNE embeddings of features before and after a repair, side by side.

    Rows have the colour of their given label, and an edge in that of their true one: where the label is wrong both
    show, on a larger mark in front of the others. Circles are retain rows, stars forget rows, crosses the centroids.
    These are embedded along with the rows, the same ones on both sides: where a repair moves all features away from
    them, they are left standing.
    Each side is an embedding of its own: only which points lie together can be compared between them, not where.

    Rows are drawn at random *before* embedding, the same for both sides: the time of an embedding grows with its rows,
    while a random part of them shows the same groups.

    Args:
        paths: Files to write, `.png` or `.pdf`.
        before: Features of shape `(rows, features)`.
        after: The same of the repaired model.
        given: int64 `(rows,)`, the labels that the model was trained on.
        true: The same, the true ones.
        forget: Boolean mask of shape `(rows,)`.
        centroids: Array of shape `(classes, features)`; rows of zeros are left out.
        class_names: Names in label order; more than 20 classes get no legend.
        most_rows: Most rows to embed.
        perplexity: See `embed`.
        learning_rate: See `embed`.
        seed: Of the draw and of the embeddings.

    Returns:
        The rows that were drawn, ascending.

    Raises:
        InputError: If the arrays do not fit each other, or nothing can be embedded.
    """
    _check(before, after, given, forget)
    if true.shape != given.shape:
        raise InputError("true", f"one entry a row ({len(given)})", true.shape)
    if most_rows < _FEWEST_POINTS:
        raise InputError("most_rows", f"an integer of at least {_FEWEST_POINTS}", most_rows)
    chosen = np.arange(len(given))
    if len(given) > most_rows:
        chosen = np.sort(stream(seed, "drawing", "rows").choice(len(given), most_rows, replace=False))
    classes = np.flatnonzero(np.any(centroids != 0, axis=1))
    colours = _colours(len(class_names))
    figure, sides = canvas.new_figure(11, 5.2, columns=2)
    for axes, features, title in zip(sides, (before, after), ("before", "after"), strict=True):
        points = np.concatenate([np.asarray(features)[chosen], np.asarray(centroids)[classes]])
        places = embed(points, perplexity=perplexity, learning_rate=learning_rate, seed=seed)
        rows, middles = places[: len(chosen)], places[len(chosen) :]
        wrong, left = (given != true)[chosen], forget[chosen]
        for group, marker, size, edge in (
            (~wrong & ~left, "o", 9, 0.0),
            (~wrong & left, "*", 30, 0.0),
            (wrong & ~left, "o", 34, 1.1),
            (wrong & left, "*", 80, 1.1),
        ):
            colour, around = colours[given[chosen][group]], colours[true[chosen][group]]
            shape = {"marker": marker, "s": size, "linewidths": edge, "zorder": 2 + edge}
            axes.scatter(*rows[group].T, facecolors=colour, edgecolors=around, alpha=0.9 if edge else 0.45, **shape)
        axes.scatter(*middles.T, c=colours[classes], marker="P", s=110, edgecolors="black", linewidths=1.2, zorder=4)
        axes.set(title=title, xticks=[], yticks=[])
    _add_legend(figure, colours, class_names)
    for path in paths:
        canvas.save(figure, path)
    return chosen


@canvas.styled()
def draw_angles(paths: Sequence[Path], before: np.ndarray, after: np.ndarray, forget: np.ndarray) -> None:
    """Draws histograms of the angles to the centroid of the given label, before and after a repair.

    Bars are shares of their group, since there are many more retain rows; lines are the means.

    Args:
        paths: Files to write, `.png` or `.pdf`.
        before: Degrees, shape `(rows,)`; NaN is left out. See `label_angles`.
        after: The same after the repair.
        forget: Boolean mask of shape `(rows,)`.

    Raises:
        InputError: If the arrays do not fit each other.
    """
    if not before.shape == after.shape == forget.shape or before.ndim != 1:
        raise InputError("after, forget", f"the shape of before, {before.shape}", (after.shape, forget.shape))
    both = np.concatenate([before, after])
    both = both[np.isfinite(both)]
    top = float(np.ceil(both.max())) if len(both) else 180.0
    edges = np.linspace(0, max(top, 1.0), 61)
    figure, sides = canvas.new_figure(10, 3.8, columns=2)
    sides[1].sharex(sides[0])
    sides[1].sharey(sides[0])
    for axes, angles, title in zip(sides, (before, after), ("before", "after"), strict=True):
        summary = summarise_angles(angles, forget)
        for name, group, colour in (("retain", ~forget, palette.GOOD), ("forget", forget, palette.BAD)):
            values, mean = angles[group & np.isfinite(angles)], summary[name]["mean"]
            if mean is None:
                continue
            shares = np.full(len(values), 100 / len(values))
            label = f"{name} rows: {mean:.1f}°"
            axes.hist(values, bins=edges, weights=shares, color=colour, alpha=0.6, label=label)
            axes.axvline(mean, color=colour, linestyle="--")
        axes.set(title=title, xlabel="angle to the centroid of the given label (degrees)")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    sides[0].set_ylabel("share of the group (%)")
    for path in paths:
        canvas.save(figure, path)


def _check(before: np.ndarray, after: np.ndarray, labels: np.ndarray, forget: np.ndarray) -> None:
    if before.shape != after.shape or before.ndim != 2:
        raise InputError("after", f"features of the shape of before, {before.shape}", after.shape)
    if labels.shape != (len(before),) or forget.shape != labels.shape:
        raise InputError("labels, forget", f"one entry a row ({len(before)})", (labels.shape, forget.shape))


def _colours(count: int) -> np.ndarray:
    """One RGBA colour a class; neighbours in number differ as far as so many colours can."""
    import matplotlib

    if count <= _MOST_NAMES:
        return np.array(matplotlib.colormaps["tab10" if count <= 10 else "tab20"](np.arange(count)))
    return np.array(matplotlib.colormaps["turbo"](np.linspace(0, 1, count)))


def _add_legend(figure: Any, colours: np.ndarray, class_names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    def entry(label: str, marker: str, colour: Any, **style: Any) -> Line2D:
        return Line2D([], [], linestyle="", marker=marker, color=colour, label=label, **style)

    handles = [
        entry("retain rows", "o", palette.GREY, markersize=4),
        entry("forget rows", "*", palette.GREY, markersize=8),
        entry("wrong label, edge: true one", "o", palette.GREY, markersize=7, markeredgecolor="black"),
        entry("centroids", "P", palette.GREY, markersize=9, markeredgecolor="black"),
    ]
    if len(class_names) <= _MOST_NAMES:
        handles += [
            entry(canvas.name_text(name), "o", colour) for name, colour in zip(class_names, colours, strict=True)
        ]
    figure.legend(handles=handles, loc="outside right center", fontsize=8, frameon=False)
