"""Damage of every kind to a file, the same for the same number."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 2**31, 2**53, 2**62, 2**63 - 1, -(2**63), 0.5, -0.0, 5e-324, 1e-300, 1e300),
    *(
        1.7e308,
        -1.7e308,
        "",
        "nan",
        "1e999",
        "0x10",
        "１２",
        "٣",
        "inf",
        "a" * 5000,
        "$x_{",
        "$\\frac",
        "\u202egpj.exe",
    ),
    *(
        "\u2028",
        "🏴‍☠️",
        "../../x",
        "=1+1",
        "<script>",
        "%s{}",
        "_a",
        "retraining-unflagged",
        "sap+second-order",
        "+",
        "++",
    ),
    *([], [[]], [0], {}, {"": None}, {"name": 1}, {"0": 1, "00": 2}, [1, "a", None], [[1, 2], [3]], {"a": {"b": []}}),
)
TEXTS = (
    *(
        "",
        "null",
        "[]",
        "{}",
        '""',
        "0",
        "NaN",
        "[" * 100_000,
        '{"a":' * 3000 + "1" + "}" * 3000,
        "[1" + ",1" * 600_000 + "]",
    ),
    *("{'a': 1}", '{"a": 1, "a": 2}', "\ufeff{}", "\0", "1" * 5000, '{"seed": 1e999}', '{"a": "\\ud800"}', "// no\n{}"),
)
CELLS = (
    "",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e-320",
    "1_0",
    " 1",
    "+1",
    "１",
    "9" * 30,
    "9" * 5000,
    "x",
    "=1",
    '"',
    "a,b",
    "\0",
)
WORDS = (
    "-1",
    "../../x",
    "/etc/passwd",
    "a\\b",
    "true",
    "[]",
    "{}",
    '"',
    "'''",
    "1979-05-27",
    "2" * 400,
    "\u202e",
    "\x1b[2J",
)


def mutate(path: Path, number: int) -> str:
    """Damages a file.

    Args:
        path: The file.
        number: Which damage.

    Returns:
        What was done, in words.
    """
    draw = random.Random(f"{path.name} {number}")
    ways: list[Callable[[Path, random.Random], str]] = [_bytes, _bytes, _links, *_WAYS.get(path.suffix, [_bytes] * 7)]
    return draw.choice(ways)(path, draw)


def _bytes(path: Path, draw: random.Random) -> str:
    content, way = _damaged(path.read_bytes(), draw)
    path.write_bytes(content)
    return way


def _damaged(whole: bytes, draw: random.Random) -> tuple[bytes, str]:
    content = bytearray(whole) or bytearray(b"x")
    way = draw.choice(["flip", "flip", "head", "cut", "cut", "repeat", "swap", "encode", "noise", "insert"])
    place = draw.randrange(len(content))
    if way == "flip":
        for _ in range(draw.choice([1, 2, 8, 64])):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif way == "head":  # sizes and kinds stand there
        for _ in range(draw.choice([1, 4])):
            content[draw.randrange(min(64, len(content)))] = draw.choice([0, 1, 127, 128, 255])
    elif way == "cut":
        del content[place:]
    elif way == "repeat":
        content = content * draw.choice([2, 50])
    elif way == "swap":
        content = content[place:] + content[:place]
    elif way == "encode":
        content = bytearray(
            content.decode("latin-1").encode(draw.choice(["utf-16", "utf-32", "utf-7", "cp037"]), "replace")
        )
    elif way == "noise":
        content = bytearray(draw.randbytes(len(content)))
    else:
        content[place:place] = draw.choice(
            [b"\xff", b"\0" * 100, b"\r", b'"', b",", b"\xe2\x80\xae", draw.randbytes(20)]
        )
    return bytes(content), way


def _links(path: Path, draw: random.Random) -> str:
    path.unlink()
    way = draw.choice(["pipe", "folder", "loop", "device", "outside", "sparse", "secret"])
    if way == "pipe":
        os.mkfifo(path)
    elif way == "folder":
        path.mkdir()
    elif way == "sparse":
        with path.open("wb") as file:
            file.truncate(2**32)
    elif way == "secret":
        path.touch()
        path.chmod(0)
    else:
        path.symlink_to({"loop": path, "device": Path("/dev/zero"), "outside": Path("/etc/passwd")}[way])
    return way


def _text(path: Path, draw: random.Random) -> str:
    text = draw.choice(TEXTS)
    path.write_text(text, encoding="utf-8")
    return f"text {text[:20]!r}"


def _value(path: Path, draw: random.Random) -> str:
    content, way = _changed(path.read_bytes(), draw)
    path.write_bytes(content)
    return way


def _changed(whole: bytes, draw: random.Random) -> tuple[bytes, str]:
    content = json.loads(whole)
    done = []
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        places = list(_places(content))
        if not places:
            break
        owner, key = draw.choice(places)
        way = draw.choice(["set", "set", "set", "set", "drop", "add", "scale"])
        if way == "drop":
            del owner[key]
        elif way == "add" and isinstance(owner, dict):
            owner[draw.choice(["", "surprise", "99999999999", "²", "0", "method", "detector"])] = draw.choice(VALUES)
        elif way == "scale" and type(owner[key]) in (int, float):
            owner[key] = owner[key] * draw.choice([-1, 1e-300, 1e300, 2**40])
        else:
            owner[key] = draw.choice(VALUES)
        done.append(f"{way} {key}")
    return json.dumps(content).encode(), ", ".join(done)


def _places(value: Any) -> list[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in [(value, key), *_places(item)]]


def _cell(path: Path, draw: random.Random) -> str:
    lines = [line.split(",") for line in path.read_text().splitlines()]
    for _ in range(draw.choice([1, 1, 3])):
        line = draw.choice(lines)
        line[draw.randrange(len(line))] = draw.choice(CELLS)
    way = draw.choice(["set", "set", "set", "shuffle", "grow", "wide", "empty"])
    if way == "shuffle":
        draw.shuffle(lines)
    elif way == "grow":
        lines += lines[1:] * 300
    elif way == "wide":
        lines = [line * 300 for line in lines]
    elif way == "empty":
        lines = lines[:1]
    path.write_text("\n".join(map(",".join, lines)) + draw.choice(["\n", "", "\r\n\r\n"]))
    return way


def _member(path: Path, draw: random.Random) -> str:
    """Damages a part of an archive, whose own checksum is right again."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice([*members, *[name for name in members if name == "config.json"] * 4])
    way = draw.choice(["content"] * 6 + ["drop", "rename", "empty", "bzip2", "text"])
    packed = zipfile.ZIP_DEFLATED
    if way == "content":
        change = _changed if name.endswith(".json") and draw.random() < 0.8 else _damaged
        members[name], way = change(members[name], draw)
    elif way == "drop":
        del members[name]
    elif way == "rename":
        members[draw.choice(["../x", "/x", "x.npy", "labels.npy", "a" * 300, "\u202e.npy"])] = members.pop(name)
    elif way == "empty":
        members[name] = b""
    elif way == "text":
        members[name] = draw.choice(TEXTS).encode()
    else:
        packed = zipfile.ZIP_BZIP2
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packed) as archive:
        for key, content in members.items():
            archive.writestr(key, content)
    path.write_bytes(buffer.getvalue())
    return f"{name}: {way}"


