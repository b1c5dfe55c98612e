"""Pages of the site that come from elsewhere: the command line, settings, records, public names, and files at the root.

MkDocs calls `on_files` (see `hooks` in mkdocs.yml). What stands in the code is not written a second time: options come
from click, settings from their classes, records from their JSON Schema, and public names from their docstrings. A
public name without a docstring ends the build.
"""

from __future__ import annotations

import html
import importlib
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from unlearning.cli import main  # noqa: E402
from unlearning.cli.looks import REST  # noqa: E402
from unlearning.records import schema  # noqa: E402
from unlearning.registry import Entry, Registry  # noqa: E402
from unlearning.settings import Since  # noqa: E402

FROM_ROOT = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Files at the root that are pages, too."""

REGISTRIES = {
    "methods": ("unlearning.methods:METHODS", "Methods", "`--methods NAME`, or `repair(..., method=NAME)`"),
    "detectors": ("unlearning.detection:DETECTORS", "Detectors", "`--detect NAME`"),
    "noises": ("unlearning.noise:NOISES", "Kinds of noise", "`--noise NAME`"),
    "sources": ("unlearning.data:SOURCES", "Data sources", "`load_data(FORM)`"),
    "architectures": ("unlearning.architectures:ARCHITECTURES", "Architectures", "`--model NAME`"),
    "objectives": ("unlearning.training.objectives:OBJECTIVES", "Training objectives", "`--objective NAME`"),
}
"""A page a registry: where it is, its title, and how to ask for an entry."""

FACES = {
    "unlearning": "The names that most programs need.",
    "unlearning.methods": "Methods by name.",
    "unlearning.methods.base": "What a method of your own is made of.",
    "unlearning.detection": "Detectors by name, and what one of your own is made of.",
    "unlearning.noise": "Kinds of noise by name, and what one of your own is made of.",
    "unlearning.data": "Image sets and where they come from.",
    "unlearning.eyes": "What networks that were trained on other pictures see in yours.",
    "unlearning.architectures": "Networks by name.",
    "unlearning.training": "Training, resumable.",
    "unlearning.training.objectives": "Training objectives by name, and the Keras objects behind them.",
    "unlearning.projection": "Scaled Activation Projection.",
    "unlearning.centroids": "Feature-space unlearning.",
    "unlearning.influence.certified": "Certified unlearning for logistic regression.",
    "unlearning.acceptance": "Whether a repair is an improvement.",
    "unlearning.settings": "What every setting is made of.",
    "unlearning.registry": "What every registry is made of.",
}
"""Modules whose public names are documented, with one line each."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages; called by MkDocs."""
    for name, page in FROM_ROOT.items():
        files.append(File.generated(config, page, content=_from_root((ROOT / name).read_text(encoding="utf-8"))))
    pages = {name: "\n".join(_registry_page(*where)) for name, where in REGISTRIES.items()}
    pages |= {"cli": "\n".join(_cli_page()), "records": "\n".join(_records_page())}
    pages |= {"python": "\n".join(_python_page())}
    for name, content in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def _from_root(text: str) -> str:
    """Rewrites the links of a file at the root for a page of the site."""
    text = text.replace("](docs/", "](").replace('src="docs/', 'src="')
    for name, page in FROM_ROOT.items():
        text = text.replace(f"]({name}", f"]({page}")
    return text


def _cli_page() -> Iterator[str]:
    """The command line: every command with its options, as its help has them."""
    yield "# Command line\n\n`python cli.py COMMAND`, or `unlearning COMMAND` where the package is installed.\n"
    yield from _commands(click.Context(main, info_name="python cli.py"), main, 2)


def _commands(context: click.Context, group: click.Group, level: int) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        own = click.Context(command, info_name=name, parent=context)
        usage = " ".join([own.command_path, *command.collect_usage_pieces(own)])
        yield f"{'#' * level} {name} {{#{name}}}\n\n{_prose(command.help or '')}\n\n```text\n{usage}\n```\n"
        if isinstance(command, click.Group):
            yield from _commands(own, command, level + 1)
            continue
        yield from _options(own, command)
        for text in filter(None, (command.epilog, *_examples(command))):
            yield f"{_prose(text) if text == command.epilog else text}\n"


def _options(context: click.Context, command: click.Command) -> Iterator[str]:
    """A command's options, a table a heading."""
    found: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and record[1]:  # the usage line names the arguments
            found.setdefault(getattr(parameter, "heading", "") or REST, []).append(record)
    for heading in sorted(found, key=lambda heading: heading == REST):
        yield f"| {heading} | |\n|---|---|"
        yield from (f"| {_code(option)} | {_cell(text)} |" for option, text in found[heading])
        yield ""


