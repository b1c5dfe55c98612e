"""The report page on folders that are unfinished, damaged or missing."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from support.paths import FIXTURES
from support.report_pages import write_page
from support.report_trees import CELL, SOURCE, change, fail, make_tree
from unlearning.errors import InputError
from unlearning.reporting.page import write_report
from unlearning.reporting.page.gather import gather
from unlearning.reporting.page.headline import count_cells


class TestUnfinished:
    def test_a_running_sweep(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "grid", (1000, 2000), (42, 43), ("sap", "second-order"))
        (tree / "budget-1000/seed-43/second-order/unlearning_results.json").unlink()  # configured, not computed
        fail(tree / "budget-2000/seed-43", "second-order", "out of memory")
        (tree / "budget-2000/seed-43/second-order/unlearning_results.json").unlink()
        locks = tree / ".locks"
        locks.mkdir()
        owner = {"pid": 1, "host": "elsewhere", "since": "2026-01-02 03:04:05 UTC"}
        (locks / "sweep.lock").write_text(json.dumps(owner))
        (locks / "budget-2000-seed-42.lock").write_text(json.dumps(owner))
        gathered = gather([tree])
        assert count_cells(gathered) == {"done": 1, "failed": 1, "running": 1, "missing": 1}
        visible = "".join(write_page(tree, tmp_path / "report.html")[1].text)
        assert "out of memory" in visible and "since 2026-01-02 03:04:05 UTC" in visible
        assert sorted(p.name for p in locks.iterdir()) == ["budget-2000-seed-42.lock", "sweep.lock"]  # untouched

    def test_a_lock_left_behind_on_this_machine_runs_nothing(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "grid", (1000,), (42,), ("sap",))
        (tree / ".locks").mkdir()
        owner = {"pid": 2**22 + 1, "host": socket.gethostname(), "since": "long ago"}  # above the largest process id
        (tree / ".locks/budget-1000-seed-42.lock").write_text(json.dumps(owner))
        assert count_cells(gather([tree]))["done"] == 1

    def test_cells_that_the_grid_lets_expect(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "grid", (1000,), (42, 43), ("sap",))
        make = make_tree(tmp_path / "other", (2000,), (42,), ("sap",))
        (make / "budget-2000").rename(tree / "budget-2000")
        cells = {(c.budget, c.seed): c.state for c in gather([tree]).experiments[0].cells}
        assert cells == {(1000, 42): "done", (1000, 43): "done", (2000, 42): "done", (2000, 43): "missing"}

    def test_only_configurations(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "grid", (1000,), (42,), ("sap",))
        for path in tree.rglob("*_results.json"):
            path.unlink()
        text, parsed = write_page(tree, tmp_path / "report.html")
        assert "No repair is finished yet." in text and parsed.data["repairs"] == []
        assert "python cli.py run" in text  # what will be run is known

    def test_one_damaged_file_hides_no_other(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "grid", (1000,), (42,), ("sap", "first-order"))
        (tree / "budget-1000/seed-42/sap/unlearning_results.json").write_text('{"method": NaN')
        (tree / "budget-1000/seed-42/first-order/log_solver.csv").write_bytes(b"step,iteration\n\xff")
        (tree / "budget-1000/seed-42/first-order/figures/confusion_after.png").write_bytes(b"no picture")
        change(tree / "budget-1000/seed-42/first-order/unlearning_results.json", confusion_after=None)
        gathered = gather([tree])
        log, record = gathered.problems
        assert log.startswith("Cannot read grid/budget-1000/seed-42/first-order/log_solver.csv")
        assert record.startswith("grid/budget-1000/seed-42/sap/unlearning_results.json is not valid JSON")
        text, parsed = write_page(tree, tmp_path / "report.html")
        assert "2 files could not be read" in text and [r["m"] for r in parsed.data["repairs"]] == ["first-order"]
        assert parsed.data["repairs"][0]["figures"]["after"] is None

    def test_nothing_is_written_next_to_the_results(self, tree: Path, tmp_path: Path) -> None:
        before = sorted(str(p) for p in tree.rglob("*"))
        write_page(tree, tmp_path / "report.html", images=4)
        assert sorted(str(p) for p in tree.rglob("*")) == before


class TestBadInput:
    def test_missing_and_empty_folders(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no folder"):
            write_report([tmp_path / "nowhere"], tmp_path / "r.html")
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="folders with results"):
            write_report([tmp_path / "empty"], tmp_path / "r.html")
        assert not (tmp_path / "r.html").exists()

    @pytest.mark.parametrize(("out", "options"), [("r.pdf", {}), ("r.html", {"images": -1})])
    def test_bad_options(self, tmp_path: Path, out: str, options: dict) -> None:
        with pytest.raises(InputError):
            write_report([SOURCE], tmp_path / out, **options)

    def test_the_command(self, tmp_path: Path) -> None:
        out = tmp_path / "report.html"
        done = CliRunner().invoke(cli.main, ["report", str(SOURCE), "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert "MB" in done.output and str(out) in done.output and out.stat().st_size > 1e5
        first = out.read_bytes()
        done = CliRunner().invoke(cli.main, ["report", str(CELL), "--out", str(out)])
        assert done.exit_code == 2 and "--force" in done.output and out.read_bytes() == first
        done = CliRunner().invoke(cli.main, ["report", str(tmp_path / "nowhere"), "--out", str(out), "--force"])
        assert done.exit_code == 2 and "no folder" in done.output and out.read_bytes() == first
        other = FIXTURES / "digits-symmetric-objectives" / "mixup"
        done = CliRunner().invoke(cli.main, ["report", str(other), "--out", str(out), "--force"])
        assert done.exit_code == 0 and out.read_bytes() != first
        assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
