"""The options that say which methods are run, and how: of `run` and of `memorise`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unlearning.cli.group import assignments
from unlearning.cli.looks import option
from unlearning.errors import InputError
from unlearning.experiments.cell.settings import MethodChoice

variant_option = option("--variant", default="", metavar="TEXT", help="Text added to the method's folder name.")


def methods_option(default: str, what: str) -> Callable[..., Any]:
    """Returns `--methods`.

    Args:
        default: Names, separated by commas.
        what: What may be named, for its help.
    """
    return option("--methods", "method_names", default=default, show_default=True, metavar="NAME,...", help=what)


def overrides_option(what: str) -> Callable[..., Any]:
    """Returns `--set` of several methods.

    Args:
        what: What it changes, for its help.
    """
    name = "NAME.FIELD=VALUE"
    return option("--set", "overrides", multiple=True, callback=assignments, metavar=name, help=what)


def take_choices(names: Sequence[str], overrides: dict[str, str], variant: str) -> tuple[MethodChoice, ...]:
    """Returns the methods that were named, each with its own settings.

    Args:
        names: The methods.
        overrides: Values by `METHOD.FIELD`.
        variant: Text that is added to the names of their folders.

    Raises:
        InputError: If a setting is of no method among them, or one is named twice.
    """
    by_method: dict[str, dict[str, str]] = {name: {} for name in names}
    for key, value in overrides.items():
        method, _, field = key.partition(".")
        if method not in by_method or not field:
            raise InputError(f"Cannot set {key!r}. Expected METHOD.FIELD with a method among {', '.join(names)}.")
        by_method[method][field] = value
    if len(by_method) != len(names):
        raise InputError(f"A method is named twice in {','.join(names)!r}.")
    return tuple(MethodChoice(name=name, overrides=own, variant=variant) for name, own in by_method.items())
