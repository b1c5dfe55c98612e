"""What all records have in common: what they leave out, their hash, and how they are read and written.

Keys of the published result files keep their names and get honest meanings: all accuracies are on the test split, and
`n_gradients` counts per-example gradient evaluations. Shares are fractions, times are seconds. Reading is strict: what
a number, a text or a truth value is in JSON is what it must be in the record.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, SerializerFunctionWrapHandler, ValidationError, model_serializer

from unlearning.errors import InputError
from unlearning.files import read_text, write_text
from unlearning.settings import Fields, fill_older
from unlearning.strict_json import parse_json

SCHEMA_VERSION: Literal[1] = 1
LARGEST_FILE = 64 * 2**20
"""No file of an experiment that is read whole (records, logs, pictures) has more bytes."""

R = TypeVar("R", bound=BaseModel)


class Record(Fields):
    """Base of all records: immutable, and unknown keys are errors."""

    @model_serializer(mode="wrap")
    def _without_what_is_as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out fields added later that change nothing, so that older files keep their hashes."""
        content: dict[str, Any] = handler(self)
        for name in self.as_before():
            content.pop(name, None)
        return content


def _whole_number(value: Any) -> Any:
    if type(value) is not int:  # for Python, True and 1.0 are equal to 1
        raise ValueError("Input should be a valid integer")
    return value


class Versioned(Record):
    """A record that is a file of its own."""

    schema_version: Annotated[Literal[1], BeforeValidator(_whole_number)] = SCHEMA_VERSION
    """Version of this schema."""


def config_hash(*configs: Record) -> str:
    """Returns the SHA-256 of configurations in canonical JSON, as hexadecimal text."""
    content = [config.model_dump(mode="json", by_alias=True) for config in configs]
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def finite(value: Any) -> Any:
    """Replaces NaN and infinities by None, recursively: they are not JSON."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def write_json(path: Path, record: BaseModel) -> None:
    """Writes a record atomically."""
    content = record.model_dump(mode="json", by_alias=True)
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, kind: type[R]) -> R:
    """Reads a record.

    Passes on an `InputError` if the file is missing, not JSON, absurdly large, or not such a record.

    Args:
        path: The file.
        kind: The record's type.

    Returns:
        The record.
    """
    return parse_record(path, read_raw(path), kind)


def read_raw(path: Path) -> Any:
    """Reads a JSON file without saying what it should hold.

    Args:
        path: The file.

    Returns:
        Its content; see `unlearning.strict_json`.

    Raises:
        InputError: If the file is missing, absurdly large, or not JSON that can be taken.
    """
    text = read_text(path.name, path, LARGEST_FILE)
    try:
        return parse_json(text)
    except ValueError as error:  # syntax, and what parse_json refuses
        raise InputError(f"{path} is not valid JSON: {_shortened(str(error))}") from error


def parse_record(path: Path, content: Any, kind: type[R]) -> R:
    """Makes a record of what `read_raw` returned.

    Args:
        path: Where it was read, for the message.
        content: The content; what a file of an earlier version lacks is filled in.
        kind: The record's type.

    Returns:
        The record.

    Raises:
        InputError: If it is not such a record.
    """
    text = json.dumps(fill_older(kind, content))  # strictness is that of JSON: lists stand for tuples
    try:
        return kind.model_validate_json(text, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = _shortened(".".join(str(part) for part in first["loc"])) or "the top level"
        message = _shortened(first["msg"])
        raise InputError(f"{path} is not a valid {kind.__name__} file: {where}: {message}") from error


def _shortened(text: str) -> str:
    return text if len(text) <= 150 else f"{text[:147]}..."


def differing_keys(a: Record, b: Record) -> list[str]:
    """Returns the dotted names of the fields in which two configurations differ, with both values."""

    def walk(left: Any, right: Any, name: str) -> list[str]:
        if isinstance(left, dict) and isinstance(right, dict):
            keys = sorted(set(left) | set(right))
            return [d for key in keys for d in walk(left.get(key), right.get(key), f"{name}.{key}" if name else key)]
        return [] if left == right else [f"{name} ({left!r} there, {right!r} now)"]

    return walk(a.model_dump(mode="json"), b.model_dump(mode="json"), "")
