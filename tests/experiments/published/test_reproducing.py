"""Making a table again: the command computes it, compares it, and keeps nothing unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from support.paths import FIXTURES, PUBLISHED, ROOT
from unlearning.errors import InputError
from unlearning.experiments.published.config import ExpectedNumber, PublishedTable, config_path, read_config
from unlearning.experiments.published.measured import measure
from unlearning.experiments.published.reproducing import Compared, compare, default_folder
from unlearning.experiments.results.reader import read_folders
from unlearning.records.comparison import Summary
from unlearning.reporting.tables import format_comparison_with_published

TINY = """
title = "Forty labels of two hundred digits"
experiment = "tiny"
[settings]
train_rows = 200
epochs = 2
batch_size = 32
budgets = [40]
[[runs]]
within = "one"
methods = [{ name = "first-order" }, { name = "retraining-unflagged" }]
[hardware]
machine = "any"
threads = 2
minutes = 0.5
[table]
headings = ["method"]
columns = ["before", "after", "gap", "seconds"]
rows = [
  { within = "one", folder = "first-order", texts = ["`first-order`"] },
  { within = "one", folder = "retraining-unflagged", texts = ["gold"] },
]
[expected]
spread_of_one_seed = { before = 100.0, after = 0.001 }
rows = [
  { method = "one/first-order", column = "before", mean = 50.0, seeds = 1 },
  { method = "one/retraining-unflagged", column = "after", mean = -7.0, seeds = 1 },
  { method = "one/first-order", column = "gap", mean = 50.0, seeds = 1 },
]
"""


def invoke(*arguments: str):
    return CliRunner().invoke(cli.main, ["reproduce", *arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder where a tiny table was made; the output is in `out`."""
    folder = tmp_path_factory.mktemp("reproduce")
    (folder / "tiny.toml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TQDM_DISABLE", "1")
        done = invoke("tiny.toml", "--quiet")
    assert done.exit_code == 0, done.output
    (folder / "out").write_text(done.output)
    return folder


