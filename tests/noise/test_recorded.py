"""Noise from and to label lists, and noise on fine classes, through the command line."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from support.command import assert_refused, cli, tree
from unlearning.data import load_data
from unlearning.experiments.cell.labels import write_given_labels
from unlearning.experiments.cell.line import write_configs
from unlearning.experiments.cell.reopening import reopen
from unlearning.experiments.cell.repairing import ensure_repaired
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.settings import RunSettings
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.cell.training import ensure_poisoned
from unlearning.noise import Corruption

TINY = ("--train-rows", "200", "--epochs", "1", "--batch-size", "100", "--seeds", "1")
SOURCE = functools.partial(RunSettings, noise="symmetric-inclusive", train_rows=200, budgets=(60,), seeds=(1,))
RECORDED = ("--noise", "recorded", "--labels-file")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A folder with the labels of a cell that is configured but not trained, and an experiment trained on them."""
    folder = tmp_path_factory.mktemp("recorded")
    write_configs(Setup(SOURCE(output=folder / "source")))
    done = cli("export", "source/budget-60/seed-1", "--format", "labels", "--out", "labels.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "200 labels" in done.stdout and "wrong" in done.stdout
    done = cli("run", *TINY, *RECORDED, "labels.json", "--methods", "first-order", "--out", "e", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def cell(folder: Path) -> Path:
    (found,) = (folder / "e").glob("budget-*/seed-1")
    return found


class TestRecorded:
    def test_the_labels_are_those_of_the_source(self, exported: Path) -> None:
        labels = json.loads((exported / "labels.json").read_text())
        source = Cell(Setup(SOURCE(output=exported / "source")), 60, 1).corruption
        assert labels == source.given_labels.tolist()
        used = Corruption.load(cell(exported) / "corruption.npz")
        assert used.given_labels.tolist() == labels and used.kind == "recorded"
        true = load_data("digits", train_rows=200).train.labels
        wrong = int((true != np.array(labels)).sum())
        assert 40 <= wrong < 60, "some of the 60 drawn rows keep their label"
        assert cell(exported).parent.name == f"budget-{wrong}"
        poison = json.loads((cell(exported) / "poison_config.json").read_text())
        assert len(poison["labels_sha256"]) == 64 and poison["budget"] == wrong
        results = json.loads((cell(exported) / "train_results.json").read_text())
        assert results["corrupted_rows"] == wrong and results["validation_accuracy_noisy"] is not None

    def test_the_same_labels_are_found_again_and_others_refused(self, exported: Path, tmp_path: Path) -> None:
        labels = json.loads((exported / "labels.json").read_text())
        (tmp_path / "same.json").write_text(json.dumps(labels, indent=1))
        bad = Corruption.load(cell(exported) / "corruption.npz").rows
        labels[bad[0]], labels[bad[1]] = (
            next(k for k in range(10) if k not in (labels[row], true))
            for row, true in zip(bad[:2], load_data("digits", train_rows=200).train.labels[bad[:2]], strict=True)
        )
        (tmp_path / "other.json").write_text(json.dumps(labels))
        before = tree(exported)
        options = ("--methods", "first-order", "--out", exported / "e")
        done = cli("run", *TINY, *RECORDED, "same.json", *options, "--json", cwd=tmp_path)
        assert done.returncode == 0 and len(json.loads(done.stdout)) == 1, done.stderr
        done = cli("run", *TINY, *RECORDED, "other.json", *options, cwd=tmp_path)
        assert_refused(done, "labels_sha256")
        with pytest.raises(ValueError, match="labels_sha256"):
            write_given_labels(
                run_dir=cell(exported), out=tmp_path / "o.json", labels_file=str(tmp_path / "other.json")
            )
        assert tree(exported) == before

    def test_a_finished_cell_needs_no_file(self, exported: Path, tmp_path: Path) -> None:
        shutil.copytree(exported / "e", tmp_path / "e")
        again = cell(tmp_path)
        opened = reopen(again, "first-order", {}, variant="again")
        assert ensure_repaired(opened, opened.setup.repairs[0]).variant == "again"
        rows, wrong = write_given_labels(run_dir=again, out=tmp_path / "copy.json")
        assert (rows, wrong) == (200, int(again.parent.name.removeprefix("budget-")))
        assert json.loads((tmp_path / "copy.json").read_text()) == json.loads((exported / "labels.json").read_text())
        (again / "corruption.npz").unlink()
        with pytest.raises(ValueError, match="labels_file"):
            write_given_labels(run_dir=again, out=tmp_path / "no.json")
        write_given_labels(run_dir=again, out=tmp_path / "yes.json", labels_file=str(exported / "labels.json"))
        assert (tmp_path / "yes.json").read_bytes() == (tmp_path / "copy.json").read_bytes()

    def test_export_keeps_what_is_there(self, exported: Path, tmp_path: Path) -> None:
        (tmp_path / "l.json").write_text("precious")
        done = cli("labels", cell(exported), "--out", "l.json", cwd=tmp_path)
        assert_refused(done, "--force")
        assert (tmp_path / "l.json").read_text() == "precious"
        write_given_labels(run_dir=cell(exported), out=tmp_path / "l.json", force=True)
        assert len(json.loads((tmp_path / "l.json").read_text())) == 200
        with pytest.raises(ValueError, match=r"\.json"):
            write_given_labels(run_dir=cell(exported), out=tmp_path / "l.txt")
        backdoor = RunSettings(noise="backdoor", train_rows=200, budgets=(20,), seeds=(1,), output=tmp_path / "b")
        write_configs(Setup(backdoor))
        with pytest.raises(ValueError, match="images"):
            write_given_labels(run_dir=tmp_path / "b/budget-20/seed-1", out=tmp_path / "b.json")

    def test_budgets_do_not_combine(self) -> None:
        for options in ({"budgets": (5,)}, {"rates": (0.1,)}):
            with pytest.raises(ValueError, match="recorded"):
                RunSettings(noise="recorded", labels_file="l.json", **options)


class TestSubclassDominant:
    def test_from_arrays_with_fine_labels(self, tmp_path: Path) -> None:
        digits = load_data("digits")
        parts = {}
        for part in ("train", "validation", "test"):
            split = getattr(digits, part).subset(np.arange(200))
            parts |= {
                f"{part}_images": split.images,
                f"{part}_labels": split.labels // 2,
                f"{part}_fine_labels": split.labels,
            }
        np.savez(tmp_path / "pairs.npz", **parts)
        settings = {"dataset": str(tmp_path / "pairs.npz"), "noise": "subclass-dominant", "budgets": (40,)}
        poisoned = ensure_poisoned(Cell(Setup(RunSettings(**settings, epochs=1, output=tmp_path / "e")), 40, 42))
        assert poisoned.corrupted_rows == 40 and poisoned.validation_accuracy_noisy is not None
        used = Corruption.load(tmp_path / "e/budget-40/seed-42/corruption.npz")
        fine = parts["train_fine_labels"][used.rows]
        assert used.budget == 40 and set(fine) == {0, 2, 4, 6, 8}
        np.testing.assert_array_equal(used.given_labels[used.rows], (fine // 2 + 1) % 5)

    def test_data_without_fine_labels_are_refused(self, tmp_path: Path) -> None:
        done = cli("run", "--noise", "subclass-dominant", "--budgets", "40", "--out", "e", cwd=tmp_path)
        assert_refused(done, "cifar100-superclasses")
        assert not tree(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("run", "--noise", "recorded"), "--labels-file"),
        (("run", *RECORDED, "short.json"), "one label for each of the 1257"),
        (("labels", "nowhere", "--out", "l.json"), "run_dir"),
    ],
)
def test_bad_input_is_one_line_and_no_files(tmp_path: Path, arguments: tuple[str, ...], match: str) -> None:
    (tmp_path / "short.json").write_text("[1, 2, 3]")
    done = cli(*arguments, cwd=tmp_path)
    assert_refused(done, match)
    assert list(tree(tmp_path)) == ["short.json"]
