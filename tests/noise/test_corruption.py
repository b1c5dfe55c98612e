"""The corruption record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.noise import make, make_split
from unlearning.errors import InputError
from unlearning.noise import Corruption, Patch
from unlearning.task import REMOVED


class TestRecord:
    def test_corrections_are_the_true_labels_or_removal(self) -> None:
        split = make_split()
        corruption = make("symmetric", split)
        corrections = corruption.corrections(split)
        np.testing.assert_array_equal(corrections.labels, split.labels[corruption.rows])
        assert corrections.images is None
        assert set(corruption.corrections(split, remove=True).labels) == {REMOVED}

    def test_other_data_is_refused(self) -> None:
        with pytest.raises(InputError, match="other data"):
            make("symmetric", make_split()).apply(make_split(seed=1))

    def test_damage_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "c.npz"
        make("symmetric", make_split()).save(path)
        with np.load(path) as file:
            arrays = dict(file)
        arrays["given_labels"][3] += 1
        np.savez(tmp_path / "changed.npz", **arrays)
        np.savez(tmp_path / "pickled.npz", header=np.array([{}], dtype=object))
        (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:200])
        for name, match in (
            ("changed.npz", "SHA-256"),
            ("pickled.npz", "Cannot read"),
            ("cut.npz", "Cannot read"),
            ("nowhere.npz", "existing"),
        ):
            with pytest.raises(InputError, match=match):
                Corruption.load(tmp_path / name)

    def test_a_failed_write_leaves_the_old_file(self, tmp_path: Path, monkeypatch) -> None:
        path = tmp_path / "c.npz"
        make("symmetric", make_split()).save(path)
        before = path.read_bytes()

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez_compressed", full)
        with pytest.raises(OSError, match="space"):
            make("pair", make_split()).save(path)
        assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1

    def test_patched_rows_need_a_patch(self) -> None:
        with pytest.raises(InputError, match="patch"):
            Corruption("backdoor", 0, np.zeros(3), np.zeros(3), np.array([1]))
        assert Patch(1, 9.0, 0).apply(np.zeros((1, 2, 2, 1)))[0, :, :, 0].tolist() == [[0, 0], [0, 9]]
