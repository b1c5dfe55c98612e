"""Grids: cells in processes, failures, locks, kills. Real runs are on 200 digits, three epochs, two seeds."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import psutil
import pytest

from support.paths import ROOT
from support.trees import contents, unfinished
from unlearning.errors import InputError
from unlearning.experiments.cell.run import Experiment, MethodChoice, Settings
from unlearning.experiments.grid import cells, locks, plan, sweep, workers
from unlearning.records import CellFailure, read_json

SETTINGS = Settings(
    train_rows=200, epochs=3, batch_size=32, budgets=(40,), seeds=(1, 2), methods=(MethodChoice("first-order"),)
)
OPTIONS = (
    *("--train-rows", "200", "--epochs", "3", "--batch-size", "32", "--budgets", "40"),
    *("--seeds", "1,2", "--methods", "first-order"),
)


def experiment(folder: Path, **changes) -> Experiment:
    return Experiment(dataclasses.replace(SETTINGS, output=folder, **changes))


def start(folder: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "cli.py"), "run", *OPTIONS, "--output", str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def under_way(folder: Path) -> bool:
    """Whether a cell has finished an epoch of training."""
    return any(folder.glob("budget-40/seed-*/backup/state-*"))


def _owner(lock: Path) -> int:
    try:
        return json.loads(lock.read_text())["pid"]
    except (FileNotFoundError, ValueError):
        return 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The grid, run in this process."""
    folder = tmp_path_factory.mktemp("sweep") / "e"
    report = sweep.sweep(experiment(folder))
    assert len(report.results) == 2 and not report.failed
    return folder


@pytest.fixture(scope="module")
def reference(undisturbed: Path) -> dict[str, str]:
    assert not unfinished(undisturbed)
    return contents(undisturbed)


class TestProcesses:
    def test_interruptions(self, reference: dict[str, str], tmp_path: Path) -> None:
        """One grid: stopped by SIGTERM, killed, robbed of a worker, and in the end like the undisturbed one."""
        folder = tmp_path / "e"
        process = start(folder)
        wait_for(lambda: bool(list(folder.glob("clean/backup/state-*"))), process)
        # While it runs: others are refused with its name, dry runs are not.
        with pytest.raises(locks.LockedError, match=f"process {process.pid} on .*--wait"):
            sweep.sweep(experiment(folder))
        assert not sweep.plan(experiment(folder)).cells[0].done
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 143 and "the same command continues" in err and "Traceback" not in err
        assert not unfinished(folder) and not list(folder.rglob("failure.json"))
        assert not (folder / "clean/train_results.json").exists()

        process = start(folder, "--workers", "2")
        wait_for(lambda: under_way(folder), process)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
        process.communicate()
        _, alive = psutil.wait_procs(children, timeout=30)
        assert not alive, "workers end with the process that started them"
        assert (folder / ".locks/sweep.lock").is_file(), "the killed run's lock is still there, and must not block"
        (folder / "budget-40/seed-1/.partial-left.keras").write_bytes(b"half")

        process = start(folder, "--workers", "2")
        lock = folder / ".locks/budget-40-seed-1.lock"
        wait_for(lambda: _owner(lock) in {c.pid for c in psutil.Process(process.pid).children()}, process)
        os.kill(_owner(lock), signal.SIGKILL)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 1
        assert "Failed: budget 40, seed 1: worker: WorkerDied" in err and "SIGKILL" in err
        assert "budget 40, seed 2: done" in err and "1/2 done" in err and "WARNING" not in err
        failure = read_json(folder / "budget-40/seed-1/failure.json", CellFailure)
        assert (failure.budget, failure.seed, failure.failures[0].stage) == (40, 1, "worker")
        assert not unfinished(folder)
        there = contents(folder)
        by_worker = [name for name in reference if "seed-2" in name]
        assert by_worker and [there[name] for name in by_worker] == [reference[name] for name in by_worker]

        assert not sweep.sweep(experiment(folder)).failed
        assert contents(folder) == reference

    def test_stopping_kills_workers(self, tmp_path: Path) -> None:
        pool = workers.LocalPool(dataclasses.replace(SETTINGS, output=tmp_path / "e"), 2, 2)
        events = pool.run([(40, 1), (40, 2)])
        assert next(events) is None and sorted(pool.running) == [(40, 1), (40, 2)]
        children = psutil.Process().children(recursive=True)
        pool.close()
        assert not pool.running and not [
            c for c in children if c.is_running() and "spawn_main" in " ".join(c.cmdline())
        ]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_exit_codes(self, number: signal.Signals) -> None:
        before = signal.getsignal(number)
        with pytest.raises(sweep.Stopped) as stopped, sweep.stopping_on_signals():
            os.kill(os.getpid(), number)
            time.sleep(1)
        assert stopped.value.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
        assert signal.getsignal(number) is before


