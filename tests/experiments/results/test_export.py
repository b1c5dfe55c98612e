"""Results as CSV, the published implementation's result files, and the schemas."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import cli
from support.paths import FIXTURES, ROOT, kept
from unlearning.errors import InputError
from unlearning.experiments.results.export import export_results
from unlearning.experiments.results.reader import read_folders
from unlearning.experiments.results.validate import validate_folders
from unlearning.records import KINDS
from unlearning.records.schema import kinds, schema_of

REFERENCE = {
    **{"acc_clean": 0.8786, "acc_before_fix": 0.7382, "acc_after_fix": 0.7686, "acc_perc_restored": 0.2165},
    **{"diverged": False, "n_gradients": 512, "unlearning_duration_s": 37.5, "num_params": 1798282},
}
SHORT = {key: REFERENCE[key] for key in [*list(REFERENCE)[:4], "unlearning_duration_s"]}
DIVERGED = {**REFERENCE, "acc_after_fix": -1.0, "acc_perc_restored": -12.4, "diverged": True}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder as the published implementation leaves it."""
    folder = tmp_path / "poisoning"
    cell = folder / "budget-10000" / "seed-42"
    for name, content in (("first-order", REFERENCE), ("fine-tuning-1", SHORT), ("second-order", DIVERGED)):
        (cell / name).mkdir(parents=True)
        (cell / name / "unlearning_results.json").write_text(json.dumps(content))
    (cell / "first-order" / "unlearn_config.json").write_text(
        json.dumps({"tau": 2e-5, "steps": 10, "_filename": "/home/somebody/unlearn_config.json"})
    )
    scores = {"precision": 0.7, "recall": 0.7, "f1-score": 0.7, "support": 500}
    training = {**{str(k): scores for k in range(10)}, "macro avg": scores, "weighted avg": scores}
    training |= {"accuracy": 0.7438, "train_loss": 0.018, "test_loss": 1.35, "epochs_for_min": 99, "time": 1237.2}
    (cell / "train_results.json").write_text(json.dumps(training))
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class TestTidy:
    def test_every_scalar_field_with_all_digits(self, tmp_path: Path) -> None:
        out = tmp_path / "r.csv"
        entries = export_results([FIXTURES], out)
        rows = read(out)
        assert len(rows) == len(entries) == len(list(FIXTURES.rglob("unlearning_results.json")))

        def scalars(value: object, name: str):
            if isinstance(value, dict):
                for key, item in value.items():
                    yield from scalars(item, f"{name}.{key}" if name else key)
            elif not isinstance(value, list):
                yield name, value

        for entry, row in zip(entries, rows, strict=True):
            content = json.loads((entry.folder / "unlearning_results.json").read_text())
            for name, value in scalars(content, ""):
                assert row[name] == ("" if value is None else str(value)), name
            assert (row["folder"], row["budget"]) == (entry.folder.name, str(content["budget"]))
            assert row["information"] in ("nothing", "bad rows", "right labels")
            assert row["source"] == "keras-unlearning" and row["train.model"] == "cnn_small" and row["poison.noise"]

    def test_others_can_read_it(self, tmp_path: Path) -> None:
        export_results([FIXTURES], tmp_path / "r.csv")
        frame = pd.read_csv(tmp_path / "r.csv")
        assert frame.acc_after_fix.dtype == float and frame.applied.dtype == bool and frame.n_gradients.dtype == int
        assert not frame.columns.duplicated().any()
        assert list(frame.columns[:6]) == ["source", "experiment", "budget", "seed", "folder", "information"]
        told = {name: set(frame.information[frame.folder == name]) for name in ("sap", "retraining-unflagged")}
        assert told == {"sap": {"nothing"}, "retraining-unflagged": {"bad rows"}}
        assert set(frame.information[frame.folder == "second-order-detected-patches"]) == {"nothing"}

    def test_the_order_does_not_depend_on_how_it_is_asked_for(self, tmp_path: Path) -> None:
        one, two = (FIXTURES / f"cifar10-20000-cnn_small-{noise}" for noise in ("flip-pairs", "symmetric"))
        export_results([one, two], tmp_path / "a.csv")
        export_results([two, one, two / "budget-5000"], tmp_path / "b.csv")
        assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
        keys = [(r["experiment"], int(r["budget"]), int(r["seed"]), r["folder"]) for r in read(tmp_path / "a.csv")]
        assert keys == sorted(keys)

    def test_nothing_is_overwritten_unasked(self, tmp_path: Path) -> None:
        out = tmp_path / "r.csv"
        out.write_text("mine")
        with pytest.raises(InputError, match="--force"):
            export_results([FIXTURES], out)
        assert out.read_text() == "mine"
        export_results([FIXTURES], out, force=True)
        assert len(read(out)) > 20 and [p.name for p in tmp_path.iterdir()] == ["r.csv"]

    @pytest.mark.parametrize(
        ("folders", "out", "match"),
        [
            (["models"], "models", ".csv"),
            (["nowhere"], "r.csv", "no folder"),
            (["empty"], "r.csv", "no unlearning_results.json"),
            (["models"], "file.txt/r.csv", "file.txt"),
        ],
    )
    def test_bad_input(self, tmp_path: Path, folders: list[str], out: str, match: str) -> None:
        (tmp_path / "models").symlink_to(FIXTURES)
        (tmp_path / "empty").mkdir()
        (tmp_path / "file.txt").write_text("")
        with pytest.raises(InputError, match=match):
            export_results([tmp_path / name for name in folders], tmp_path / out)
        assert not list(tmp_path.glob("*.csv"))

    def test_a_moved_result_is_refused(self, tmp_path: Path) -> None:
        source = next(FIXTURES.rglob("unlearning_results.json"))
        for name, match in (("budget-1/seed-1/sap", "moved"), ("somewhere", "budget-<B>")):
            folder = tmp_path / name
            folder.mkdir(parents=True)
            (folder / source.name).write_bytes(source.read_bytes())
            with pytest.raises(InputError, match=match):
                read_folders([folder], strict=True).repairs()

    def test_no_cell_is_a_formula(self, published: Path, tmp_path: Path) -> None:
        (published / "budget-10000/seed-42/first-order").rename(published / "budget-10000/seed-42/=1+1")
        export_results([published], tmp_path / "r.csv")
        assert [r["folder"] for r in read(tmp_path / "r.csv")] == ["'=1+1", "fine-tuning-1", "second-order"]


