"""Folders of strangers on the command line: names that steer a terminal, links, and folders without end."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from support.hostile import nested
from support.paths import FIXTURES
from support.report_pages import write_page
from support.report_trees import draw_matrix, make_tree

SOURCE = FIXTURES / "digits-symmetric-objectives" / "cross-entropy"
NAMES = ("a\x1b[2Jb", "\u202egpj.exe", "a\u2066b", "$x_{", "x\ny", os.fsdecode(b"caf\xe9"))
SHOW = ["show"], ["show", "--json"], ["show", "--compare", "--control", "sap"]
COMMANDS = (*SHOW, ["validate"], ["validate", "--json"])


def said(*arguments: object) -> str:
    done = CliRunner().invoke(cli.main, list(map(str, arguments)))
    assert done.exception is None or isinstance(done.exception, SystemExit), (arguments, done.exception)
    assert "Traceback" not in done.output
    return done.output


@pytest.mark.parametrize("name", NAMES)
def test_no_name_steers_the_terminal(tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(SOURCE, tmp_path / name)
    (folder / f"{name}.txt").write_text("")
    results = folder / "budget-314/seed-42/sap/unlearning_results.json"
    content = json.loads(results.read_text())
    text = "x" if "\x1b" in name or name.startswith("caf") else name  # those are refused in records
    results.write_text(json.dumps(content | {"method": text, "status": text}))
    texts = [said(*command, folder) for command in COMMANDS]
    texts += [said("export", folder, "--out", tmp_path / "t.csv"), said("show", folder / "nowhere")]
    texts += [said("figures", folder, "--out", tmp_path / name / "f")]
    for text in texts:
        assert text and all(line.isprintable() for line in text.split("\n")), text


def test_linked_pictures_are_not_embedded(tmp_path: Path) -> None:
    folder, secret = make_tree(tmp_path / "e", (1000,), (43,), ("first-order",)), tmp_path / "secret"
    own = folder / "budget-1000/seed-43/first-order/figures"
    _, page = write_page(folder, tmp_path / "whole.html")
    assert len(page.data["images"]) == 2
    own.rename(secret)
    own.symlink_to(secret)
    text, page = write_page(folder, tmp_path / "a.html")
    assert page.data["images"] == [] and "is a link" in text
    own.unlink()
    own.mkdir()
    (own / "confusion_after.png").symlink_to(secret / "confusion_after.png")
    (own / "confusion_before.png").write_bytes(draw_matrix("before", 8))
    text, page = write_page(folder, tmp_path / "b.html")
    assert len(page.data["images"]) == 1 and "is a link" in text


@pytest.mark.parametrize("part", ["clean", "budget-314/seed-43", "budget-314/seed-43/sap"])
def test_linked_folders_are_named_and_not_read(tmp_path: Path, part: str) -> None:
    folder = shutil.copytree(SOURCE, tmp_path / "e")
    (folder / part).rename(tmp_path / "outside")
    (folder / part).symlink_to(tmp_path / "outside")
    assert "a link; it is not followed" in said("validate", folder)
    _, page = write_page(folder, tmp_path / "r.html")
    if part == "clean":
        assert page.data["experiments"][0]["clean"] == {}
    else:
        assert len(page.data["repairs"]) == 2


def test_loops_end_in_one_line(tmp_path: Path) -> None:
    folder = shutil.copytree(SOURCE, tmp_path / "e")
    cell = folder / "budget-314/seed-42"
    for path in (cell / "sap/unlearning_results.json", folder / "clean/train_results.json", folder / "loop"):
        path.unlink(missing_ok=True)
        path.symlink_to(path)
    text = said("validate", folder)
    assert text.count("a link; it is not followed") == 3
    for command in (["show"], ["export", "--out", tmp_path / "t.csv"], ["figures", "--out", tmp_path / "f"]):
        assert said(*command, folder).count("Error:") <= 1
    assert said("show", folder / "loop").startswith("Error: There is no folder")
    write_page(folder, tmp_path / "r.html")


def test_folders_without_end(tmp_path: Path) -> None:
    folder = shutil.copytree(SOURCE, tmp_path / "e")
    with nested(folder, 2500):
        assert "are not looked at" in said("validate", folder)
        deep = folder.joinpath(*["d"] * 2500)
        for command in (["show"], ["validate"], ["report", "--out", tmp_path / "r.html"]):
            assert said(*command, deep).splitlines()[-1].startswith("Error:")
        write_page(folder, tmp_path / "r.html")


@pytest.mark.parametrize("name", ["seed-0044", "seed-４４", "seed-٤٤", "seed-+44", "seed-44 ", "seed-" + "9" * 5000])
def test_a_seed_is_counted_once(tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(SOURCE, tmp_path / "e")
    if len(name) < 200:
        shutil.copytree(folder / "budget-314/seed-44", folder / "budget-314" / name)
    _, page = write_page(folder, tmp_path / "r.html")
    assert sorted(repair["s"] for repair in page.data["repairs"]) == [42, 43, 44]