class TestFailures:
    def test_a_failed_cell_is_recorded_and_the_others_go_on(
        self, undisturbed: Path, reference: dict[str, str], tmp_path: Path
    ) -> None:
        folder = tmp_path / "e"
        _copy(undisturbed, folder, without=("budget-40/seed-1/first-order", "budget-40/seed-2/first-order"))
        obstacle = folder / "budget-40/seed-1/first-order"
        obstacle.write_text("a file where a folder should be")
        report = sweep.sweep(experiment(folder))
        assert [r.seed for r in report.results] == [2]
        (failure,) = report.failed
        assert failure == read_json(folder / "budget-40/seed-1/failure.json", CellFailure)
        (stage,) = failure.failures
        assert stage.stage == "first-order" and stage.error_type in ("FileExistsError", "NotADirectoryError")
        assert any("unlearning/experiments/run.py" in frame for frame in stage.traceback)
        assert not any(frame.startswith("/") for frame in stage.traceback)
        assert "first-order: " in sweep.summarise(failure)
        obstacle.unlink()
        assert not sweep.sweep(experiment(folder)).failed
        assert contents(folder) == reference, "a successful run removes the record"

    def test_a_failing_method_does_not_block_the_others(self, undisturbed: Path, tmp_path: Path) -> None:
        folder = tmp_path / "e"
        _copy(undisturbed, folder, without=("budget-40/seed-2/first-order",))
        (folder / "budget-40/seed-1/second-order-single").write_text("")
        methods = (MethodChoice("second-order-single"), MethodChoice("first-order"))
        report = sweep.sweep(experiment(folder, methods=methods, seeds=(1,)))
        assert [f.failures[0].stage for f in report.failed] == ["second-order-single"]
        assert [r.method for r in report.results] == ["first-order"]

    def test_a_finished_cell_forgets_its_failure(self, undisturbed: Path, tmp_path: Path) -> None:
        _copy(undisturbed, tmp_path / "e")
        stage = cells.describe_error(ValueError("no"), "training")
        cells.record_failure(tmp_path / "e", 40, 1, [stage])
        assert sweep.plan(experiment(tmp_path / "e")).cells[0].failed
        assert not sweep.sweep(experiment(tmp_path / "e")).failed
        assert contents(tmp_path / "e") == contents(undisturbed)

    def test_a_full_disk(self, undisturbed: Path, tmp_path: Path, monkeypatch) -> None:
        """The first write fails: the second cell is not tried, and what was there stays."""
        folder = tmp_path / "e"
        _copy(undisturbed, folder, without=("budget-40/seed-1/first-order", "budget-40/seed-2/first-order"))
        before = contents(folder)

        def full(*_) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("unlearning.experiments.cell.run.write_json", full)
        report = sweep.sweep(experiment(folder))
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
            _copy(undisturbed, folder, without=("budget-40/seed-1/first-order", "budget-40/seed-2/first-order"))
            before = contents(folder)
            with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while filler.write(bytes(4096)):
                    pass
            os.truncate(disk / "filler", (disk / "filler").stat().st_size - 100_000)  # too little for a model
            report = sweep.sweep(experiment(folder))
            assert len(report.failed) == 1 and report.left == ((40, 2),)
            assert "No space left on device" in sweep.summarise(report.failed[0])
            found = contents(folder)
            assert {name: found[name] for name in before} == before and not unfinished(folder)
            (disk / "filler").unlink()
            assert len(sweep.sweep(experiment(folder)).results) == 2
            assert contents(folder) == contents(undisturbed)
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)

    def test_mistakes_come_before_anything_is_written(self, undisturbed: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="budget"):
            sweep.sweep(experiment(tmp_path / "e", budgets=(5000,)))
        assert not (tmp_path / "e").exists()
        _copy(undisturbed, tmp_path / "f", without=("budget-40/seed-1",))
        before = contents(tmp_path / "f")
        config = tmp_path / "f/budget-40/seed-2/train_config.json"
        config.write_text(config.read_text().replace('"epochs": 3', '"epochs": 4'))
        with pytest.raises(InputError, match=r"epochs \(4 there, 3 now\)"):
            sweep.sweep(experiment(tmp_path / "f"))
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


