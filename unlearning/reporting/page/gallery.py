"""Thumbnails of a cell's suspects, with what is known of their labels and what the models say of them."""

from __future__ import annotations

import dataclasses
import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unlearning.data import is_at_hand, is_users_own
from unlearning.detection import DETECTORS
from unlearning.drawing.thumbnails import to_picture, to_png
from unlearning.errors import InputError
from unlearning.files import file_sha256, is_plain
from unlearning.reporting.page.gather import shorten_paths
from unlearning.reporting.page.shown import Cell, Detected, Shown
from unlearning.reporting.ranking import find_tag
from unlearning.startup import import_tensorflow

if TYPE_CHECKING:
    from unlearning.experiments.cell.rows import Cell as OpenCell

logger = logging.getLogger(__name__)

_SIDE = 96  # pixels; larger images are made smaller
_LARGEST_FIGURE = 560
_COLOURS = 48


@dataclasses.dataclass(frozen=True)
class Picture:
    """One suspect.

    Attributes:
        row: Number of the training row.
        png: The thumbnail.
        given: The label it was trained on.
        suggested: The label that the detector would give it.
        corrected: The label that a repair gives it; None where it is taken out.
        true: Its true label.
        before: What the poisoned model predicts, or None where its weights are not kept.
        after: What the repaired model predicts, or None.
        score: The detector's score.
    """

    row: int
    png: bytes
    given: int
    suggested: int
    corrected: int | None
    true: int
    before: int | None
    after: int | None
    score: float


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The suspects of one detection.

    Attributes:
        experiment: The experiment's label.
        budget: The cell's budget.
        seed: The cell's seed.
        name: The detection's name.
        influence: Whether the scores are influences of the rows on themselves.
        repair: The repair that `after` is of, or empty.
        pictures: Most suspicious first.
    """

    experiment: str
    budget: int
    seed: int
    name: str
    influence: bool
    repair: str
    pictures: tuple[Picture, ...]


@dataclasses.dataclass(frozen=True)
class Galleries:
    """All galleries of an experiment.

    Attributes:
        galleries: One a detection.
        class_names: The data set's, or None where it was not loaded.
        notes: What is not shown, and why.
    """

    galleries: tuple[Gallery, ...]
    class_names: tuple[str, ...] | None
    notes: tuple[str, ...]


def draw_galleries(shown: Shown, count: int, *, dataset: str | None, data_dir: str | None) -> Galleries:
    """Makes the thumbnails of an experiment's suspects; the data set is loaded only where there are any.

    Args:
        shown: The experiment.
        count: Most pictures a detection; 0 for none.
        dataset: Path of the data, where they are a file or folder.
        data_dir: Folder of prepared tensorflow-datasets sets.

    Returns:
        The galleries. Whatever cannot be loaded becomes a note.
    """
    if not count:
        return Galleries((), None, ("No pictures were asked for (--images 0).",))
    chosen = [(cell, found) for cell in shown.cells for found in cell.detections if found.suspects]
    if not chosen:
        detections = sum(len(cell.detections) for cell in shown.cells)
        reason = "the lists of suspects are not kept" if detections else "no detection was run"
        return Galleries((), None, (f"No pictures of suspects: {reason}.",))
    roots = [shown.folder.parent]
    try:
        opened = _open(shown, chosen[0][0], dataset, data_dir)
        data = opened.setup.data
    except Exception as error:  # as above: settings in a record may be anything that JSON can hold
        reason = shorten_paths(str(error) or type(error).__name__, roots)[:300]
        return Galleries((), None, (f"No pictures of suspects: the data set cannot be loaded. {reason}",))
    galleries, notes = [], []
    fingerprint = data.fingerprint()
    for cell, found in chosen:
        try:
            _check_data(cell, fingerprint)
            galleries.append(_draw(shown.label, opened, cell, found, count))
        except Exception as error:  # the files of a cell may fit each other in no way
            reason = shorten_paths(str(error) or type(error).__name__, roots)[:300]
            notes.append(f"No pictures for budget {cell.budget}, seed {cell.seed}, {found.name}: {reason}")
    return Galleries(tuple(galleries), data.class_names, tuple(notes))


def _check_data(cell: Cell, fingerprint: str) -> None:
    """Raises `InputError` if the data loaded are not those of the cell."""
    if cell.training is not None and cell.training.data_sha256 != fingerprint:
        raise InputError("the data loaded are not those that the model was trained on")


def _open(shown: Shown, cell: Cell, dataset: str | None, data_dir: str | None) -> OpenCell:
    from unlearning.experiments.cell.reopening import reopen

    config = next(filter(None, (cell.train_config, *shown.clean_configs)), None)
    name = config.data.dataset if config is not None else ""
    if dataset is None and (is_users_own(name) or not is_at_hand(name, data_dir)):
        raise InputError(
            f"Expected the prepared tensorflow-datasets set {name!r} (--data-dir or TFDS_DATA_DIR), or its file or "
            "folder (--data); a report downloads nothing."
        )
    return reopen(cell.files.folder, dataset=dataset, data_dir=data_dir)


def _draw(label: str, opened: OpenCell, cell: Cell, found: Detected, count: int) -> Gallery:
    from unlearning.experiments.cell.reopening import recorded_corruption
    from unlearning.experiments.cell.rows import Cell as OpenCell

    corruption = recorded_corruption(OpenCell(opened.setup, cell.budget, cell.seed))
    data = opened.setup.data
    given = corruption.apply(data.train)
    suspects = [suspect for suspect in found.suspects if 0 <= suspect.row < len(given)][:count]
    labels = {number for s in suspects for number in (s.given, s.suggested, s.corrected) if number is not None}
    if len(suspects) < min(count, len(found.suspects)) or not labels <= set(range(data.num_classes)):
        raise InputError("the list of suspects is of other data")
    images = np.asarray(given.images[np.array([suspect.row for suspect in suspects])])
    before, (repair, after) = _predict_before(cell, images), _predict_after(cell, images)
    pictures = tuple(
        Picture(
            row=suspect.row,
            png=draw_thumbnail(image, *data.pixel_range),
            given=int(given.labels[suspect.row]),
            suggested=suspect.suggested,
            corrected=suspect.corrected,
            true=int(corruption.true_labels[suspect.row]),
            before=None if before is None else int(before[number]),
            after=None if after is None else int(after[number]),
            score=suspect.score,
        )
        for number, (suspect, image) in enumerate(zip(suspects, images, strict=True))
    )
    influence = _by_influence(found.results.detector)
    return Gallery(label, cell.budget, cell.seed, found.name, influence, repair, pictures)


def _by_influence(detector: str) -> bool:
    """Whether a detector of this program ranks rows by their influence."""
    return detector in DETECTORS and DETECTORS.entry(detector).family == "influence"


def _predict_before(cell: Cell, images: np.ndarray) -> np.ndarray | None:
    return None if cell.training is None else _predict(cell.files.model, cell.training.model_sha256, images)


def _predict_after(cell: Cell, images: np.ndarray) -> tuple[str, np.ndarray | None]:
    """By the repair that is best on validation of those with weights; controls and gold standards come last."""
    finished = [(repair, repair.results) for repair in cell.repairs if repair.results is not None]
    finished.sort(key=lambda pair: (bool(find_tag(pair[1].method)), -pair[1].validation_accuracy_after))
    for repair, results in finished:
        classes = _predict(repair.files.model, results.model_sha256, images)
        if classes is not None:
            return repair.name, classes
    return "", None


def _predict(path: Path, sha256: str, images: np.ndarray) -> np.ndarray | None:
    """Predicted classes, or None where the weights are not there as they were recorded."""
    if not is_plain(path) or file_sha256(path) != sha256:
        return None
    import_tensorflow()
    from unlearning.evaluation import predict
    from unlearning.interop import load_model

    try:
        found = predict(load_model(path), images).argmax(axis=-1)
    except Exception as error:  # weights of other data fail in Keras in many ways
        raise InputError(f"{path.name} cannot be used: {str(error) or type(error).__name__}") from error
    if found.shape != (len(images),):
        raise InputError(f"{path.name} is no classifier of these images")
    return found


def draw_thumbnail(image: np.ndarray, black: float, white: float) -> bytes:
    """Returns an image as a small PNG.

    Args:
        image: Array of shape `(height, width, channels)`; grey, or red, green and blue first.
        black: The value of black.
        white: The value of white.

    Returns:
        The PNG: at most 96 pixels a side, smaller images as they are.
    """
    return to_png(to_picture(image, black, white, _SIDE))


def shrink_figure(content: bytes) -> bytes | None:
    """Returns a figure as a smaller PNG: fewer pixels, few colours.

    Args:
        content: A PNG file, perhaps damaged.

    Returns:
        The new PNG, or None where the old one cannot be read.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
            if opened.width * opened.height > 4_000_000:
                return None
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    if picture.width > _LARGEST_FIGURE:
        picture = picture.resize((_LARGEST_FIGURE, round(picture.height * _LARGEST_FIGURE / picture.width)))
    return to_png(picture.quantize(_COLOURS))
