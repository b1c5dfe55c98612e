"""The command line that makes a repair again, from its configuration files."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearning import detection
from unlearning.experiments.cell.run import DetectChoice, Experiment, MethodChoice, Settings
from unlearning.noise import FROM_FILE
from unlearning.records import PoisonConfig, TrainConfig, UnlearnConfig

LABELS_FILE = "LABELS_FILE"
"""Stands in a command for the path of a file of labels, which no record holds."""


def reproduce(label: str, train: TrainConfig, poison: PoisonConfig, unlearn: UnlearnConfig) -> str:
    """Builds the command that trains, poisons and repairs as a cell's configurations say.

    Args:
        label: Name of the experiment's folder, for `--output`.
        train: How the cell's model was trained.
        poison: How its labels were corrupted.
        unlearn: How it was repaired.

    Returns:
        One line for a shell. Options that are the program's own are left out. Where the data are a file or folder, its
        name stands for its path.

    Raises:
        InputError: If a configuration names a method or detector that this program does not have.
    """
    words = ["python", "cli.py", "run", *_data_words(train, poison), *_method_words(train, poison, unlearn)]
    return shlex.join([*words, "--output", label])


def _data_words(train: TrainConfig, poison: PoisonConfig) -> list[str]:
    """What `Settings` is asked for other than its own."""
    asked: dict[str, Any] = {
        **train.data.model_dump(),
        **train.model_dump(exclude={"schema_version", "data", "seed"}),
        "noise": poison.noise,
        "seeds": (poison.seed,),
    }
    asked.pop("objective_options", None)
    if poison.noise in FROM_FILE:
        asked["labels_file"] = LABELS_FILE
    else:
        asked["budgets"] = (poison.budget,)
    if poison.labels_key is not None:
        asked["labels_key"] = poison.labels_key
    words = []
    for field in dataclasses.fields(Settings):
        value = asked.get(field.name, field.default)
        if value == field.default and field.name not in ("dataset", "model", "noise", "seeds", "epochs"):
            continue
        option = f"--{field.name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option if value else f"--no-{option[2:]}")
        elif isinstance(value, tuple):
            words += [option, ",".join(map(str, value))] if value else []
        elif value is not None and field.name in asked:
            words += [option, str(value)]
    for name, number in train.objective_options.items():
        words += ["--objective-option", f"{name}={number}"]
    return words


def _method_words(train: TrainConfig, poison: PoisonConfig, unlearn: UnlearnConfig) -> list[str]:
    found: Mapping[str, Any] = unlearn.hyperparameters
    detect = None
    words = ["--methods", unlearn.method]
    if "detector" in found and "rounds" in found and "method" in found:  # see `Detected.config`
        options = dict(found["detector"])
        name = options.pop("name")
        changed = _changes(detection.get(name).config(), options, chain=False)
        detect = DetectChoice(name, tuple(changed.items()), found["suspects"], found["rounds"])
        words += ["--detect", name]
        words += [word for key, value in changed.items() for word in ("--detect-set", f"{key}={_text(value)}")]
        words += ["--suspects", "remove"] if detect.suspects == "remove" else []
        words += ["--rounds", str(detect.rounds)] if detect.rounds > 1 else []
    plain = _plain(train, poison, unlearn, detect)
    own, found = (config["method"] if detect else config for config in (plain.hyperparameters, found))
    for key, value in _changes(own, found, chain="+" in unlearn.method).items():
        words += ["--set", f"{unlearn.method}.{key}={_text(value)}"]
    variant = unlearn.variant.removesuffix(plain.variant).removesuffix("-") if plain.variant else unlearn.variant
    words += ["--variant", variant] if variant else []
    return words + (["--validation", "clean"] if unlearn.validation == "clean" else [])


def _plain(
    train: TrainConfig, poison: PoisonConfig, unlearn: UnlearnConfig, detect: DetectChoice | None
) -> UnlearnConfig:
    """The configuration of the same method in the same cell without any changed hyperparameter or variant."""
    recorded = train.model_dump(exclude={"schema_version", "data", "seed"})
    recorded["objective_options"] = tuple(recorded.get("objective_options", {}).items())
    choice = MethodChoice(unlearn.method)
    settings = Settings(
        **recorded,
        noise=poison.noise,
        seeds=(unlearn.seed,),
        methods=(choice,),
        detect=detect,
        validation=unlearn.validation,
        output=Path("unused"),
    )
    return Experiment(settings).unlearn_config(choice, unlearn.seed)


def _changes(own: Mapping[str, Any], found: Mapping[str, Any], *, chain: bool) -> dict[str, Any]:
    """Hyperparameters that differ, by field; by `stage.field` in a chain."""
    if chain:
        return {
            f"{stage}.{key}": value
            for stage in own
            for key, value in _changes(own[stage], found.get(stage, {}), chain=False).items()
        }
    return {key: value for key, value in found.items() if key not in own or own[key] != value}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
