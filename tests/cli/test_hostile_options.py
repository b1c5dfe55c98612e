"""Absurd names and values: one clear line, nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.hostile import FUZZ, refused, refused_command
from unlearning import detection, methods
from unlearning.errors import InputError


class TestNames:
    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (("run", "--variant", "../../x"), "letters"),
            (("run", "--variant", "/x"), "letters"),
            (("run", "--variant", "a\x1b[2J"), "letters"),
            (("run", "--variant", "x" * 200), "letters"),
            (("run", "--data", "../../x"), ""),
            (("run", "--data", "../../x.npz"), "existing"),
            (("run", "--data", "a/../../../x"), ""),
            (("run", "--data", "clothing1m:../../x"), ""),
            (("run", "--model", "../../x"), "one of cnn"),
            (("run", "--methods", "../x"), "first-order"),
            (("run", "--noise", "../x"), "one of flip-pairs"),
            (("unlearn", "../../x", "budget-5/seed-1"), "first-order"),
            (("unlearn", "second-order", "budget-5/seed-1/../../.."), "run_dir"),
            (("detect", "../x.keras", "--detect", "../x", "--out", "o.csv"), "loss-mixture"),
            (("show", ".", "--compare", "--control", "../x"), ""),
            (("schema", "../x", "--out", "."), "train_config"),
        ],
    )
    def test_paths_in_names(
        self, tmp_path: Path, arguments: tuple, match: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "in" / "here").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "in" / "here")
        refused_command(list(arguments), tmp_path, match)


class TestOptions:
    @pytest.mark.parametrize(
        "value",
        ["NaN", "nan", "Infinity", "-inf", "1e999", "9" * 5000, "[" * 50_000, '{"a":1,"a":2}', '"\\ud800"', "\\u0000"],
    )
    @pytest.mark.parametrize(
        ("name", "field"),
        [("second-order", "smoothing"), ("second-order", "steps"), ("second-order", "dampings"), ("sap", "rounds")],
    )
    def test_absurd_hyperparameters(self, name: str, field: str, value: str) -> None:
        refused(lambda: methods.get(name, {field: value}), field)

    @pytest.mark.parametrize("value", ["NaN", "nan", "1e999", "[" * 50_000, "9" * 5000, "[NaN]"])
    def test_absurd_detector_options(self, value: str) -> None:
        refused(lambda: detection.get("loss-ranking", {"share": value}), "share")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--set", "second-order.steps=" + "[" * 50_000),
            ("--set", "second-order.smoothing=nan"),
            ("--learning-rate", "nan"),
            ("--learning-rate", "inf"),
            ("--weight-decay", "nan"),
            ("--objective", "sam", "--objective-option", "rho=nan"),
            ("--objective", "sam", "--objective-option", "rho=inf"),
            ("--rates", "nan"),
            ("--rates", "1e999"),
            ("--budgets", "9" * 5000),
            ("--seeds", "99999999999999999999"),
            ("--epochs", "-1"),
            ("--batch-size", "0"),
            ("--train-rows", "-5"),
            ("--data-seed", "-1"),
        ],
    )
    def test_absurd_settings(self, tmp_path: Path, arguments: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        refused_command(["run", "--quiet", *arguments], tmp_path)

    @FUZZ
    @given(text=st.one_of(st.text(max_size=60), st.from_regex(r"[\[\]{}0-9eE\-+.,\":a-zA-Z]{0,30}")))
    def test_any_text_is_a_value_or_an_error(self, text: str) -> None:
        for name, field in (("second-order", "dampings"), ("sap", "include"), ("fine-tuning", "learning_rates")):
            if field not in methods.get(name).config():
                continue
            try:
                chosen = methods.get(name, {field: text})
            except InputError:
                continue
            json.dumps(chosen.config(), allow_nan=False)
