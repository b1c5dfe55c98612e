"""Checking experiment folders: what is whole stays unmentioned, what is damaged is named, and nothing else is."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import cli
from support.paths import FIXTURES, PUBLISHED
from unlearning.errors import InputError
from unlearning.experiments.results.validate import validate_folders
from unlearning.files import file_sha256
from unlearning.noise import Corruption
from unlearning.records import write_rows

KEPT = FIXTURES / "digits-symmetric-objectives" / "cross-entropy"
SAP = "budget-314/seed-42/sap"


def edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def write_weights(path: Path, record: Path) -> None:
    """Writes an archive of the form of a `.keras` file and its hash into its record."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", np.random.default_rng(0).bytes(5000))
    edit(record, lambda content: content.update(model_sha256=file_sha256(path)))


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A kept experiment with three weight files and a corruption."""
    folder = tmp_path / "experiment"
    shutil.copytree(KEPT, folder)
    for weights, record in (
        ("clean/best_model.keras", "clean/train_results.json"),
        ("budget-314/seed-42/poisoned_model.keras", "budget-314/seed-42/train_results.json"),
        (f"{SAP}/repaired_model.keras", f"{SAP}/unlearning_results.json"),
    ):
        write_weights(folder / weights, folder / record)
    true = np.arange(1257) % 10
    given = true.copy()
    given[:314] = (given[:314] + 1) % 10
    Corruption("symmetric", 42, given, true).save(folder / "budget-314/seed-42/corruption.npz")
    return folder


def problems(folder: Path) -> list[tuple[str, str, str]]:
    found = validate_folders([folder]).problems
    return [(Path(p.path).relative_to(folder).as_posix(), p.kind, p.message) for p in found]


class TestWhole:
    def test_the_published_results_are_clean(self) -> None:
        """Hashes of all published files are those that today's code computes from their configurations."""
        report = validate_folders([PUBLISHED])
        assert report.problems == []
        assert report.records > 250 and report.logs > 50 and report.weights_checked + report.weights_not_kept > 100

    def test_weights_are_checked_where_they_are(self, experiment: Path) -> None:
        report = validate_folders([experiment])
        assert report.problems == []
        assert report.weights_checked == 3 and report.weights_not_kept == 4 and report.unfinished == 0

    @pytest.mark.parametrize("part", ["clean", "budget-314", "budget-314/seed-42", SAP])
    def test_parts_are_checked_with_the_configurations_above(self, experiment: Path, part: str) -> None:
        report = validate_folders([experiment / part])
        assert report.problems == [] and report.records > 0

    def test_folders_inside_each_other_count_once(self, experiment: Path) -> None:
        assert validate_folders([experiment, experiment / "clean"]) == validate_folders([experiment])

    def test_a_grid_of_configurations_is_unfinished_not_wrong(self, experiment: Path) -> None:
        for path in experiment.rglob("*_results.json"):
            path.unlink()
        report = validate_folders([experiment])
        assert report.problems == [] and report.unfinished == 7

    def test_an_interrupted_training_is_not_wrong(self, experiment: Path) -> None:
        (experiment / "clean/backup").mkdir()
        (experiment / "clean/backup/state-3").write_bytes(b"x")
        assert problems(experiment) == []

    def test_nothing_is_changed(self, experiment: Path) -> None:
        before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in experiment.rglob("*")}
        validate_folders([experiment])
        assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in experiment.rglob("*")} == before


CLEAN = "clean/train_results.json"
CELL = "budget-314/seed-42"
RESULT = f"{SAP}/unlearning_results.json"


