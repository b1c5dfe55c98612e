"""Labels that people gave."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from support.noise import make, make_split
from unlearning.errors import InputError
from unlearning.noise import corrupt_alike
from unlearning.task import Split


class TestHuman:
    @staticmethod
    def write(path: Path, split: Split, order: np.ndarray, **changes) -> Path:
        """A file in official order, of which the split's rows are a permuted part."""
        clean = np.zeros(300, np.int64)
        clean[order] = split.labels
        worse = clean.copy()
        worse[order[:50]] = (clean[order[:50]] + 1) % 10
        np.savez(path, **{"clean_label": clean, "worse_label": worse, "aggre_label": clean, **changes})
        return path

    def test_rows_are_matched_by_id(self, tmp_path: Path) -> None:
        split, order = make_split(), np.random.default_rng(1).permutation(300)[:200]
        ids = np.array([f"train_{i:05d}" for i in order])
        path = self.write(tmp_path / "n.npz", split, order)
        corruption = make("human", split, budget=None, ids=ids, labels_file=path)
        np.testing.assert_array_equal(corruption.rows, np.arange(50))
        assert make("human", split, budget=0, ids=ids, labels_file=path).sha256() == corruption.sha256()
        alike = corrupt_alike(corruption, make_split(4000, seed=2), num_classes=10, seed=1)
        assert abs(alike.rate - corruption.rate) < 0.03
        shift = (alike.given_labels - alike.true_labels)[alike.rows] % 10
        assert set(shift) == {1}

    def test_everything_that_can_be_wrong_with_it(self, tmp_path: Path) -> None:
        split, order = make_split(), np.random.default_rng(1).permutation(300)[:200]
        ids = np.array([f"train_{i:05d}" for i in order])
        path = self.write(tmp_path / "n.npz", split, order)

        def fails(match: str, **changes) -> None:
            with pytest.raises(InputError, match=match):
                make("human", split, **{"budget": None, "ids": ids, "labels_file": path, **changes})

        fails("budget", budget=5)
        fails("labels_file", labels_file=None)
        fails("example id", ids=None)
        fails("existing", labels_file=tmp_path / "nowhere.npz")
        fails("labels_key", labels_key="best_label")
        fails("other data", ids=ids[::-1])
        fails("train_00000", ids=np.array(["test_1"] * 200))
        fails("one id per row", ids=ids[:-1])
        for wrong in (np.zeros(300), np.zeros((300, 1), int), np.array(3), np.array(["1"] * 300)):
            fails("arrays of integers", labels_file=self.write(tmp_path / "w.npz", split, order, worse_label=wrong))
        fails("one length", labels_file=self.write(tmp_path / "l.npz", split, order, worse_label=np.zeros(3, int)))
        fails("labels 0", labels_file=self.write(tmp_path / "m.npz", split, order, worse_label=np.full(300, 77)))
        np.savez(tmp_path / "p.npz", clean_label=np.array([{}], dtype=object))
        fails("pickles", labels_file=tmp_path / "p.npz")

    def test_cifar10n(self) -> None:
        if not {"TFDS_DATA_DIR", "CIFAR10N_FILE"} <= set(os.environ):
            pytest.skip("TFDS_DATA_DIR and CIFAR10N_FILE are not set; needs prepared cifar10 and its human labels")
        from unlearning.data import load_data

        data = load_data("cifar10")
        options = {"budget": None, "ids": data.train_ids, "labels_file": os.environ["CIFAR10N_FILE"]}
        assert make("human", data.train, **options).rate == pytest.approx(0.4021, abs=1e-4)
        assert make("human", data.train, labels_key="aggre_label", **options).rate == pytest.approx(0.0903, abs=5e-4)
