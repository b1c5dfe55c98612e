"""Data, flagged rows and validation rows in every form in which a user has them."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

from support.small import blobs, fitted, poisoned_task, small_model
from unlearning import REMOVED, Corrections, DetectSettings, Split, detect, detection, load_data, methods, repair
from unlearning.errors import InputError
from unlearning.repairs.flagged import take_flagged
from unlearning.repairs.settings import take_detection
from unlearning.repairs.taking import MOST_HELD_OUT, hold_out, take_data

TRAIN = blobs(40)
GIVEN = {7: 2, 3: 0, 21: None}
"""Rows, their corrected labels, and one to be taken out."""


def table() -> pd.DataFrame:
    return pd.DataFrame({"row": list(GIVEN), "corrected_label": list(GIVEN.values()), "note": "seen"})


class TestData:
    def test_every_form_is_the_same_rows(self, tmp_path) -> None:
        data = load_data("digits")
        rows = {"train": data.train, "validation": data.validation, "test": data.test}
        arrays = {
            f"{part}_{name}": getattr(split, name) for part, split in rows.items() for name in ("images", "labels")
        }
        np.savez(tmp_path / "data.npz", **arrays)
        for form in (data, "digits", tmp_path / "data.npz", str(tmp_path / "data.npz")):
            train, validation, classes = take_data(form)
            assert np.array_equal(train.images, data.train.images) and classes == 10
            assert validation is not None and np.array_equal(validation.labels, data.validation.labels)
        lists = ([image.tolist() for image in TRAIN.images], TRAIN.labels.tolist())
        for arrays_only in (TRAIN, (TRAIN.images, TRAIN.labels), [TRAIN.images, pd.Series(TRAIN.labels)], lists):
            train, validation, classes = take_data(arrays_only)
            assert np.array_equal(train.labels, TRAIN.labels) and validation is None and classes is None

    @pytest.mark.parametrize("data", [TRAIN.images, 3, None, (TRAIN.images,), {"images": TRAIN.images}])
    def test_anything_else_is_told_the_forms(self, data) -> None:
        with pytest.raises(
            InputError, match=r"`data`.*a Split, a tuple \(images, labels\), .*an image set or a source"
        ):
            take_data(data)

    def test_a_model_is_a_model_of_keras(self) -> None:
        with pytest.raises(InputError, match=r"`model`.*load_model.*Received: 'str'"):
            repair("model.keras", TRAIN, flagged={0: 1})  # type: ignore[arg-type]


class TestFlagged:
    @pytest.mark.parametrize(
        "form",
        [
            GIVEN,
            (np.array([7, 3, 21]), np.array([2, 0, REMOVED])),
            ([7, 3, 21], [2, 0, None]),
            (pd.Series([7, 3, 21]), pd.Series([2, 0, -1])),
            Corrections(np.array([7, 3, 21]), np.array([2, 0, REMOVED])),
            table(),
            table().assign(given_label=[int(TRAIN.labels[row]) for row in GIVEN]),
            table().convert_dtypes().astype(str).replace("<NA>", ""),
        ],
    )
    def test_every_form_is_the_same_corrections(self, form) -> None:
        found = take_flagged(form, TRAIN, 3)
        assert found.rows.tolist() == [7, 3, 21] and found.labels.tolist() == [2, 0, REMOVED]

    def test_a_file(self, tmp_path) -> None:
        table().convert_dtypes().to_csv(tmp_path / "flagged.csv", index=False)
        for path in (tmp_path / "flagged.csv", str(tmp_path / "flagged.csv")):
            assert take_flagged(path, TRAIN, 3).rows.tolist() == [7, 3, 21]

    def test_one_label_for_all(self) -> None:
        assert take_flagged(([1, 2], REMOVED), TRAIN, 3).labels.tolist() == [REMOVED, REMOVED]
        assert not len(take_flagged(None, TRAIN, 3)) and not len(take_flagged({}, TRAIN, 3))

    @pytest.mark.parametrize(
        ("form", "match"),
        [
            (np.array([1, 2]), r"\{row: label\}, \(rows, labels\), Corrections, a table"),
            (table().drop(columns="row"), "lacks the column row"),
            (table().assign(given_label=9), r"line 2: training row 7 has the label"),
            (table().assign(row=99), r"line 2: row .*0\.\.39"),
            ({1: 0.5}, "one-dimensional array of integers"),
            ([1, 2], "Received: 'list'"),
            (([1, 2], [0]), "one corrected label per flagged row"),
            ("no-such.csv", "no-such.csv"),
        ],
    )
    def test_mistakes_are_named(self, form, match: str) -> None:
        with pytest.raises(InputError, match=match):
            take_flagged(form, TRAIN, 3)


class TestDetectors:
    def test_names_detectors_and_settings_say_the_same(self) -> None:
        built = detection.get("neighbours", {"neighbours": 7})
        by_detector = take_detection(built)
        assert (by_detector.detector, by_detector.build()) == ("neighbours", built)
        assert take_detection("neighbours") == DetectSettings(detector="neighbours")
        assert take_detection(by_detector) is by_detector

    def test_one_convention(self) -> None:
        model = fitted(small_model(), TRAIN, epochs=1)
        named = detect(model, (TRAIN.images, TRAIN.labels), detector="neighbours", options={"neighbours": 7})
        built = detect(model, TRAIN, detector=detection.get("neighbours", {"neighbours": 7}), num_classes=3)
        assert named.record.options == built.record.options and named.record.num_classes == 3
        with pytest.raises(InputError, match="one of loss-mixture"):
            detect(model, TRAIN, detector=methods.get("sap"))  # type: ignore[arg-type]
        with pytest.raises(InputError, match="none beside a detector"):
            detect(model, TRAIN, detector=detection.get("neighbours"), options={"neighbours": 7})


class TestHoldingOut:
    @pytest.fixture(scope="class")
    def poisoned(self):
        task, true = poisoned_task()
        return fitted(small_model(hidden=16), task.train), task, true

    def test_classes_keep_their_shares_and_flagged_rows_stay(self) -> None:
        labels = np.repeat([0, 1, 2], [600, 300, 20])
        avoided = np.arange(0, 920, 2)
        drawn = hold_out(labels, avoided, seed=1)
        assert np.bincount(labels[drawn]).tolist() == [45, 22, 2] and not np.isin(drawn, avoided).any()
        assert not np.array_equal(drawn, hold_out(labels, avoided, seed=2))
        assert len(hold_out(np.arange(60_000) % 2, np.empty(0, int), seed=1)) == MOST_HELD_OUT

    def test_no_class_is_emptied(self) -> None:
        drawn = hold_out(np.array([0, 1, 1, 2, 2, 2]), np.array([1]), seed=0)
        assert np.bincount(np.array([0, 1, 1, 2, 2, 2])[drawn], minlength=3).tolist() == [0, 1, 1]

    def test_too_few_rows_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"Give validation=\(images, labels\)"):
            hold_out(np.array([0, 1, 1, 1]), np.array([1, 2]), seed=0)

    def test_the_repair_never_sees_them_and_says_so(self, poisoned, caplog) -> None:
        model, task, true = poisoned
        seen = {}

        class Looking(methods.base.Method):
            def unlearn(self, model, task):
                seen["task"] = task
                return methods.get("first-order").unlearn(model, task)

        with caplog.at_level(logging.WARNING):
            done = repair(model, (task.train.images, task.train.labels), flagged=task.corrections, method=Looking())
        assert "The model was trained on them" in caplog.text and "validation=(images, labels)" in caplog.text
        held, inner = done.held_out, seen["task"]
        assert held is not None and not np.isin(held, task.corrections.rows).any() and len(held) == 27
        assert np.array_equal(inner.validation.images, task.train.images[held])
        assert len(inner.train) + len(held) == len(task.train)
        assert np.array_equal(inner.train.images[inner.corrections.rows], task.train.images[task.corrections.rows])
        assert np.array_equal(inner.corrections.labels, true[task.corrections.rows])
        assert np.array_equal(done.corrections.rows, task.corrections.rows)

    def test_row_numbers_come_back_as_they_were(self, poisoned) -> None:
        model, task, _ = poisoned
        options = {"trusted_count": 30, "alphas": [100.0, 10.0]}
        done = repair(model, task.train, method="sap", options=options)
        trusted = done.outcome.rows["trusted_rows"]
        assert not np.isin(trusted, done.held_out).any() and len(np.unique(trusted)) == len(trusted)
        inner = methods.get("sap", options).unlearn(model, _inside(task, done.held_out))
        kept = np.delete(np.arange(len(task.train)), done.held_out)
        assert np.array_equal(trusted, kept[inner.rows["trusted_rows"]])

    def test_suspects_are_not_among_them(self, poisoned) -> None:
        model, task, _ = poisoned
        how = detection.get("neighbours", {"neighbours": 10})
        done = repair(model, task.train, detect=how, method="first-order")
        assert done.found is not None and done.held_out is not None
        assert not np.isin(done.held_out, done.found.suspected.rows).any()

    def test_with_validation_rows_nothing_is_held_out(self, poisoned, caplog) -> None:
        model, task, _ = poisoned
        done = repair(model, task.train, flagged=task.corrections, validation=task.validation, method="first-order")
        assert done.held_out is None and "No validation rows" not in caplog.text


def _inside(task, held_out):
    from unlearning.task import UnlearningTask

    kept = np.delete(np.arange(len(task.train)), held_out)
    validation: Split = task.train.subset(held_out)
    return UnlearningTask(task.train.subset(kept), Corrections.none(), validation, 3)
