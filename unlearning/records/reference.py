"""Result files of the published implementation (Warnecke et al., NDSS 2023): same names, other meanings.

Its folders follow the same path grammar. Its numbers are read as they are and never mixed silently with ours: whatever
prints them prints `NOTES`, too.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from unlearning.records.base import Record

SOURCE = "reference"
NOTES = (
    "acc_before_fix, acc_after_fix: on the validation split, acc_clean: on the test split (ours: all on test)",
    "acc_perc_restored: a fraction, not per cent, and a mixture of these two splits",
    "diverged: acc_after_fix is then -1 and acc_perc_restored is computed from it; both are left out here",
    "n_gradients: counted while functions were traced, over the whole process; says nothing of the work",
    "num_params: all trainable parameters; the updates move only the last six weight arrays",
    "unlearning_duration_s: without scoring and logging (ours: with the search and the final check)",
)


class ReferenceResults(Record):
    """Scores of a repair by the published implementation."""

    model_config = ConfigDict(extra="ignore")

    acc_clean: float
    """Accuracy of the clean model on the test split, a fraction."""
    acc_before_fix: float
    """Accuracy of the poisoned model on the validation split, a fraction."""
    acc_after_fix: float
    """The same of the repaired model; -1 where it diverged."""
    acc_perc_restored: float | None = None
    """`(after - before) / (clean - before)` of these, a fraction."""
    diverged: bool | None = None
    """Whether the solver met non-finite numbers; None for fine-tuning and sharding."""
    n_gradients: int | None = None
    """Rows counted while functions were traced; not the work. None for fine-tuning and sharding."""
    unlearning_duration_s: float
    """Wall-clock seconds without scoring and logging."""
    num_params: int | None = None
    """Trainable parameters of the whole model; None for fine-tuning and sharding."""


class ReferenceTraining(Record):
    """Scores of a model trained by the published implementation; the classes' scores are not read."""

    model_config = ConfigDict(extra="ignore")

    accuracy: float
    """On the test split, a fraction."""
    train_loss: float
    """Training loss of the best epoch."""
    test_loss: float
    """Cross-entropy on the test split."""
    epochs_for_min: int
    """The best epoch by training loss."""
    time: float
    """Wall-clock seconds of training."""


def is_reference(content: Any) -> bool:
    """Whether the content of a results file is the published implementation's: ours carries a schema version."""
    if not isinstance(content, dict) or "schema_version" in content or "config_hash" in content:
        return False
    return {"acc_before_fix", "acc_after_fix"} <= set(content) or {"accuracy", "epochs_for_min"} <= set(content)