class TestCommand:
    def test_it_computes_and_compares(self, made: Path) -> None:
        output = (made / "out").read_text()
        (first, gold) = read_folders([made / "models" / "tiny"], strict=True).repairs()
        assert (first.name, gold.name) == ("first-order", "retraining-unflagged")
        lines = [line.split() for line in output.splitlines()]
        (before,) = [line for line in lines if line[:2] == ["one/first-order", "before,"]]
        (after,) = [line for line in lines if line[:2] == ["one/retraining-unflagged", "after,"]]
        assert before[-1] == "within" and f"{100 * first.ours.acc_before_fix:.1f}" in before
        assert after[-1] == "beyond" and f"{100 * gold.ours.acc_after_fix + 7:+.1f}" in after
        assert "- one/retraining-unflagged, after, %" in output and "Files: models/tiny" in output
        assert max(map(len, output.splitlines())) <= 100

    def test_what_is_there_is_kept_only_when_asked(self, made: Path, monkeypatch) -> None:
        monkeypatch.chdir(made)
        refused = invoke("tiny.toml", "--quiet")
        assert refused.exit_code == 2 and "--only-missing" in refused.output and "2 results" in refused.output
        results = made / "models/tiny/one/budget-40/seed-42/first-order/unlearning_results.json"
        stamp = results.stat().st_mtime_ns
        done = invoke("tiny.toml", "--quiet", "--only-missing", "--json")
        assert done.exit_code == 0 and results.stat().st_mtime_ns == stamp
        found = json.loads(done.stdout)
        assert [row["verdict"] for row in found][:2] == ["within", "beyond"]
        assert found[0]["found_mean"] == pytest.approx(100 * json.loads(results.read_text())["acc_before_fix"])

    def test_a_dry_run_says_what_is_there_and_writes_nothing(self, made: Path, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(made)
        before = sorted(made.rglob("*"))
        assert "2 of 2 repairs done" in invoke("tiny.toml", "--dry-run").output
        fresh = invoke("tiny.toml", "--dry-run", "--out", str(tmp_path / "elsewhere"))
        assert "0 of 2 repairs done" in fresh.output and "train_rows=200" in fresh.output
        assert sorted(made.rglob("*")) == before and not list(tmp_path.iterdir())

    def test_committed_tables_are_listed_and_described_without_data(self, monkeypatch) -> None:
        monkeypatch.chdir(ROOT)
        monkeypatch.setenv("TFDS_DATA_DIR", "/nowhere")
        names = [row["name"] for row in json.loads(invoke("--list", "--json").stdout)]
        assert names == sorted(path.stem for path in Path("configs").glob("*.toml"))
        for name in names:
            shown = invoke(name, "--dry-run")
            assert shown.exit_code == 0 and "repairs done" in shown.output, shown.output
            assert max(map(len, shown.output.splitlines())) <= 100
        assert all(name in invoke("--list").output for name in names)

    def test_wrong_names(self, monkeypatch) -> None:
        monkeypatch.chdir(ROOT)
        done = invoke("hope")
        assert done.exit_code == 2 and "digits" in done.output and len(done.output.splitlines()) == 1


class TestNumbers:
    def table(self, name: str) -> PublishedTable:
        return read_config(ROOT / config_path(name))

    @pytest.fixture(autouse=True)
    def _in_a_clone(self, monkeypatch) -> None:
        monkeypatch.chdir(ROOT)

    def test_published_records_are_within_their_own_spread(self) -> None:
        for name in ("digits", "flip-pairs", "objectives"):
            table = self.table(name)
            found = compare(table, PUBLISHED / table.experiment)
            assert len(found) == len(table.expected.rows) > 5
            assert {one.verdict for one in found} == {"within"}, name

    def test_gap_is_made_within_seeds(self) -> None:
        """Restated from the records."""
        table = self.table("symmetric-25")
        numbers = measure(table, PUBLISHED / table.experiment)
        shares = []
        for seed in (42, 43, 44):
            cell = PUBLISHED / table.experiment / f"budget-5000/seed-{seed}"
            sap, gold = (
                json.loads((cell / name / "unlearning_results.json").read_text())
                for name in ("sap", "retraining-unflagged")
            )
            gained = sap["acc_after_fix"] - sap["acc_before_fix"]
            shares.append(100 * gained / (gold["acc_after_fix"] - gold["acc_before_fix"]))
        mean = sum(shares) / 3
        std = (sum((share - mean) ** 2 for share in shares) / 2) ** 0.5
        assert numbers["sap"]["gap"].mean == pytest.approx(mean) and numbers["sap"]["gap"].std == pytest.approx(std)

    def test_one_clean_model_for_all_seeds_is_counted_once(self) -> None:
        old, new = self.table("objectives"), self.table("digits")
        numbers = measure(old, FIXTURES / old.experiment)
        assert (numbers["mixup/sap"]["clean"].count, numbers["mixup/sap"]["clean"].std) == (1, None)
        assert (numbers["mixup/sap"]["after"].count, numbers["sam/sap"]["after"].count) == (3, 0)
        assert measure(new, PUBLISHED / new.experiment)["first-order"]["clean"].count == 3

    def test_missing_rows_are_said(self, tmp_path: Path) -> None:
        table = self.table("digits")
        (tmp_path / "e").mkdir()
        found = compare(table, tmp_path / "e")
        assert {one.verdict for one in found} == {"missing"}
        assert "missing" in format_comparison_with_published(found)
        with pytest.raises(InputError, match="no folder"):
            compare(table, tmp_path / "nowhere")
        assert default_folder(table) == Path("models/digits-cnn_small-flip-pairs")

    @pytest.mark.parametrize(
        ("found", "spread", "verdict"),
        [
            (51.0, 1.0, "within"),
            (49.0, 1.0, "within"),
            (51.01, 1.0, "beyond"),
            (48.9, 1.0, "beyond"),
            (50.0, 0.0, "within"),
            (50.0004, 0.0, "within"),
            (50.1, 0.0, "beyond"),
            (50.0, None, "no spread"),
            (None, 1.0, "missing"),
        ],
    )
    def test_verdicts(self, found: float | None, spread: float | None, verdict: str) -> None:
        expected = ExpectedNumber(method="m", column="after", mean=50.0, seeds=3)
        summary = Summary(count=0 if found is None else 3, mean=found, std=None)
        assert Compared(expected, summary, spread).verdict == verdict
