"""Handling other people's Keras models: loading, saving, copying, and reading logits off them.

Nothing here changes the model it is given. `as_logit_model` makes the private working copy on which the updates are
computed: same weights, inference-friendly float32 arithmetic, and logits instead of probabilities. Keras is imported by
what needs it, not by this module; so is TensorFlow, for the few things that Keras has no name for.
"""

from unlearning.interop.backend import (
    as_graph,
    differentiate,
    joint_norm,
    need_tensorflow,
    on_all_gpus,
    set_determinism,
)
from unlearning.interop.binary import one_output, two_classes
from unlearning.interop.boundary import (
    ALL,
    HEAD,
    MIDDLE,
    Moved,
    Parts,
    between,
    boundaries,
    choose_boundary,
    cut,
    moved_parameters,
)
from unlearning.interop.calling import has_graph, inference_arguments, observing
from unlearning.interop.columns import two_columns
from unlearning.interop.files import check_model_path, load_model, save_model
from unlearning.interop.logits import (
    as_logit_model,
    gives_probabilities,
    outputs_probabilities,
    probability_floor,
    read_logits,
)
from unlearning.interop.models import check_classifier, copy_model, rebuild_graph, score_few
from unlearning.interop.state import keep_data, move_state

__all__ = [
    "ALL",
    "HEAD",
    "MIDDLE",
    "Moved",
    "Parts",
    "as_graph",
    "as_logit_model",
    "between",
    "boundaries",
    "check_classifier",
    "check_model_path",
    "choose_boundary",
    "copy_model",
    "cut",
    "differentiate",
    "gives_probabilities",
    "has_graph",
    "inference_arguments",
    "joint_norm",
    "keep_data",
    "load_model",
    "move_state",
    "moved_parameters",
    "need_tensorflow",
    "observing",
    "on_all_gpus",
    "one_output",
    "outputs_probabilities",
    "probability_floor",
    "read_logits",
    "rebuild_graph",
    "save_model",
    "score_few",
    "set_determinism",
    "two_classes",
    "two_columns",
]
