"""Levels of a model: what enters them is computed once, one from the other; a training moves only what lies above."""

import numpy as np
import pytest

from support.small import small_model
from unlearning.interop import as_logit_model
from unlearning.methods.choosing.course import Course
from unlearning.methods.choosing.levels import Level, Table


def test_a_table_computes_each_row_once_and_only_when_it_is_asked_for() -> None:
    asked = []

    def compute(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return np.stack([rows, rows**2], axis=1).astype("float32")

    table = Table(compute, 100)
    np.testing.assert_array_equal(table.take(np.array([5, 2, 5]))[:, 1], [25, 4, 25])
    np.testing.assert_array_equal(table.take(np.array([2, 7]))[:, 0], [2, 7])
    assert sorted(asked) == [2, 5, 7]


def test_a_table_widens_where_half_precision_does_not_hold_what_comes() -> None:
    def compute(rows: np.ndarray) -> np.ndarray:
        return rows[:, None].astype("float16") if rows[0] == 1 else np.full((len(rows), 1), 1e6, "float32")

    table = Table(compute, 5)
    table.take(np.array([1]))
    np.testing.assert_array_equal(table.take(np.array([1, 2]))[:, 0], [1.0, 1e6])


@pytest.fixture
def levels():
    model = as_logit_model(small_model())
    images = np.random.default_rng(0).standard_normal((40, 6, 6, 1)).astype("float32")
    asked: list[int] = []

    def read(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return images[rows]

    def make(name: str, below: Level | None = None) -> Level:
        return Level(model, name, {"train": read}, {"train": 40}, closed=False, num_classes=3, below=below)

    lower = make("hidden")
    return model, images, asked, lower, make("logits", lower), make("all")


def test_a_level_says_what_the_whole_model_says(levels) -> None:
    model, images, _, lower, upper, everything = levels
    rows = np.array([3, 1, 39, 3])
    expected = np.asarray(model(images[rows], training=False))
    for level in (lower, upper, everything):
        np.testing.assert_allclose(level.scores("train", rows), expected, atol=2e-3)
    assert [level.is_cached for level in (lower, upper, everything)] == [True, True, False]
    assert upper.parameters < lower.parameters < everything.parameters


def test_an_upper_level_is_made_from_the_lower_one_without_another_look_at_the_images(levels) -> None:
    _, _, asked, lower, upper, _ = levels
    lower.prepare("train", np.arange(10))
    asked.clear()
    upper.prepare("train", np.arange(10))
    assert asked == []
    upper.prepare("train", np.array([20]))
    assert asked == [20]


@pytest.mark.parametrize("pull", [0.0, 5.0])
def test_a_training_moves_what_lies_above_and_fits_what_it_is_told(levels, pull: float) -> None:
    model, _, _, lower, _, _ = levels
    before = {layer.name: layer.get_weights() for layer in model.layers}
    rows, labels = np.arange(40), np.arange(40) % 3
    weights = np.eye(3, dtype="float32")[labels]

    def loss() -> float:
        scores = lower.scores("train", rows)
        return float(np.mean(np.log(np.exp(scores).sum(1)) - scores[rows, labels]))

    at_first = loss()
    made = lower.train(
        rows,
        lambda places: weights[places],
        course=Course(60, lambda: 1e6),
        peak=0.02,
        pull=pull,
        seed=1,
        batch_size=20,
    )
    moved = {
        name
        for name, old in before.items()
        if any(not np.array_equal(a, b) for a, b in zip(old, model.get_layer(name).get_weights(), strict=True))
    }
    assert made.steps == 60 and made.gradient_rows == 60 * 20
    assert loss() < at_first - 0.1
    assert moved == {"hidden", "logits"}
