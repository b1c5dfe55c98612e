"""The JSON Schema of the records, so that other programs can check and read the files.

What a field means, in which unit, is said once: in the section "Attributes" of its class (see `records`).
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from unlearning.errors import InputError, invalid
from unlearning.records import KINDS, write_text

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FIELD = re.compile(r"^    (\w+): (.*)$")


def kinds() -> dict[str, type[BaseModel]]:
    """Returns all records by the name of their schema: those in files, and what `compare` and `validate` print."""
    from unlearning.experiments.results.compare import Comparison
    from unlearning.experiments.results.validate import ValidationReport

    return {**KINDS, "comparison": Comparison, "validation_report": ValidationReport}


def schema_of(name: str) -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of one kind of record.

    Args:
        name: A key of `kinds`, such as `unlearning_results`; `.json` may follow.

    Returns:
        The schema, with a description of every field.

    Raises:
        InputError: If there is no such record.

    Example:
        >>> schema_of("poison_config")["properties"]["budget"]["description"]
        'Requested number of corrupted training rows.'
    """
    known = kinds()
    name = name.removesuffix(".json")
    if name not in known:
        raise invalid("name", f"one of {', '.join(known)}", name)
    record = known[name]
    schema = record.model_json_schema(by_alias=True)
    classes = {record.__name__: record}
    for used in schema.get("$defs", {}):
        classes[used] = _find(record, used)
    for used, cls in classes.items():
        _describe(schema["$defs"][used] if used in schema.get("$defs", {}) else schema, cls)
    return {"$schema": DIALECT, **schema}


def write_schemas(folder: Path, name: str | None = None) -> list[Path]:
    """Writes schemas as `<name>.schema.json`.

    Args:
        folder: Where to; made if missing. Files of these names are replaced.
        name: Only this one.

    Returns:
        The paths, in the order of `kinds`.

    Raises:
        InputError: If there is no such record, or the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise invalid("out", "a folder", str(folder))
    names = list(kinds()) if name is None else [name.removesuffix(".json")]
    texts = {known: json.dumps(schema_of(known), indent=1) + "\n" for known in names}
    paths = []
    for known, text in texts.items():
        paths.append(folder / f"{known}.schema.json")
        write_text(paths[-1], text)
    return paths


def describe_fields(cls: type[BaseModel]) -> dict[str, str]:
    """Returns the descriptions in the section "Attributes" of a class, by field name.

    Args:
        cls: A record. Fields that it inherits are described in its parents.

    Returns:
        The descriptions, on one line each.
    """
    found: dict[str, str] = {}
    for parent in reversed(cls.__mro__):
        if not issubclass(parent, BaseModel) or parent is BaseModel or not vars(parent).get("__doc__"):
            continue
        _, _, section = inspect.cleandoc(parent.__doc__ or "").partition("Attributes:\n")
        name = ""
        for line in section.splitlines():
            if match := _FIELD.match(line):
                name = match[1]
                found[name] = match[2]
            elif name and line.startswith("        "):
                found[name] += " " + line.strip()
            else:
                break
    return found


def _find(record: type[BaseModel], name: str) -> type[BaseModel]:
    """The record class of a name that a schema refers to: another subclass of what the record derives from."""
    waiting: list[type[BaseModel]] = [BaseModel]
    while waiting:
        cls = waiting.pop()
        if cls.__name__ == name and cls.__module__.startswith(__package__):
            return cls
        waiting += cls.__subclasses__()
    raise InputError(f"The schema of {record.__name__} refers to {name}, which is no record.")


def _describe(schema: dict[str, Any], cls: type[BaseModel]) -> None:
    descriptions = describe_fields(cls)
    schema["description"] = " ".join(inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")[0].split())
    for name, field in cls.model_fields.items():
        properties = schema.get("properties", {})
        shown = properties.get(field.alias or name)
        if shown is not None and "description" not in shown and name in descriptions:
            shown["description"] = descriptions[name]