def _examples(command: click.Command) -> Iterator[str]:
    """A command's examples, as a block of shell."""
    if examples := getattr(command, "examples", ()):
        lines = "\n".join(f"python cli.py {example}" for example in examples)
        yield f"```bash\n{lines}\n```"


def _prose(text: str) -> str:
    """A help text as Markdown: click's marks removed, kept line breaks as lists."""
    paragraphs = []
    for part in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in part.replace("\f", "").splitlines()]
        if lines and lines[0] == "\b":
            paragraphs.append("\n".join(f"- {_escape(line)}" for line in lines[1:]))
        else:
            paragraphs.append(_escape(" ".join(lines)))
    return "\n\n".join(paragraphs)


def _registry_page(where: str, title: str, asked: str) -> Iterator[str]:
    """A registry: every entry with its settings."""
    module, _, attribute = where.partition(":")
    registry: Registry = getattr(importlib.import_module(module), attribute)
    yield f"# {title}\n\nAsked for by {asked}. To add one, see [Extending](../extending.md).\n"
    yield "| name | role | what it is |\n|---|---|---|"
    for entry in registry.entries():
        yield f"| [`{entry.name}`](#{entry.name}) | {entry.role} | {_cell(entry.summary)} |"
    for entry in registry.entries():
        yield from _entry(entry, attribute)


def _entry(entry: Entry, registry: str) -> Iterator[str]:
    needs = ", ".join(f"`{need}`" for need in sorted(entry.needs))
    yield f"\n## {entry.name} {{#{entry.name}}}\n\n{_escape(entry.summary[:1].upper() + entry.summary[1:])}.\n"
    yield f"Role: {entry.role}. Family: {entry.family or entry.name}.{f' Needs: {needs}.' if needs else ''}\n"
    if registry == "ARCHITECTURES":  # functions, which import Keras
        return
    cls = entry.load()
    if form := getattr(cls, "form", ""):
        yield f"Form: `{form}`.\n"
    if issubclass(cls, BaseModel) and cls.model_fields:
        yield from _fields(cls, dict(entry.preset))


def _fields(cls: type[BaseModel], preset: dict[str, Any]) -> Iterator[str]:
    """The fields of a settings class, a row each."""
    yield "| setting | type | default | meaning |\n|---|---|---|---|"
    for name, field in cls.model_fields.items():
        default = preset.get(name, field.get_default(call_default_factory=True))
        shown = "required" if field.is_required() and name not in preset else _code(_json(default))
        mark = next((mark for mark in field.metadata if isinstance(mark, Since)), None)
        text = f"{field.description or ''}{f' (Since {mark.version}.)' if mark else ''}"
        limits = [part for part in map(_limit, field.metadata) if part]
        kind = _kind(field.annotation) + (f" {' and '.join(limits)}" if limits else "")
        yield f"| `{name}` | {_cell(kind, code=True)} | {shown} | {_cell(text)} |"


def _kind(annotation: Any) -> str:
    """A type in short words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [part for part in map(_limit, inner[1:]) if part]
        return _kind(inner[0]) + (f" {' and '.join(limits)}" if limits else "")
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part) for part in inner)
    if origin is Literal:
        return " or ".join(map(_json, inner))
    if origin is tuple:
        return f"list of {_kind(inner[0])}" if inner[-1:] == (...,) else f"[{', '.join(map(_kind, inner))}]"
    if origin is list:
        return f"list of {_kind(inner[0])}"
    if origin is not None and inner:
        return "mapping"
    names = {type(None): "null", str: "text", bool: "true or false", int: "integer", float: "number"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _limit(mark: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return " and ".join(
        f"{sign} {getattr(mark, name)}" for name, sign in signs.items() if getattr(mark, name, None) is not None
    )


def _json(value: Any) -> str:
    """A default as a user would write it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_json, value))}]"
    named = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return named[value]
    return f'"{value}"' if isinstance(value, str) else str(value)


def _records_page() -> Iterator[str]:
    """The JSON records: every field with its meaning."""
    yield "# Records, field by field\n"
    yield "The same for programs: `python cli.py schema NAME`. Which file is where: [Files and records](files.md).\n"
    nested: dict[str, Any] = {}
    for name in schema.kinds():
        found = schema.schema_of(name)
        nested |= found.get("$defs", {})
        yield from _record(name, found)
    yield "## Parts of records\n"
    for name, part in sorted(nested.items()):
        if "properties" in part:
            yield from _record(name, part, 3)