class TestDamage:
    @pytest.mark.parametrize(
        ("name", "change", "kind", "match"),
        [
            (CLEAN, lambda c: c.pop("accuracy"), "record", "accuracy"),
            (CLEAN, lambda c: c.update(accuracy=1.5), "record", "accuracy"),
            (CLEAN, lambda c: c.update(rows=3, corrupted_rows=4), "disagreement", "4 of 3 rows"),
            (CLEAN, lambda c: c.update(config_hash="0" * 64), "hash", "config_hash"),
            ("clean/train_config.json", lambda c: c.update(epochs=31), "hash", "config_hash"),
            (f"{CELL}/train_config.json", lambda c: c.update(seed=43), "path", "seed 43"),
            (f"{CELL}/poison_config.json", lambda c: c.update(budget=5), "path", "budget 5"),
            (f"{CELL}/poison_config.json", lambda c: c.update(labels_key="x"), "hash", "config_hash"),
            (RESULT, lambda c: c.update(acc_perc_restored=0.9), "disagreement", "acc_perc_restored"),
            (RESULT, lambda c: c.update(acc_clean=c["acc_clean"] - 0.01), "disagreement", "acc_clean"),
            (RESULT, lambda c: c.update(n_gradients=7), "disagreement", "gradient_rows"),
            (RESULT, lambda c: c.update(validation_accuracy_after=0.0), "disagreement", "worse"),
            (RESULT, lambda c: c["config"].update(validation="clean"), "disagreement", "config"),
            (RESULT, lambda c: c.update(variant="../x"), "path", "../x"),
            (RESULT, lambda c: c.update(surprise=1), "record", "surprise"),
            (f"{SAP}/unlearn_config.json", lambda c: c["hyperparameters"].update(rounds=9), "hash", "config_hash"),
        ],
    )
    def test_a_changed_record_is_named(
        self, experiment: Path, name: str, change: Callable, kind: str, match: str
    ) -> None:
        edit(experiment / name, change)
        found = problems(experiment)
        assert any(found_kind == kind and match in message for _, found_kind, message in found), found

    @pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 10_000, "\0"])
    def test_corrupt_json_is_one_problem_of_its_own_file(self, experiment: Path, text: str) -> None:
        (experiment / RESULT).write_text(text)
        ((path, kind, message),) = problems(experiment)
        assert (path, kind) == (RESULT, "record") and "\n" not in message and str(experiment) not in message

    def test_a_truncated_checkpoint(self, experiment: Path) -> None:
        path = experiment / "clean/best_model.keras"
        path.write_bytes(path.read_bytes()[:3000])
        ((name, kind, message),) = problems(experiment)
        assert (name, kind) == ("clean/best_model.keras", "weights") and "truncated (3000 bytes)" in message

    def test_a_flipped_bit(self, experiment: Path) -> None:
        path = experiment / f"{SAP}/repaired_model.keras"
        content = bytearray(path.read_bytes())
        content[2500] ^= 4
        path.write_bytes(content)
        ((name, kind, message),) = problems(experiment)
        assert kind == "weights" and "flipped bits in its member 'model.weights.h5'" in message
        assert name == f"{SAP}/repaired_model.keras"

    def test_whole_weights_of_another_model(self, experiment: Path) -> None:
        write_weights(experiment / "clean/best_model.keras", experiment / f"{CELL}/train_results.json")
        shutil.copy(experiment / "clean/best_model.keras", experiment / f"{CELL}/poisoned_model.keras")
        with zipfile.ZipFile(experiment / "clean/best_model.keras", "a") as archive:
            archive.writestr("assets/note.txt", "other")
        ((name, kind, message),) = problems(experiment)
        assert (name, kind) == ("clean/best_model.keras", "weights") and "another file" in message

    def test_a_damaged_or_foreign_corruption(self, experiment: Path) -> None:
        path = experiment / CELL / "corruption.npz"
        labels = np.arange(1257) % 10
        Corruption("symmetric", 42, labels, labels).save(path)
        ((_, kind, message),) = problems(experiment)
        assert kind == "disagreement" and "train_results.json" in message
        path.write_bytes(path.read_bytes()[:-40])
        assert [kind for _, kind, _ in problems(experiment)] == ["weights"]

    def test_row_lists(self, experiment: Path) -> None:
        lists = write_rows(experiment / SAP / "rows.npz", {"trusted_rows": np.arange(5)})
        edit(experiment / RESULT, lambda c: c.update(rows={name: entry.model_dump() for name, entry in lists.items()}))
        assert problems(experiment) == []
        write_rows(experiment / SAP / "rows.npz", {"trusted_rows": np.arange(6)})
        ((name, kind, message),) = problems(experiment)
        assert (name, kind) == (f"{SAP}/rows.npz", "rows") and "other trusted_rows" in message
        (experiment / SAP / "rows.npz").unlink()
        assert problems(experiment) == [] and validate_folders([experiment]).weights_not_kept == 5

    def test_a_corruption_is_bound_by_its_hash(self, experiment: Path) -> None:
        corruption = Corruption.load(experiment / CELL / "corruption.npz")
        edit(experiment / CELL / "train_results.json", lambda c: c.update(corruption_sha256=corruption.sha256()))
        assert problems(experiment) == []
        edit(experiment / CELL / "train_results.json", lambda c: c.update(corruption_sha256="0" * 64))
        ((name, kind, message),) = problems(experiment)
        assert (name, kind) == (f"{CELL}/corruption.npz", "disagreement") and "hash" in message

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"", "first line"),
            (b"step,step\n1,2\n", "first line"),
            (b"step,loss\n1\n", "line 2"),
            (b"step,loss\n1,\0\n", "null|NUL"),
            (b'step,loss\n1,"2\n', "unexpected end"),
            (b"step,loss\n1,\xff\n", "UTF-8"),
        ],
    )
    def test_logs(self, experiment: Path, content: bytes, match: str) -> None:
        import re

        (experiment / SAP / "log_step.csv").write_bytes(content)
        ((name, kind, message),) = problems(experiment)
        assert (name, kind) == (f"{SAP}/log_step.csv", "log") and re.search(match, message)

    def test_figures(self, experiment: Path) -> None:
        figures = experiment / SAP / "figures"
        figures.mkdir(exist_ok=True)
        (figures / "steps.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
        assert [(p, k) for p, k, _ in problems(experiment)] == [(f"{SAP}/figures/steps.png", "figure")]


class TestForeign:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("notes.txt", "foreign"),
            ("clean/poisoned_model.hdf5", "foreign"),
            (f"{CELL}/injector.pkl", "foreign"),
            (f"{SAP}/extra.json", "foreign"),
            ("clean/.partial-abc.json", "left over"),
            ("elsewhere/unlearn_config.json", "path"),
            ("budget-x/seed-1/poison_config.json", "path"),
        ],
    )
    def test_files_that_do_not_belong(self, experiment: Path, name: str, kind: str) -> None:
        path = experiment / name
        path.parent.mkdir(parents=True, exist_ok=True)
        source = KEPT / (f"{SAP}/unlearn_config.json" if "unlearn" in name else f"{CELL}/poison_config.json")
        path.write_text(source.read_text())
        assert [(p, k) for p, k, _ in problems(experiment)] == [(name, kind)]

    def test_a_method_folder_under_another_name(self, experiment: Path) -> None:
        (experiment / SAP).rename(experiment / CELL / "sap-renamed")
        found = problems(experiment)
        assert {kind for _, kind, _ in found} == {"path"} and "'sap'" in found[0][2]

    def test_links_out_of_the_folder(self, experiment: Path, tmp_path: Path) -> None:
        secret = tmp_path / "secret.json"
        secret.write_text("{}")
        (experiment / CLEAN).unlink()
        (experiment / CLEAN).symlink_to(secret)
        assert (CLEAN, "path") in [(p, k) for p, k, _ in problems(experiment)]

    def test_detections_beside_a_cell_are_known(self, experiment: Path) -> None:
        environment = json.loads((experiment / RESULT).read_text())["environment"]
        record = {
            **{"schema_version": 1, "detector": "loss-mixture", "options": {}, "rows": 5, "num_classes": 2},
            **{"suspects": 1, "suspect_share": 0.2, "suggestions_changed": 1, "threshold": 0.5, "status": "ok"},
            **{"metrics": None, "bad_rows": None, "seed": 0, "detection_duration_s": 1.0, "environment": environment},
        }
        (experiment / CELL / "suspects.json").write_text(json.dumps(record))
        (experiment / CELL / "suspects.csv").write_text("row,score\n1,0.5\n")
        assert problems(experiment) == []
        (experiment / CELL / "suspects.csv").write_text("row,score\n1\n")
        assert [(p, k) for p, k, _ in problems(experiment)] == [(f"{CELL}/suspects.csv", "log")]

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no folder"):
            validate_folders([tmp_path / "nowhere"])


class TestCommand:
    def test_exit_codes_table_and_json(self, experiment: Path) -> None:
        run = CliRunner().invoke
        assert run(cli.main, ["validate", str(experiment)]).exit_code == 0
        (experiment / "notes\x1b.txt").write_text("")
        done = run(cli.main, ["validate", str(experiment)])
        assert done.exit_code == 1 and "foreign" in done.output and "1 problems" in done.output
        assert "\x1b" not in done.output
        done = run(cli.main, ["validate", str(experiment), "--json"])
        report = json.loads(done.output)
        assert done.exit_code == 1 and [p["kind"] for p in report["problems"]] == ["foreign"]
        done = run(cli.main, ["validate", str(experiment / "nowhere")])
        assert done.exit_code == 2 and "no folder" in done.output
