"""What every setting and every record is made of: one annotated field, from which everything else comes.

A field with its type, its constraint, its default and the docstring below it is the only place that a setting is
written. From it come the check of its value and the message when it is wrong, the command-line option with its help,
the JSON in configuration files and the JSON Schema.

`since` keeps old files good. A field that is added later says from which version on it exists and which value means
"as before"; where it has that value it is left out of what is written and hashed, and where a file lacks it, reading
fills it in.

Example:
    >>> class Shrinking(Settings):
    ...     '''How to shrink.'''
    ...
    ...     share: Share = 0.5
    ...     '''Share that stays.'''
    ...     rounds: Annotated[Positive, since("0.2", before=1)] = 3
    ...     '''How often.'''
    >>> Shrinking(share=0.1).config()
    {'share': 0.1, 'rounds': 3}
    >>> Shrinking(rounds=1).config()
    {'share': 0.5}
    >>> Shrinking(share=2)
    Traceback (most recent call last):
    ...
    unlearning.errors.InputError: Invalid value for argument `share`. Expected less than or equal to 1. Received: 2
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Annotated, Any, Self, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError
from pydantic.fields import FieldInfo

from unlearning.errors import InputError
from unlearning.strict_json import parse_json

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _Meta
else:
    _Meta = type(BaseModel)

Share = Annotated[float, Ge(0), Le(1)]
"""A fraction of something, both ends included."""
OpenShare = Annotated[float, Gt(0), Lt(1)]
"""A fraction of something, neither nothing nor all."""
KnownShare = Annotated[float, Gt(0), Le(1)]
"""A fraction of something that is there."""
Seconds = Annotated[float, Ge(0)]
"""A duration."""
Count = Annotated[int, Ge(0)]
"""A number of things, perhaps none."""
Positive = Annotated[int, Ge(1)]
"""A number of things, at least one."""
PositiveFloat = Annotated[float, Gt(0)]
"""A number above zero."""
NonNegative = Annotated[float, Ge(0)]
"""A number of at least zero."""
Classes = Annotated[int, Ge(1), Le(1_000_000)]
"""A number of classes; whatever is made for each of them stays small."""
LARGEST_SEED = 2**31 - 1
"""The largest seed that every library takes, Keras and NumPy among them."""
Seed = Annotated[int, Ge(0), Le(LARGEST_SEED)]
"""Seed of a random choice."""
Sha256 = Annotated[str, StringConstraints(min_length=64, max_length=64, pattern="^[0-9a-f]*$")]
"""A SHA-256 as hexadecimal text."""

PathText = Annotated[str, BeforeValidator(lambda path: os.fspath(path) if isinstance(path, os.PathLike) else path)]
"""A path; any kind is taken, text is kept."""

_MISSING: Any = object()
_NO_FIELDS = ("function-", "tagged-", "constrained-", "tuple[")
"""How pydantic names the kinds that a field may be of, in the place of an error."""


@dataclasses.dataclass(frozen=True)
class Since:
    """Marks a field that files of earlier versions lack; see `since`."""

    version: str
    before: Any = _MISSING
    group: str = ""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """Says it in the JSON Schema, too."""
        return {**handler(core), "x-since": self.version}


def since(version: str, *, before: Any = _MISSING, group: str = "") -> Since:
    """Marks a field as added later.

    Args:
        version: The first version whose files may have it.
        before: The value that means "as before"; with it the field is neither written nor hashed. Left out, the field
            is always written, and files without it are read as having its default.
        group: Fields of one group are left out together, when all have their `before`.

    Returns:
        The mark, to stand among the annotations of the field.
    """
    return Since(version, before, group)


@dataclasses.dataclass(frozen=True)
class Option:
    """How a field looks on the command line, where it is not as its name and type say.

    Attributes:
        flag: Its option, `--name`.
        metavar: What its value looks like.
        hidden: Whether it is none.
        one_of: A registry, as `module:attribute`, whose names are the values.
        old: Earlier spellings of its option, which still work.
    """

    flag: str = ""
    metavar: str = ""
    hidden: bool = False
    one_of: str = ""
    old: tuple[str, ...] = ()


def option_flag(name: str, field: FieldInfo) -> str:
    """Returns the command-line option of a field, `--name`; empty text where it has none."""
    look = next((mark for mark in field.metadata if isinstance(mark, Option)), Option())
    return "" if look.hidden else look.flag or f"--{name.replace('_', '-')}"


class _SettingsMeta(_Meta):
    def __call__(cls: Any, *args: Any, **values: Any) -> Any:
        try:
            return super().__call__(*args, **values)
        except ValidationError as error:
            raise explain(error, cls) from None  # type: ignore[arg-type]


class Fields(BaseModel, metaclass=_SettingsMeta):
    """Annotated fields, frozen; a wrong value raises `InputError`, unknown names do, too."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, populate_by_name=True
    )

    def changed(self, **values: Any) -> Self:
        """Returns a copy with some values changed, checked like new ones."""
        kept = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**kept, **values})

    def as_before(self) -> set[str]:
        """Returns the names of fields that were added later and have the value that changes nothing."""
        groups: dict[str, list[tuple[str, bool]]] = {}
        for name, mark in _marks(type(self)).items():
            plain = mark.before is not _MISSING and getattr(self, name) == mark.before
            groups.setdefault(mark.group or name, []).append((name, plain))
        return {name for fields in groups.values() if all(plain for _, plain in fields) for name, _ in fields}


