"""Training that tolerates wrong labels: six published objectives as plain Keras objects, and one entry point to them.

Every object works in anybody's `compile` and `fit`; nothing here knows the rest of the library.
"""

from unlearning.training.objectives.losses import GeneralizedLabelSmoothing, LogitClip
from unlearning.training.objectives.mentor import MentorMixModel, MentorNetModel
from unlearning.training.objectives.mixup import MixUp
from unlearning.training.objectives.prepare import DEFAULTS, OBJECTIVES, ONE_DEVICE, Prepared, check_objective, prepare
from unlearning.training.objectives.sam import SharpnessAwareModel

__all__ = [
    "DEFAULTS",
    "OBJECTIVES",
    "ONE_DEVICE",
    "GeneralizedLabelSmoothing",
    "LogitClip",
    "MentorMixModel",
    "MentorNetModel",
    "MixUp",
    "Prepared",
    "SharpnessAwareModel",
    "check_objective",
    "prepare",
]