class TestShards:
    def test_shards_divide_the_grid(self, undisturbed: Path, reference: dict[str, str], tmp_path: Path) -> None:
        folder = tmp_path / "e"
        _copy(undisturbed, folder, without=("budget-40/seed-1/first-order", "budget-40/seed-2/first-order"))
        done = sweep.sweep(experiment(folder), sweep.SweepOptions(shard=(2, 2)))
        assert [r.seed for r in done.results] == [2]
        assert not (folder / "budget-40/seed-1/first-order").exists()
        assert [r.seed for r in sweep.sweep(experiment(folder), sweep.SweepOptions(shard=(1, 2))).results] == [1]
        assert contents(folder) == reference
        assert sweep.scan(experiment(folder), (3, 3)) == {}

    @pytest.mark.parametrize("text", ["1", "1/", "/2", "a/b", "0/2", "3/2", "1/0", "-1/2"])
    def test_bad_shards(self, text: str) -> None:
        with pytest.raises(InputError, match="shard"):
            sweep.SweepOptions(shard=sweep.parse_shard(text))

    def test_the_command_refuses_them(self, tmp_path: Path) -> None:
        for options, match in (("--shard=3/2", "shard"), ("--workers=0", "workers"), ("--address=auto", "address")):
            process = start(tmp_path / "e", options)
            _, err = process.communicate()
            assert process.returncode == 2 and match in err and len(err.splitlines()) == 1
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
        _copy(undisturbed, folder, without=("budget-40/seed-2",))
        before = {p: p.stat().st_mtime_ns for p in (folder, *folder.rglob("*"))}
        found = sweep.plan(experiment(folder))
        assert {p: p.stat().st_mtime_ns for p in (folder, *folder.rglob("*"))} == before
        assert [cell.done for cell in found.cells] == [True, False] and found.clean_done
        recorded = json.loads((folder / "budget-40/seed-1/train_results.json").read_text())["time"]
        repair = json.loads((folder / "budget-40/seed-1/first-order/unlearning_results.json").read_text())
        assert found.seconds == pytest.approx(recorded + repair["unlearning_duration_s"])
        from unlearning.reporting.tables import format_plan

        text = format_plan(found, workers=2)
        assert "1 of 2 done" in text and "recorded in finished cells here" in text and "by rule" in text

    def test_a_lock_left_behind_when_all_was_done_goes(self, undisturbed: Path, reference, tmp_path: Path) -> None:
        folder = tmp_path / "e"
        _copy(undisturbed, folder)
        (folder / ".locks").mkdir()
        (folder / ".locks" / "sweep.lock").write_text('{"pid": 0, "host": "gone", "since": "yesterday"}')
        assert len(sweep.sweep(experiment(folder)).results) == 2
        assert not unfinished(folder) and contents(folder) == reference

    def test_a_wide_plan_counts_the_repairs_instead_of_naming_them(self, tmp_path: Path) -> None:
        from unlearning import methods as registry
        from unlearning.reporting.tables import format_plan

        choices = tuple(MethodChoice(name) for name in registry.available())
        lines = format_plan(sweep.plan(experiment(tmp_path / "e", methods=choices))).splitlines()
        assert max(map(len, lines)) <= 100 and any(f"0 of {len(choices)}" in line for line in lines)

    def test_without_finished_cells_a_rule_is_used(self, tmp_path: Path) -> None:
        methods = (MethodChoice("first-order"), MethodChoice("retraining"), MethodChoice("sap+first-order"))
        found = sweep.plan(experiment(tmp_path / "e", methods=methods))
        assert not (tmp_path / "e").exists() and not found.clean_done
        assert not found.training.measured
        each = 0.1 * found.training.seconds + 5
        assert [e.seconds for e in found.methods.values()] == pytest.approx([each, found.training.seconds, 2 * each])
        assert found.seconds == pytest.approx(3 * found.training.seconds + 2 * (3 * each + found.training.seconds))
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
        assert 0 < plan.available_memory() <= psutil.virtual_memory().total

    def test_durations(self) -> None:
        assert [plan.describe_duration(s) for s in (3.2, 600, 7200)] == ["3 s", "10 min", "2.0 h"]

    def test_cores(self) -> None:
        assert workers.divide_cores([0, 1, 2, 3, 4], 2) == [[0, 1], [2, 3, 4]]
        assert workers.divide_cores([3, 5], 3) == [[3], [5], [3]]
        shares = workers.divide_cores(list(range(17)), 5)
        assert [core for share in shares for core in share] == list(range(17)) and {len(s) for s in shares} == {3, 4}


HOLDER = """
import sys, time
from pathlib import Path
from unlearning.experiments.grid import locks
with getattr(locks, sys.argv[1])(Path(sys.argv[2]), *eval(sys.argv[3])):
    print("held", flush=True)
    time.sleep(60)
"""
COUNTER = """
import sys
from pathlib import Path
from unlearning.experiments.grid import locks
folder = Path(sys.argv[1])
for _ in range(40):
    with locks.lock_cell(folder, 1, 2):
        count = int((folder / "count").read_text())
        (folder / "count").write_text(str(count + 1))
"""


