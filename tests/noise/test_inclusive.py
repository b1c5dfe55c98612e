"""Noise whose drawn rows may keep their label."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from support.noise import make, make_split
from support.paths import GOLDEN as GOLDEN_FILES
from unlearning.errors import InputError
from unlearning.noise import Corruption, corrupt_alike
from unlearning.noise.kinds.asymmetric import CIFAR10_MAP
from unlearning.task import Split

GOLDEN = json.loads((GOLDEN_FILES / "noise.json").read_text())
INCLUSIVE = ("symmetric-inclusive", "asymmetric-inclusive")


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
