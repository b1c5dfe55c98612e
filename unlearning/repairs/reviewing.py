"""From what a detector found to what a person decides: the page, an audit and its answers, and other programs' files.

Beside `suspects.csv` stand `suspects.html` (the page), with an audit `suspects-audit.html` (its questions) and
`suspects-audit.npz` (all scores, and which rows were drawn), and after its answers `suspects-audited.csv`, `.json` and
`.html`; what another program gets is named by it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from unlearning.archives import read_arrays
from unlearning.detection.base import Detection, DetectionStatus
from unlearning.errors import InputError
from unlearning.files import check_file, check_outputs, writing
from unlearning.records import DetectionResults, read_json, write_json
from unlearning.repairs.flagged import read_flagged, write_suspects
from unlearning.repairs.found import Found, apply_answers, draw_questions
from unlearning.review.exchange import export, export_paths
from unlearning.review.page import write_page
from unlearning.review.sampling import Sample
from unlearning.review.settings import ReviewSettings
from unlearning.review.sheet import Rows, Sheet
from unlearning.task import Corrections

_LARGEST_KEPT = 2**30


def review_paths(out: Path, asked: ReviewSettings) -> list[Path]:
    """Returns the files that are written beside a file of suspects for a person to look at."""
    paths = [out.with_suffix(".html")]
    if asked.audit is not None:
        paths += [_beside(out, "-audit.html"), _beside(out, "-audit.npz")]
    if asked.export is not None:
        paths += export_paths(out, asked.export)
    return paths


def audited_paths(out: Path) -> list[Path]:
    """Returns the files that are written once an audit is answered."""
    return [_beside(out, f"-audited{suffix}") for suffix in (".csv", ".json", ".html")]


def _beside(out: Path, end: str) -> Path:
    return out.with_name(out.stem + end)


def write_review(found: Found, out: Path, asked: ReviewSettings) -> None:
    """Writes what `review_paths` names.

    Args:
        found: What a detector found, with its rows.
        out: The file of suspects.
        asked: What is asked.
    """
    source, detection = found.parts()
    sheet = Sheet.of_suspects(source, detection)
    write_page(out.with_suffix(".html"), sheet, images=asked.images)
    if asked.audit is not None:
        sample = draw_questions(found, asked.audit)
        write_page(_beside(out, "-audit.html"), Sheet.of_sample(source, detection, sample), images=len(sample.rows))
        _keep(_beside(out, "-audit.npz"), detection, sample, source.split.labels, found.known)
    if asked.export is not None:
        export(out, asked.export, sheet)


def take_answers(
    out: Path, source: Rows, files: np.ndarray | None, asked: ReviewSettings, *, force: bool
) -> DetectionResults:
    """Reads the answers to an audit, and writes what they change; see `audited_paths`.

    Args:
        out: The file of suspects beside which the audit was written.
        source: The training rows.
        files: Paths of their images, or None.
        asked: Has the answers.
        force: Replace existing output.

    Returns:
        The record, as written.

    Raises:
        InputError: If anything does not fit; nothing is written then.
    """
    table, record_path, page = audited_paths(out)
    check_outputs((table, record_path, page), force)
    assert asked.answers is not None
    kept = _beside(out, "-audit.npz")
    if not kept.is_file():
        raise InputError(f"{kept} is missing: ask first, with --audit 50 and the same --out, and give answers to that.")
    labels = source.split.labels
    detection, sample, known = _read_kept(kept, labels, source.num_classes)
    answers = read_flagged(asked.answers, len(labels), source.num_classes, labels, files, source.class_names)
    record = read_json(out.with_suffix(".json"), DetectionResults)
    suspected = Corrections(detection.suspects, detection.suggested_labels[detection.suspects])
    found = apply_answers(Found(suspected, record, detection, source, known), answers, sample)
    source, detection = found.parts()
    write_suspects(table, source.split, detection, files=files, known=found.known)
    write_page(page, Sheet.of_suspects(source, detection), images=asked.images)
    write_json(record_path, found.record)
    return found.record


def _labels_hash(labels: np.ndarray) -> np.ndarray:
    digest = hashlib.sha256(np.ascontiguousarray(labels, dtype="<i8").tobytes()).digest()
    return np.frombuffer(digest, dtype=np.uint8)


def _keep(path: Path, found: Detection, sample: Sample, labels: np.ndarray, known: Corrections | None) -> None:
    known = known or Corrections.none()
    arrays = {
        "scores": found.scores,
        "suspects": found.suspects,
        "suggested": found.suggested_labels,
        "threshold": np.array([np.nan if found.threshold is None else found.threshold]),
        **dataclasses.asdict(sample),
        "known_rows": known.rows,
        "known_labels": known.labels,
        "labels_sha256": _labels_hash(labels),
    }
    with writing(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _read_kept(path: Path, labels: np.ndarray, num_classes: int) -> tuple[Detection, Sample, Corrections | None]:
    """What `_keep` wrote, as far as it fits these rows."""
    arrays = read_arrays(check_file("audit", path, _LARGEST_KEPT, ".npz file"))
    if not np.array_equal(arrays.get("labels_sha256", ()), _labels_hash(labels)):
        raise InputError(f"{path} is about other data than these, or about another --data-seed.")
    try:
        threshold = float(arrays["threshold"][0])
        found = Detection(
            arrays["scores"],
            arrays["suspects"],
            arrays["suggested"],
            None if np.isnan(threshold) else threshold,
            DetectionStatus.OK,
        )
        known = Corrections(arrays["known_rows"], arrays["known_labels"])
        sample = Sample(arrays["rows"], arrays["strata"], arrays["sizes"], arrays["suspect"])
        whole = [sample.rows, sample.strata, sample.sizes, known.rows, found.suggested_labels]
        tops = (len(labels), len(sample.sizes), len(labels) + 1, len(labels), num_classes)
        fits = [
            array.dtype == np.int64 and array.ndim == 1 and bool(((array >= 0) & (array < top)).all())
            for array, top in zip(whole, tops, strict=True)
        ]
        shapes = len(found.scores) == len(labels) and sample.rows.shape == sample.strata.shape
        if not (all(fits) and shapes and sample.suspect.dtype == bool and sample.suspect.shape == sample.sizes.shape):
            raise ValueError("it holds other arrays than those of an audit")
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise InputError(f"Cannot use {path} as an audit: {error}") from error
    return found, sample, known if len(known) else None
