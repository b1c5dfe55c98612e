"""How commands look: options under headings, commands in sections, examples, and old spellings that still work."""

from __future__ import annotations

import copy
import functools
import importlib
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from unlearning.errors import InputError

REST = "Output"
"""The heading of options that have none."""
WIDTH = 80
"""Columns of a terminal that help may take."""

_NO_RESULT = {"force", "as_json", "quiet", "tensorboard", "data_dir"}

Decorator = Callable[[Callable], Callable]


class Option(click.Option):
    """An option under a heading.

    Args:
        heading: The heading.
        old: Earlier spellings; they work and are not shown.
    """

    def __init__(self, *args: Any, heading: str = "", old: Sequence[str] = (), **shown: Any) -> None:
        super().__init__(*args, **shown)
        self.heading, self.old = heading, list(old)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Lets the parser know all spellings."""
        super().add_to_parser(parser, ctx)
        if self.old:
            other = copy.copy(self)
            other.opts, other.old = self.old, []
            other.add_to_parser(parser, ctx)


option = functools.partial(click.option, cls=Option)
"""`click.option`, with the arguments of `Option` besides."""


def together(*options: Decorator, heading: str = "") -> Decorator:
    """Applies several options in the order written.

    Args:
        *options: Options, or several of them together.
        heading: The heading of those that have none.

    Returns:
        A decorator that applies them all.
    """

    def apply(command: Callable) -> Callable:
        before = len(getattr(command, "__click_params__", ()))
        for one in reversed(options):
            command = one(command)
        for made in getattr(command, "__click_params__", ())[before:]:
            made.heading = getattr(made, "heading", "") or heading
        return command

    return apply


class Formatter(click.HelpFormatter):
    """Writes lists whose names are never broken at a hyphen, so that they can be copied."""

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 26, col_spacing: int = 2) -> None:
        """Writes what stands for something on the left, and its meaning on the right."""
        rows = list(rows)
        left = min(max(len(first) for first, _ in rows), col_max) + col_spacing
        indent = self.current_indent
        for first, second in rows:
            lines = textwrap.wrap(second, self.width - indent - left, break_on_hyphens=False) or [""]
            if len(first) > left - col_spacing:
                self.write(f"{'':>{indent}}{first}\n")
                first = ""
            self.write(f"{'':>{indent}}{first:{left}}{lines[0]}".rstrip() + "\n")
            self.write("".join(f"{'':>{indent + left}}{line}\n" for line in lines[1:]))


class Context(click.Context):
    """Where help is written by `Formatter`."""

    formatter_class = Formatter


class Command(click.Command):
    """A command with its options under headings, and examples.

    Args:
        examples: Lines for a shell, without the name of the program.
    """

    context_class = Context

    def __init__(self, *args: Any, examples: Sequence[str] = (), **shown: Any) -> None:
        super().__init__(*args, **shown)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, heading by heading in the order of their first ones."""
        found: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                found.setdefault(getattr(param, "heading", "") or REST, []).append(record)
        found[REST] = found.pop(REST)  # the last; `--help` stands there
        for heading, records in found.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            root = ctx.find_root().info_name or "unlearning"
            program = f"python {root}" if root.endswith(".py") else root
            with formatter.section("Examples"):
                for example in self.examples:
                    for line in _break(f"{program} {example}", formatter.width - 2):
                        formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def _break(command: str, width: int) -> list[str]:
    """Breaks a command line before its options, so that a shell still takes it."""
    lines = [""]
    for part in re.split(r" (?=--)", command):
        if lines[-1] and len(lines[-1]) + len(part) + 3 > width:
            lines[-1] += " \\"
            lines.append(f"    {part}")
        else:
            lines[-1] += f" {part}" if lines[-1] else part
    return lines


class Names(click.ParamType):
    """One of the names of a registry, those of other packages included; what they stand for is not imported.

    Args:
        registry: The registry, as `module:attribute`.
    """

    name = "name"

    def __init__(self, registry: str) -> None:
        self.registry = registry

    @property
    def names(self) -> tuple[str, ...]:
        """All names there are."""
        return load_registry(self.registry).names()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns a name that there is."""
        if value not in self.names:
            self.fail(str(InputError("name", received=value, known=self.names)), param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Returns the names that begin like this."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in self.names if name.startswith(incomplete)]


def given_words() -> list[str]:
    """Returns the words of the present command as a record keeps them: what was said, and names of files for paths.

    What changes no result is left out, and so are folders of prepared data.
    """
    ctx = click.get_current_context()
    words = [ctx.info_name or ""]
    for param in ctx.command.get_params(ctx):
        name = param.name or ""
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE or name in _NO_RESULT:
            continue
        value = ctx.params.get(name)
        if isinstance(param, click.Argument):
            words.append(_name_of(value))
        elif isinstance(param, click.Option) and param.is_flag:
            words.append(param.opts[-1] if value else param.secondary_opts[-1])
        else:
            values = [f"{k}={_name_of(v)}" for k, v in value.items()] if isinstance(value, dict) else [_name_of(value)]
            words += [word for one in values for word in (param.opts[-1], one)]
    return words


def _name_of(value: Any) -> str:
    """A value as text; of what is a path here, the name."""
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    is_path = isinstance(value, Path) or os.sep in text or (text and Path(text[:255]).exists())
    return Path(text).name or text if is_path else text


def load_registry(place: str) -> Any:
    """Returns a registry from `module:attribute`."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def first_paragraph(text: str) -> str:
    """Returns the first paragraph without the marks of documentation."""
    return re.sub(r"`+", "", " ".join(text.partition("\n\n")[0].split()))
