"""Whether single files are whole: archives of weights, logs, pictures."""

from __future__ import annotations

import zipfile
from pathlib import Path

from unlearning.archives import check_members
from unlearning.errors import InputError
from unlearning.experiments.results.reader import LARGEST_TABLE
from unlearning.files import open_csv


def find_damage(path: Path) -> str:
    """Says how a `.keras` archive is damaged; empty where it is whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            missing = {"config.json", "metadata.json"} - set(archive.namelist())
            if missing:
                return f"no {' and no '.join(sorted(missing))} in it"
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        # The list of members stands at the end of the file, so that a truncated archive has lost it.
        with path.open("rb") as file:
            started = file.read(4) == b"PK\x03\x04"
        return (
            f"truncated ({path.stat().st_size} bytes)" if started and "not a zip" in str(error) else f"damaged: {error}"
        )
    except Exception as error:  # zipfile raises what zlib and struct raise
        return f"damaged: {' '.join(str(error).split())[:150] or type(error).__name__}"
    return "" if damaged is None else f"damaged: flipped bits in its member {damaged[:80]!r}"


def check_log(path: Path) -> None:
    """Raises `InputError` unless every row of a CSV file has a value for every column that its first line names."""
    with open_csv(path.name, path, LARGEST_TABLE) as reader:
        columns = len(reader.fieldnames or ())
        for row in reader:
            values = list(row.values())
            if None in row or None in values:
                count = columns + len(row.get(None) or ()) - values.count(None)
                raise InputError(f"line {reader.line_num} has {count} values for {columns} columns")
            if any("\0" in value for value in values):
                raise InputError(f"line {reader.line_num} holds a null character")


def check_figure(path: Path) -> None:
    """Raises `InputError` unless a file is a whole PNG."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.verify()
    except Exception as error:  # Pillow's readers fail in many ways on damaged files
        raise InputError(f"{path} is no whole picture: {str(error) or type(error).__name__}") from error
