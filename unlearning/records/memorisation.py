"""What a language model gives away of secrets, before and after a repair; see `unlearning.experiments.memorisation`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge

from unlearning.records.acceptance import Accepted, MovedParameters
from unlearning.records.base import Record, Versioned
from unlearning.records.repairs import Solve, Work
from unlearning.records.trainings import Environment
from unlearning.settings import Count, NonNegative, Positive, PositiveFloat, Seconds, Seed, Sha256, Share


class MemorisationConfig(Record):
    """What a trained language model depends on."""

    characters: Positive
    """Characters of the book that are read, from its beginning."""
    times: list[Positive]
    """How often each canary stands in the training text."""
    validation_times: Count
    """How often each stands in the validation text, with its secret replaced."""
    digits: Positive
    """Digits of a secret."""
    replacement: str
    """What stands in the place of a secret; empty: digits drawn anew each time."""
    window: Positive
    """Characters that the model sees."""
    units: Positive
    """Units of the recurrent layer."""
    epochs: Positive
    """Passes over the training rows."""
    learning_rate: PositiveFloat
    """Peak learning rate; it falls to zero."""
    batch_size: Positive
    """Rows a training step."""
    seed: Seed
    """Seed of secrets, places, weights, order and methods."""


class CanaryScore(Record):
    """How exposed one secret is."""

    times: Positive
    """How often it stands in the training text."""
    bits: NonNegative
    """The exposure."""
    most_bits: NonNegative
    """That of a secret that is the likeliest of all."""
    rank: Positive | None
    """Its rank among all secrets of its length, from 1; None where the exposure is estimated."""
    how: Literal["exact", "estimated"]
    """Whether the rank was counted, or a distribution fitted to secrets drawn at random."""
    log_perplexity: NonNegative
    """Minus the binary logarithm of the probability of the secret behind its sentence, in bits."""


class MemorisationRepair(Record):
    """How a language model was repaired."""

    method: str
    """Registered name."""
    variant: str
    """Text that tells runs of one method apart; part of the folder's name."""
    hyperparameters: dict[str, Any]
    """All hyperparameters of the method, by field name."""


class MemorisationOutcome(Record):
    """What the method said; see `UnlearningResults`, whose fields these are."""

    applied: bool
    """Whether any weight was changed."""
    status: str
    """Why."""
    validation_accuracy_before: Share
    """Share of the validation rows whose character is the likeliest, replaced secrets included."""
    validation_accuracy_after: Share
    """The same after the repair; it may be lower, as the likelihood decides."""
    acceptance: Accepted | None
    """What decided: the geometric mean of the probabilities of the right characters; None where nothing was
    proposed."""
    moved: MovedParameters | None
    """Which parameters the proposed model changed; None where nothing was proposed."""
    work: Work
    """All work counts."""
    unlearning_duration_s: Seconds
    """Wall-clock seconds."""
    solves: list[Solve]
    """One entry a linear solve."""
    history: list[dict[str, float | int | str | None]]
    """One entry a step."""
    details: dict[str, Any]
    """What the method adds."""


MEMORISATION = "memorisation_results.json"
"""The file of a `MemorisationResults`."""


class MemorisationResults(Versioned):
    """A language model: as trained, or after a repair."""

    config: MemorisationConfig
    """What it was trained on, and how."""
    repair: MemorisationRepair | None
    """How it was repaired; None of the model as trained."""
    config_hash: Sha256
    """SHA-256 over both."""
    test_perplexity: Annotated[float, Ge(1)]
    """Perplexity a character of the test text, where no canary is."""
    test_accuracy: Share
    """Share of its characters that are the likeliest."""
    canaries: list[CanaryScore]
    """One entry a canary, in the order of `times`."""
    outcome: MemorisationOutcome | None
    """What the method said; None of the model as trained."""
    duration_s: Seconds
    """Wall-clock seconds of the training, or of the repair."""
    cpu_s: Seconds
    """Process CPU seconds of the same."""
    rows: Count
    """Training rows."""
    flagged_rows: Count
    """Those that a replaced secret changes, in their window or their label."""
    num_params: Count
    """Trainable parameters."""
    model_sha256: Sha256
    """Hash of the stored weights file."""
    environment: Environment
    """Versions and device."""
