"""Locks and removals in a stranger's folder: through no link, of no file that is not only ours, of no other name."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from support.hostile import nested, refused
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.stages import keep_inside
from unlearning.experiments.grid import locks
from unlearning.experiments.grid.cells import clear_leftovers


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "deeper").mkdir(parents=True)
    for name in ("sweep.lock", "mine.lock", "best.weights.h5", ".partial-1", "model.weights.h5", "deeper/.partial-2"):
        (folder / name).write_text("kept")
    return folder


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    folder = tmp_path / "experiment"
    folder.mkdir()
    return folder


def enter(context) -> None:
    with context:
        pass


def unchanged(outside: Path) -> None:
    files = [path for path in outside.rglob("*") if path.is_file()]
    assert len(files) == 6 and {path.read_text() for path in files} == {"kept"}


class TestLocks:
    def test_a_linked_folder_of_locks(self, experiment: Path, outside: Path) -> None:
        (experiment / ".locks").symlink_to(outside)
        for lock in (locks.lock_run(experiment), locks.lock_cell(experiment, 1, 2)):
            refused(lambda lock=lock: enter(lock), "is a link")
        locks.clear_stale(experiment)
        unchanged(outside)
        told: list[Path] = []
        assert locks.find_writers(experiment, lambda path, _: told.append(path)) == {}
        assert told == [experiment / ".locks"]

    @pytest.mark.parametrize("make", [os.link, os.symlink])
    def test_a_lock_that_is_a_file_elsewhere(self, experiment: Path, outside: Path, make: Callable) -> None:
        (experiment / ".locks").mkdir()
        for name in ("sweep", "gate", "budget-1-seed-2"):
            make(outside / "mine.lock", experiment / f".locks/{name}.lock")
        for lock in (locks.lock_run(experiment), locks.lock_cell(experiment, 1, 2)):
            refused(lambda lock=lock: enter(lock), "is a link|hard link")
        unchanged(outside)

    @pytest.mark.parametrize("part", ["budget-1", "budget-1/seed-2", "clean", "clean/seed-2"])
    def test_a_linked_cell_is_not_locked_at_all(self, experiment: Path, outside: Path, part: str) -> None:
        (experiment / part).parent.mkdir(exist_ok=True)
        (experiment / part).symlink_to(outside)
        lock = (
            (lambda: locks.lock_clean(experiment, 2)) if "clean" in part else lambda: locks.lock_cell(experiment, 1, 2)
        )
        refused(lock, "is a link")
        assert not (experiment / ".locks").exists()
        unchanged(outside)

    def test_other_names_stay(self, experiment: Path) -> None:
        (experiment / ".locks").mkdir()
        for name in ("notes.lock", "sweep.lock", "budget-1-seed-x.lock", "budget-1-seed-２.lock"):
            (experiment / ".locks" / name).write_text("")
        locks.clear_stale(experiment)
        assert sorted(os.listdir(experiment / ".locks")) == [
            "budget-1-seed-x.lock",
            "budget-1-seed-２.lock",
            "notes.lock",
        ]


class TestWriters:
    OWNER = {"pid": os.getpid(), "host": socket.gethostname(), "since": "noon"}

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            ("[" * 4000, "nested"),
            ("[" * 200_000, "at most"),
            (json.dumps({**OWNER, "pid": True}), "does not name"),
            (json.dumps({**OWNER, "pid": 10**30}), "64 bits"),
            (json.dumps({**OWNER, "since": {"a": 1}}), "does not name"),
            ('{"pid": 1, "host": "\\u001b[2J", "since": ""}', "control character"),
            ("\0", "no lock"),
        ],
        ids=["nested", "huge", "true", "huge pid", "table", "escape", "binary"],  # the same in every worker
    )
    def test_a_bad_lock_is_one_problem(self, experiment: Path, content: str, match: str) -> None:
        (experiment / ".locks").mkdir()
        (experiment / ".locks/sweep.lock").write_text(content)
        (experiment / ".locks/clean.lock").write_text(json.dumps(self.OWNER))
        told: list[str] = []
        assert locks.find_writers(experiment, lambda _, message: told.append(message)) == {"clean": "noon"}
        assert len(told) == 1 and match in told[0]

    @pytest.mark.parametrize("kind", ["pipe", "device", "folder", "bytes"])
    def test_what_is_no_file_of_text(self, experiment: Path, kind: str) -> None:
        (experiment / ".locks").mkdir()
        path = experiment / ".locks/sweep.lock"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "folder":
            path.mkdir()
        else:
            path.write_bytes(b"\xff\xfe")
        told: list[Path] = []
        assert locks.find_writers(experiment, lambda found, _: told.append(found)) == {} and told == [path]

    def test_processes_that_cannot_be(self, experiment: Path) -> None:
        (experiment / ".locks").mkdir()
        for number, pid in enumerate((0, -1, 2**40)):
            owner = {**self.OWNER, "pid": pid}
            (experiment / f".locks/budget-1-seed-{number}.lock").write_text(json.dumps(owner))
        assert locks.find_writers(experiment) == {}


class TestRemoval:
    def test_unfinished_files_of_the_program_only(self, experiment: Path, outside: Path) -> None:
        cell = experiment / "budget-1/seed-2"
        for name in ("sap/figures", "backup", ".partial-7-backup", "sap/own/deep"):
            (cell / name).mkdir(parents=True)
        gone = [".partial-a.json", "sap/.partial-b", "sap/figures/.partial-c.png", "sap/model.weights.h5"]
        gone += ["backup/.partial-d.h5", ".partial-7-backup/state-000001.weights.h5"]
        kept = ["sap/own/deep/.partial-e", "notes.lock", "sap/mine.weights.h5"]
        for name in gone + kept:
            (cell / name).write_text("")
        (cell / "linked").symlink_to(outside)
        (cell / "sap/linked").symlink_to(outside)
        (cell / ".partial-link").symlink_to(outside / ".partial-1")
        clear_leftovers(cell)
        assert not any((cell / name).exists() for name in [*gone, ".partial-7-backup"])
        assert all((cell / name).exists() for name in [*kept, "linked", "sap/linked", ".partial-link"])
        unchanged(outside)

    def test_a_deep_and_a_missing_folder(self, experiment: Path) -> None:
        clear_leftovers(experiment / "nothing")
        with nested(experiment, 1500):
            clear_leftovers(experiment)


@pytest.mark.parametrize("part", ["budget-1", "budget-1/seed-2/sap", "budget-1/seed-2/sap/figures"])
def test_a_stage_is_not_reached_through_links(experiment: Path, outside: Path, part: str) -> None:
    (experiment / part).parent.mkdir(parents=True, exist_ok=True)
    (experiment / part).symlink_to(outside)
    files = layout.method_files(layout.cell_files(experiment, 1, 2).folder, "sap")
    refused(lambda: keep_inside(experiment, files), "is a link")
