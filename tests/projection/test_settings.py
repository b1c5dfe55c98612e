"""Every setting of the projection, and what is refused."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from support.projection import (
    TOY,
    attached,
    holds,
    random_split,
    two_layers,
)
from unlearning import methods
from unlearning.errors import InputError
from unlearning.interop import copy_model
from unlearning.projection.callback import ScaledActivationProjection
from unlearning.projection.settings import ProjectionSettings
from unlearning.task import Split


class TestSettings:
    """Every setting through the callback, on a trained network with a convolution and a batch normalisation."""

    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"per_layer": True, "alphas": (300.0, 30.0)},
            {"rounds": 2},
            {"batch_norm_rows": 100},
            {"per_layer": True, "rounds": 2, "batch_norm_rows": 64, "alphas": (300.0, 30.0)},
            {"statistics": "isotropic"},
            {"selection": "curvature"},
            {"selection": "random"},
            {"balanced": False, "candidates": 100},
            {"max_rows": 50},
            {"patience": 1},
        ],
        ids=lambda settings: "-".join(settings) or "toy",
    )
    def test_guard_holds(self, settings, poisoned) -> None:
        model, task = copy_model(poisoned[0]), poisoned[1]
        before = model.get_weights()
        report = attached(model, task.train, task.validation, **{**TOY, **settings}).project()
        holds(report, model, task.validation, before)
        assert len(report.trusted_rows) == 60
        if settings.get("balanced", True):
            assert np.bincount(task.train.labels[report.trusted_rows]).tolist() == [20, 20, 20]
        if "max_rows" in settings:
            assert report.layers[0]["rows"] == 60

    @pytest.mark.parametrize(
        ("include", "exclude", "projected"),
        [(("hidden", "log*"), (), {"hidden", "logits"}), (("*",), ("h*",), {"conv", "logits"})],
    )
    def test_patterns(self, include, exclude, projected: set[str], poisoned) -> None:
        model, task = copy_model(poisoned[0]), poisoned[1]
        before = model.get_weights()
        report = attached(model, task.train, task.validation, **TOY, include=include, exclude=exclude).project()
        holds(report, model, task.validation, before)
        assert report.applied and set(report.alphas[0]) == projected
        assert {row["name"] for row in report.layers} == projected
        assert {name for name, reason in report.skipped.items() if reason == "not selected"} == (
            {"conv", "hidden", "logits"} - projected
        )
        for name in ("conv", "hidden", "logits"):
            old, new = (np.array(m.get_layer(name).kernel) for m in (poisoned[0], model))
            assert np.array_equal(old, new) == (name not in projected)

    def test_settings_object_and_overrides(self, poisoned) -> None:
        model, task = copy_model(poisoned[0]), poisoned[1]
        settings = ProjectionSettings(trusted_count=33, alphas=(1e3, 100.0))
        report = attached(model, task.train, task.validation, settings=settings, alphas=(50.0,)).project()
        assert len(report.trusted_rows) == 33
        assert [row["alpha"] for row in report.history] == [None, 50.0]

    @pytest.mark.parametrize(
        ("settings", "argument"),
        [
            ({"alphas": (1.0,)}, "alphas.0"),
            ({"alphas": (1e3, 0.5)}, "alphas.1"),
            ({"alphas": (float("nan"),)}, "alphas.0"),
            ({"alphas": ()}, "alphas"),
            ({"trusted_count": 0}, "trusted_count"),
            ({"patience": 0}, "patience"),
            ({"rounds": 0}, "rounds"),
            ({"max_rows": 0}, "max_rows"),
            ({"trusted_count": 50, "candidates": 49}, "candidates"),
            ({"batch_norm_rows": -1}, "batch_norm_rows"),
        ],
    )
    def test_bad_settings(self, settings: dict[str, Any], argument: str) -> None:
        split = random_split()
        with pytest.raises(InputError, match=f"`{argument}`"):
            ScaledActivationProjection(split, split, **settings)
        with pytest.raises(InputError, match=rf"`sap\.{argument}`"):
            methods.get("sap", settings)

    @pytest.mark.parametrize(
        ("arguments", "argument"),
        [
            ({"every": 0}, "every"),
            ({"alpha": 3.0}, "alpha"),
            ({"trusted_rows": np.empty(0, np.int64)}, "trusted_rows"),
            ({"trusted_rows": np.array([0, 40])}, "trusted_rows"),
            ({"trusted_rows": np.array([-1, 3])}, "trusted_rows"),
            ({"trusted_rows": np.array([[1, 2]])}, "trusted_rows"),
        ],
    )
    def test_bad_arguments(self, arguments: dict[str, Any], argument: str) -> None:
        split = random_split()
        with pytest.raises(InputError, match=f"`{argument}`"):
            ScaledActivationProjection(split, split, **arguments)

    @pytest.mark.parametrize("part", ["train", "validation"])
    def test_empty_data(self, part: str) -> None:
        parts = {"train": random_split(), "validation": random_split()}
        parts[part] = Split(np.empty((0, 2, 2, 1), np.float32), np.empty(0, np.int64))
        with pytest.raises(InputError, match=f"`{part}`"):
            ScaledActivationProjection(parts["train"], parts["validation"])

    def test_bad_patterns_and_models(self) -> None:
        split = random_split()
        with pytest.raises(InputError, match="`include`"):
            attached(two_layers(), split, split, include=("conv*",)).project()
        model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
        with pytest.raises(InputError, match="no layer to project"):
            attached(model, split, split).project()

    @pytest.mark.parametrize("rows", [np.arange(40) > 20, np.array([0.5, 3.9])], ids=["mask", "floats"])
    def test_trusted_rows_that_are_no_row_numbers(self, rows: np.ndarray) -> None:
        with pytest.raises(InputError, match="`trusted_rows`"):
            ScaledActivationProjection(random_split(), random_split(), trusted_rows=rows)

    @pytest.mark.parametrize("name", ["selection", "statistics"])
    def test_a_misspelt_choice_is_refused_before_training(self, name: str) -> None:
        settings: dict[str, Any] = {name: "nonsense"}
        with pytest.raises(InputError, match=f"`{name}`"):
            ScaledActivationProjection(random_split(), random_split(), **settings)
