"""One folder for every command, with a file of every kind that the program reads, and which command reads which."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from support.images import TEST, TRAIN, VALIDATION, write_image, write_lines
from support.paths import FIXTURES, ROOT
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
    f"{METHOD}/figures/confusion_after.png",
    f"{METHOD}/figures/features.json",
    ".locks/sweep.lock",
)
"""A file of every kind in an experiment."""

_PHOTOS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "webp": "WEBP"}
_SMALL = ("--model", "cnn_small", "--seeds", "1", "--out", "{out}/grid")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command that reads.

    Attributes:
        words: Its words; `{out}` is a folder for what it writes.
        every: Run on one damage of so many, where a quicker command reads the same file; for those that draw or train.
    """

    words: tuple[str, ...]
    every: int = 1


@dataclasses.dataclass(frozen=True)
class Group:
    """Files that the same commands read.

    Attributes:
        make: Makes a folder with all of them.
        files: Their paths in it.
        commands: What reads them, by name.
    """

    make: Callable[[Path], object]
    files: Sequence[str]
    commands: dict[str, Command]


def make_experiment(folder: Path, seeds: Sequence[int] = (42, 43)) -> Path:
    """An experiment with a file of every kind."""
    make_tree(folder, budgets=(1000,), seeds=seeds, methods=("sap", "second-order"))
    cell, method = folder / CELL, folder / METHOD
    shutil.copy(folder / "clean/train_log.csv", cell / "train_log.csv")
    found = add_detection(cell, [(row, row % 10, 3) for row in range(50)])
    (found / "scores.png").write_bytes(draw_matrix("after", 1))
    fail(cell, "sap", "it went wrong")
    given = np.arange(200) % 10
    np.savez_compressed(cell / "corruption.npz", given_labels=given, true_labels=given[::-1].copy())
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save(cell / "poisoned_model.keras")
    (method / "figures").mkdir(exist_ok=True)
    (method / "figures/confusion_after.png").write_bytes(draw_matrix("after", 2))
    shutil.copy(next(FIXTURES.rglob("features.json")), method / "figures/features.json")
    (folder / ".locks").mkdir()
    (folder / ".locks/sweep.lock").write_text('{"pid": 1, "host": "elsewhere", "since": "noon"}\n')
    return folder


