"""Are files whole that are no records: archives of weights, logs, pictures? No model is loaded."""

from __future__ import annotations

import zipfile
from pathlib import Path

from unlearning.archives import check_members
from unlearning.errors import InputError, one_line
from unlearning.files import check_file, iterate_table
from unlearning.records.base import LARGEST_FILE


def diagnose_archive(path: Path) -> str:
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
        return f"damaged: {one_line(error, 150)}"
    return "" if damaged is None else f"damaged: flipped bits in its member {damaged[:80]!r}"


def check_log(path: Path) -> None:
    """Raises `InputError` or `OSError` unless a CSV file can be read to its end."""
    for _ in iterate_table(path, LARGEST_FILE):
        pass


def check_picture(path: Path) -> None:
    """Raises `InputError` unless a PNG file is whole."""
    from PIL import Image

    check_file(path.name, path, LARGEST_FILE)
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.verify()
    except Exception as error:  # Pillow's readers fail in many ways on damaged files
        raise InputError(str(error) or type(error).__name__) from error
