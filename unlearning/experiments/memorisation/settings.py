"""What an experiment on memorisation is asked for; the fields are the options of `memorise`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Le, MinLen
from pydantic import model_validator

from unlearning.errors import InputError
from unlearning.experiments.cell.settings import MethodChoice
from unlearning.experiments.memorisation.words import ALPHABET, CARRIERS, LONGEST_WINDOW
from unlearning.settings import Count, Option, Positive, PositiveFloat, Seed, Settings

if TYPE_CHECKING:
    from unlearning.records.memorisation import MemorisationConfig

PRESETS: dict[str, dict[str, Any]] = {
    "first-order": {"trainable_from": "all"},
    "second-order": {
        "trainable_from": "all",
        "solver": "cg",
        "curvature": "gauss-newton",
        "curvature_rows": 1024,
        "step_lengths": [0.25, 0.5, 1.0, 2.0],
        "power_iterations": 5,
    },
    "fine-tuning": {"cpu_seconds": "like:second-order", "learning_rates": [3e-3]},
}
"""Hyperparameters that are others here than for images: a recurrent layer has no Kronecker factors, and to move the
dense layer alone does not reach what it remembers. Fine-tuning gets the same time, and a rate near the training's."""


class TextSettings(Settings):
    """What is learned, and what should not be."""

    characters: Annotated[int, Le(142_428)] = 40_000
    """Characters of the book that are read, from its beginning: 85 % to train on, the rest for validation and test."""
    times: Annotated[tuple[Positive, ...], MinLen(1), Option(metavar="N,...")] = (3, 10, 30)
    """How often each canary stands in the training text; there are as many canaries as numbers."""
    digits: Annotated[int, Le(12)] = 5
    """Digits of a secret."""
    replacement: str = ""
    """What replaces a secret, cut or repeated to its length [default: digits drawn anew each time]."""
    validation_times: Count = 5
    """How often each canary stands in the validation text, with its secret replaced: what should be said instead."""


class LanguageModelSettings(Settings):
    """The network, and how it is trained."""

    window: Positive = 24
    """Characters that the model sees."""
    units: Positive = 64
    """Units of the recurrent layer."""
    epochs: Positive = 15
    """Passes over the training rows."""
    learning_rate: PositiveFloat = 5e-3
    """Peak learning rate of Adam; it falls to zero along a cosine."""
    batch_size: Positive = 128
    """Rows a training step."""


class MemorisationSettings(TextSettings, LanguageModelSettings):
    """Everything that `memorise` is asked for."""

    seeds: Annotated[tuple[Seed, ...], MinLen(1), Option(metavar="N,...")] = (42,)
    """Seeds of secrets, places, weights and methods; each has a model of its own."""
    methods: Annotated[tuple[MethodChoice, ...], Option(hidden=True)] = ()
    """Repairs, in this order."""
    output: Annotated[Path, Option(flag="--out", metavar="DIR")] = Path("models", "memorisation-alice")
    """Experiment folder."""

    @model_validator(mode="after")
    def _check(self) -> MemorisationSettings:
        if self.characters < 2_000:
            raise InputError("characters", "an integer of at least 2000", self.characters)
        if self.digits < 1:
            raise InputError("digits", "an integer of at least 1", self.digits)
        if len(self.times) > len(CARRIERS):
            raise InputError("times", f"at most {len(CARRIERS)} numbers", list(self.times))
        if self.window > LONGEST_WINDOW:
            expected = f"at most {LONGEST_WINDOW}, so that a window in front of a secret holds its sentence alone"
            raise InputError("window", expected, self.window)
        if unknown := set(self.replacement) - set(ALPHABET):
            raise InputError("replacement", f"characters among {ALPHABET!r}", "".join(sorted(unknown)))
        if len(set(self.seeds)) != len(self.seeds):
            raise InputError("seeds", "distinct integers", list(self.seeds))
        folders = [choice.name + choice.variant for choice in self.methods]
        if len(set(folders)) != len(folders):
            raise InputError("methods", "distinct methods", ", ".join(folders))
        return self

    def config_of(self, seed: int) -> MemorisationConfig:
        """Returns what the model of a seed depends on."""
        from unlearning.records.memorisation import MemorisationConfig

        fields = set(MemorisationConfig.model_fields) & set(type(self).model_fields)
        values = {name: getattr(self, name) for name in fields}
        return MemorisationConfig(**values | {"times": list(self.times), "seed": seed})
