"""Noise from label lists, and the lists themselves."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from support.noise import make, make_split
from unlearning.errors import InputError
from unlearning.noise import corrupt_alike
from unlearning.noise.recorded import example_numbers, in_published_order, labels_sha256, read_labels, write_labels
from unlearning.task import Split


class TestRecorded:
    @staticmethod
    def given(split: Split) -> np.ndarray:
        labels = split.labels.copy()
        labels[3:40:4] = (labels[3:40:4] + 1) % 10
        return labels

    def test_rows_without_ids_are_in_order(self, tmp_path: Path) -> None:
        split = make_split()
        write_labels(tmp_path / "l.json", self.given(split))
        assert json.loads((tmp_path / "l.json").read_text()) == self.given(split).tolist()
        corruption = make("recorded", split, budget=None, labels_file=tmp_path / "l.json")
        np.testing.assert_array_equal(corruption.given_labels, self.given(split))
        assert corruption.kind == "recorded" and corruption.rows.tolist() == list(range(3, 40, 4))
        alike = corrupt_alike(corruption, make_split(4000, seed=2), num_classes=10, seed=1)
        assert abs(alike.rate - corruption.rate) < 0.02
        assert set((alike.given_labels - alike.true_labels)[alike.rows] % 10) == {1}

    def test_whole_sets_are_matched_by_id_and_written_in_that_order(self, tmp_path: Path) -> None:
        published, order = make_split(300), np.random.default_rng(1).permutation(300)
        given, ids = self.given(published), np.array([f"train_{i:05d}" for i in order])
        np.testing.assert_array_equal(in_published_order(given[order], ids), given)
        (tmp_path / "l.json").write_text(json.dumps(given.tolist()))
        options = {"budget": 0, "labels_file": tmp_path / "l.json"}
        whole = make("recorded", published.subset(order), ids=ids, **options)
        np.testing.assert_array_equal(whole.given_labels, given[order])
        part = make("recorded", published.subset(order[:120]), ids=ids[:120], **options)
        np.testing.assert_array_equal(part.given_labels, given[order[:120]])

    def test_parts_of_sets_are_written_in_row_order(self, tmp_path: Path) -> None:
        split = make_split(100)
        ids = np.array([f"train_{i:05d}" for i in np.random.default_rng(1).permutation(300)[:100]])
        listed = in_published_order(self.given(split), ids)
        np.testing.assert_array_equal(listed, self.given(split))
        write_labels(tmp_path / "l.json", listed)
        again = make("recorded", split, budget=None, ids=ids, labels_file=tmp_path / "l.json")
        np.testing.assert_array_equal(again.given_labels, self.given(split))
        assert example_numbers(np.array(["train_3", "test_4"])) is None and example_numbers(None) is None

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("", "JSON"),
            ("{", "JSON"),
            ("{}", "list of integers"),
            ("[]", "list of integers"),
            ("3", "list of integers"),
            ("[" * 100_000, "JSON"),
            ("[0, [1], 2]", "flat list"),
            ("[0, NaN, 2]", "flat list"),
            ("[0, 1.0, 2]", "flat list"),
            ("[0, true, 2]", "flat list"),
            ('[0, "1", 2]', "flat list"),
            ("[0, null, 2]", "flat list"),
            ("[0, -1, 2]", "flat list"),
            ("[0, 1" + "0" * 30 + ", 2]", "31 digits"),
            ("[0, 9999999999]", "one label for each"),
            (json.dumps([0] * 199), "one label for each of the 200 training rows"),
            (json.dumps([0] * 201), "example ids"),
            (json.dumps([10] * 200), r"labels 0\.\.9"),
            (json.dumps([9999999999] * 200), r"labels 0\.\.9"),
        ],
    )
    def test_bad_lists(self, tmp_path: Path, text: str, match: str) -> None:
        (tmp_path / "l.json").write_text(text)
        with pytest.raises(InputError, match=match):
            make("recorded", make_split(), budget=None, labels_file=tmp_path / "l.json")

    def test_bad_files_and_requests(self, tmp_path: Path) -> None:
        split = make_split()
        (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
        with (tmp_path / "huge.json").open("wb") as file:
            file.truncate(2**27)
        write_labels(tmp_path / "true.json", split.labels)
        write_labels(tmp_path / "l.json", self.given(split))

        def fails(match: str, **options) -> None:
            with pytest.raises(InputError, match=match):
                make("recorded", split, **{"budget": None, "labels_file": tmp_path / "l.json", **options})

        fails("pass labels_file", labels_file=None)
        fails("existing", labels_file=tmp_path / "nowhere.json")
        fails("JSON", labels_file=tmp_path / "binary.json")
        fails("at most", labels_file=tmp_path / "huge.json")
        fails("differ", labels_file=tmp_path / "true.json")
        fails("budget", budget=5)
        (tmp_path / "long.json").write_text(json.dumps([0] * 250))
        ids = np.array([f"train_{i:05d}" for i in range(100, 300)])
        fails("train_00299", labels_file=tmp_path / "long.json", ids=ids)

    def test_lists_in_another_order_are_noticed(self, tmp_path: Path, caplog, monkeypatch) -> None:
        monkeypatch.setattr(logging.getLogger("unlearning"), "propagate", True)
        split = make_split(2000)
        write_labels(tmp_path / "l.json", np.random.default_rng(5).permutation(split.labels))
        make("recorded", split, budget=None, labels_file=tmp_path / "l.json")
        assert "in the order of the rows" in caplog.text

    def test_writing(self, tmp_path: Path, monkeypatch) -> None:
        path = tmp_path / "sub" / "l.json"
        write_labels(path, np.array([1, 0, 2]))
        with pytest.raises(InputError, match="--force"):
            write_labels(path, np.array([2, 2]))
        assert read_labels(path).tolist() == [1, 0, 2]
        write_labels(path, np.array([2, 2]), force=True)
        assert read_labels(path).tolist() == [2, 2] and path.stat().st_mode & 0o777 == 0o644
        for wrong in (np.zeros(3), np.array([-1]), np.zeros((2, 2), int), np.zeros(0, int)):
            with pytest.raises(InputError, match="labels"):
                write_labels(tmp_path / "w.json", wrong)

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="space"):
            write_labels(path, np.array([0]), force=True)
        assert read_labels(path).tolist() == [2, 2] and [p.name for p in path.parent.iterdir()] == ["l.json"]

    def test_the_hash_is_of_the_labels(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text("[1,0,  2]\n")
        write_labels(tmp_path / "b.json", np.array([1, 0, 2], np.uint8))
        assert labels_sha256(read_labels(tmp_path / "a.json")) == labels_sha256(read_labels(tmp_path / "b.json"))
        assert labels_sha256(np.array([1, 0])) != labels_sha256(np.array([1, 0, 2]))
