"""What README and docs show is so: examples run, commands parse, and every file they name is there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from support.benchmarks import RESULTS
from support.documents import PAGES, blocks
from support.paths import ROOT
from unlearning import architectures, data, detection, methods, noise
from unlearning.cli import main
from unlearning.loss import take_loss
from unlearning.registry import Registry
from unlearning.task import OutcomeStatus
from unlearning.training import objectives

MADE = {ROOT / "docs" / f"{name.lower()}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")} | {
    ROOT / "docs" / "reference" / f"{name}.md"
    for name in (
        *("cli", "python", "records", "methods", "detectors", "noises", "sources", "architectures", "objectives"),
    )
}
"""Pages that docs/generate.py makes; whether links between pages hold, the building of the site checks."""
REGISTRIES: list[Registry] = [
    *(methods.METHODS, detection.DETECTORS, noise.NOISES, data.SOURCES),
    *(architectures.ARCHITECTURES, objectives.OBJECTIVES),
]


@pytest.fixture
def registries() -> Iterator[None]:
    """Whatever is registered meanwhile is taken out again."""
    before = [set(registry.names()) for registry in REGISTRIES]
    yield
    for registry, names in zip(REGISTRIES, before, strict=True):
        for name in set(registry.names()) - names:
            registry.remove(name)


def test_the_examples_of_extending_run(registries, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    for text in blocks(ROOT / "docs" / "extending.md", "python"):
        exec(compile(text, "docs/extending.md", "exec", dont_inherit=True), namespace)
    done, corruption = namespace["done"], namespace["corruption"]
    assert done.outcome.applied and corruption.budget == 60
    assert len(set(namespace["suspects"].rows) & set(corruption.rows)) > 30
    assert namespace["HalfWayLater"](share=0.2, again=0).config() == {"share": 0.2}
    assert "improved" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_examples_are_python(page: Path) -> None:
    for text in blocks(page, "python"):
        compile(text, page.name, "exec")


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of the program in a block of shell, with its variables put in."""
    variables: dict[str, str] = {"OBJECTIVE": "mixup"}
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if assigned := re.fullmatch(r'([A-Z0-9]+)="(.*)"', line):
            variables[assigned[1]] = assigned[2]
            continue
        for name, value in variables.items():
            line = re.sub(rf"\$\{{{name}//(.*?)/(.*?)\}}", lambda m, v=value: v.replace(m[1], m[2]), line)
            line = re.sub(rf"\${name}\b|\bOBJECTIVE\b(?= --methods)", lambda _, v=value: v, line)
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words[:2] == ["python", "cli.py"]:
                yield words[2:]


def test_commands_are_found_in_shell() -> None:
    text = 'A="--x 1 \\\n  --y 2"\npip && python cli.py run $A ${A//x/z}  # why\npython other.py\n'
    assert [" ".join(words) for words in commands(text)] == ["run --x 1 --y 2 --z 1 --y 2"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_parse(page: Path) -> None:
    context = click.Context(main)
    for text in blocks(page, "bash"):
        for name, *words in commands(text):
            command = main.get_command(context, name)
            assert command is not None, name
            shown = {
                opt for p in command.params if not getattr(p, "hidden", False) for opt in (*p.opts, *p.secondary_opts)
            }
            assert {word for word in words if word.startswith("--")} <= shown, "an old spelling"
            with command.make_context(name, words, parent=context) as made:
                check_names(name, made.params)


def check_names(command: str, options: dict[str, Any]) -> None:
    """Methods, detectors, settings and the like that a command names must exist."""
    overrides = options.get("overrides") or {}
    if several := options.get("method_names"):
        names = list(methods.available()) if several == "all" else several.split(",")
        for method in names:
            methods.get(method, {k[len(method) + 1 :]: v for k, v in overrides.items() if k.startswith(f"{method}.")})
        owners = tuple(f"{name}." for name in (*names, options.get("detector")))
        assert all(key.startswith(owners) for key in overrides)
    elif options.get("method"):
        methods.get(options["method"], take_loss(overrides)[1])
    if options.get("detector"):
        detection.get(options["detector"], overrides if command == "detect" else {})
    if options.get("noise"):
        noise.get(options["noise"], {})
    if options.get("objective"):
        objectives.get(options["objective"], options.get("objective_options") or {})
    if options.get("model") and command in ("run", "train"):
        architectures.check_known(options["model"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"\b(?:tests|unlearning|docs|configs)/[\w./-]*\.(?:py|md|toml|txt|sh)\b", text):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        path = (page.parent / target).resolve()
        assert path.exists() or path in MADE, target


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("methods/index.md", methods.available() + tuple(OutcomeStatus)[1:]),
        ("methods/objectives.md", objectives.available()),
        ("guides/detection.md", detection.available()),
        ("guides/data-and-noise.md", noise.available()),
        ("guides/experiments.md", architectures.available()),
    ],
)
def test_a_page_on_all_of_a_kind_names_them_all(page: str, names: tuple[str, ...]) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_headline_of_the_readme_stands_in_its_table() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition("<!-- table symmetric-50 -->\n")
    table = rest.partition("<!-- end -->")[0]
    headline, _, which = before.partition("## Which method when")
    told = re.findall(r"[\d.]+ ± [\d.]+", headline)
    assert len(told) >= 3 and [number for number in told if f"| {number} |" not in table] == []
    measured = {_in_percent(row["restored"]) for name in ("chosen", "by_cost") for row in _results(name)}
    told = re.findall(r"[\d.]+ ± [\d.]+", which)
    assert len(told) >= 3 and [number for number in told if number not in measured] == []


def _results(name: str) -> list[dict[str, Any]]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]


def _in_percent(shares: str) -> str:
    return " ± ".join(f"{100 * float(share):.0f}" for share in shares.split(" ± "))
