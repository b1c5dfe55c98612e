"""Pictures of a finished repair's features: reopen it, compute features before and after, draw, write a record."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.detection.features import penultimate_features
from unlearning.drawing import canvas
from unlearning.drawing.features import centroids_by_label, draw_angles, draw_tsne, label_angles, summarise_angles
from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.reopening import open_poisoned, reopen
from unlearning.experiments.cell.stages import keep_inside
from unlearning.files import check_writable, file_sha256
from unlearning.interop import load_model, set_determinism
from unlearning.records import FeatureResults, UnlearningResults, read_json, read_rows, write_json
from unlearning.repairs.environment import describe_environment
from unlearning.task import check_rows

logger = logging.getLogger(__name__)

FORMATS = ("png", "pdf")


def draw_features(
    run_dir: Path,
    *,
    rows: int = 2000,
    formats: Sequence[str] = ("png",),
    dataset: str | None = None,
    data_dir: str | None = None,
    labels_file: str | None = None,
) -> FeatureResults:
    """Draws where the training rows lie in feature space before and after a finished repair.

    Into the repair's `figures/` go `tsne` and `angles` in each format, and `features.json`; what is there of these is
    replaced. Features are those of all training rows as trained on, so two forward passes over them are made. Colours
    are given labels, edges true ones; angles are to the centroid of the given label (of the retain rows, before the
    repair).

    Args:
        run_dir: Folder of the repair, `.../budget-<B>/seed-<S>/<method>`.
        rows: Most rows in the t-SNE figure.
        formats: Any of `FORMATS`.
        dataset: Path of the data, where it is a file or folder.
        data_dir: Folder of prepared tensorflow-datasets sets.
        labels_file: For human noise.

    Returns:
        The record, as written.

    Raises:
        InputError: If the repair is unfinished, weights are not those recorded, or the data are other ones; nothing is
            written then.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InputError("format", f"some of {', '.join(FORMATS)}", ",".join(formats))
    if rows < 4:
        raise InputError("rows", "an integer of at least 4", rows)
    files = layout.MethodFiles(run_dir)
    parent = run_dir.absolute().parent  # a bare name has no parent to read budget and seed from
    experiment, budget, seed = layout.parse_cell(parent)
    keep_inside(experiment, layout.MethodFiles(run_dir.absolute()))
    if not files.results.is_file():
        raise InputError("run_dir", "the folder of a finished repair, .../budget-<B>/seed-<S>/<method>", str(run_dir))
    repair = read_json(files.results, UnlearningResults)
    cell = reopen(parent, dataset=dataset, data_dir=data_dir, labels_file=labels_file)
    check_writable(files.figures)
    if not files.model.is_file():
        raise InputError(
            f"The weights {files.model} are missing: version control holds records only. The repair makes them again "
            f"once {files.results} is moved away: python cli.py unlearn {repair.method} {parent}"
        )
    if file_sha256(files.model) != repair.model_sha256:
        raise InputError("run_dir", f"the weights whose hash {files.results} records", str(files.model))
    poisoned, given, corruption = open_poisoned(cell)
    repaired = load_model(files.model)
    if not repair.applied:
        logger.warning("This repair changed nothing (%s); both sides show the same model.", repair.status)
    set_determinism(seed)
    num_classes = cell.setup.data.num_classes
    named = _named_rows(read_rows(files.rows, repair), len(given))
    forget = np.zeros(len(given), dtype=bool)
    forget[corruption.rows if named is None else named] = True
    before, after = (_finite_features(model, given.images) for model in (poisoned, repaired))
    centroids = centroids_by_label(before[~forget], given.labels[~forget], num_classes)
    angles = {
        when: label_angles(features, given.labels, centroids)
        for when, features in (("before", before), ("after", after))
    }
    drawn: Sequence[int] | np.ndarray = ()
    with canvas.optional(f"The embedding of {run_dir}"):
        drawn = draw_tsne(
            [files.figures / f"tsne.{suffix}" for suffix in formats],
            before,
            after,
            given=given.labels,
            true=corruption.true_labels,
            forget=forget,
            centroids=centroids,
            class_names=cell.setup.data.class_names,
            most_rows=rows,
            seed=seed,
        )
    with canvas.optional(f"The angles of {run_dir}"):
        paths = [files.figures / f"angles.{suffix}" for suffix in formats]
        draw_angles(paths, angles["before"], angles["after"], forget)
    results = FeatureResults.model_validate(
        {
            "method": repair.method,
            "variant": repair.variant,
            "budget": budget,
            "seed": seed,
            "num_classes": num_classes,
            "features": before.shape[1],
            "rows": len(given),
            "forget_rows": int(forget.sum()),
            "forget_source": "corruption" if named is None else "method",
            "tsne_rows": len(drawn),
            "angles": {when: summarise_angles(values, forget) for when, values in angles.items()},
            "poisoned_sha256": file_sha256(cell.files.model),
            "repaired_sha256": repair.model_sha256,
            "environment": describe_environment(),
        }
    )
    write_json(files.figures / "features.json", results)
    return results


def _named_rows(lists: Mapping[str, np.ndarray], rows: int) -> np.ndarray | None:
    """The forget rows that a repair names, of a chain those of its last stage that does; None without."""
    named = [found for name, found in lists.items() if name.rpartition(".")[2] == "forget_rows" and len(found)]
    return check_rows("forget_rows", named[-1], rows) if named else None


def _finite_features(model: Any, images: np.ndarray) -> np.ndarray:
    features = penultimate_features(model, images)
    if not np.isfinite(features).all():
        raise InputError("run_dir", "models whose features are finite", "NaN or infinity")
    return features
