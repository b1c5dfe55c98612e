"""What goes wrong in a cell stays there."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from pathlib import Path

import pytest

from support.grid import copy, setup
from support.trees import contents, unfinished
from unlearning.errors import InputError
from unlearning.experiments.cell.settings import MethodChoice
from unlearning.experiments.grid import cells, sweep
from unlearning.records import CellFailure, read_json


class TestFailures:
    def test_a_failed_cell_is_recorded_and_the_others_go_on(
        self, undisturbed: Path, reference: dict[str, str], tmp_path: Path
    ) -> None:
        folder = tmp_path / "e"
        copy(undisturbed, folder, without=("budget-40/seed-1/first-order", "budget-40/seed-2/first-order"))
        obstacle = folder / "budget-40/seed-1/first-order"
        obstacle.write_text("a file where a folder should be")
        report = sweep.sweep(setup(folder))
        assert [r.seed for r in report.results] == [2]
        (failure,) = report.failed
        assert failure == read_json(folder / "budget-40/seed-1/failure.json", CellFailure)
        (stage,) = failure.failures
        assert stage.stage == "first-order" and stage.error_type == "InputError" and "is no folder" in stage.message
        assert any("unlearning/experiments/cell/" in frame for frame in stage.traceback)
        assert not any(frame.startswith("/") for frame in stage.traceback)
        assert "first-order: " in sweep.summarise(failure)
        obstacle.unlink()
        assert not sweep.sweep(setup(folder)).failed
        assert contents(folder) == reference, "a successful run removes the record"

    def test_a_failing_method_does_not_block_the_others(self, undisturbed: Path, tmp_path: Path) -> None:
        folder = tmp_path / "e"
        copy(undisturbed, folder, without=("budget-40/seed-2/first-order",))
        (folder / "budget-40/seed-1/second-order-single").write_text("")
        methods = (MethodChoice(name="second-order-single"), MethodChoice(name="first-order"))
        report = sweep.sweep(setup(folder, methods=methods, seeds=(1,)))
        assert [f.failures[0].stage for f in report.failed] == ["second-order-single"]
        assert [r.method for r in report.results] == ["first-order"]

    def test_a_finished_cell_forgets_its_failure(self, undisturbed: Path, tmp_path: Path) -> None:
        copy(undisturbed, tmp_path / "e")
        stage = cells.describe_error(ValueError("no"), "training")
        cells.record_failure(tmp_path / "e", 40, 1, [stage])
        assert sweep.plan(setup(tmp_path / "e")).cells[0].failed
        assert not sweep.sweep(setup(tmp_path / "e")).failed
        assert contents(tmp_path / "e") == contents(undisturbed)

    def test_a_full_disk(self, undisturbed: Path, tmp_path: Path, monkeypatch) -> None:
        """The first write fails: the second cell is not tried, and what was there stays."""
        folder = tmp_path / "e"
        copy(undisturbed, folder, without=("budget-40/seed-1/first-order", "budget-40/seed-2/first-order"))
        before = contents(folder)

        def full(*_) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("unlearning.experiments.cell.stages.write_json", full)
        report = sweep.sweep(setup(folder))
        assert len(report.failed) == 1 and report.left == ((40, 2),) and not report.results
        assert "No space left" in report.failed[0].failures[0].message
        (folder / "budget-40/seed-1/failure.json").unlink()
        assert contents(folder) == before

    def test_a_full_file_system(self, undisturbed: Path, tmp_path: Path) -> None:
        """A real one of 32 MB."""
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)]
        try:
            if subprocess.run(mount, capture_output=True).returncode:
                pytest.skip("this process may not mount a file system")
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        try:
            folder = disk / "e"
            copy(undisturbed, folder, without=("budget-40/seed-1/first-order", "budget-40/seed-2/first-order"))
            before = contents(folder)
            with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while filler.write(bytes(4096)):
                    pass
            os.truncate(disk / "filler", (disk / "filler").stat().st_size - 100_000)  # too little for a model
            report = sweep.sweep(setup(folder))
            assert len(report.failed) == 1 and report.left == ((40, 2),)
            assert "No space left on device" in sweep.summarise(report.failed[0])
            found = contents(folder)
            assert {name: found[name] for name in before} == before and not unfinished(folder)
            (disk / "filler").unlink()
            assert len(sweep.sweep(setup(folder)).results) == 2
            assert contents(folder) == contents(undisturbed)
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)

    def test_mistakes_come_before_anything_is_written(self, undisturbed: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="budget"):
            sweep.sweep(setup(tmp_path / "e", budgets=(5000,)))
        assert not (tmp_path / "e").exists()
        copy(undisturbed, tmp_path / "f", without=("budget-40/seed-1",))
        before = contents(tmp_path / "f")
        config = tmp_path / "f/budget-40/seed-2/train_config.json"
        config.write_text(config.read_text().replace('"epochs": 7', '"epochs": 4'))
        with pytest.raises(InputError, match=r"epochs \(4 there, 7 now\)"):
            sweep.sweep(setup(tmp_path / "f"))
        assert contents(tmp_path / "f").keys() == before.keys()

    def test_what_counts_as_a_full_disk(self) -> None:
        def caused(cause: BaseException) -> BaseException:
            try:
                raise RuntimeError("closing failed") from cause
            except RuntimeError as error:
                return error

        assert cells.is_no_space(OSError(errno.ENOSPC, "")) and cells.is_no_space(OSError(errno.EFBIG, ""))
        assert cells.is_no_space(caused(OSError("errno = 28, error message = 'No space left on device'")))
        assert not cells.is_no_space(OSError(errno.EACCES, "")) and not cells.is_no_space(ValueError("full"))

    def test_leftovers(self, tmp_path: Path) -> None:
        (tmp_path / "a/.partial-1-backup").mkdir(parents=True)
        (tmp_path / "a/.partial-1-backup/state").write_text("")
        for name in (".partial-x.json", "model.weights.h5", "kept.json", "state-000001.weights.h5"):
            (tmp_path / "a" / name).write_text("")
        cells.clear_leftovers(tmp_path)
        assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["kept.json", "state-000001.weights.h5"]
        cells.clear_leftovers(tmp_path / "nowhere")
