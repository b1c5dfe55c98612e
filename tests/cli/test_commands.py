"""What the command line offers: sections, headings, examples, names of old; and what it says before it computes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from support.paths import FIXTURES, ROOT
from unlearning.architectures import ARCHITECTURES
from unlearning.cli import listing, looks, main
from unlearning.cli.listing import describe_fields
from unlearning.registry import Registry
from unlearning.settings import Settings

CONTEXT = looks.Context(main, info_name="cli.py")
COMMANDS = main.list_commands(CONTEXT)
EXPERIMENT = FIXTURES / "cifar10-20000-cnn_small-symmetric"
FINISHED = (
    *("run", "--data", "cifar10", "--train-rows", "20000", "--noise", "symmetric", "--epochs", "20"),
    *("--budgets", "5000", "--seeds", "42,43", "--methods", "sap", "--variant", ""),
)


def invoke(*arguments: object) -> click.testing.Result:
    return CliRunner().invoke(main, [str(word) for word in arguments], prog_name="cli.py")


def in_a_process(lines: list[list[str]], heavy: set[str], cwd: Path) -> list[int]:
    """Runs command lines in one fresh process, and returns their exit codes; none may import what is heavy."""
    code = (
        "import json, sys\n"
        "import cli\n"
        "codes = []\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    try: cli.main(line)\n"
        "    except SystemExit as done: codes.append(done.code)\n"
        f"    loaded = {heavy!r} & set(sys.modules)\n"
        "    assert not loaded, (line, loaded)\n"
        "print(json.dumps(codes))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(lines)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


class TestHelp:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_is_narrow_and_under_headings(self, name: str) -> None:
        done = invoke(name, "--help")
        assert done.exit_code == 0
        lines = done.output.splitlines()
        assert max(map(len, lines)) <= looks.WIDTH
        command = main.get_command(CONTEXT, name)
        assert isinstance(command, looks.Command)
        options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
        assert all(isinstance(p, looks.Option) for p in options)
        assert "Options:" not in lines, "every option has a heading"
        for one in options:
            assert any(line.strip().startswith(one.opts[0]) for line in lines)
            assert not [old for old in one.old if old in done.output]
            assert one.help or one.name == "executor"

    @pytest.mark.parametrize("name", COMMANDS)
    def test_examples_are_taken(self, name: str) -> None:
        """Every option in them exists, and every value is one that it takes."""
        command = main.get_command(CONTEXT, name)
        assert isinstance(command, looks.Command) and command.examples
        for example in command.examples:
            first, *words = shlex.split(example)
            assert first == name
            command.make_context(name, words, parent=CONTEXT)

    def test_a_broken_example_is_one_command_line(self) -> None:
        text = invoke("repair", "--help").output.partition("Examples:\n")[2]
        words = shlex.split(text.replace("\\\n", ""))
        assert words.count("python") == 3 and words.count("--out") == 3

    def test_sections(self) -> None:
        text = invoke("--help").output
        order = ("Your model:", "\n  detect", "Experiments:", "\n  run", "Results:", "\n  show", "\n  list")
        places = [text.index(word) for word in order]
        assert places == sorted(places)
        assert not [name for name in ("train ", "compare ", "features ", "labels ") if f"\n  {name}" in text]

    def test_imports_little(self, tmp_path: Path) -> None:
        heavy = {"tensorflow", "keras", "pandas", "sklearn", "scipy", "numpy"}
        codes = in_a_process([["--help"], *([name, "--help"] for name in COMMANDS)], heavy, tmp_path)
        assert codes == [0] * (1 + len(COMMANDS))

    def test_version(self) -> None:
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        assert invoke("--version").output.split() == ["keras-unlearning", version]

    def test_the_script_is_five_lines(self) -> None:
        lines = [line for line in (ROOT / "cli.py").read_text().splitlines() if line]
        assert len(lines) <= 5
        packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
        assert packaged["packages"]["find"]["include"] == ["unlearning*"] and "py-modules" not in packaged


class TestBeforeTensorFlow:
    def test_mistakes(self, tmp_path: Path) -> None:
        (tmp_path / "model.keras").write_bytes(b"")
        repair = ["repair", "model.keras", "--out", "out.keras", "--data"]
        lines = [
            ["run", "--methods", "secnd-order"],
            ["run", "--set", "second-order.stps=3"],
            ["run", "--set", "second-order.steps=none"],
            ["run", "--noise", "symetric"],
            ["run", "--noise-option", "targt=3"],
            ["run", "--model", "cnn_smal"],
            ["run", "--objective", "sam", "--objective-option", "tau=1"],
            ["run", "--detect", "patches", "--set", "patches.speed=1"],
            ["run", "--variant", "../up"],
            ["run", "--data", "nowhere.npz"],
            ["unlearn", "second-order", "budget-5/seed-1"],
            ["unlearn", "magic", "budget-5/seed-1"],
            ["repair", "nowhere.keras", "--data", "digits", "--method", "sap", "--out", "out.keras"],
            [*repair, "digits", "--method", "second-order"],
            [*repair, "digits", "--time-budget", "soon"],
            [*repair, "digits", "--flagged", "nowhere.csv"],
            [*repair, "nowhere.npz", "--method", "sap"],
            [*repair, "digits", "--method", "sap", "--set", "round=2"],
            ["detect", "nowhere.keras", "--data", "digits", "--out", "s.csv"],
            ["detect", "model.keras", "--data", "digits"],
            ["detect", "model.keras", "--data", "digits", "--detect", "patchs", "--out", "s.csv"],
            ["figures", "--features", "budget-5/seed-1/sap"],
        ]
        assert in_a_process(lines, {"tensorflow", "keras"}, tmp_path) == [2] * len(lines)
        assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]

    def test_finished_results(self, tmp_path: Path) -> None:
        """Neither a table of them nor a line for a shell needs numbers; nothing is written."""
        shutil.copytree(EXPERIMENT, tmp_path / "e")
        before = {p: p.stat().st_mtime_ns for p in (tmp_path / "e").rglob("*")}
        run, cell = [*FINISHED, "--out", "e"], "e/budget-5000/seed-42"
        lines = [run, [*run, "--json"], [*run, "--until", "training"], ["show", "e"]]
        lines += [["unlearn", "sap", cell], ["report", "e", "--out", "r.html"]]
        codes = in_a_process(lines, {"tensorflow", "keras"}, tmp_path)
        assert codes == [0] * len(lines)
        assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "e").rglob("*") if ".locks" not in p.parts}

    def test_lists(self, tmp_path: Path) -> None:
        kinds = list(listing._LISTS)
        lines = [["list", kind, "--json"] for kind in kinds]
        assert in_a_process(lines, {"tensorflow", "keras"}, tmp_path) == [0] * len(kinds)


class TestOldWords:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("train --epochs 3", "run --until training --epochs 3"),
            ("configs --dataset digits --output e", "run --until configs --data digits --out e"),
            ("labels RUN --out l.json", "export --format labels RUN --out l.json"),
            ("compare E --control sap", "show --compare E --control sap"),
            ("features RUN/sap --rows 9", "figures --features RUN/sap --rows 9"),
            ("detect m.keras --detector neighbours", "detect m.keras --detect neighbours"),
        ],
    )
    def test_mean_the_same(self, old: str, new: str) -> None:
        def parsed(text: str) -> tuple:
            _, command, rest = main.resolve_command(CONTEXT, shlex.split(text))
            assert command is not None
            return command.name, command.make_context(command.name, rest, parent=CONTEXT).params

        assert parsed(old) == parsed(new)

    def test_the_last_word_counts(self) -> None:
        command = main.get_command(CONTEXT, "run")
        assert command is not None
        assert command.make_context("run", ["--data", "a", "--dataset", "b"], parent=CONTEXT).params["dataset"] == "b"

    def test_the_table_behind_the_folders(self, tmp_path: Path) -> None:
        for number, arguments in enumerate(([], ["--out"])):
            done = invoke("export", EXPERIMENT, *arguments, tmp_path / f"{number}.csv")
            assert done.exit_code == 0, done.output
        assert (tmp_path / "0.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()
        assert invoke("export", EXPERIMENT).exit_code == 2


class TestList:
    @pytest.mark.parametrize("kind", listing._LISTS)
    def test_tells_all_there_is(self, kind: str) -> None:
        registry: Registry = looks.load_registry(listing._LISTS[kind])
        text, told = invoke("list", kind), json.loads(invoke("list", kind, "--json").output)
        assert text.exit_code == 0 and max(map(len, text.output.splitlines())) <= looks.WIDTH
        assert [one["name"] for one in told] == list(registry.names())
        for one, entry in zip(told, registry.entries(), strict=True):
            assert one["name"] in text.output and one["summary"] == entry.summary and one["role"] == entry.role
            own = invoke("list", kind, entry.name)
            assert own.exit_code == 0 and max(map(len, own.output.splitlines())) <= looks.WIDTH
            if kind == "models":
                assert registry is ARCHITECTURES and "fields" not in one
                continue
            thing = entry.load()
            names = {field["name"] for field in one["fields"]}
            assert names == set(thing.model_fields) if issubclass(thing, Settings) else "data_seed" in names
            for field in one["fields"]:
                assert field["meaning"] and field["type"], (entry.name, field)
                assert f"{field['name']} (" in own.output

    def test_a_preset_has_its_own_defaults(self) -> None:
        (told,) = json.loads(invoke("list", "methods", "second-order-single", "--json").output)
        assert {field["name"]: field["default"] for field in told["fields"]}["steps"] == 1

    def test_a_chain_is_told_stage_by_stage(self) -> None:
        told = json.loads(invoke("list", "methods", "sap+second-order", "--json").output)
        assert [one["name"] for one in told] == ["sap", "second-order"]

    def test_types_in_words(self) -> None:
        class Some(Settings):
            """Some."""

            number: float | None = None
            """A number, or none."""
            needed: tuple[int, ...]
            """No default."""

        assert describe_fields(Some, {"number": 2.0}) == [
            {"name": "number", "type": "number or null", "default": 2.0, "meaning": "A number, or none."},
            {"name": "needed", "type": "list of integer", "meaning": "No default."},
        ]

    def test_mistakes(self) -> None:
        for arguments, message in ((["list", "colours"], "methods"), (["list", "methods", "magic"], "second-order")):
            done = invoke(*arguments)
            assert done.exit_code == 2 and message in done.output


class TestNames:
    def test_those_of_other_packages_are_choices(self) -> None:
        """What they stand for is not imported."""
        ARCHITECTURES.register("other", "nowhere:Other", summary="of another package")
        try:
            command = main.get_command(CONTEXT, "run")
            assert command is not None
            params = command.make_context("run", ["--model", "other"], parent=CONTEXT).params
            assert params["model"] == "other"
            model = next(param for param in command.params if param.name == "model")
            assert "other" in [item.value for item in model.shell_complete(CONTEXT, "o")]
        finally:
            ARCHITECTURES.remove("other")
        done = invoke("run", "--model", "other")
        assert done.exit_code == 2 and "one of cnn, cnn_small" in done.output
