"""Every purpose draws by itself: what one seed makes wrong, the same seed does not draw again for another purpose."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.model_selection import KFold, StratifiedKFold

from support.methods import typical_names
from unlearning import detection, methods
from unlearning.noise import NOISES, Rows, get
from unlearning.records import PoisonConfig
from unlearning.streams import stream, stream_seed
from unlearning.task import Corrections, Split, UnlearningTask

ROWS, BAD, CLASSES, SEED = 6_000, 1_200, 10, 42


class TestStreams:
    def test_names_and_seeds_tell_streams_apart(self) -> None:
        names = [(), (0,), (1,), ("a",), ("a", 0), ("a", 0, 0), ("b",)]
        draws = {stream(seed, "x", *name).bytes(8) for seed in (0, 1, 2**32) for name in names}
        assert len(draws) == 3 * len(names)
        assert stream(7, "x", 3).bytes(8) == stream(7, "x", 3).bytes(8)

    def test_no_stream_is_that_of_a_bare_seed(self) -> None:
        """NumPy pads seeds with zeros: `(seed, 0)` is `seed`."""
        bare = {np.random.default_rng(key).bytes(8) for key in (5, (5, 0), (5, 1), (0, 5), (1, 5))}
        assert stream(5, 0).bytes(8) not in bare and stream(5, "noise").bytes(8) not in bare

    def test_a_seed_for_others_fits_them(self) -> None:
        seeds = {stream_seed(seed, "folds") for seed in range(200)}
        assert len(seeds) == 200 and all(0 <= seed < 2**32 for seed in seeds)

    def test_a_stream_has_a_name(self) -> None:
        with pytest.raises(ValueError, match="name"):
            stream(1)


class Recording(np.random.Generator):
    """A generator that notes which rows it draws from all rows."""

    drawn: list[np.ndarray]

    def choice(self, a: Any, size: Any = None, replace: bool = True, *args: Any, **kwargs: Any) -> Any:
        result = super().choice(a, size, replace, *args, **kwargs)
        if not replace and np.size(np.arange(a) if np.isscalar(a) else a) == ROWS and 0 < np.size(result) < ROWS:
            self.drawn.append(np.asarray(result))
        return result

    def permutation(self, x: Any, axis: int = 0) -> Any:
        result = super().permutation(x, axis)
        if np.size(result) == ROWS:
            self.drawn.append(np.asarray(result)[: ROWS // 5])
        return result


@pytest.fixture
def drawn(monkeypatch) -> list[np.ndarray]:
    """Notes the rows that anything draws from all rows, folds of scikit-learn included."""
    rows: list[np.ndarray] = []

    def recording(seed: Any = None) -> np.random.Generator:
        generator = Recording(np.random.PCG64(seed))
        generator.drawn = rows
        return generator

    def noting(splitter: Any) -> Any:
        def split(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            for taught, judged in original(self, *args, **kwargs):
                if len(taught) + len(judged) == ROWS:
                    rows.append(judged)
                yield taught, judged

        original = splitter.split
        return split

    monkeypatch.setattr(np.random, "default_rng", recording)
    for splitter in (KFold, StratifiedKFold):
        monkeypatch.setattr(splitter, "split", noting(splitter))
    return rows


@pytest.fixture(scope="module")
def split() -> Split:
    """Rows with true labels; the classes are visible, so that everything has something to learn."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, ROWS)
    images = rng.uniform(0, 100, (ROWS, 6, 6, 1)).astype(np.float32)
    images[np.arange(ROWS), labels % 6, labels // 6 + 2, 0] += 100
    return Split(images, labels)


@pytest.fixture(scope="module")
def bad(split) -> dict[str, np.ndarray]:
    """By kind of noise, the rows that a cell of the seed has wrong."""
    fine = split.labels * 2 + np.arange(ROWS) % 2
    rows = Rows(split, CLASSES, "cifar10", np.array([f"train_{i:05}" for i in range(ROWS)]), 255.0, fine)
    found = {}
    for name in NOISES.names():
        kind = get(name)
        if kind.needs_budget:
            seed = PoisonConfig(noise=name, budget=BAD // 4, seed=SEED).draw_seed("train")
            found[name] = kind.corrupt(rows, BAD // 4, seed).rows
    assert len(found) >= 8
    return found


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(2, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(6, "relu"),
            layers.Dense(10),
        ]
    )


def assert_independent(drawn: list[np.ndarray], bad: dict[str, np.ndarray]) -> None:
    """The overlap of draws with wrong rows is that of chance (hypergeometric), within five standard deviations."""
    for kind, wrong in bad.items():
        for rows in drawn:
            share = len(wrong) / ROWS
            deviation = math.sqrt(len(rows) * share * (1 - share) * (1 - len(rows) / ROWS))
            overlap = len(np.intersect1d(rows, wrong))
            assert abs(overlap - len(rows) * share) < 5 * deviation, (kind, len(rows), overlap)


QUICK: dict[str, dict[str, Any]] = {
    "auto": {"epochs": 1, "least_steps": 5},
    "first-order-reference": {"steps": 1},
    "second-order": {"steps": 1},
    "second-order-lissa": {"steps": 1, "lissa_iterations": 3},
    "fspmu": {"epochs": 1},
    "fspmu-corrected": {"epochs": 1},
    "fspmu-reference": {"epochs": 1},
    "fspmu-gmm": {"epochs": 1},
    "fspmu-memorised": {"epochs": 1, "probe_epochs": 1},
    "scrub": {"epochs": 1},
    "sharding": {"epochs": 1, "shards": 2},
    "retraining": {"epochs": 1},
    "retraining-unflagged": {"epochs": 1},
    "ssd": {"squares": "batches"},
}
TUNING = {"epochs": 1, "learning_rates": [1e-3]}
DRAWS = {"second-order", "sap", "fspmu-memorised", "ssd", "sharding", "retraining", "fine-tuning"}
"""Those that must be seen drawing among all rows, or the recording has gone blind."""


@pytest.mark.parametrize("name", typical_names(methods.METHODS.names()))
def test_what_a_method_draws_has_nothing_to_do_with_what_is_wrong(name: str, model, split, bad, drawn) -> None:
    rows = np.arange(0, 600)
    task = UnlearningTask(
        train=split,
        corrections=Corrections(rows, (split.labels[rows] + 1) % CLASSES),
        validation=split.subset(np.arange(500)),
        num_classes=CLASSES,
        seed=SEED,
    )
    entry = methods.entry(name)
    options = TUNING if entry.family == "fine-tuning" else QUICK.get(name, {})
    options = options | (
        {"candidates": BAD, "alphas": [1000.0], "batch_norm_rows": 500} if entry.family == "sap" else {}
    )
    methods.get(name, options).unlearn(model, task)
    assert drawn or name not in DRAWS
    assert_independent(drawn, bad)


@pytest.mark.parametrize("options", [{}, {"folds": 5}], ids=["plain", "folds"])
@pytest.mark.parametrize("name", detection.DETECTORS.names())
def test_what_a_detector_draws_has_nothing_to_do_with_what_is_wrong(
    name: str, options: dict[str, int], model, split, bad, drawn
) -> None:
    if missing := [p for p in detection.DETECTORS.entry(name).needs if importlib.util.find_spec(p) is None]:
        pytest.skip(f"{', '.join(missing)} is not installed")
    fields = detection.DETECTORS.load(name).model_fields
    if options and "folds" not in fields:
        return
    quick = {"epochs": 1, "filters": 8, "probe": "neighbours"} | ({"judge": "neighbours"} if options else {})
    detection.get(name, {k: v for k, v in quick.items() if k in fields} | options).detect(model, split, CLASSES, SEED)
    assert drawn or not options
    assert_independent(drawn, bad)


def test_noise_of_the_parts_of_the_data_is_drawn_apart(split, bad) -> None:
    rows = Rows(split, CLASSES, "cifar10")
    for name in ("symmetric", "pair", "flip-pairs"):  # those that draw among all rows
        config = PoisonConfig(noise=name, budget=BAD // 4, seed=SEED)
        parts = [get(name).corrupt(rows, BAD // 4, config.draw_seed(part)).rows for part in ("validation", "test")]
        assert_independent(parts, {name: bad[name]})
        assert_independent(parts[:1], {name: parts[1]})


def test_a_cell_of_version_0_1_keeps_its_draws() -> None:
    config = PoisonConfig(noise="pair", budget=5, seed=42, streams="seed")
    assert [config.draw_seed(part) for part in ("train", "validation", "test")] == [42, 10_042, 20_042]
