"""Training recipes by name: settings that belong together, for what a command was not told explicitly."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from unlearning.errors import InputError

RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "preact-sgd": {
        "model": "preact_resnet18",
        "optimizer": "sgd",
        "nesterov": False,
        "learning_rate": 0.01,
        "weight_decay": 5e-4,
        "batch_size": 128,
        "epochs": 201,
        "schedule": "step",
        "milestones": (100,),
        "decay": 0.1,
        "augment": True,
    },
}
"""Fields of `unlearning.experiments.cell.run.Settings` by recipe.

`default` changes nothing. `preact-sgd` is how the networks of feature-space unlearning were trained on wrong labels:
SGD with plain momentum 0.9 at learning rate 0.01, a tenth of it from epoch 100 on (counted from 0), 201 epochs. Two
things differ. Weight decay is decoupled here, as everywhere in Keras, and coupled there: `5e-4 * weight` is added to
the gradient, which momentum amplifies about tenfold, so that weights decay less here (see
`unlearning.training.TrainSettings`). And pixels are scaled to one range instead of standardised by channel.
"""

_NEEDS = {"milestones": ("schedule", "step"), "decay": ("schedule", "step"), "nesterov": ("optimizer", "sgd")}
"""Settings that mean something only where another one has a certain value."""


def fill(name: str, options: Mapping[str, Any], explicit: Collection[str]) -> dict[str, Any]:
    """Returns options with the values of a recipe where nothing was given explicitly.

    Args:
        name: One of `RECIPES`.
        options: All options, defaults included.
        explicit: Names of the options that were given.

    Returns:
        A new mapping. Values of the recipe that make no sense with an explicit one (milestones with the schedule
        `constant`) are left out.

    Raises:
        InputError: If there is no such recipe.

    Example:
        >>> fill("preact-sgd", {"epochs": 3, "batch_size": 64}, explicit={"epochs"})["epochs"]
        3
    """
    if name not in RECIPES:
        raise InputError("recipe", f"one of {', '.join(RECIPES)}", name)
    chosen = {key: value for key, value in RECIPES[name].items() if key not in explicit}
    filled = {**options, **chosen}
    for key, (other, value) in _NEEDS.items():
        if key in chosen and filled.get(other) != value:
            filled.pop(key)
            if key in options:
                filled[key] = options[key]
    return filled
