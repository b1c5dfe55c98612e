"""Derived numbers of repairs, and the tables and exports that have them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from support.paths import FIXTURES
from unlearning.experiments.results.columns import COLUMNS, GOLD, gap, gold_of, training_share
from unlearning.experiments.results.export import export_results
from unlearning.experiments.results.reader import read_folders
from unlearning.records import UnlearningResults
from unlearning.reporting.tables import format_entries, format_results, tabulate

SYMMETRIC = FIXTURES / "cifar10-20000-cnn_small-symmetric"


@pytest.fixture(scope="module")
def results() -> list[UnlearningResults]:
    """Repairs of three seeds, and beside them retrainings, of which there are no records."""
    found = [repair.ours for repair in read_folders([SYMMETRIC], strict=True).repairs()]
    kept = [result for result in found if result is not None and result.budget == 5000]
    plain = [result for result in kept if result.method == "fine-tuning"]
    return [*kept, *(result.model_copy(update={"method": GOLD, "acc_after_fix": 0.71}) for result in plain)]


class TestGap:
    def test_ends(self, results) -> None:
        gold = next(result for result in results if result.method == GOLD)
        before = gold.model_copy(update={"acc_after_fix": gold.acc_before_fix})
        assert gap(gold, gold) == 1.0 and gap(before, gold) == 0.0
        worse = gold.model_copy(update={"acc_after_fix": 2 * gold.acc_before_fix - gold.acc_after_fix})
        assert gap(worse, gold) == pytest.approx(-1.0)

    def test_undefined_without_a_better_retraining(self, results) -> None:
        gold = next(result for result in results if result.method == GOLD)
        level = gold.model_copy(update={"acc_after_fix": gold.acc_before_fix})
        assert gap(gold, None) is None and gap(gold, level) is None

    def test_each_cell_has_its_own(self, results) -> None:
        gold = gold_of((result.seed, result) for result in results)
        assert {seed: result.seed for seed, result in gold.items()} == {42: 42, 43: 43, 44: 44}
        assert {result.method for result in gold.values()} == {GOLD}

    def test_the_plain_variant_counts(self, results) -> None:
        gold = next(result for result in results if result.method == GOLD)
        other = gold.model_copy(update={"variant": "again"})
        for pair in ((gold, other), (other, gold)):
            assert gold_of((0, result) for result in pair) == {0: gold}
        assert gold_of([(0, other)]) == {0: other}


def test_share_of_training(results) -> None:
    for result in results:
        assert training_share(result) == result.unlearning_cpu_s / result.training_cpu_s
    assert training_share(results[0].model_copy(update={"training_cpu_s": 0.0})) is None


class TestExport:
    def test_it_has_them_with_all_digits(self, tmp_path: Path) -> None:
        repairs = export_results([SYMMETRIC], tmp_path / "r.csv")
        with (tmp_path / "r.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        gold = gold_of(((r.budget, r.seed), r.ours) for r in repairs)
        known = 0
        for repair, row in zip(repairs, rows, strict=True):
            expected = gap(repair.ours, gold.get((repair.budget, repair.seed)))
            assert row["gap"] == ("" if expected is None else str(expected))
            assert row["training_share"] == str(training_share(repair.ours))
            assert float(row["gain"]) == repair.ours.acc_after_fix - repair.ours.acc_before_fix
            same = [r for r in repairs if (r.budget, r.name) == (repair.budget, repair.name)]
            assert int(row["seeds"]) == len(same)
            for name in ("bad_label_agreement_after", "unlearning_duration_s", "unlearning_cpu_s"):
                assert name in row
            known += expected is not None
        assert known == 4 and len({row["seeds"] for row in rows}) > 1


class TestShow:
    @pytest.mark.parametrize("width", [80, 100, 140, 200])
    def test_it_fits_the_terminal_and_says_what_it_shows(self, width: int) -> None:
        entries = read_folders([SYMMETRIC], strict=True).repairs()
        lines = format_entries(entries, width=width).splitlines()
        assert max(map(len, lines)) <= width
        headings = [line for line in lines if line.split()[:1] == ["budget"]]
        assert len(headings) == 2
        for heading in headings:
            assert "after" in heading and "gap" in heading
        above = [line for line in lines if line.startswith("clean ")]
        assert above, "it is the same in all rows"
        (legend,) = [" ".join(lines[number:]) for number, line in enumerate(lines) if line.startswith("told:")]
        for column in COLUMNS.values():
            shown = any(f" {column.heading} " in f" {line} " for line in (*headings, *above))
            assert (f"{column.heading}: {column.meaning}" in legend) == shown, column.heading

    def test_wide_terminals_show_all(self, results) -> None:
        heading = " ".join(format_results(results, width=200).splitlines()[:2])  # and what is the same, above it
        for name in ("gap", "said", "seconds", "CPU s", "share", "clean", "products", "told"):
            assert name in heading
        assert "seeds" in format_results(results, width=200).split("Mean")[1]

    def test_what_nobody_knows_is_left_out(self, results) -> None:
        alone = [result for result in results if result.method != GOLD]
        assert "gap" in format_results(results, width=200)
        assert tabulate(alone)["gap"].isna().all()
        assert "gap" not in format_results(alone, width=200)
