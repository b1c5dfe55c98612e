"""The command line that makes a repair again, from its configuration files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearning import detection
from unlearning.experiments.cell.reopening import recorded_settings
from unlearning.experiments.cell.settings import MethodChoice, RunSettings
from unlearning.experiments.cell.setup import Setup
from unlearning.methods.described import complete
from unlearning.noise import NOISES
from unlearning.records import PoisonConfig, TrainConfig, UnlearnConfig
from unlearning.repairs.settings import DetectSettings
from unlearning.settings import option_flag

_ALWAYS = ("dataset", "model", "noise", "seeds", "epochs")
LABELS_FILE = "LABELS_FILE"
"""Stands in a command for the path of a file of labels, which no record holds."""


def reproduce(label: str, train: TrainConfig, poison: PoisonConfig, unlearn: UnlearnConfig) -> str:
    """Builds the command that trains, poisons and repairs as a cell's configurations say.

    Passes on an `InputError` if a configuration names a method or detector that this program does not have.

    Args:
        label: Name of the experiment's folder, for `--out`.
        train: How the cell's model was trained.
        poison: How its labels were corrupted.
        unlearn: How it was repaired.

    Returns:
        One line for a shell. Options that are the program's own are left out. Where the data are a file or folder, its
        name stands for its path.
    """
    words = ["python", "cli.py", "run", *_data_words(train, poison), *_method_words(train, poison, unlearn)]
    return shlex.join([*words, "--out", label])


def _data_words(train: TrainConfig, poison: PoisonConfig) -> list[str]:
    """The options that differ from those of the program, and a few that tell what the experiment is."""
    settings, words = recorded_settings(train, poison), []
    if NOISES.entry(poison.noise).needs >= {"labels_file"}:
        settings = settings.changed(labels_file=LABELS_FILE, labels_sha256=None)
    silent = {"interpolation"} if train.data.interpolation is None else set()  # most data have no images to resize
    for name, field in RunSettings.model_fields.items():
        if name in silent:
            continue
        value, flag = getattr(settings, name), option_flag(name, field)
        usual = field.get_default(call_default_factory=True)
        if not flag or value is None or (value == usual and name not in _ALWAYS):
            continue
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, Mapping):
            words += [word for key, item in value.items() for word in (flag, f"{key}={_text(item)}")]
        elif isinstance(value, tuple):
            words += [flag, ",".join(map(str, value))] if value else []
        else:
            words += [flag, str(value)]
    return words


def _method_words(train: TrainConfig, poison: PoisonConfig, unlearn: UnlearnConfig) -> list[str]:
    found: Mapping[str, Any] = unlearn.hyperparameters
    detect = None
    words = ["--methods", unlearn.method]
    if "detector" in found and "rounds" in found and "method" in found:  # see `Detected.config`
        options = dict(found["detector"])
        name = options.pop("name")
        today = detection.complete(name, detection.get(name).config())
        changed = _changes(today, detection.complete(name, options), chain=False)
        detect = DetectSettings(detector=name, options=changed, suspects=found["suspects"], rounds=found["rounds"])
        words += ["--detect", name]
        words += [word for key, value in changed.items() for word in ("--set", f"{name}.{key}={_text(value)}")]
        words += ["--suspects", "remove"] if detect.suspects == "remove" else []
        words += ["--rounds", str(detect.rounds)] if detect.rounds > 1 else []
    plain = _plain(train, poison, unlearn, detect)
    both = (config["method"] if detect else config for config in (plain.hyperparameters, found))
    own, found = (complete(unlearn.method, config) for config in both)
    for key, value in _changes(own, found, chain="+" in unlearn.method).items():
        words += ["--set", f"{unlearn.method}.{key}={_text(value)}"]
    variant = unlearn.variant.removesuffix(plain.variant).removesuffix("-") if plain.variant else unlearn.variant
    words += ["--variant", variant] if variant else []
    return words + (["--validation", "clean"] if unlearn.validation == "clean" else [])


def _plain(
    train: TrainConfig, poison: PoisonConfig, unlearn: UnlearnConfig, detect: DetectSettings | None
) -> UnlearnConfig:
    """The configuration of the same method in the same cell without any changed hyperparameter or variant."""
    settings = recorded_settings(train, poison).changed(
        methods=(MethodChoice(name=unlearn.method),),
        detect=detect,
        validation=unlearn.validation,
        output=Path("unused"),
    )
    return Setup(settings).repairs[0].config(unlearn.seed)


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
