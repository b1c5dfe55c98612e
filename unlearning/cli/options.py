"""Command-line options made from settings classes: name, type, default and help of an option are those of its field."""

from __future__ import annotations

import functools
import types
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from unlearning.cli.group import assignments
from unlearning.cli.looks import Decorator, Names, first_paragraph, option, together
from unlearning.settings import Option, Settings, option_flag

_WIDEST_CHOICE = 40
"""Characters of the values of an option that stand beside its name; of more, the help has them."""


def options_of(cls: type[Settings], only: Collection[str] | None = None, heading: str = "") -> Decorator:
    """Returns a decorator that gives a command one option for every field of a settings class.

    Args:
        cls: The class.
        only: Names of the fields, where not all of them.
        heading: The heading they stand under.
    """
    names = [name for name in cls.model_fields if only is None or name in only]
    made = [option_of(name, cls.model_fields[name]) for name in names]
    return together(*(one for one in made if one is not None), heading=heading)


def option_of(name: str, field: FieldInfo) -> Decorator | None:
    """Returns the option of a field; None for a field that is none."""
    look = next((mark for mark in field.metadata if isinstance(mark, Option)), Option())
    flag = option_flag(name, field)
    if not flag:
        return None
    text = first_paragraph(field.description or "")
    if look.one_of:
        text = f"{text} One of {', '.join(Names(look.one_of).names)}."
    kind, optional = _without_none(field.annotation)
    default = field.get_default(call_default_factory=True)
    shown: dict[str, Any] = {"help": text, "default": default, "show_default": not optional and default not in ("", ())}
    if look.metavar:
        shown["metavar"] = look.metavar
    if look.old:
        shown["old"] = look.old
    origin = get_origin(kind)
    if kind is bool:
        return option(f"{flag}/--no-{flag[2:]}", name, **shown)
    if origin is Literal:
        values = list(map(str, get_args(kind)))
        if len("|".join(values)) > _WIDEST_CHOICE and "metavar" not in shown:
            shown |= {"metavar": "NAME", "help": f"{text} One of {', '.join(values)}."}
        return option(flag, name, type=click.Choice(values), **shown)
    if origin is dict:
        shown |= {"show_default": False, "default": None}
        return option(flag, name, multiple=True, callback=assignments, **shown)
    if origin is tuple:
        number = _bare(get_args(kind)[0])
        shown["default"] = ",".join(map(str, default)) if default else None
        shown["show_default"] = bool(default)
        return option(flag, name, callback=functools.partial(_numbers, number), **shown)
    if look.one_of:
        return option(flag, name, type=Names(look.one_of), **{"metavar": "NAME", **shown})
    if kind is Path:
        return option(flag, name, type=click.Path(path_type=Path), **shown)
    metavar = {int: "N", float: "NUMBER"}.get(kind, "TEXT")
    return option(flag, name, type=kind if kind in (int, float) else str, **{"metavar": metavar, **shown})


def _numbers(kind: type, _: click.Context, __: click.Parameter, text: str | None) -> tuple | None:
    """Parses comma-separated numbers."""
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"expected numbers separated by commas, received {text!r}") from error


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """The type of a field without `None`, and whether it had one."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [kind for kind in get_args(annotation) if kind is not type(None)]
        return _bare(rest[0]), len(rest) < len(get_args(annotation))
    return _bare(annotation), False


def _bare(annotation: Any) -> Any:
    """A type without its constraints."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
