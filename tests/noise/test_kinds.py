"""What every kind of noise promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.noise import make, make_split
from support.paths import ROOT
from unlearning.errors import InputError
from unlearning.noise import NOISES, Corruption, Noise, Rows, available, corrupt, corrupt_alike, get, register
from unlearning.noise.kinds.subclass import moved_subclasses
from unlearning.noise.recorded import write_labels
from unlearning.task import Split

INCLUSIVE = ("symmetric-inclusive", "asymmetric-inclusive")
NEEDY = (*INCLUSIVE, "subclass-dominant")
SYNTHETIC = sorted(name for name in NOISES.names() if NOISES.load(name).needs_budget and name not in NEEDY)


@pytest.mark.parametrize("kind", SYNTHETIC)
class TestEveryKind:
    def test_exactly_the_budget_is_corrupted_and_nothing_else(self, kind: str) -> None:
        split = make_split()
        labels, images = split.labels.copy(), split.images.copy()
        corruption = make(kind, split)
        assert corruption.budget == 40 and corruption.rate == 0.2 and corruption.kind == kind
        np.testing.assert_array_equal(split.labels, labels)
        np.testing.assert_array_equal(split.images, images)
        np.testing.assert_array_equal(corruption.true_labels, labels)
        assert corruption.given_labels.min() >= 0 and corruption.given_labels.max() < 10
        good = np.setdiff1d(np.arange(200), corruption.rows)
        np.testing.assert_array_equal(corruption.given_labels[good], labels[good])
        assert (corruption.given_labels[corruption.rows] != labels[corruption.rows]).all()

    def test_seed_decides(self, kind: str) -> None:
        split = make_split()
        assert make(kind, split, seed=3).sha256() == make(kind, split, seed=3).sha256()
        assert make(kind, split, seed=3).rows.tolist() != make(kind, split, seed=4).rows.tolist()

    def test_other_rows_are_corrupted_alike(self, kind: str) -> None:
        other = make_split(100, seed=9)
        alike = corrupt_alike(make(kind, make_split()), other, num_classes=10, seed=5, data_name="cifar10")
        assert alike.kind == kind and alike.budget == 20
        np.testing.assert_array_equal(alike.true_labels, other.labels)

    def test_impossible_requests(self, kind: str) -> None:
        for budget in (0, 201, 20.5, None):
            with pytest.raises(InputError, match="budget"):
                make(kind, make_split(), budget=budget)
        for seed in (-1, 2**32):
            with pytest.raises(InputError, match="seed"):
                make(kind, make_split(), seed=seed)
        with pytest.raises(InputError, match="num_classes"):
            make(kind, make_split(classes=1), num_classes=1)
        with pytest.raises(InputError, match=r"classes 0\.\.4"):
            make(kind, make_split(), num_classes=5)

    def test_record_survives_the_disk(self, kind: str, tmp_path: Path) -> None:
        corruption = make(kind, make_split())
        corruption.save(tmp_path / "sub" / "c.npz")
        again = Corruption.load(tmp_path / "sub" / "c.npz")
        assert again.sha256() == corruption.sha256() and again.patch == corruption.patch
        assert [p.name for p in (tmp_path / "sub").iterdir()] == ["c.npz"]
        assert (tmp_path / "sub" / "c.npz").stat().st_mode & 0o777 == 0o644


def rows(split: Split | None = None) -> Rows:
    split = split or make_split()
    fine = split.labels * 5 + np.arange(len(split)) % 5
    return Rows(split, 10, "cifar10", np.array([f"train_{i:05d}" for i in range(len(split))]), 255.0, fine)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A file of labels for each kind that needs one."""
    true = make_split().labels
    given = np.where(np.arange(200) % 5 == 0, (true + 1) % 10, true)
    write_labels(tmp_path / "recorded.json", given)
    np.savez(tmp_path / "human.npz", clean_label=true, worse_label=given)
    return {"recorded": str(tmp_path / "recorded.json"), "human": str(tmp_path / "human.npz")}


def built(name: str, files: dict[str, str]) -> Noise:
    return get(name, {"labels_file": files[name]} if "labels_file" in NOISES.entry(name).needs else {})


