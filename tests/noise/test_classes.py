"""Noise between classes against hand-computed rows and restated procedures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support.noise import make, make_split
from support.paths import GOLDEN as GOLDEN_FILES
from unlearning.errors import InputError
from unlearning.noise import corrupt, corrupt_alike
from unlearning.noise.kinds.asymmetric import cifar100_map
from unlearning.task import Split

GOLDEN = json.loads((GOLDEN_FILES / "noise.json").read_text())


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
