"""The command line that makes a repair again, from its configuration files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
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


def reproduce(
    label: str, train: TrainConfig, poison: PoisonConfig, unlearn: UnlearnConfig, seeds: Sequence[int] = ()
) -> str:
    """Builds the command that trains, poisons and repairs as a cell's configurations say.

    Passes on an `InputError` if a configuration names a method or detector that this program does not have.

    Args:
        label: Name of the experiment's folder, for `--out`.
        train: How the cell's model was trained.
        poison: How its labels were corrupted.
        unlearn: How it was repaired.
        seeds: Seeds of all cells to be repaired so; that of the configurations where empty.

    Returns:
        One line for a shell. Options that are the program's own are left out. Where the data are a file or folder, its
        name stands for its path.
    """
    words = ["python", "cli.py", "run", *_data_words(train, poison, seeds), *_method_words(train, poison, unlearn)]
    return shlex.join([*words, "--out", label])


def changed_settings(train: TrainConfig, poison: PoisonConfig, unlearn: UnlearnConfig) -> dict[str, tuple[Any, Any]]:
    """Returns the settings of a repair that differ from those it has where nobody says anything.

    Passes on an `InputError` as `reproduce` does.

    Args:
        train: How the cell's model was trained.
        poison: How its labels were corrupted.
        unlearn: How it was repaired.

    Returns:
        Recorded and usual value by setting, as `stage.setting` in a chain and `detector.setting` of a detector.
    """
    detect, _ = _detection(unlearn.hyperparameters)
    own, found = _both(_plain(train, poison, unlearn, detect), unlearn, detect)
    changes = _changes(own, found, chain="+" in unlearn.method)
    usual = {key: _look_up(own, key, chain="+" in unlearn.method) for key in changes}
    named = {key: (value, usual[key]) for key, value in changes.items()}
    if detect is not None and detect.options:
        today = detection.complete(detect.detector, detection.get(detect.detector).config())
        named |= {f"{detect.detector}.{key}": (value, today.get(key)) for key, value in detect.options.items()}
    return named


def _data_words(train: TrainConfig, poison: PoisonConfig, seeds: Sequence[int]) -> list[str]:
    """The options that differ from those of the program, and a few that tell what the experiment is."""
    settings, words = recorded_settings(train, poison), []
    settings = settings.changed(seeds=tuple(seeds)) if seeds else settings
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
    detect, more = _detection(unlearn.hyperparameters)
    words = ["--methods", unlearn.method, *more]
    plain = _plain(train, poison, unlearn, detect)
    own, found = _both(plain, unlearn, detect)
    for key, value in _changes(own, found, chain="+" in unlearn.method).items():
        words += ["--set", f"{unlearn.method}.{key}={_text(value)}"]
    variant = unlearn.variant.removesuffix(plain.variant).removesuffix("-") if plain.variant else unlearn.variant
    words += ["--variant", variant] if variant else []
    return words + (["--validation", "clean"] if unlearn.validation == "clean" else [])


def _detection(found: Mapping[str, Any]) -> tuple[DetectSettings | None, list[str]]:
    """How bad rows were detected, and the options that say so; see `Detected.config`."""
    if not ("detector" in found and "rounds" in found and "method" in found):
        return None, []
    options = dict(found["detector"])
    name = options.pop("name")
    today = detection.complete(name, detection.get(name).config())
    changed = _changes(today, detection.complete(name, options), chain=False)
    detect = DetectSettings(detector=name, options=changed, suspects=found["suspects"], rounds=found["rounds"])
    words = ["--detect", name]
    words += [word for key, value in changed.items() for word in ("--set", f"{name}.{key}={_text(value)}")]
    words += ["--suspects", "remove"] if detect.suspects == "remove" else []
    return detect, words + (["--rounds", str(detect.rounds)] if detect.rounds > 1 else [])


def _both(
    plain: UnlearnConfig, unlearn: UnlearnConfig, detect: DetectSettings | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The method's own hyperparameters, usual ones and recorded ones."""
    both = (config["method"] if detect else config for config in (plain.hyperparameters, unlearn.hyperparameters))
    own, found = (complete(unlearn.method, config) for config in both)
    return own, found


def _look_up(own: Mapping[str, Any], key: str, *, chain: bool) -> Any:
    stage, _, field = key.partition(".")
    return own.get(stage, {}).get(field) if chain else own.get(key)


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
