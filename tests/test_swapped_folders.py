"""A folder that becomes a link, or another folder, while something is written: nothing is written through it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command import TINY, cli, tree
from unlearning.errors import InputError
from unlearning.experiments.grid import cells
from unlearning.experiments.grid.locks import lock_cell
from unlearning.files import write_text, writing
from unlearning.links import keeping_real, real_path, still_real


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of somebody else's, with files of the names that are written."""
    folder = tmp_path / "elsewhere"
    for name in ("record.json", "inner/record.json", "seed-1/failure.json", "seed-1/sap/unlearning_results.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("theirs")
    return folder


def swap(folder: Path, other: Path) -> None:
    folder.rename(folder.with_name(f"{folder.name}-before"))
    folder.symlink_to(other)


class TestWhileAFileIsWritten:
    @pytest.mark.parametrize("depth", [1, 2], ids=["its folder", "a folder above"])
    @pytest.mark.parametrize("late", [False, True], ids=["written before", "written after"])
    def test_a_link_takes_the_folders_place(self, tmp_path: Path, elsewhere: Path, depth: int, late: bool) -> None:
        inside = tmp_path / "own"
        folder = inside if depth == 1 else inside / "inner"
        write_text(folder / "record.json", "old")
        before = tree(elsewhere)
        with pytest.raises(InputError, match="became another folder"), writing(folder / "record.json") as aside:
            if not late:
                aside.write_text("new")
            swap(inside, elsewhere)
            if late:
                aside.write_text("new")  # what a library opens by its path: no file of theirs has this name
        assert {name: text for name, text in tree(elsewhere).items() if ".partial-" not in name} == before
        assert tree(tmp_path / "own-before") == {str((folder / "record.json").relative_to(inside)): b"old"}

    def test_another_folder_takes_its_place(self, tmp_path: Path) -> None:
        folder = tmp_path / "own"
        with pytest.raises(InputError, match="became another folder"), writing(folder / "record.json") as aside:
            aside.write_text("new")
            folder.rename(tmp_path / "moved")
            folder.mkdir()
        assert not tree(tmp_path)

    def test_a_folder_that_is_reached_by_a_link_from_the_start(self, tmp_path: Path, elsewhere: Path) -> None:
        (tmp_path / "own").symlink_to(elsewhere)  # the user's choice
        write_text(tmp_path / "own/record.json", "new")
        assert (elsewhere / "record.json").read_text() == "new"


class TestBetweenTwoFiles:
    def test_only_while_it_is_kept(self, tmp_path: Path, elsewhere: Path) -> None:
        root = tmp_path / "experiment"
        write_text(root / "cell/record.json", "old")
        before = tree(elsewhere)
        with keeping_real(root):
            swap(root / "cell", elsewhere)
            for path in (root / "cell/record.json", root / "cell/inner/record.json"):
                with pytest.raises(InputError, match="is a link"):
                    write_text(path, "new")
                with pytest.raises(InputError, match="is a link"):
                    still_real(path)
            write_text(tmp_path / "beside/record.json", "new")
        assert tree(elsewhere) == before
        write_text(root / "cell/record.json", "new")
        assert (elsewhere / "record.json").read_text() == "new"

    def test_whoever_holds_a_lock_keeps_the_experiment(self, tmp_path: Path, elsewhere: Path) -> None:
        root = tmp_path / "experiment"
        cell = root / "budget-60/seed-1"
        cell.mkdir(parents=True)
        before = tree(elsewhere)
        with lock_cell(root, 60, 1):
            swap(cell, elsewhere / "seed-1")
            with pytest.raises(InputError, match="is a link"):
                write_text(cell / "failure.json", "ours")
        assert tree(elsewhere) == before
        cell.unlink()
        with lock_cell(root, 60, 1):
            swap(root / ".locks", elsewhere)
            (elsewhere / "budget-60-seed-1.lock").write_text("theirs")
        assert (elsewhere / "budget-60-seed-1.lock").read_text() == "theirs"

    @pytest.mark.slow
    def test_a_run_whose_cell_becomes_a_link(
        self, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original, before = cells.ensure_repaired, tree(elsewhere)

        def swapping(cell, planned, scorer):
            if not cell.files.folder.is_symlink():
                swap(cell.files.folder, elsewhere / "seed-1")
            return original(cell, planned, scorer)

        monkeypatch.setattr(cells, "ensure_repaired", swapping)
        done = cli("run", *TINY, "--methods", "sap", "--out", "grid", "--quiet", cwd=tmp_path)
        assert done.returncode != 0 and "is a link" in done.stderr and "Traceback" not in done.stderr
        assert tree(elsewhere) == before
        kept = tmp_path / "grid/budget-60/seed-1-before"
        assert json.loads((kept / "train_results.json").read_text())


def test_links_in_a_circle_have_a_place(tmp_path: Path) -> None:
    (tmp_path / "a.npz").symlink_to(tmp_path / "a.npz")
    assert real_path(tmp_path / "a.npz").name == "a.npz"
    for words in (
        ("run", "--until", "configs", "--data", "a.npz"),
        ("detect", "a.npz", "--data", "a.npz", "--out", "s.csv"),
        ("repair", "m.keras", "--data", "a.npz", "--method", "sap", "--out", "a.keras"),
    ):
        done = cli(*words, cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.startswith("Error: "), done.stderr
