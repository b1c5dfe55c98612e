"""How each repair was made: its command, and the settings that differ from the usual ones."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from unlearning.errors import one_line
from unlearning.records import config_hash
from unlearning.reporting.page.commands import changed_settings, reproduce
from unlearning.reporting.page.shown import Cell, Repair, Shown

_LONGEST = 400  # letters of a value


@dataclasses.dataclass(frozen=True)
class Made:
    """Repairs of one budget that differ by their seed alone.

    Attributes:
        budget: Their budget.
        name: What they are called.
        seeds: Their seeds.
        states: Their states, each once; done ones are not said.
        command: What makes them again; empty where it is not known.
        note: Why.
        settings: Setting, recorded value and usual value, of those that differ.
    """

    budget: int
    name: str
    seeds: tuple[int, ...]
    states: tuple[str, ...]
    command: str
    note: str
    settings: tuple[tuple[str, str, str], ...]


def list_made(shown: Shown) -> list[Made]:
    """Returns how the repairs of an experiment were made, or are to be made, by budget and name."""
    groups: dict[tuple[int, str, str], list[tuple[Cell, Repair]]] = {}
    for cell in shown.cells:
        for repair in cell.repairs:
            groups.setdefault((cell.budget, repair.label, _key(cell, repair)), []).append((cell, repair))
    return [_describe(shown.label, found) for _, found in sorted(groups.items(), key=lambda item: item[0])]


def _key(cell: Cell, repair: Repair) -> str:
    """What the configurations say apart from the seed."""
    configs = (cell.train_config, cell.poison_config, repair.config)
    return config_hash(*(config.model_copy(update={"seed": 0}) for config in configs if config is not None))


def _describe(label: str, found: list[tuple[Cell, Repair]]) -> Made:
    cell, repair = found[0]
    seeds = tuple(sorted(cell.seed for cell, _ in found))
    command, note = "", ""
    settings: Mapping[str, tuple[Any, Any]] = {}
    if repair.config is not None and cell.train_config is not None and cell.poison_config is not None:
        configs = cell.train_config, cell.poison_config, repair.config
        try:
            command = reproduce(label, *configs, seeds)
            settings = changed_settings(*configs)
        except Exception as error:  # hyperparameters in a record may be anything that JSON can hold
            note = f"No command: {one_line(error, 300)}"
    else:
        note = "No command: a configuration is missing or cannot be read."
    return Made(
        budget=cell.budget,
        name=repair.label,
        seeds=seeds,
        states=tuple(sorted({repair.state for _, repair in found} - {"done"})),
        command=command,
        note=note,
        settings=tuple((key, _text(value), _text(usual)) for key, (value, usual) in settings.items()),
    )


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else "none" if value is None else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
