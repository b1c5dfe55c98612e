"""Shards and plans."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import pytest

from support.command import cli
from support.grid import OPTIONS, copy, setup
from support.trees import contents, unfinished
from unlearning.errors import InputError
from unlearning.experiments.cell.settings import MethodChoice
from unlearning.experiments.grid import plan, sweep, workers
from unlearning.progress import describe_duration


class TestShards:
    def test_shards_divide_the_grid(self, undisturbed: Path, reference: dict[str, str], tmp_path: Path) -> None:
        folder = tmp_path / "e"
        copy(undisturbed, folder, without=("budget-40/seed-1/first-order", "budget-40/seed-2/first-order"))
        done = sweep.sweep(setup(folder), sweep.SweepOptions(shard=(2, 2)))
        assert [r.seed for r in done.results] == [2]
        assert not (folder / "budget-40/seed-1/first-order").exists()
        assert [r.seed for r in sweep.sweep(setup(folder), sweep.SweepOptions(shard=(1, 2))).results] == [1]
        assert contents(folder) == reference
        assert sweep.scan(setup(folder), (3, 3)) == {}

    @pytest.mark.parametrize("text", ["1", "1/", "/2", "a/b", "0/2", "3/2", "1/0", "-1/2"])
    def test_bad_shards(self, text: str) -> None:
        with pytest.raises(InputError, match="shard"):
            sweep.SweepOptions(shard=sweep.parse_shard(text))

    def test_the_command_refuses_them(self, tmp_path: Path) -> None:
        for options, match in (("--shard=3/2", "shard"), ("--workers=0", "workers"), ("--address=auto", "address")):
            done = cli("run", *OPTIONS, "--out", "e", options, cwd=tmp_path)
            assert done.returncode == 2 and match in done.stderr and len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "e").exists()

    @pytest.mark.parametrize(
        "options", [{"workers": 0}, {"threads": 0}, {"executor": "slurm"}, {"address": "auto"}], ids=str
    )
    def test_bad_options(self, options: dict) -> None:
        with pytest.raises(InputError, match=next(iter(options))):
            sweep.SweepOptions(**options)


class TestPlan:
    def test_dry_run_says_what_is_missing_and_writes_nothing(self, undisturbed: Path, tmp_path: Path) -> None:
        folder = tmp_path / "e"
        copy(undisturbed, folder, without=("budget-40/seed-2",))
        before = {p: p.stat().st_mtime_ns for p in (folder, *folder.rglob("*"))}
        found = sweep.plan(setup(folder))
        assert {p: p.stat().st_mtime_ns for p in (folder, *folder.rglob("*"))} == before
        assert [cell.done for cell in found.cells] == [True, False] and found.clean == {1: True, 2: True}
        recorded = json.loads((folder / "budget-40/seed-1/train_results.json").read_text())["time"]
        repair = json.loads((folder / "budget-40/seed-1/first-order/unlearning_results.json").read_text())
        assert found.seconds == pytest.approx(recorded + repair["unlearning_duration_s"])
        from unlearning.reporting.tables import format_plan

        text = format_plan(found, workers=2)
        assert "1 of 2 done" in text and "recorded in finished cells here" in text and "by rule" in text

    def test_a_lock_left_behind_when_all_was_done_goes(self, undisturbed: Path, reference, tmp_path: Path) -> None:
        folder = tmp_path / "e"
        copy(undisturbed, folder)
        (folder / ".locks").mkdir()
        (folder / ".locks" / "sweep.lock").write_text('{"pid": 0, "host": "gone", "since": "yesterday"}')
        assert len(sweep.sweep(setup(folder)).results) == 2
        assert not unfinished(folder) and contents(folder) == reference

    def test_a_wide_plan_counts_the_repairs_instead_of_naming_them(self, tmp_path: Path) -> None:
        from unlearning import methods as registry
        from unlearning.reporting.tables import format_plan

        choices = tuple(MethodChoice(name=name) for name in registry.available())
        lines = format_plan(sweep.plan(setup(tmp_path / "e", methods=choices))).splitlines()
        assert max(map(len, lines)) <= 100 and any(f"0 of {len(choices)}" in line for line in lines)

    def test_without_finished_cells_a_rule_is_used(self, tmp_path: Path) -> None:
        methods = (
            MethodChoice(name="first-order"),
            MethodChoice(name="retraining"),
            MethodChoice(name="sap+first-order"),
        )
        found = sweep.plan(setup(tmp_path / "e", methods=methods))
        assert not (tmp_path / "e").exists() and found.clean == {1: False, 2: False}
        assert not found.training.measured
        each = 0.1 * found.training.seconds + 5
        assert [e.seconds for e in found.methods.values()] == pytest.approx([each, found.training.seconds, 2 * each])
        assert found.seconds == pytest.approx(4 * found.training.seconds + 2 * (3 * each + found.training.seconds))
        assert 1e9 < found.memory_bytes < 2e9

    def test_forward_operations(self) -> None:
        model = keras.Sequential(
            [keras.Input((6, 6, 2)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(5)]
        )
        assert plan.forward_operations(model) == 2 * (3 * 3 * 2 * 4) * (4 * 4) + 2 * (4 * 4 * 4) * 5

    def test_memory(self, caplog) -> None:
        assert sweep.fit_memory(4, needed=10, available=100) == 4 and not caplog.records
        assert sweep.fit_memory(4, needed=10, available=25) == 2
        assert "2 workers instead of 4" in caplog.text
        assert sweep.fit_memory(4, needed=10, available=0) == 1

    def test_durations(self) -> None:
        assert [describe_duration(s) for s in (3.2, 600, 7200)] == ["3 s", "10 min", "2.0 h"]

    def test_cores(self) -> None:
        assert workers.divide_cores([0, 1, 2, 3, 4], 2) == [[0, 1], [2, 3, 4]]
        assert workers.divide_cores([3, 5], 3) == [[3], [5], [3]]
        shares = workers.divide_cores(list(range(17)), 5)
        assert [core for share in shares for core in share] == list(range(17)) and {len(s) for s in shares} == {3, 4}
