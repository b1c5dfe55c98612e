"""What a detection found, for whoever looks at it: a page, an audit by a few answers, other people's programs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unlearning.detection.base import Detection
from unlearning.errors import InputError
from unlearning.files import read_text
from unlearning.records import DetectionResults
from unlearning.repairs.flagged import Flagged, take_flagged
from unlearning.review.auditing import judge
from unlearning.review.exchange import export
from unlearning.review.page import MOST_PICTURES, write_page
from unlearning.review.row_files import RowFiles
from unlearning.review.sampling import Sample, draw_sample
from unlearning.review.sheet import Rows, Sheet
from unlearning.task import Corrections, Split

_LARGEST_TEXTS = 256 * 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a detection found and what it cost.

    Attributes:
        suspected: Suspects with suggested labels.
        record: The numbers, as result files keep them.
        detection: All scores; None where the detection was read back from files.
        source: The training rows, for whoever looks at them; None where the detection was read back from files.
        known: Rows that were known, or have been answered, and the labels that should stand there; None for nothing.
    """

    suspected: Corrections
    record: DetectionResults
    detection: Detection | None = None
    source: Rows | None = None
    known: Corrections | None = None

    def parts(self) -> tuple[Rows, Detection]:
        """Returns the training rows and all scores.

        Raises:
            InputError: If they were not kept.
        """
        if self.source is None or self.detection is None:
            raise InputError("This detection was read back from files: detect again to look at its rows.")
        return self.source, self.detection

    def review(
        self,
        path: str | os.PathLike[str],
        *,
        images: int = MOST_PICTURES,
        texts: Sequence[str] | None = None,
        audit: int | None = None,
    ) -> None:
        """Writes the page on which a person decides about suspects; its `flagged.csv` is what `repair` takes.

        Passes on an `InputError` if an argument does not fit.

        Args:
            path: The `.html` file; replaced where there is one.
            images: How many rows at most have a picture.
            texts: A text of each training row, to be shown.
            audit: Ask about so many rows drawn at random instead (50 say enough); `audit` takes the `answers.csv`.

        Example:
            >>> from unlearning import detect
            >>> found = detect(model, (x, y), detector="neighbours")
            >>> found.review("suspects.html")
        """
        source, found = self.parts()
        source = dataclasses.replace(source, texts=texts or source.texts)
        sheet = Sheet.of_suspects(source, found)
        if audit is not None:
            sheet = Sheet.of_sample(source, found, draw_questions(self, audit))
        write_page(Path(path), sheet, images=images)

    def audit(self, answers: Flagged, size: int = 50) -> Found:
        """Takes the answers to an audit: how many suspects and labels are wrong, and where the cut should be.

        Passes on an `InputError` if they do not fit.

        Args:
            answers: Rows with the labels that should stand there, the given one where it is right; in any form that
                `repair` takes flagged rows in, such as the path of `answers.csv`.
            size: How many rows were asked about.

        Returns:
            The same with the suspects that the answers speak for, `known` the answered rows, and `record.audit` what
            they say.

        Example:
            >>> from unlearning import detect
            >>> found = detect(model, (x, y), detector="neighbours")
            >>> found.review("audit.html", audit=50)
            >>> told = {row: right_labels[row] if row in wrong else y[row] for row in range(len(y))}  # a person's work
            >>> audited = found.audit(told)
            >>> audited.record.audit.verdict
            'worth_it'
        """
        source, _ = self.parts()
        told = take_flagged(answers, source.split, source.num_classes, None, source.class_names)
        return apply_answers(self, told, draw_questions(self, size))

    def export(self, path: str | os.PathLike[str], tool: str) -> tuple[Path, ...]:
        """Writes the suspects for another program; what it exports is taken as flagged rows.

        Args:
            path: How the names of the files begin, such as `"suspects"`.
            tool: `"label-studio"`, `"cvat"` or `"fiftyone"`.

        Returns:
            The files, such as `suspects-cvat.zip`.
        """
        return export(Path(path), tool, Sheet.of_suspects(*self.parts()))


def describe_rows(
    train: Split,
    num_classes: int,
    class_names: Sequence[str] | None,
    files: np.ndarray | None,
    texts: Sequence[str] | Path | None = None,
) -> Rows:
    """Returns training rows with all that can be shown of them; see `Rows`.

    Args:
        train: The rows with their given labels.
        num_classes: Number of classes.
        class_names: Their names, or None.
        files: Paths of the rows' images, or None.
        texts: A text of each row, or a file of them, one a line; or None.
    """
    if isinstance(texts, Path):
        texts = read_text("texts", texts, _LARGEST_TEXTS).removesuffix("\n").split("\n")
    names = None if files is None else RowFiles(files).names()
    return Rows(train, num_classes, class_names, names, texts)


def draw_questions(found: Found, size: int) -> Sample:
    """Draws the rows of an audit; see `unlearning.review.sampling.draw_sample`."""
    _, detection = found.parts()
    known = None if found.known is None else found.known.rows
    return draw_sample(detection.scores, detection.suspects, size, found.record.seed, known)


def apply_answers(found: Found, answers: Corrections, sample: Sample) -> Found:
    """Returns what was found in the light of answers: with the cut that they speak for, and what they say.

    Args:
        found: What a detector found, with its rows.
        answers: Rows with the labels that should stand there; the given one where it is right.
        sample: The rows that were asked about.

    Returns:
        The same with other suspects, answered rows not among them; `known` has these, too.
    """
    source, detection = found.parts()
    given, suggested = source.split.labels, detection.suggested_labels
    audit = judge(detection.scores, detection.suspects, suggested, given, sample, answers)
    known = answers if found.known is None else _joined(answers, found.known)
    suspects = np.setdiff1d(audit.cut.suspects, known.rows)
    threshold = audit.cut.threshold if audit.cut.moved else detection.threshold
    record = found.record.model_copy(
        update={
            "suspects": len(suspects),
            "suspect_share": len(suspects) / len(given),
            "suggestions_changed": int(np.count_nonzero((suggested != given)[suspects])),
            "threshold": threshold,
            "audit": audit.record(),
            "metrics": None,
        }
    )
    moved = dataclasses.replace(detection, suspects=suspects, threshold=threshold)
    return dataclasses.replace(
        found, suspected=Corrections(suspects, suggested[suspects]), record=record, detection=moved, known=known
    )


def _joined(first: Corrections, second: Corrections) -> Corrections:
    """Both; where both know a row, the first one is believed."""
    others = ~np.isin(second.rows, first.rows)
    return Corrections(
        np.concatenate([first.rows, second.rows[others]]), np.concatenate([first.labels, second.labels[others]])
    )