def _line(path: Path, draw: random.Random) -> str:
    """Damages a line of a text: its words, its length, its place."""
    lines = path.read_text().splitlines()
    number = draw.randrange(len(lines))
    way = draw.choice(["word", "word", "word", "word", "drop", "twice", "swap", "long", "join", "many"])
    if way == "word":
        words = lines[number].split(" ")
        words[draw.randrange(len(words))] = draw.choice([*CELLS, *WORDS])
        lines[number] = " ".join(words)
    elif way == "drop":
        del lines[number]
    elif way == "twice":
        lines.insert(number, lines[number])
    elif way == "swap":
        other = draw.randrange(len(lines))
        lines[number], lines[other] = lines[other], lines[number]
    elif way == "long":
        lines[number] *= 2000
    elif way == "join":
        lines[number : number + 2] = ["".join(lines[number : number + 2])]
    else:
        lines *= 200
    path.write_text("\n".join(lines) + "\n")
    return way


_WAYS: dict[str, list[Callable[[Path, random.Random], str]]] = {
    ".json": [_value] * 9 + [_text] * 2,
    ".csv": [_cell] * 9,
    ".lock": [_value, _text] * 3,
    ".npz": [_member] * 9,
    ".keras": [_member] * 11,
    ".txt": [_line] * 9,
    ".toml": [_line] * 9 + [_text],
}
