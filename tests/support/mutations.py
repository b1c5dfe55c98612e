"""Damage of every kind to the files of an experiment, the same for the same number."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from support.paths import FIXTURES
from support.report_trees import add_detection, draw_matrix, fail, make_tree

CELL = "budget-1000/seed-42"
METHOD = f"{CELL}/second-order"
FILES = (
    "clean/train_config.json",
    "clean/train_results.json",
    f"{CELL}/train_config.json",
    f"{CELL}/poison_config.json",
    f"{CELL}/train_results.json",
    f"{CELL}/train_log.csv",
    f"{CELL}/failure.json",
    f"{CELL}/corruption.npz",
    f"{CELL}/poisoned_model.keras",
    f"{CELL}/detect-patches/detection_results.json",
    f"{CELL}/detect-patches/suspects.csv",
    f"{CELL}/detect-patches/scores.png",
    f"{METHOD}/unlearn_config.json",
    f"{METHOD}/unlearning_results.json",
    f"{METHOD}/log_step.csv",
    f"{METHOD}/log_solver.csv",
    f"{METHOD}/rows.npz",
    f"{METHOD}/figures/confusion_after.png",
    f"{METHOD}/figures/features.json",
    ".locks/sweep.lock",
)

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


def make_experiment(folder: Path) -> Path:
    """An experiment with a file of every kind."""
    make_tree(folder, budgets=(1000,), seeds=(42, 43), methods=("sap", "second-order"))
    cell, method = folder / CELL, folder / METHOD
    shutil.copy(folder / "clean/train_log.csv", cell / "train_log.csv")
    found = add_detection(cell, [(row, row % 10, 3) for row in range(50)])
    (found / "scores.png").write_bytes(draw_matrix("after", 1))
    fail(cell, "sap", "it went wrong")
    given = np.arange(200) % 10
    np.savez_compressed(cell / "corruption.npz", given_labels=given, true_labels=given[::-1].copy())
    np.savez(method / "rows.npz", forget_rows=np.arange(5))
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save(cell / "poisoned_model.keras")
    (method / "figures").mkdir(exist_ok=True)
    (method / "figures/confusion_after.png").write_bytes(draw_matrix("after", 2))
    shutil.copy(next(FIXTURES.rglob("features.json")), method / "figures/features.json")
    (folder / ".locks").mkdir()
    (folder / ".locks/sweep.lock").write_text('{"pid": 1, "host": "elsewhere", "since": "noon"}\n')
    return folder


def mutate(path: Path, number: int) -> str:
    """Damages a file.

    Args:
        path: The file.
        number: Which damage.

    Returns:
        What was done, in words.
    """
    draw = random.Random(f"{path.name} {number}")
    ways: list[Callable[[Path, random.Random], str]] = [_bytes, _bytes, _links]
    ways += {".json": [_value] * 9 + [_text] * 2, ".csv": [_cell] * 9, ".lock": [_value, _text] * 3}.get(
        path.suffix, [_bytes] * 7
    )
    return draw.choice(ways)(path, draw)


def _bytes(path: Path, draw: random.Random) -> str:
    content = bytearray(path.read_bytes()) or bytearray(b"x")
    way = draw.choice(["flip", "flip", "cut", "cut", "repeat", "swap", "encode", "noise", "insert"])
    place = draw.randrange(len(content))
    if way == "flip":
        for _ in range(draw.choice([1, 2, 8, 64])):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
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
    path.write_bytes(content)
    return way


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
    content = json.loads(path.read_text())
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
    path.write_text(json.dumps(content))
    return ", ".join(done)


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