def make_own(folder: Path) -> None:
    """A model with its data in every form, flagged rows, suspects, lists of labels, and a table to reproduce."""
    import keras

    draw, layers = np.random.default_rng(0), keras.layers
    keras.utils.set_random_seed(0)
    labels = np.arange(60) % 3
    images = (draw.integers(0, 60, (60, 6, 6, 3)) + 80 * labels[:, None, None, None]).astype(np.uint8)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(2, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    model.save(folder / "model.keras")
    np.savez(folder / "data.npz", images=images, labels=labels, class_names=np.array(["a", "b", "c"]))
    kinds = [*_PHOTOS]  # one of every kind in every class
    for row, (image, label) in enumerate(zip(images[:18], labels, strict=False)):
        place = folder / f"photos/{'abc'[label]}/{row:02}.{kinds[row // 3]}"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place, _PHOTOS[kinds[row // 3]])
    wrong = [(row, (row + 1) % 3) for row in range(12)]
    (folder / "flagged.csv").write_text("".join(f"{a},{b}\n" for a, b in [("row", "corrected_label"), *wrong]))
    (folder / "labels.json").write_text(json.dumps([(row + (row < 6)) % 3 for row in range(42)]))
    shutil.copy(ROOT / "configs/digits.toml", folder / "table.toml")


def make_lists(folder: Path) -> None:
    """Clothing1M and WebVision, the parts that are read before any image is."""
    clothing, info = folder / "clothing", folder / "web/info"
    for value, path in enumerate(TRAIN + VALIDATION + TEST):
        write_image(clothing / path, value)
    lists = {"noisy_train_key_list": TRAIN, "clean_val_key_list": VALIDATION, "clean_test_key_list": TEST}
    for name, paths in lists.items():
        write_lines(clothing / f"{name}.txt", paths)
    write_lines(clothing / "noisy_label_kv.txt", [f"{path} {row}" for row, path in enumerate(TRAIN)])
    write_lines(clothing / "clean_label_kv.txt", [f"{path} {row}" for row, path in enumerate(VALIDATION + TEST)])
    write_lines(clothing / "category_names_eng.txt", [f"name {number}" for number in range(14)])
    for kind in ("google", "flickr"):
        paths = [f"{kind}/{row}.jpg" for row in range(8)]
        for path in paths:
            write_image(folder / "web" / path, 1)
        write_lines(info / f"train_filelist_{kind}.txt", [f"{path} {row % 4}" for row, path in enumerate(paths)])
    for row in range(8):
        write_image(folder / f"web/val_images_256/{row}.jpg", row)
    write_lines(info / "val_filelist.txt", [f"{row}.jpg {row % 4}" for row in range(8)])
    write_lines(info / "synsets.txt", [f"n{number:08} thing {number}, other name" for number in range(4)])


def make_cell(folder: Path) -> None:
    """A small grid that was trained here, with its data: what `unlearn` and `detect` open again."""
    from support.command import cli

    make_own(folder)
    options = ["--data", "data.npz", "--quiet", "--model", "cnn_small", "--budgets", "6", "--seeds", "1"]
    done = cli("run", *options, "--epochs", "1", "--methods", "fspmu", "--out", "grid", cwd=folder)
    assert done.returncode == 0, done.stderr


def _configs(data: str, *more: str, noise: str = "symmetric") -> Command:
    budgets = () if noise == "recorded" else ("--budgets", "6")
    return Command(("run", "--until", "configs", "--data", data, "--noise", noise, *budgets, *_SMALL, *more))


_READING = {
    "validate": Command(("validate", "experiment")),
    "show": Command(("show", "experiment")),
    "compare": Command(("show", "experiment", "--compare", "--control", "sap")),
    "export": Command(("export", "experiment", "--out", "{out}/t.csv")),
    "report": Command(("report", "experiment", "--images", "0", "--out", "{out}/r.html"), every=20),
    "figures": Command(("figures", "experiment", "--out", "{out}/figures"), every=20),
}
_BESIDE = "grid/budget-6/seed-1"
GROUPS = {
    "records": Group(lambda f: make_experiment(f / "experiment", (42,)), [f"experiment/{n}" for n in FILES], _READING),
    "arrays": Group(
        make_own,
        ["data.npz"],
        {
            "run": _configs("data.npz"),
            "detect": Command(
                ("detect", "model.keras", "--data", "data.npz", "--detect", "neighbours", "--out", "{out}/s.csv"), 10
            ),
        },
    ),
    "models": Group(
        make_own,
        ["model.keras"],
        {
            "detect": Command(
                ("detect", "model.keras", "--data", "data.npz", "--detect", "neighbours", "--out", "{out}/s.csv")
            ),
            "repair": Command(
                ("repair", "model.keras", "--data", "data.npz", "--method", "sap", "--out", "{out}/o.keras"), 20
            ),
        },
    ),
    "images": Group(
        make_own,
        [f"photos/a/{3 * number:02}.{kind}" for number, kind in enumerate(_PHOTOS)],
        {"run": _configs("photos"), "pillow": _configs("photos", "--interpolation", "pillow", "--image-size", "5")},
    ),
    "flagged rows": Group(
        make_own,
        ["flagged.csv"],
        {
            "repair": Command(
                (
                    *("repair", "model.keras", "--data", "data.npz", "--flagged", "flagged.csv"),
                    *("--method", "ssd", "--out", "{out}/o.keras"),
                )
            )
        },
    ),
    "labels": Group(
        make_own, ["labels.json"], {"run": _configs("data.npz", "--labels-file", "labels.json", noise="recorded")}
    ),
    "tables": Group(make_own, ["table.toml"], {"reproduce": Command(("reproduce", "table.toml", "--dry-run"))}),
    "lists": Group(
        make_lists,
        [
            *(f"clothing/{name}.txt" for name in ("noisy_train_key_list", "noisy_label_kv", "category_names_eng")),
            *(f"web/info/{name}.txt" for name in ("train_filelist_google", "val_filelist", "synsets")),
        ],
        {"clothing1m": _configs("clothing1m:clothing"), "webvision": _configs("webvision:web")},
    ),
    "cells": Group(
        make_cell,
        [f"{_BESIDE}/{name}" for name in ("train_config.json", "poison_config.json", "corruption.npz")]
        + [f"{_BESIDE}/poisoned_model.keras", f"{_BESIDE}/fspmu/rows.npz"],
        {
            "validate": Command(("validate", "grid")),
            "export": Command(
                ("export", _BESIDE, "--format", "labels", "--data", "data.npz", "--out", "{out}/labels.json")
            ),
            "detect": Command(
                (
                    *("detect", _BESIDE, "--data", "data.npz", "--detect", "neighbours"),
                    *("--out", "{out}/s.csv", "--quiet"),
                ),
                10,
            ),
        },
    ),
}
"""What is damaged, and what reads it then."""