class TestPublished:
    def test_tidy_rows_carry_their_note(self, published: Path, tmp_path: Path) -> None:
        export_results([published], tmp_path / "r.csv")
        tuned, first, second = read(tmp_path / "r.csv")
        assert {row["source"] for row in (tuned, first, second)} == {"reference"}
        assert float(first["acc_perc_restored"]) == 0.2165 and first["n_gradients"] == "512"
        assert first["budget"] == "10000" and first["experiment"] == "poisoning"
        assert tuned["n_gradients"] == "" and tuned["diverged"] == ""
        assert second["acc_after_fix"] == "" and second["acc_perc_restored"] == "" and second["diverged"] == "True"
        assert "validation split" in first["note"] and "fraction" in first["note"]

    def test_its_own_columns(self, published: Path, tmp_path: Path) -> None:
        export_results([published], tmp_path / "r.csv", form="reference")
        lines = (tmp_path / "r.csv").read_text().splitlines()
        assert lines[0] == ",# Poisoned Labels,method,seed,acc_before,ACC after fix,# Gradients,Time (s)"
        assert lines[1] == "0,10000,fine-tuning-1,42,0.7382,0.7686,-1,37.5"
        assert lines[2] == "1,10000,first-order,42,0.7382,0.7686,512,37.5"
        frame = pd.read_csv(tmp_path / "r.csv", index_col=0)
        assert frame["# Poisoned Labels"].tolist() == [10000] * 3

    def test_ours_in_its_columns(self, tmp_path: Path) -> None:
        entries = export_results([FIXTURES], tmp_path / "r.csv", form="reference")
        frame = pd.read_csv(tmp_path / "r.csv", index_col=0)
        assert frame["ACC after fix"].tolist() == [e.results.acc_after_fix for e in entries]
        assert frame["Time (s)"].tolist() == [e.results.unlearning_duration_s for e in entries]

    def test_show_and_export_say_what_is_different(self, published: Path, tmp_path: Path) -> None:
        done = CliRunner().invoke(cli.main, ["show", str(published)])
        assert done.exit_code == 0, done.output
        assert "76.9" in done.output and "diverged" in done.output and "74.4" in done.output
        assert "on the validation split" in done.output and max(map(len, done.output.splitlines())) <= 100
        done = CliRunner().invoke(cli.main, ["show", str(published), "--json"])
        assert [row["source"] for row in json.loads(done.output)] == ["reference"] * 3
        done = CliRunner().invoke(cli.main, ["export", str(published), "--out", str(tmp_path / "r.csv")])
        assert done.exit_code == 0 and "3 rows" in done.output and "mixture" in done.output

    def test_validate_knows_them(self, published: Path) -> None:
        report = validate_folders([published])
        assert report.problems == [] and report.reference_records == 5

    @pytest.mark.parametrize("change", [{"acc_clean": "high"}, {"unlearning_duration_s": None}])
    def test_damaged_ones_are_refused(self, published: Path, change: dict) -> None:
        path = published / "budget-10000/seed-42/first-order/unlearning_results.json"
        path.write_text(json.dumps({**REFERENCE, **change}))
        with pytest.raises(InputError, match=next(iter(change))):
            read_folders([published], strict=True).repairs()


