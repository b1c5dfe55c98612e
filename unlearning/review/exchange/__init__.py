"""Suspects for other people's tools, and decisions from them, in the forms that they document.

A tool is a module with `FILES` (how the names of its files end), `SHOWS_TEXT`, `write` and `read`; `TOOLS` has them by
name. Whoever reads need not say which tool a file is of: `read_decisions` sees it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import ModuleType

from unlearning.archives import check_members
from unlearning.errors import InputError, one_line
from unlearning.files import check_file, read_text
from unlearning.review.content import is_picture
from unlearning.review.exchange import cvat, fiftyone, label_studio
from unlearning.review.exchange.decisions import Decision
from unlearning.review.sheet import Sheet
from unlearning.strict_json import parse_json

TOOLS: dict[str, ModuleType] = {"label-studio": label_studio, "cvat": cvat, "fiftyone": fiftyone}
LARGEST_FILE = 64 * 2**20
_SUFFIXES = (".json", ".xml", ".zip")


def export_paths(out: Path, tool: str) -> tuple[Path, ...]:
    """Returns the files that an export beside a file of suspects has.

    Args:
        out: The file of suspects.
        tool: One of `TOOLS`.

    Raises:
        InputError: If there is no such tool.
    """
    if tool not in TOOLS:
        raise InputError("export", f"one of {', '.join(TOOLS)}", tool)
    return tuple(out.with_name(out.stem + end) for end in TOOLS[tool].FILES)


def export(out: Path, tool: str, sheet: Sheet) -> tuple[Path, ...]:
    """Writes what a person is asked about in the form of another program; see `export_paths`.

    Returns:
        The files.

    Raises:
        InputError: If the program shows pictures only, and rows are none.
    """
    paths = export_paths(out, tool)
    if sheet.source.files is None and not is_picture(sheet.source.split.images) and not TOOLS[tool].SHOWS_TEXT:
        raise InputError("export", "a tool that shows texts, such as label-studio: these rows are no images", tool)
    TOOLS[tool].write(paths, sheet)
    return paths


def is_export(path: Path) -> bool:
    """Whether a file of decisions is of another program, by its name; else it is a table."""
    return path.suffix.lower() in _SUFFIXES


def read_decisions(argument: str, path: Path) -> list[Decision]:
    """Reads decisions that another program exported.

    Args:
        argument: Name of the argument, for messages.
        path: The JSON file of Label Studio or FiftyOne, the XML file of CVAT, or an archive with one of them in it.

    Returns:
        The decisions.

    Raises:
        InputError: If it is none of these.
    """
    if path.suffix.lower() == ".zip":
        name, text = _unpack(argument, path)
    else:
        name, text = path.name, read_text(argument, path, LARGEST_FILE)
    if name.lower().endswith(".xml"):
        return cvat.read(text, str(path))
    try:
        content = parse_json(text)
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {one_line(error)}") from error
    if isinstance(content, list):
        return label_studio.read(content, str(path))
    if isinstance(content, dict) and "labels" in content:
        return fiftyone.read(content, str(path))
    raise InputError(f"{path} is neither a list of tasks of Label Studio nor a labels.json of FiftyOne.")


def _unpack(argument: str, path: Path) -> tuple[str, str]:
    """The annotations in an archive, and their name."""
    check_file(argument, path, 2**30, "archive")
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            for info in archive.infolist():
                name = info.filename.rpartition("/")[2]
                if name in (cvat.ANNOTATIONS, fiftyone.LABELS):
                    if info.file_size > LARGEST_FILE:
                        raise ValueError(f"{info.filename} has more than {LARGEST_FILE} bytes")
                    return name, archive.read(info).decode("utf-8-sig")
    except (ValueError, OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"Cannot read {path}: {one_line(error)}") from error
    raise InputError(f"{path} holds neither {cvat.ANNOTATIONS} nor {fiftyone.LABELS}.")