class Settings(Fields):
    """Fields that a user sets."""

    def config(self) -> dict[str, Any]:
        """Returns the settings as JSON-ready values, less those added later that are as before."""
        left_out = self.as_before()
        return {name: _plain(getattr(self, name)) for name in type(self).model_fields if name not in left_out}

    @classmethod
    def parse(cls, owner: str, values: Mapping[str, Any], preset: Mapping[str, Any] | None = None) -> Self:
        """Builds settings from what a user wrote.

        Args:
            owner: Whose settings they are, for messages (`sap` in `sap.rounds`).
            values: By field name. Text is read as JSON where it is JSON (`"0.1"`, `"[1, 2]"`, `"null"`), and as plain
                text otherwise.
            preset: Values for fields not named.

        Returns:
            The settings.

        Raises:
            InputError: If a field is unknown, or a value does not fit.
        """
        known = cls.model_fields
        parsed = dict(preset or {})
        for name, value in values.items():
            if name not in known:
                raise InputError(f"{owner}.{name}", _one_of(known), name)
            parsed[name] = _from_text(owner, name, value) if isinstance(value, str) else value
        try:
            # JSON mode where it can be: strict about numbers, and lists stand for tuples.
            return cls.model_validate_json(json.dumps(parsed), strict=True)
        except TypeError:
            pass  # values that are no JSON come from Python
        except ValidationError as error:
            own = explain(error, cls, owner)
            raise own from None
        try:
            return cls.model_validate(parsed)
        except ValidationError as error:
            own = explain(error, cls, owner)
            raise own from None


def fill_older(cls: type[BaseModel], values: Any) -> Any:
    """Fills in what a file of an earlier version lacks.

    Args:
        cls: What the file holds.
        values: Its content.

    Returns:
        The content with the value that means "as before" for fields added later; also within nested fields.
    """
    if not isinstance(values, dict):
        return values
    filled = added_later(cls) | values
    for name, field in cls.model_fields.items():
        kind = field.annotation
        if name in filled and isinstance(kind, type) and issubclass(kind, Fields):
            filled[name] = fill_older(kind, filled[name])
    return filled


def added_later(cls: type[BaseModel]) -> dict[str, Any]:
    """Returns the fields that files of earlier versions lack, with the value that means "as before".

    Args:
        cls: Settings or a record.
    """
    return {name: mark.before for name, mark in _marks(cls).items() if mark.before is not _MISSING}


def written_together(cls: type[BaseModel]) -> dict[str, str]:
    """Returns the fields that were added later, each with its group; one that is in none has its own name.

    Args:
        cls: Settings or a record.
    """
    return {name: mark.group or name for name, mark in _marks(cls).items()}


def explain(error: ValidationError, cls: type[BaseModel], owner: str = "") -> InputError:
    """Turns pydantic's error into one of the house.

    Args:
        error: What pydantic raised.
        cls: The settings.
        owner: Put in front of the field's name.

    Returns:
        The exception, to be raised by the caller.
    """
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    path = ".".join(str(part) for part in first["loc"] if not str(part).startswith(_NO_FIELDS))
    name = ".".join(part for part in (owner, path) if part) or cls.__name__
    if isinstance(cause, InputError):
        return cause if not owner else InputError(str(cause).replace("argument `", f"argument `{owner}.", 1))
    if first["type"] == "extra_forbidden":
        known = _owner(cls, first["loc"][:-1]).model_fields
        return InputError(name, _one_of(known), str(first["loc"][-1]))
    if first["type"] == "missing":
        return InputError(name, "a value", "none")
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return InputError(name, message[:1].lower() + message[1:], first["input"])


def check_seed(seed: int) -> int:
    """Returns a seed that every random generator takes.

    Args:
        seed: The seed.

    Raises:
        InputError: If it is none.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed <= LARGEST_SEED:
        raise InputError("seed", f"an integer from 0 to {LARGEST_SEED}", seed)
    return int(seed)


def _owner(cls: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel]:
    """The class of the settings at a path of fields and positions."""
    for part in path:
        kinds = _classes(cls.model_fields[part].annotation) if part in cls.model_fields else []
        cls = kinds[0] if len(kinds) == 1 else cls
    return cls


def _classes(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes in a type such as `tuple[Choice, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for part in get_args(annotation) for kind in _classes(part)]


def _marks(cls: type[BaseModel]) -> dict[str, Since]:
    return {
        name: mark for name, field in cls.model_fields.items() for mark in field.metadata if isinstance(mark, Since)
    }


def _from_text(owner: str, name: str, text: str) -> Any:
    shown = text if len(text) <= 100 else f"{text[:97]}..."
    try:
        with contextlib.suppress(json.JSONDecodeError):  # plain text such as a layer name stays text
            return parse_json(text)
    except ValueError as error:
        raise InputError(f"Invalid value for argument `{owner}.{name}`: {error}. Received: {shown!r}") from error
    return text


def _plain(value: Any) -> Any:
    """JSON-ready, with every number as it was given: `1` stays `1` where a float may stand, as old hashes have it."""
    if isinstance(value, Settings):
        return value.config()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _one_of(known: Collection[str]) -> str:
    return (
        f"one of the settings {', '.join(sorted(known))}" if known else "one of the settings, of which there are none"
    )
