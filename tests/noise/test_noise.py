"""Noise kinds against hand-computed rows and restated procedures, and the corruption record."""

from __future__ import annotations

import json
import logging
import os
import random
from pathlib import Path

import numpy as np
import pytest

from support.paths import GOLDEN as GOLDEN_FILES
from unlearning.errors import InputError
from unlearning.noise import NOISES, Corruption, Patch, corrupt, corrupt_alike
from unlearning.noise.asymmetric import CIFAR10_MAP, cifar100_map
from unlearning.noise.recorded import (
    example_numbers,
    in_published_order,
    labels_sha256,
    read_labels,
    write_labels,
)
from unlearning.noise.subclass import moved_subclasses
from unlearning.task import REMOVED, Split

GOLDEN = json.loads((GOLDEN_FILES / "noise.json").read_text())
INCLUSIVE = ("symmetric-inclusive", "asymmetric-inclusive")
FROM_FILE = tuple(name for name in NOISES if "labels_file" in NOISES.entry(name).needs)
SYNTHETIC = sorted(set(NOISES) - {*FROM_FILE, *INCLUSIVE, "subclass-dominant"})


def make_split(rows: int = 200, classes: int = 10, seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (rows, 8, 8, 3)).astype(np.uint8), rng.integers(0, classes, rows))


def make(kind: str, split: Split, budget: int = 40, seed: int = 0, **options) -> Corruption:
    return corrupt(
        kind, split, **{"budget": budget, "seed": seed, "num_classes": 10, "data_name": "cifar10", **options}
    )


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


