"""Rows that are flagged with the label they have ask for no change, and are not counted as flagged."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from support.small import blobs, poisoned_task, small_model
from unlearning import methods, repair
from unlearning.detection.base import Detection, DetectionStatus
from unlearning.errors import InputError
from unlearning.repairs.flagged import read_flagged, write_suspects
from unlearning.task import REMOVED, Corrections, Split, UnlearningTask

TASK, _ = poisoned_task()
ROWS = np.arange(70)
"""Sixty bad rows, and ten that a person has looked at and set back."""
LABELS = np.concatenate([TASK.corrections.labels, TASK.train.labels[60:70]])


def task(rows: np.ndarray, labels: np.ndarray, images: np.ndarray | None = None) -> UnlearningTask:
    return UnlearningTask(TASK.train, Corrections(rows, labels, images), TASK.validation, 3)


class TestDropped:
    def test_in_the_task_with_a_warning_that_counts_them(self, caplog) -> None:
        with caplog.at_level(logging.WARNING, "unlearning"):
            told = task(ROWS, LABELS)
        assert told.corrections.rows.tolist() == list(range(60))
        assert next(r.message for r in caplog.records).startswith("10 of 70 flagged rows have their given label")

    def test_none_is_left(self) -> None:
        with pytest.raises(InputError, match=r"Every corrected label is the given one \(20 rows\).*-1"):
            task(np.arange(20), TASK.train.labels[:20])

    def test_removed_rows_and_changed_images_are_changes(self) -> None:
        images = TASK.train.images[:3].copy()
        images[1] += 1
        labels = TASK.train.labels[:3].copy()
        labels[2] = REMOVED
        told = task(np.arange(3), labels, images).corrections
        assert told.rows.tolist() == [1, 2] and told.labels.tolist() == [labels[1], REMOVED]
        np.testing.assert_array_equal(told.images, images[1:])

    @pytest.mark.parametrize("name", ["fspmu", "first-order", "ssd"])
    def test_methods_are_told_of_none(self, name: str) -> None:
        with pytest.raises(InputError, match="given one"):
            methods.get(name).unlearn(small_model(), task(np.arange(20), TASK.train.labels[:20]))

    def test_a_repair_counts_them(self) -> None:
        done = repair(
            small_model(),
            TASK.train,
            flagged=(ROWS, LABELS),
            method="first-order",
            validation=TASK.validation,
        )
        assert (len(done.corrections), done.unchanged) == (60, 10)

    def test_rows_set_back_may_be_held_out(self) -> None:
        """All rows are in the table; what is not wrong with them is free for validation."""
        labels = TASK.train.labels.copy()
        labels[:60] = TASK.corrections.labels
        done = repair(small_model(), TASK.train, flagged=(np.arange(240), labels), method="first-order")
        assert done.unchanged == 180 and done.held_out is not None and done.held_out.min() >= 60


class TestFilesOfAllRows:
    def test_what_a_detection_writes_of_all_rows_flags_its_suspects(self, tmp_path: Path) -> None:
        split = blobs(12)
        suspects = np.array([2, 5])
        suggested = (split.labels + 1) % 3
        found = Detection(np.linspace(0, 1, 12), suspects, suggested, 0.5, DetectionStatus.OK, {})
        write_suspects(tmp_path / "all.csv", split, found, all_rows=True)
        flagged = read_flagged(tmp_path / "all.csv", 12, 3, split.labels)
        assert len(flagged) == 12
        told = UnlearningTask(split, flagged, Split(split.images, split.labels), 3)
        assert sorted(told.corrections.rows) == suspects.tolist()