class TestSchemas:
    @pytest.mark.parametrize("name", list(KINDS))
    def test_every_field_is_described(self, name: str) -> None:
        schema = schema_of(name)
        Draft202012Validator.check_schema(schema)
        for part in (schema, *schema.get("$defs", {}).values()):
            assert part["description"]
            for field, properties in part["properties"].items():
                assert properties.get("description"), f"{part['title']}.{field}"

    @pytest.mark.parametrize("name", list(kinds()))
    def test_fields_are_described_where_they_stand(self, name: str) -> None:
        assert "Attributes:" not in (kinds()[name].__doc__ or "")

    def test_kept_files_fit_their_schemas(self) -> None:
        checked = 0
        for name in KINDS:
            validator = Draft202012Validator(schema_of(name))
            for path in kept(f"{name}.json"):
                validator.validate(json.loads(path.read_text()))
                checked += 1
        assert checked > 250

    def test_a_wrong_file_does_not_fit(self) -> None:
        assert not Draft202012Validator(schema_of("poison_config")).is_valid({"noise": "pair", "budget": "many"})

    def test_command(self, tmp_path: Path) -> None:
        run = CliRunner().invoke
        done = run(cli.main, ["schema", "unlearning_results.json"])
        assert json.loads(done.output)["properties"]["unlearning_duration_s"]["description"].startswith(
            "Wall-clock sec"
        )
        assert set(json.loads(run(cli.main, ["schema"]).output)) == set(kinds())
        done = run(cli.main, ["schema", "--out", str(tmp_path / "s")])
        assert len(list((tmp_path / "s").iterdir())) == len(kinds()) == len(done.output.splitlines())
        done = run(cli.main, ["schema", "train_config", "--out", str(tmp_path / "one")])
        assert [p.name for p in (tmp_path / "one").iterdir()] == ["train_config.schema.json"]
        for arguments in (["schema", "hope"], ["schema", "../x", "--out", str(tmp_path)]):
            done = run(cli.main, arguments)
            assert done.exit_code == 2 and "train_config" in done.output


@pytest.mark.parametrize("command", ["schema", "validate", "export", "compare"])
def test_help_imports_nothing_heavy(tmp_path: Path, command: str) -> None:
    code = (
        f"import sys; sys.argv = ['cli.py', {command!r}, '--help']; import cli\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "assert not {'tensorflow', 'keras', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0 and "Usage" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "command", [("schema",), ("validate", FIXTURES), ("show", "--compare", FIXTURES), ("show", FIXTURES)]
)
def test_reading_needs_no_tensorflow(tmp_path: Path, command: tuple) -> None:
    arguments = ["cli.py", *map(str, command)]
    code = (
        f"import sys; sys.argv = {arguments!r}; import cli\n"
        "try: cli.main()\nexcept SystemExit as done: assert not done.code, done.code\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
