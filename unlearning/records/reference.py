"""Result files of the published implementation (Warnecke et al., NDSS 2023): same names, other meanings.

Its folders follow the same path grammar. Its numbers are read as they are and never mixed silently with ours: whatever
prints them prints `NOTES`, too.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from unlearning.records import PoisonConfig, TrainConfig, TrainResults, UnlearnConfig, UnlearningResults

SOURCE = "reference"
NOTES = (
    "acc_before_fix, acc_after_fix: on the validation split, acc_clean: on the test split (ours: all on test)",
    "acc_perc_restored: a fraction, not per cent, and a mixture of these two splits",
    "diverged: acc_after_fix is then -1 and acc_perc_restored is computed from it; both are left out here",
    "n_gradients: counted while functions were traced, over the whole process; says nothing of the work",
    "num_params: all trainable parameters; the updates move only the last six weight arrays",
    "unlearning_duration_s: without scoring and logging (ours: with the search and the final check)",
)


class ReferenceResults(BaseModel):
    """Scores of a repair by the published implementation.

    Attributes:
        acc_clean: Accuracy of the clean model on the test split, a fraction.
        acc_before_fix: Accuracy of the poisoned model on the validation split, a fraction.
        acc_after_fix: The same of the repaired model; -1 where it diverged.
        acc_perc_restored: `(after - before) / (clean - before)` of these, a fraction.
        diverged: Whether the solver met non-finite numbers; None for fine-tuning and sharding.
        n_gradients: Rows counted while functions were traced; not the work. None for fine-tuning and sharding.
        unlearning_duration_s: Wall-clock seconds without scoring and logging.
        num_params: Trainable parameters of the whole model; None for fine-tuning and sharding.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    acc_clean: float
    acc_before_fix: float
    acc_after_fix: float
    acc_perc_restored: float | None = None
    diverged: bool | None = None
    n_gradients: int | None = None
    unlearning_duration_s: float
    num_params: int | None = None


class ReferenceTraining(BaseModel):
    """Scores of a model trained by the published implementation; the classes' scores are not read.

    Attributes:
        accuracy: On the test split, a fraction.
        train_loss: Training loss of the best epoch.
        test_loss: Cross-entropy on the test split.
        epochs_for_min: The best epoch by training loss.
        time: Wall-clock seconds of training.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    accuracy: float
    train_loss: float
    test_loss: float
    epochs_for_min: int
    time: float


class ReferenceConfig(BaseModel):
    """A configuration of the published implementation, which says where it was; nothing of it is read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def published_kind(content: Any, kind: type[BaseModel]) -> type[BaseModel] | None:
    """Tells a file of the published implementation by its content: ours carries a schema version.

    Args:
        content: What the file holds.
        kind: Our record of that name.

    Returns:
        The class for its content, or None where it is not the published implementation's.
    """
    if not isinstance(content, dict):
        return None
    if kind in (TrainConfig, PoisonConfig, UnlearnConfig):
        return ReferenceConfig if "_filename" in content else None
    if "schema_version" in content or "config_hash" in content:
        return None
    if kind is UnlearningResults and {"acc_before_fix", "acc_after_fix"} <= set(content):
        return ReferenceResults
    return ReferenceTraining if kind is TrainResults and {"accuracy", "epochs_for_min"} <= set(content) else None
