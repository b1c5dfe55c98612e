"""One reader of experiment folders: what it recognises, when it reads, and how it meets damage and links."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from support.paths import FIXTURES, KEPT
from unlearning.errors import InputError
from unlearning.experiments.results import reading
from unlearning.experiments.results.reader import read_folders
from unlearning.experiments.results.tree import Tree
from unlearning.records import DetectionResults, TrainConfig, UnlearningResults

CELL = "budget-314/seed-42"
SAP = f"{CELL}/sap"


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    return shutil.copytree(FIXTURES / "digits-symmetric-objectives" / "cross-entropy", tmp_path / "e")


def problems(tree: Tree, folder: Path) -> list[tuple[str, str]]:
    return [(Path(problem.path).relative_to(folder).as_posix(), problem.kind) for problem in tree.problems]


class TestRecognised:
    @pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
    def test_every_kept_result_in_its_place(self, folder: Path) -> None:
        tree = read_folders([folder], strict=True)
        repairs = tree.repairs()
        assert {r.layout.results for r in repairs} == set(folder.rglob("unlearning_results.json"))
        assert {t.layout.results for t in tree.trainings()} == set(folder.rglob("train_results.json"))
        keys = [(r.experiment, r.budget, r.seed, r.name) for r in repairs]
        assert keys == sorted(keys) and len(set(keys)) == len(keys)
        for repair in repairs:
            assert repair.ours is not None and repair.config == repair.ours.config
            assert repair.training.config is not None and repair.training.poison_config is not None
            assert repair.training.results is not None and repair.training.poison_config.seed == repair.seed
        assert tree.problems == [] and tree.foreign == 0

    @pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
    def test_detections_of_the_program_and_of_users(self, folder: Path) -> None:
        found = [d for cell in read_folders([folder]).cells() for d in cell.detections]
        records = [path for path in folder.rglob("*.json") if "detector" in json.loads(path.read_text())]
        assert sorted(d.record for d in found if isinstance(d.results, DetectionResults)) == sorted(records)
        assert any(d.name.startswith("detect-") for d in found)

    @pytest.mark.parametrize(("part", "count"), [("", 3), ("budget-314", 3), (CELL, 1), (SAP, 1), ("clean", 0)])
    def test_parts_know_what_stands_above(self, experiment: Path, part: str, count: int) -> None:
        tree = read_folders([experiment / part], strict=True)
        assert len(tree.repairs()) == count
        (found,) = tree.experiments
        assert found.folder == experiment.resolve() and len(set(map(id, found.clean.values()))) == 1
        assert all(isinstance(clean.config, TrainConfig) for clean in found.clean.values())
        assert all(repair.training.config for repair in tree.repairs())

    def test_from_inside_with_a_relative_path(self, experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(experiment / SAP)
        (repair,) = read_folders([Path(".")], strict=True).repairs()
        assert (repair.name, repair.budget, repair.seed) == ("sap", 314, 42)

    def test_folders_inside_each_other_count_once(self, experiment: Path) -> None:
        assert len(read_folders([experiment, experiment / CELL, experiment]).repairs()) == 3

    def test_experiments_of_one_name_are_told_apart(self, experiment: Path, tmp_path: Path) -> None:
        other = shutil.copytree(experiment, tmp_path / "other" / "e")
        tree = read_folders([experiment, other])
        assert [(e.label, e.name) for e in tree.experiments] == [("e", "e"), ("e (2)", "e")]
        assert len({(r.experiment, r.seed) for r in tree.repairs()}) == 6

    def test_an_unfinished_repair_is_there_without_results(self, experiment: Path) -> None:
        (experiment / SAP / "unlearning_results.json").unlink()
        tree = read_folders([experiment], strict=True)
        (repair,) = next(cell for cell in tree.cells() if cell.seed == 42).repairs
        assert repair.config is not None and repair.results is None and len(tree.repairs()) == 2


class TestDamage:
    @pytest.mark.parametrize("text", ["", "{", "{}", '{"a": NaN}', "[" * 10_000, "\0", "null"])
    def test_a_problem_or_an_error(self, experiment: Path, text: str) -> None:
        (experiment / SAP / "unlearning_results.json").write_text(text)
        tree = read_folders([experiment])
        assert len(tree.repairs()) == 2
        assert problems(tree, experiment) == [(f"{SAP}/unlearning_results.json", "record")]
        with pytest.raises(InputError, match="unlearning_results"):
            read_folders([experiment], strict=True).repairs()

    def test_records_are_read_when_asked_for_and_once(self, experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (experiment / CELL / "train_config.json").write_text("{")
        tree = read_folders([experiment], strict=True)
        repairs = tree.repairs()  # does not need it
        with pytest.raises(InputError, match="train_config"):
            _ = repairs[0].training.config
        monkeypatch.setattr("unlearning.experiments.results.reading.read_raw", None)
        assert isinstance(repairs[0].results, UnlearningResults)

    def test_a_result_that_was_moved(self, experiment: Path) -> None:
        (experiment / CELL).rename(experiment / "budget-314/seed-7")
        with pytest.raises(InputError, match="it was moved or changed"):
            read_folders([experiment], strict=True).repairs()
        tree = read_folders([experiment])
        assert len(tree.repairs()) == 2 and [kind for _, kind in problems(tree, experiment)] == ["path"]

    def test_a_result_outside_of_cells(self, experiment: Path) -> None:
        shutil.copytree(experiment / SAP, experiment / "elsewhere")
        with pytest.raises(InputError, match="budget-<B>"):
            read_folders([experiment], strict=True)
        found = problems(read_folders([experiment]), experiment)
        assert ("elsewhere/unlearning_results.json", "path") in found

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no folder"):
            read_folders([tmp_path / "nowhere"])

    def test_a_huge_log_is_not_read(self, experiment: Path) -> None:
        tree = read_folders([experiment])
        repair = tree.repairs()[0]
        with repair.layout.step_log.open("wb") as file:
            file.truncate(2**30)
        assert tree.read.content(repair.layout.step_log, "log") is None
        assert [kind for _, kind in problems(tree, experiment)] == ["log"]


class TestWalk:
    def test_links_are_named_and_not_followed(self, experiment: Path, tmp_path: Path) -> None:
        outside = shutil.copytree(experiment / SAP, tmp_path / "outside")
        (experiment / CELL / "linked").symlink_to(outside)
        (experiment / "loop").symlink_to(experiment)
        results = experiment / "budget-314/seed-43/sap/unlearning_results.json"
        results.unlink()
        results.symlink_to(outside / "unlearning_results.json")
        tree = read_folders([experiment])
        assert len(tree.repairs()) == 2
        expected = {f"{CELL}/linked", "loop", "budget-314/seed-43/sap/unlearning_results.json"}
        assert {path for path, kind in problems(tree, experiment) if kind == "path"} == expected
        with pytest.raises(InputError, match="a link"):
            read_folders([experiment], strict=True)

    def test_a_configuration_above_is_no_link_either(self, experiment: Path, tmp_path: Path) -> None:
        config = experiment / CELL / "train_config.json"
        config.rename(tmp_path / "moved.json")
        config.symlink_to(tmp_path / "moved.json")
        (repair,) = read_folders([experiment / SAP]).repairs()
        assert repair.training.config is None

    def test_hidden_folders_pipes_and_depth(self, experiment: Path) -> None:
        shutil.copytree(experiment / "budget-314", experiment / ".locks/budget-1")
        os.mkfifo(experiment / SAP / "train_config.json")
        deep = experiment.joinpath(*"abcdefghijklmnopqrst")
        deep.mkdir(parents=True)
        (deep / "unlearning_results.json").write_text("{}")
        tree = read_folders([experiment])
        assert len(tree.repairs()) == 3
        assert [kind for _, kind in problems(tree, experiment)] == ["path", "path"]

    def test_no_end_of_files(self, experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "MOST_FILES", 5)
        tree = read_folders([experiment])
        assert len(tree.files) == 5 and "more than 5 files" in tree.problems[0].message
