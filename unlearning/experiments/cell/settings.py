"""What an experiment is asked for. The fields are the options of `run`, and most of them stand in the records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import model_validator

from unlearning.data.settings import DataSettings
from unlearning.errors import InputError
from unlearning.noise.settings import NoiseSettings
from unlearning.repairs.settings import DetectSettings
from unlearning.settings import KnownShare, OpenShare, Option, Positive, Seed, Settings
from unlearning.training.settings import ModelRecipe


class MethodChoice(Settings):
    """One repair to make in every cell."""

    name: str
    """Registered name."""
    overrides: dict[str, Any] = {}
    """Hyperparameters to change."""
    variant: str = ""
    """Text added to the folder name."""


class GridSettings(Settings):
    """Which cells there are."""

    budgets: Annotated[tuple[Positive, ...] | None, Option(metavar="N,...")] = None
    """Numbers of rows to corrupt, such as 2500,10000; not where the labels come from a file."""
    rates: Annotated[tuple[OpenShare, ...] | None, Option(metavar="SHARE,...")] = None
    """Shares of rows to corrupt, such as 0.1,0.2 [default: 0.2]."""
    seeds: Annotated[tuple[Seed, ...], Option(metavar="N,...")] = (42,)
    """Seeds of clean model, noise, poisoned model and method, one a cell."""


class RunSettings(GridSettings, NoiseSettings, ModelRecipe, DataSettings):
    """Everything that `run` is asked for."""

    methods: Annotated[tuple[MethodChoice, ...], Option(hidden=True)] = ()
    """Repairs."""
    detect: Annotated[DetectSettings | None, Option(hidden=True)] = None
    """How flagged rows are found; None: they are known."""
    validation: Literal["noisy", "clean"] = "noisy"
    """Labels of the validation rows: wrong like the training rows', or true."""
    known_share: Annotated[KnownShare, Option(metavar="SHARE")] = 1.0
    """Share of the bad rows that is flagged, drawn at random; with a detector they teach it, and it finds others."""
    output: Annotated[Path | None, Option(flag="--out", metavar="DIR", old=("--output",))] = None
    """Experiment folder [default: under models/]."""
    tensorboard: Annotated[Path | None, Option(metavar="DIR")] = None
    """Write event files for TensorBoard of what is computed now; needs the package tensorboard."""

    @model_validator(mode="after")
    def _check(self) -> RunSettings:
        if self.budgets and self.rates:
            raise InputError("Give budgets or rates, not both.")
        if not self.seeds:
            raise InputError("seeds", "at least one", "none")
        if len(set(self.seeds)) != len(self.seeds):
            raise InputError("seeds", "distinct integers", list(self.seeds))
        folders = [(choice.name, choice.variant) for choice in self.methods]
        if len(set(folders)) != len(folders):
            raise InputError("methods", "distinct methods", ", ".join(name for name, _ in folders))
        if not self.takes_budget and (self.budgets or self.rates):
            expected = f"none with {self.noise} noise (the labels file decides)"
            raise InputError("budgets", expected, list(self.budgets or self.rates or ()))
        if self.tensorboard is not None:
            from unlearning.drawing.boards import check_tensorboard

            check_tensorboard(self.tensorboard)
        return self