@pytest.mark.parametrize("name", NOISES.names())
class TestHarness:
    def test_it_corrupts_rows_and_others_alike(self, name: str, files: dict[str, str]) -> None:
        kind, train, other = built(name, files), rows(), rows(make_split(100, seed=9))
        before = train.split.labels.copy()
        found = kind.corrupt(train, 20, 3)
        assert found.kind == name and found.sha256() == kind.corrupt(train, 20, 3).sha256()
        np.testing.assert_array_equal(train.split.labels, before)
        np.testing.assert_array_equal(found.true_labels, before)
        assert 0 < found.budget <= 40
        alike = kind.alike(found, train, other, 7)
        assert alike.kind == name and alike.seed == 7
        np.testing.assert_array_equal(alike.true_labels, other.split.labels)
        assert alike.sha256() == kind.alike(found, train, other, 7).sha256()

    def test_no_row_is_changed_where_there_is_none(self, name: str, files: dict[str, str]) -> None:
        kind, train = built(name, files), rows()
        none = Rows(train.split.subset(np.arange(0)), 10, "cifar10", fine_labels=np.empty(0, np.int64))
        assert kind.alike(kind.corrupt(train, 20, 3), train, none, 7).budget == 0

    def test_records_hold_no_paths_and_no_defaults(self, name: str, files: dict[str, str], tmp_path: Path) -> None:
        recorded = json.dumps(built(name, files).recorded())
        assert set(json.loads(recorded)) <= {"labels_key", "labels_sha256"}
        assert str(tmp_path) not in recorded

    def test_seeds_inputs_and_needs(self, name: str, files: dict[str, str]) -> None:
        kind = built(name, files)
        assert kind.needs_budget == ("labels_file" not in NOISES.entry(name).needs)
        for seed in (-1, 2**32):
            with pytest.raises(InputError, match="seed"):
                kind.corrupt(rows(), 20, seed)
            with pytest.raises(InputError, match="seed"):
                kind.alike(kind.corrupt(rows(), 20, 1), rows(), rows(), seed)
        with pytest.raises(InputError, match="one of the settings"):
            get(name, {"colour": 3})


class Shift(Noise):
    """Moves the first rows by a number of classes."""

    by: int = 1
    """How far."""

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        given = rows.split.labels.copy()
        given[:budget] = (given[:budget] + self.by) % rows.num_classes
        return Corruption("shift", seed, given, rows.split.labels)


class TestInputs:
    def test_a_registered_stranger_works_with_an_input_of_its_own(self) -> None:
        register("shift", Shift)
        try:
            kind = get("shift", {"by": "3"})
            assert kind.recorded() == {"options": {"by": 3}} and get("shift").recorded() == {}
            assert "shift" in available()
            found = kind.corrupt(rows(), 20, 0)
            np.testing.assert_array_equal(found.given_labels[:20], (found.true_labels[:20] + 3) % 10)
            assert kind.alike(found, rows(), rows(make_split(100)), 1).budget == 10
            assert corrupt("shift", make_split(), budget=7, seed=0, num_classes=10).budget == 7
            options = {"num_classes": 10, "options": {"by": 3}}
            same = corrupt("shift", make_split(), budget=20, seed=0, **options)
            assert same.sha256() == found.sha256()
            alike = corrupt_alike(same, make_split(100), seed=1, **options)
            assert alike.sha256() == kind.alike(found, rows(), rows(make_split(100)), 1).sha256()
            with pytest.raises(InputError, match=r"pair\.by"):
                corrupt("pair", make_split(), budget=20, seed=0, **options)
        finally:
            NOISES.remove("shift")

    def test_inputs_are_recorded_as_they_build_it_again(self) -> None:
        for name, options in (("backdoor", {"target": 3}), ("asymmetric", {"label_map": {1: 7}})):
            kind = get(name, options)
            assert get(name, json.loads(json.dumps(kind.recorded()))["options"]) == kind
        human = get("human", {"labels_file": None, "labels_key": "aggre_label"})
        assert human.recorded() == {"labels_key": "aggre_label"}

    def test_the_training_rows_say_which_subclasses_move(self) -> None:
        kind, train = get("subclass-dominant"), rows()
        kept = np.flatnonzero((train.fine_labels % 5 != 0) | (train.split.labels > 4))
        other = Rows(train.split.subset(kept), 10, fine_labels=train.fine_labels[kept])
        moved = list(moved_subclasses(train.split.labels, train.fine_labels, 10))
        assert moved != list(moved_subclasses(other.split.labels, other.fine_labels, 10))
        alike = kind.alike(kind.corrupt(train, 20, 0), train, other, 1)
        assert alike.budget > 0 and set(other.fine_labels[alike.rows]) <= set(moved)

    def test_other_rows_get_the_patch_of_the_corruption(self) -> None:
        found = get("backdoor", {"target": 3}).corrupt(rows(), 20, 0)
        for kind in (get("backdoor", {"target": 3}), get("backdoor")):
            assert kind.alike(found, rows(), Rows(make_split(50), 10, pixel_max=1.0), 1).patch == found.patch


def test_no_kind_needs_keras_or_tensorflow() -> None:
    code = "import sys, unlearning.noise as n; [n.NOISES.load(k) for k in n.available()]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"keras", "tensorflow", "sklearn"} & set(done.stdout.split())
