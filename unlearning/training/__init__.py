"""Training through `model.fit`, resumable after a kill. Plain Keras: it runs on any backend."""

from unlearning.training.batches import ShuffledBatches
from unlearning.training.fit import (
    OptimizerStart,
    TrainingDivergedError,
    TrainReport,
    TrainSettings,
    building_context,
    train,
)

__all__ = [
    "OptimizerStart",
    "ShuffledBatches",
    "TrainReport",
    "TrainSettings",
    "TrainingDivergedError",
    "building_context",
    "train",
]
