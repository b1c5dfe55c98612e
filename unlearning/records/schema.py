"""The JSON Schema of the records, so that other programs can check and read the files.

What a field means, in which unit, and which values it takes is said once: at the field (see `unlearning.settings`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from unlearning.errors import InputError
from unlearning.files import write_text
from unlearning.records import KINDS, MemorisationResults
from unlearning.records.comparison import Comparison
from unlearning.records.validation import ValidationReport

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def kinds() -> dict[str, type[BaseModel]]:
    """Returns all records by the name of their schema: those in files, and those that commands print."""
    return {
        **KINDS,
        "memorisation_results": MemorisationResults,
        "comparison": Comparison,
        "validation_report": ValidationReport,
    }


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
        raise InputError("name", f"one of {', '.join(known)}", name)
    schema = known[name].model_json_schema(by_alias=True)
    _on_one_line(schema)
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
        raise InputError("out", "a folder", str(folder))
    names = list(kinds()) if name is None else [name.removesuffix(".json")]
    texts = {known: json.dumps(schema_of(known), indent=1) + "\n" for known in names}
    paths = []
    for known, text in texts.items():
        paths.append(folder / f"{known}.schema.json")
        write_text(paths[-1], text)
    return paths


def _on_one_line(schema: Any) -> None:
    """Joins the lines of all descriptions, which are docstrings."""
    if isinstance(schema, dict):
        if isinstance(text := schema.get("description"), str):
            schema["description"] = " ".join(text.split())
        for value in schema.values():
            _on_one_line(value)
    elif isinstance(schema, list):
        for value in schema:
            _on_one_line(value)
