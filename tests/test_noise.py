"""Noise kinds against hand-computed rows and restated procedures, and the corruption record."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from unlearning.errors import InputError
from unlearning.noise import NOISE_KINDS, Corruption, Patch, corrupt, corrupt_alike
from unlearning.noise.labels import cifar100_map
from unlearning.task import REMOVED, Split

GOLDEN = json.loads((Path(__file__).parent / "golden" / "noise.json").read_text())
SYNTHETIC = sorted(set(NOISE_KINDS) - {"human"})


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