def hold(folder: Path, kind: str, *arguments) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind, str(folder), repr(arguments)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    return process


class TestLocks:
    def test_one_run_excludes_another_until_it_is_killed(self, tmp_path: Path) -> None:
        process = hold(tmp_path, "lock_run")
        for shard in ((1, 1), (1, 2)):
            with pytest.raises(locks.LockedError, match=f"process {process.pid} on"), locks.lock_run(tmp_path, shard):
                pass
        process.kill()
        process.wait()
        assert (tmp_path / ".locks/sweep.lock").is_file()
        with locks.lock_run(tmp_path):
            pass
        assert not (tmp_path / ".locks").exists()

    def test_shards_of_one_division_run_side_by_side(self, tmp_path: Path) -> None:
        process = hold(tmp_path, "lock_run", (1, 2))
        try:
            with locks.lock_run(tmp_path, (2, 2)):
                pass
            for shard in ((1, 2), (1, 1), (2, 3)):
                with pytest.raises(locks.LockedError), locks.lock_run(tmp_path, shard):
                    pass
        finally:
            process.kill()
            process.wait()

    def test_waiting(self, tmp_path: Path, caplog) -> None:
        process = hold(tmp_path, "lock_cell", 1, 2)
        with pytest.raises(locks.LockedError, match="budget-1-seed-2"), locks.lock_cell(tmp_path, 1, 2, timeout=0):
            pass
        with locks.lock_cell(tmp_path, 1, 3, timeout=0):
            pass
        killer = subprocess.Popen(["sh", "-c", f"sleep 2.5; kill -9 {process.pid}"])
        with locks.lock_cell(tmp_path, 1, 2):
            assert process.wait(5) == -signal.SIGKILL
        killer.wait()

    def test_no_two_hold_one_lock(self, tmp_path: Path) -> None:
        """Lock files are removed and made again all the time; no count may be lost."""
        (tmp_path / "count").write_text("0")
        command = [sys.executable, "-c", COUNTER, str(tmp_path)]
        counters = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) for _ in range(3)]
        assert [process.wait(60) for process in counters] == [0, 0, 0]
        assert (tmp_path / "count").read_text() == "120" and not (tmp_path / ".locks").exists()


class TestRay:
    def test_a_missing_package_is_named(self, monkeypatch, tmp_path: Path) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(InputError, match="pip install ray"):
            sweep.sweep(experiment(tmp_path / "e"), sweep.SweepOptions(executor="ray"))

    def test_the_same_results(self, undisturbed: Path, reference: dict[str, str], tmp_path: Path) -> None:
        pytest.importorskip("ray", reason="the optional extra ray is not installed")
        folder = tmp_path / "e"
        _copy(undisturbed, folder, without=("budget-40/seed-2/first-order",))
        process = start(folder, "--executor", "ray")
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert contents(folder) == reference

    @pytest.fixture
    def cluster(self) -> Iterator[str]:
        """A cluster that asks for a token, in processes of its own."""
        pytest.importorskip("ray", reason="the optional extra ray is not installed")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # Sockets live in this folder, and their paths must be short.
        with tempfile.TemporaryDirectory(prefix="ray") as folder, contextlib.ExitStack() as stack:
            options = ("--num-cpus", "2", "--include-dashboard=False", "--temp-dir", folder, "--disable-usage-stats")
            head = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "ray.scripts.scripts",
                    "start",
                    "--head",
                    "--block",
                    "--port",
                    str(port),
                    *options,
                ],
                env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            stack.callback(head.wait, 60)
            stack.callback(head.terminate)
            assert head.stdout is not None
            assert any("Ray runtime started" in line for line in head.stdout)
            yield f"127.0.0.1:{port}"

    def test_a_running_cluster(
        self, cluster: str, undisturbed: Path, reference: dict[str, str], monkeypatch, tmp_path: Path
    ) -> None:
        folder = tmp_path / "e"
        monkeypatch.setenv("RAY_gcs_rpc_server_connect_timeout_s", "1")
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        process = start(tmp_path / "refused", "--executor", "ray", "--address", cluster)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 2 and f"Cannot reach a Ray cluster at {cluster}" in err, err
        assert "RAY_AUTH_MODE=token" in err and "Traceback" not in err
        assert not list(tmp_path.rglob("*.*")), "nothing is trained before the cluster is reached"

        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
        _copy(undisturbed, folder, without=("budget-40/seed-1/first-order", "budget-40/seed-2"))
        process = start(folder, "--executor", "ray", "--address", cluster, "--workers", "2")
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert contents(folder) == reference


def _copy(source: Path, target: Path, without: tuple[str, ...] = ()) -> None:
    shutil.copytree(source, target)
    for name in without:
        shutil.rmtree(target / name)
