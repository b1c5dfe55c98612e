"""The repairs of an experiment: which method with which settings, and the folder where each stands in a cell."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from unlearning import detection, methods
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.settings import MethodChoice, RunSettings
from unlearning.methods.base import Method
from unlearning.records import DetectConfig, UnlearnConfig, config_hash
from unlearning.registry import Role
from unlearning.repairs.settings import DetectSettings
from unlearning.training.settings import TrainSettings


@dataclasses.dataclass(frozen=True, eq=False)
class PlannedRepair:
    """One repair to make in every cell.

    Attributes:
        choice: What was asked for.
        method: The method, with the recipe of this experiment where it follows one, and with its detector.
        protocol: How rows are found and judged, where not in the plain way: known and detected rows, and the two
            kinds of validation, live side by side.
        validation: `noisy` or `clean`.
        known_share: Share of the bad rows that is flagged.
    """

    choice: MethodChoice
    method: Method
    protocol: str
    validation: Literal["noisy", "clean"]
    known_share: float = 1.0

    @property
    def variant(self) -> str:
        """What tells it from other repairs by the same method."""
        return "-".join(part for part in (self.choice.variant, self.protocol) if part)

    @property
    def name(self) -> str:
        """The method's registered name."""
        return self.choice.name

    @property
    def is_gold(self) -> bool:
        """Whether the others are compared with its result."""
        return methods.entry(self.name).role is Role.GOLD

    @property
    def label(self) -> str:
        """The name of its folder."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    def config(self, seed: int) -> UnlearnConfig:
        """Returns its configuration in a cell of a seed."""
        return UnlearnConfig(
            method=self.name,
            variant=self.variant,
            hyperparameters=self.method.config(),
            validation=self.validation,
            known_share=self.known_share,
            seed=seed,
        )

    def files(self, cell: Path) -> layout.MethodFiles:
        """Returns its files in a cell."""
        return layout.method_files(cell, self.name, self.variant)

    def beside(self, cell: Path, name: str) -> layout.MethodFiles:
        """Returns the files of another result in the same cell, made by the same protocol."""
        return layout.method_files(cell, name, self.protocol)


def plan_repairs(settings: RunSettings, recipe: TrainSettings) -> tuple[PlannedRepair, ...]:
    """Builds the repairs that settings ask for, in their order.

    Passes on an `InputError` if there is no such method or detector, or an option does not fit.

    Args:
        settings: What is asked for.
        recipe: How the models are trained, for methods that follow it.

    Returns:
        One planned repair a method and variant.
    """
    clean = "clean-validation" if settings.validation == "clean" else ""
    known = f"known-{100 * settings.known_share:g}" if settings.known_share < 1 else ""
    protocol = "-".join(part for part in (_detect_name(settings.detect), known, clean) if part)
    planned = []
    for choice in settings.methods:
        method = methods.get(choice.name, choice.overrides)
        if settings.detect is not None:
            method = settings.detect.apply(method)
        adapted = method.adapt(recipe)
        planned.append(PlannedRepair(choice, adapted, protocol, settings.validation, settings.known_share))
    return tuple(planned)


def _detect_name(detect: DetectSettings | None) -> str:
    if detect is None:
        return ""
    suspects = "removed" if detect.suspects == "remove" else ""
    rounds = f"{detect.rounds}-rounds" if detect.rounds > 1 else ""
    parts = ("detected", detect.detector, detect_variant(detect), suspects, rounds)
    return "-".join(part for part in parts if part)


def detect_variant(detect: DetectSettings) -> str:
    """Tells sets of options apart by some digits of their hash, so that they never mix.

    Args:
        detect: How rows are detected.

    Returns:
        The digits; none for the detector's own options, and none for what these were in an earlier version, so that its
        results are found where they are. A cell that holds them refuses the options of today by name.
    """
    changed, name = detect.build().config(), detect.detector
    if changed in (detection.get(name).config(), detection.get(name, detection.complete(name, {})).config()):
        return ""
    return config_hash(DetectConfig(detector=detect.detector, options=changed))[:6]
