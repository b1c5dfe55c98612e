"""Binary classifiers with one output, seen as classifiers of two classes, so that all that is above knows one kind.

A unit that says `p = sigmoid(z)`, with `z = w . x + b`, is a softmax over the logits `(-z / 2, z / 2)`: a dense layer
of two units with the weights `(-w / 2, w / 2)`. The difference of the two is what the one unit computes, whatever
happens to them in between, so that a repaired model goes back into the form that it came in. Where the last thing is no
dense layer, two columns are made of the one behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.errors import InputError
from unlearning.interop.calling import has_graph, inference_arguments
from unlearning.interop.columns import has_one_output, is_closed, last_unit, two_columns
from unlearning.interop.logits import Output, find_ending
from unlearning.interop.models import copy_model, rebuild_graph
from unlearning.interop.state import load_state, paired

if TYPE_CHECKING:
    import keras

_TOLERANCE = 1e-3


def two_classes(model: keras.Model, rows: Any = None) -> keras.Model:
    """Returns a binary classifier with one output as one with two; any other model as it is.

    Args:
        model: A built classifier.
        rows: A few rows that it takes, to see whether both say the same, and what a model without a graph puts out.

    Returns:
        An independent model, or the given one.

    Raises:
        InputError: If it has several outputs that are no alternatives (multi-label), or the two say something else.
    """
    _refuse_many_labels(model)
    few = None if rows is None or not len(rows) else np.asarray(rows[:8], dtype=np.float32)
    if has_graph(model):
        if not has_one_output(model):
            return model
    elif few is None or np.shape(_ask(model, few))[1:] != (1,):
        return model
    last = last_unit(model) if has_graph(model) else None
    made = _behind(model, few) if last is None else _doubled(model, *last)
    if few is not None:
        said, told = two_columns(_ask(model, few), model), _ask(made, few)
        if not np.allclose(said, told, atol=_TOLERANCE * max(1.0, float(np.abs(said).max()))):
            raise InputError(f"The model {model.name!r} with one output cannot be written as one with two.")
    return made


def one_output(model: keras.Model, given: keras.Model) -> keras.Model:
    """Returns a model of two classes in the form that it came in.

    Args:
        model: What a repair made of `two_classes(given)`.
        given: The binary classifier, which is not changed.

    Returns:
        A copy of it with the new weights. Of another network, such as an ensemble, the column of the second class.
    """
    import keras

    last = last_unit(given) if has_graph(given) else None
    made = two_classes(given) if has_graph(given) else None
    if made is not None and [v.shape for v in made.weights] != [v.shape for v in model.weights]:
        return keras.Model(model.inputs, model.outputs[0][:, 1:], name=given.name)
    copied = copy_model(given)
    if last is None:
        copied.set_weights(model.get_weights())
        return copied
    dense = last[0][0]
    for (own, new), (_, found) in zip(paired(given, copied), paired(given, model), strict=True):
        if own is not dense:
            load_state(found, new)
            continue
        values = [np.asarray(value) for value in found.get_weights()]
        new.set_weights([value[..., 1:] - value[..., :1] for value in values])
    return copied


def _refuse_many_labels(model: keras.Model) -> None:
    if not has_graph(model) or has_one_output(model):
        return
    if find_ending(model).output is Output.SIGMOID:
        raise InputError(
            f"The model {model.name!r} is a multi-label one: its outputs {model.output_shape[1:]} are sigmoids that do "
            "not exclude each other. Only classifiers with one label a row can be repaired."
        )


def _ask(model: Any, rows: np.ndarray) -> np.ndarray:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(model(rows, **inference_arguments(model))))


def _doubled(model: Any, ends: tuple[Any, ...], closed: bool) -> Any:
    """The model with two units in its last layer."""
    import keras

    dense = ends[0]

    def clone(part: Any) -> Any:
        config = part.get_config()
        if any(part is one for one in ends):
            sigmoid = part.activation is keras.activations.sigmoid
            config = {**config, "activation": "softmax" if sigmoid else "linear"}
            if part is dense:
                config["units"] = 2
        return type(part).from_config(config)

    made = rebuild_graph(model, clone)
    for own, new in paired(model, made):
        if own is dense:
            new.set_weights(
                [np.concatenate([-value / 2, value / 2], axis=-1) for value in map(np.asarray, own.get_weights())]
            )
        else:
            load_state(own, new)
    return made


def _behind(model: Any, rows: np.ndarray | None) -> Any:
    """The model with its one column made two."""
    import keras

    inner = copy_model(model, rows)
    closed = rows is not None and is_closed(_ask(model, rows), model)
    shape = model.input_shape[1:] if has_graph(model) or rows is None else rows.shape[1:]
    start = keras.Input(shape)
    score = inner(start, **inference_arguments(model))
    ends = [1.0 - score, score] if closed else [score * -0.5, score * 0.5]
    return keras.Model(start, keras.ops.concatenate(ends, axis=-1), name=model.name)
