"""Means, standard deviations and paired differences against closed forms."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import cli
from support.paths import FIXTURES
from unlearning.errors import InputError
from unlearning.experiments.results.compare import FEWEST_PAIRS, compare_methods, compare_pairs, mean_std
from unlearning.experiments.results.reader import read_folders
from unlearning.experiments.results.tree import Repair
from unlearning.records.schema import schema_of
from unlearning.reporting.tables import format_comparison, format_results

SYMMETRIC = FIXTURES / "cifar10-20000-cnn_small-symmetric"
BUDGET = 5000  # one budget of it: others were measured with other methods


def repairs_below(folder: Path) -> list[Repair]:
    return read_folders([folder], strict=True).repairs()


def measured(folder: Path = SYMMETRIC) -> list[Repair]:
    return [entry for entry in repairs_below(folder) if entry.budget == BUDGET]


class TestMeanAndDeviation:
    def test_closed_form(self) -> None:
        mean, std = mean_std([1.0, 2.0, 6.0])
        assert mean == pytest.approx(3) and std == pytest.approx(math.sqrt((4 + 1 + 9) / 2))

    def test_too_few(self) -> None:
        assert mean_std([]) == (None, None) and mean_std([2.5]) == (2.5, None)

    def test_the_schema_says_what_it_is_over(self) -> None:
        fields = schema_of("comparison")["$defs"]["Summary"]["properties"]
        assert "over these seeds (divisor `count - 1`)" in fields["std"]["description"]


class TestPairs:
    def test_the_mean_difference_is_paired(self) -> None:
        """A shift common to both, however wild between seeds, leaves no spread."""
        control = np.array([0.1, 0.9, 0.4, 0.6])
        found = compare_pairs((control + 0.05).tolist(), control.tolist())
        assert found.mean == pytest.approx(0.05) and found.std == pytest.approx(0, abs=1e-12)
        assert found.low == pytest.approx(0.05) and found.high == pytest.approx(0.05)

    @pytest.mark.parametrize("pairs", range(FEWEST_PAIRS))
    def test_no_interval_from_fewer_than_three(self, pairs: int) -> None:
        found = compare_pairs([1.0] * pairs, [0.5] * pairs)
        assert (found.low, found.high, found.interval) == (None, None, None) and "fewer than 3 pairs" in found.note
        assert found.pairs == pairs and found.mean == (0.5 if pairs else None)

    def test_three_pairs_give_the_extremes(self) -> None:
        """One resample in 27 is three times the smallest: more than 2.5 %, so the percentile interval ends there."""
        found = compare_pairs([1.0, 2.0, 4.0], [0.0, 0.0, 0.0])
        assert (found.low, found.high, found.interval, found.note) == (1.0, 4.0, "percentile", "")

    def test_many_pairs_agree_with_the_normal_interval(self) -> None:
        values = np.random.default_rng(0).normal(2.0, 1.0, 400)
        found = compare_pairs(values.tolist(), [0.0] * 400)
        half = 1.96 * values.std(ddof=1) / 20
        assert found.interval == "BCa"
        assert found.low == pytest.approx(values.mean() - half, abs=0.02)
        assert found.high == pytest.approx(values.mean() + half, abs=0.02)

    def test_equal_differences_have_an_interval_of_no_width(self) -> None:
        found = compare_pairs([1.0] * 20, [0.5] * 20)
        assert (found.low, found.high) == (0.5, 0.5) and found.interval == "percentile"

    def test_the_seed_is_fixed(self) -> None:
        values = np.random.default_rng(1).normal(size=12).tolist()
        assert compare_pairs(values, [0.0] * 12) == compare_pairs(values, [0.0] * 12)

    @pytest.mark.parametrize(("method", "control"), [([1.0], []), ([math.nan], [1.0]), ([math.inf], [1.0])])
    def test_bad_input(self, method: list[float], control: list[float]) -> None:
        with pytest.raises(InputError):
            compare_pairs(method, control)


class TestMethods:
    def test_pairs_are_of_one_seed(self) -> None:
        entries = measured()
        comparison = compare_methods(entries, "fine-tuning")
        assert comparison.control == "fine-tuning (constant)", "the records are of version 0.1"
        (row,) = [row for row in comparison.methods if row.method == "sap"]
        after = {(e.name, e.seed): e.results.acc_after_fix for e in entries}
        expected = [after["sap", seed] - after["fine-tuning", seed] for seed in (42, 43, 44)]
        assert row.seeds == [42, 43, 44]
        assert row.differences["acc_after_fix"].mean == pytest.approx(np.mean(expected))
        assert row.differences["acc_after_fix"].std == pytest.approx(np.std(expected, ddof=1))
        assert row.differences["seconds"].pairs == 3 and comparison.methods[0].method == comparison.control
        assert comparison.methods[0].differences == {}

    def test_seeds_without_control_are_left_out(self, tmp_path: Path) -> None:
        shutil.copytree(SYMMETRIC, tmp_path / "e")
        shutil.rmtree(tmp_path / "e/budget-5000/seed-43/fine-tuning")
        comparison = compare_methods(measured(tmp_path / "e"), "fine-tuning")
        (row,) = [row for row in comparison.methods if row.method == "sap"]
        assert row.seeds == [42, 43, 44] and row.differences["acc_after_fix"].pairs == 2
        assert row.differences["acc_after_fix"].low is None
        assert "no interval from fewer than 3 pairs" in format_comparison(comparison)

    def test_one_name_of_two_versions_is_two_methods(self, tmp_path: Path) -> None:
        """Neither is averaged with the other, or taken for it."""
        shutil.copytree(SYMMETRIC, tmp_path / "e")
        path = tmp_path / "e/budget-5000/seed-43/fine-tuning/unlearning_results.json"
        content = json.loads(path.read_text())
        content["config"]["hyperparameters"]["schedule"] = "linear"
        path.write_text(json.dumps(content))
        entries = measured(tmp_path / "e")
        comparison = compare_methods(entries, "fine-tuning")
        seeds = {row.method: row.seeds for row in comparison.methods}
        assert comparison.control == "fine-tuning"
        assert (seeds["fine-tuning"], seeds["fine-tuning (constant)"]) == ([43], [42, 44])
        table = format_results([e.results for e in entries])
        assert re.search(r"fine-tuning \(constant\) +2 ", table) and re.search(r"fine-tuning +1 ", table)

    def test_unknown_control_and_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="fine-tuning"):
            compare_methods(measured(), "hope")
        with pytest.raises(InputError, match="repairs"):
            compare_methods(repairs_below(tmp_path), "fine-tuning")

    def test_the_tables_of_results_use_the_same_numbers(self) -> None:
        entries = measured()
        after = [100 * e.results.acc_after_fix for e in entries if e.name == "second-order"]
        mean, std = mean_std(after)
        (line,) = [
            line
            for line in format_results([e.results for e in entries]).splitlines()
            if " second-order " in line and "±" in line
        ]
        assert f"{mean:.1f} ± {std:.1f}" in line

    def test_different_experiments_are_not_averaged(self) -> None:
        """Two objectives with three seeds each share budget and method: two means over three, none over six."""
        done = CliRunner().invoke(cli.main, ["show", str(FIXTURES / "digits-symmetric-objectives")])
        lines = done.output.splitlines()
        assert done.exit_code == 0 and lines.count("Mean ± standard deviation over seeds:") == 2
        assert len([line for line in lines if "±" in line and line.split()[:3] == ["314", "sap", "3"]]) == 2
        assert max(map(len, lines)) <= 100
        assert len([line for line in lines if line.startswith("told:")]) == 1
        everything = CliRunner().invoke(cli.main, ["show", str(FIXTURES)]).output.splitlines()
        assert max(map(len, everything)) <= 100


class TestCommand:
    @pytest.mark.parametrize("folder", ["cifar10-20000-cnn_small-symmetric", "digits-symmetric-objectives", "."])
    def test_table(self, folder: str) -> None:
        control = "sap" if "digits" in folder else "fine-tuning"
        done = CliRunner().invoke(cli.main, ["show", "--compare", str(FIXTURES / folder), "--control", control])
        assert done.exit_code == 0, done.output
        assert max(map(len, done.output.splitlines())) <= 100 and "±" in done.output

    def test_json_is_what_the_schema_says(self) -> None:
        from jsonschema import Draft202012Validator

        done = CliRunner().invoke(cli.main, ["show", "--compare", str(SYMMETRIC), "--json"])
        content = json.loads(done.output)
        Draft202012Validator(schema_of("comparison")).validate(content)
        assert content["control"] == "fine-tuning (constant)"
        groups = {(entry.budget, entry.name) for entry in repairs_below(SYMMETRIC)}
        assert len(content["methods"]) == len(groups) > 1

    def test_a_missing_folder_is_one_line(self, tmp_path: Path) -> None:
        done = CliRunner().invoke(cli.main, ["show", "--compare", str(tmp_path / "nowhere")])
        assert done.exit_code == 2 and "no folder" in done.output