class TestFlipPairs:
    @pytest.mark.parametrize(("rows", "classes", "budget"), [(50_000, 10, 10_000), (50_000, 10, 2_500), (90, 3, 20)])
    def test_equals_the_published_procedure(self, rows: int, classes: int, budget: int) -> None:
        """Restated with the legacy global generator and one-hot labels, as the published code uses them."""
        labels = np.random.default_rng(1).integers(0, classes, rows)
        state = np.random.get_state()
        np.random.seed(42)
        order = np.random.permutation(rows)
        np.random.set_state(state)
        one_hot, expected_rows = np.eye(classes)[labels], []
        for source in range(classes):
            of_class = [i for i in order if labels[i] == source][: budget // classes]
            for i in of_class:
                one_hot[i] = np.eye(classes)[classes - 1 - source]
            expected_rows += of_class
        split = Split(np.zeros((rows, 1, 1, 1), np.uint8), labels)
        corruption = corrupt("flip-pairs", split, budget=budget, seed=42, num_classes=classes)
        np.testing.assert_array_equal(corruption.given_labels, one_hot.argmax(-1))
        moved = [i for i in expected_rows if labels[i] != classes - 1 - labels[i]]  # an odd K has a class facing itself
        np.testing.assert_array_equal(corruption.rows, np.sort(moved))

    def test_golden_rows(self) -> None:
        golden = GOLDEN["flip_pairs"]
        split = Split(np.zeros((20, 1, 1, 1)), np.arange(20) % 10)
        corruption = corrupt("flip-pairs", split, budget=10, seed=42, num_classes=10)
        assert corruption.rows.tolist() == golden["rows"]
        assert corruption.given_labels.tolist() == golden["given_labels"]

    def test_small_classes_and_small_budgets_are_refused(self) -> None:
        labels = np.array([0] * 50 + [1] * 3)
        split = Split(np.zeros((53, 1, 1, 1)), labels)
        with pytest.raises(InputError, match="class 1 has 3 rows"):
            corrupt("flip-pairs", split, budget=10, seed=0, num_classes=2)
        with pytest.raises(InputError, match="at least 10"):
            make("flip-pairs", make_split(), budget=9)

    @pytest.mark.parametrize(("classes", "flips"), [(2, 30), (3, 20), (5, 24)])
    def test_other_rows_get_the_same_rate_for_any_number_of_classes(self, classes: int, flips: int) -> None:
        """With an odd K the middle class faces itself, so budget 30 makes only 30 (K-1)/K flips."""
        split = Split(np.zeros((150, 1, 1, 1)), np.arange(150) % classes)
        corruption = corrupt("flip-pairs", split, budget=30, seed=0, num_classes=classes)
        alike = corrupt_alike(corruption, split, num_classes=classes, seed=1)
        assert corruption.budget == alike.budget == flips
        assert corruption.rows.tolist() != alike.rows.tolist()

    @pytest.mark.parametrize(("rows", "flips"), [(49, 0), (50, 10), (99, 10), (100, 20)])
    def test_the_budget_of_other_rows_is_rounded_down(self, rows: int, flips: int) -> None:
        split, other = (Split(np.zeros((n, 1, 1, 1)), np.arange(n) % 10) for n in (200, rows))
        alike = corrupt_alike(make("flip-pairs", split), other, num_classes=10, seed=1)
        assert alike.budget == flips


class TestOtherKinds:
    def test_symmetric_reaches_every_other_class_evenly(self) -> None:
        split = make_split(20_000)
        corruption = make("symmetric", split, budget=10_000)
        shift = (corruption.given_labels - split.labels)[corruption.rows] % 10
        counts = np.bincount(shift, minlength=10)
        assert counts[0] == 0 and counts[1:].min() > 1000 and counts[1:].max() < 1220

    def test_pair_moves_to_the_next_class(self) -> None:
        split = make_split()
        corruption = make("pair", split)
        rows = corruption.rows
        np.testing.assert_array_equal(corruption.given_labels[rows], (split.labels[rows] + 1) % 10)

    def test_asymmetric_follows_the_map(self) -> None:
        corruption = make("asymmetric", make_split(2000), budget=400)
        pairs = set(zip(corruption.true_labels[corruption.rows], corruption.given_labels[corruption.rows], strict=True))
        assert pairs == {(9, 1), (2, 0), (4, 7), (3, 5), (5, 3)}

    def test_asymmetric_needs_a_map(self) -> None:
        with pytest.raises(InputError, match="map"):
            make("asymmetric", make_split(), data_name="digits")
        mapped = make("asymmetric", make_split(), budget=5, data_name="digits", label_map={1: 7})
        assert set(mapped.given_labels[mapped.rows]) == {7} and set(mapped.true_labels[mapped.rows]) == {1}
        with pytest.raises(InputError, match="label_map"):
            make("asymmetric", make_split(), label_map={1: 1})
        with pytest.raises(InputError, match="confusable"):
            make("asymmetric", make_split(), budget=150)

    def test_cifar100_map_stays_in_the_superclass(self) -> None:
        following = cifar100_map()
        assert sorted(following) == sorted(following.values()) == list(range(100))
        # aquatic mammals: beaver 4, dolphin 30, otter 55, seal 72, whale 95; trees: 47, 52, 56, 59, 96
        assert [following[k] for k in (4, 30, 55, 72, 95)] == [30, 55, 72, 95, 4]
        assert [following[k] for k in (47, 52, 56, 59, 96)] == [52, 56, 59, 96, 47]

    def test_instance_noise_depends_on_the_image(self) -> None:
        labels = np.zeros(400, np.int64)
        pattern = np.random.default_rng(1).normal(128, 60, (1, 8, 8, 3))
        images = np.concatenate([np.repeat(pattern, 200, 0), np.repeat(255 - pattern, 200, 0)])
        given = make("instance", Split(images, labels), budget=300).given_labels
        counts = [np.bincount(part[part > 0], minlength=10) / (part > 0).sum() for part in (given[:200], given[200:])]
        assert np.abs(counts[0] - counts[1]).sum() > 0.3, "opposite images should be mistaken for different classes"

    def test_backdoor_patches_and_relabels(self) -> None:
        split = make_split()
        corruption = make("backdoor", split, target=3, pixel_max=255.0)
        given = corruption.apply(split)
        rows = corruption.rows
        assert (given.labels[rows] == 3).all() and (split.labels[rows] != 3).all()
        assert (given.images[rows, -1:, -1:] == 255).all()
        changed = (given.images != split.images).any(axis=(1, 2, 3))
        assert set(np.flatnonzero(changed)) <= set(rows)
        np.testing.assert_array_equal(given.images[rows][:, :-1], split.images[rows][:, :-1])
        corrections = corruption.corrections(split)
        np.testing.assert_array_equal(corrections.images, split.images[rows])
        with pytest.raises(InputError, match="target"):
            make("backdoor", split, target=10)

    def test_unknown_kind(self) -> None:
        with pytest.raises(InputError, match="flip-pairs"):
            make("gaussian", make_split())


class TestInclusive:
    @pytest.mark.parametrize("kind", INCLUSIVE)
    def test_golden_rows(self, kind: str) -> None:
        golden = GOLDEN["inclusive"]
        split = Split(np.zeros((20, 1, 1, 1)), np.arange(20) % 10)
        corruption = make(kind, split, budget=10)
        assert corruption.given_labels.tolist() == golden[kind.removesuffix("-inclusive")]
        assert corruption.drawn == 10 and set(corruption.rows) <= set(golden["drawn"])

    def test_other_seeds_equal_the_restated_procedure(self) -> None:
        """Restated with the global generator, as the published code uses it."""
        split, state = make_split(500), random.getstate()
        random.seed(7)
        order = list(range(500))
        random.shuffle(order)
        drawn, expected = set(order[:200]), split.labels.tolist()
        for row in range(500):
            if row in drawn:
                expected[row] = random.randint(0, 9)
        random.setstate(state)
        assert make("symmetric-inclusive", split, budget=200, seed=7).given_labels.tolist() == expected
        expected = [CIFAR10_MAP.get(k, k) if row in drawn else k for row, k in enumerate(split.labels.tolist())]
        assert make("asymmetric-inclusive", split, budget=200, seed=7).given_labels.tolist() == expected
        assert random.getstate() == state

    def test_the_share_that_becomes_wrong(self) -> None:
        split = Split(np.zeros((20_000, 1, 1, 1), np.uint8), np.arange(20_000) % 10)
        symmetric = make("symmetric-inclusive", split, budget=10_000)
        assert abs(symmetric.rate - 0.45) < 0.01
        asymmetric = make("asymmetric-inclusive", split, budget=8_000)
        assert abs(asymmetric.rate - 0.2) < 0.01
        for corruption, drawn in ((symmetric, 0.5), (asymmetric, 0.4)):
            alike = corrupt_alike(corruption, split, num_classes=10, seed=1, data_name="cifar10")
            assert alike.drawn == 20_000 * drawn and abs(alike.rate - corruption.rate) < 0.01
            assert alike.rows.tolist() != corruption.rows.tolist()

    @pytest.mark.parametrize("kind", INCLUSIVE)
    def test_rows_with_example_ids_are_taken_in_their_order(self, kind: str) -> None:
        """tensorflow-datasets stores another order than the published one, for which the noise was drawn."""
        published, order = make_split(300), np.random.default_rng(1).permutation(300)
        stored = published.subset(order)
        ids = np.array([f"train_{i:05d}" for i in order])
        expected = make(kind, published, budget=90).given_labels
        np.testing.assert_array_equal(make(kind, stored, budget=90, ids=ids).given_labels, expected[order])
        unknown = np.array([f"image {i}" for i in order])
        by_row = make(kind, stored, budget=90)
        np.testing.assert_array_equal(make(kind, stored, budget=90, ids=unknown).given_labels, by_row.given_labels)
        assert (by_row.given_labels != expected[order]).any()

    @pytest.mark.parametrize("kind", INCLUSIVE)
    def test_record_and_requests(self, kind: str, tmp_path: Path) -> None:
        corruption = make(kind, make_split())
        corruption.save(tmp_path / "c.npz")
        assert Corruption.load(tmp_path / "c.npz").drawn == 40
        assert Corruption.load(tmp_path / "c.npz").sha256() == corruption.sha256()
        for budget in (0, 201, None):
            with pytest.raises(InputError, match="budget"):
                make(kind, make_split(), budget=budget)
        with pytest.raises(InputError, match="one id per row"):
            make(kind, make_split(), ids=np.array(["train_0"]))

    def test_asymmetric_needs_a_map(self) -> None:
        with pytest.raises(InputError, match="map"):
            make("asymmetric-inclusive", make_split(), data_name="digits")
        mapped = make("asymmetric-inclusive", make_split(), data_name="digits", label_map={1: 7})
        assert set(mapped.given_labels[mapped.rows]) == {7} and set(mapped.true_labels[mapped.rows]) == {1}


class TestSubclassDominant:
    @staticmethod
    def make_rows(rows: int, seed: int = 0) -> tuple[Split, np.ndarray]:
        """Four classes of five subclasses each; subclass `f` is in class `f % 4`."""
        fine = np.random.default_rng(seed).permutation(np.arange(rows) % 20)
        return Split(np.zeros((rows, 1, 1, 1)), fine % 4), fine

    def test_one_subclass_of_every_class_is_moved(self) -> None:
        split, fine = self.make_rows(1000)
        corruption = make("subclass-dominant", split, budget=120, num_classes=4, fine_labels=fine)
        rows = corruption.rows
        assert len(rows) == 120 and corruption.kind == "subclass-dominant"
        assert set(fine[rows]) == {0, 1, 2, 3}, "the first subclass of each class"
        np.testing.assert_array_equal(corruption.given_labels[rows], (split.labels[rows] + 1) % 4)
        assert moved_subclasses(split.labels, fine, 4) == {0: 1, 1: 2, 2: 3, 3: 0}
        other = make("subclass-dominant", split, budget=120, num_classes=4, fine_labels=fine, seed=1)
        assert other.rows.tolist() != rows.tolist() and set(fine[other.rows]) == {0, 1, 2, 3}

    def test_a_map_chooses_other_subclasses(self) -> None:
        split, fine = self.make_rows(1000)
        options = {"num_classes": 4, "fine_labels": fine}
        chosen = make("subclass-dominant", split, budget=50, label_map={17: 3}, **options)
        assert set(fine[chosen.rows]) == {17} and set(chosen.given_labels[chosen.rows]) == {3}
        for wrong in ({17: 1}, {17: 4}):
            with pytest.raises(InputError, match="label_map"):
                make("subclass-dominant", split, budget=50, label_map=wrong, **options)

    @pytest.mark.parametrize("budget", [100, 200])
    def test_other_rows_are_corrupted_alike(self, budget: int) -> None:
        """At the largest budget all moved rows are wrong, however many of them the other rows happen to have."""
        (split, fine), (other, other_fine) = self.make_rows(1000), self.make_rows(1000, seed=1)
        kept = np.flatnonzero((other_fine > 3) | (np.arange(1000) % 9 > 0))
        other, other_fine = other.subset(kept), other_fine[kept]
        corruption = make("subclass-dominant", split, budget=budget, num_classes=4, fine_labels=fine)
        moved = moved_subclasses(split.labels, fine, 4)
        for label_map in (None, moved):
            alike = corrupt_alike(corruption, other, num_classes=4, seed=5, label_map=label_map, fine_labels=other_fine)
            assert alike.budget == min(round(budget * len(other) / 1000), (other_fine < 4).sum())
            assert set(other_fine[alike.rows]) == {0, 1, 2, 3}

    def test_impossible_requests(self) -> None:
        split, fine = self.make_rows(100)

        def fails(match: str, **options) -> None:
            with pytest.raises(InputError, match=match):
                make("subclass-dominant", split, **{"num_classes": 4, "fine_labels": fine, "budget": 5, **options})

        fails("this data set has none", fine_labels=None)
        fails("this data set has none", fine_labels=None, label_map={1: 2})
        fails("at most 20", budget=21)
        fails("100 integers", fine_labels=fine[:-1])
        fails("100 integers", fine_labels=fine / 2)
        fails("within one class", fine_labels=fine // 4)


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

        monkeypatch.setattr("unlearning.noise.recorded.write_text", full)
        with pytest.raises(OSError, match="space"):
            write_labels(path, np.array([0]), force=True)
        assert read_labels(path).tolist() == [2, 2] and [p.name for p in path.parent.iterdir()] == ["l.json"]

    def test_the_hash_is_of_the_labels(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text("[1,0,  2]\n")
        write_labels(tmp_path / "b.json", np.array([1, 0, 2], np.uint8))
        assert labels_sha256(read_labels(tmp_path / "a.json")) == labels_sha256(read_labels(tmp_path / "b.json"))
        assert labels_sha256(np.array([1, 0])) != labels_sha256(np.array([1, 0, 2]))


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