def _record(name: str, found: dict[str, Any], level: int = 2) -> Iterator[str]:
    yield f"{'#' * level} {name} {{#{name}}}\n\n{_prose(found.get('description', ''))}\n"
    yield "| field | type | meaning |\n|---|---|---|"
    for field, what in found["properties"].items():
        since = f" (Since {what['x-since']}.)" if "x-since" in what else ""
        yield f"| `{field}` | {_schema_kind(what)} | {_cell(what.get('description', '') + since)} |"
    yield ""


def _schema_kind(what: dict[str, Any]) -> str:
    """The type of a field in a JSON Schema."""
    if "$ref" in what:
        name = what["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})"
    if "anyOf" in what:
        return " or ".join(dict.fromkeys(_schema_kind(part) for part in what["anyOf"]))
    if "enum" in what or "const" in what:
        return _code(" or ".join(map(_json, what.get("enum", [what.get("const")]))))
    if what.get("type") == "array":
        return f"list of {_schema_kind(what['items'])}" if "items" in what else "list"
    return {"string": "text", "object": "mapping", "boolean": "true or false"}.get(
        what.get("type", ""), what.get("type", "any")
    )


def _python_page() -> Iterator[str]:
    """The public names of every face, from their docstrings."""
    package = griffe.load("unlearning", search_paths=[ROOT], resolve_aliases=True)
    yield "# Python\n\nEvery public name, by module. They load on first use, so that the import needs no TensorFlow.\n"
    missing: list[str] = []
    shown = {f"unlearning.registry.Registry.{name}" for name in dir(Registry)}
    for module, text in FACES.items():
        yield f"## {module} {{#module-{module.replace('.', '-')}}}\n\n{text}\n"
        elsewhere: dict[str, list[str]] = {}
        for name in _public(package, module):
            path = _target(package, module, name, missing)
            if path not in shown:
                shown.add(path)
                yield f"::: {path}\n"
            elif not path.startswith(f"{module}."):
                elsewhere.setdefault(path, []).append(name)
        if elsewhere:
            links = (f"[`{name}`][{path}]" for path, names in elsewhere.items() for name in names)
            yield f"Described elsewhere on this page: {', '.join(links)}.\n"
    if missing:
        raise PluginError(f"Public names without a docstring: {', '.join(missing)}.")


def _public(package: Any, module: str) -> list[str]:
    """The public names of a module: those it lists; else, in a file, those it defines."""
    found = importlib.import_module(module)
    if names := getattr(found, "__all__", None):
        return sorted(names)
    members = _module(package, module).members.values()
    own = [m for m in members if not m.is_alias and not m.is_module and not m.name.startswith("_")]
    return [m.name for m in own if m.name != "logger"]


def _module(package: Any, module: str) -> Any:
    inner = module.partition(".")[2]
    return package[inner] if inner else package


def _target(package: Any, module: str, name: str, missing: list[str]) -> str:
    """The path at which a name is defined; what lacks a docstring there is added to `missing`."""
    found = _module(package, module)[name]
    found = found.final_target if found.is_alias else found
    if found.is_attribute and (of_registry := re.fullmatch(r"[A-Z]+\.(\w+)", str(found.value))):
        return f"unlearning.registry.Registry.{of_registry[1]}"
    parts = [found]
    if found.is_class:
        parts += [part for part in found.members.values() if _is_told(part)]
    missing += [part.path for part in parts if not part.has_docstring]
    return found.path


def _is_told(part: Any) -> bool:
    """Whether a member of a class must have a docstring of its own: dataclass attributes stand in the class's."""
    return not part.is_alias and not part.name.startswith("_") and part.is_function


def _escape(text: str) -> str:
    """Text of the code as Markdown: code stays code, and nothing else is markup."""
    parts = re.split(r"(`+[^`]+`+)", " ".join(text.split()) if "\n" in text else text)
    return "".join(part if part.startswith("`") else _plain(part) for part in parts)


def _plain(text: str) -> str:
    return re.sub(r"([*_\[\]|])", r"\\\1", html.escape(text, quote=False))


def _cell(text: str, code: bool = False) -> str:
    """Text for a cell of a table; a bar inside code separates no cells."""
    text = " ".join(text.split())
    return _plain(text) if code else _escape(text)


def _code(text: str) -> str:
    """Code in a cell of a table; empty text stays empty."""
    return f"`{text}`" if text else ""
