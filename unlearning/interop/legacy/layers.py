"""A layer of Keras 2 in the words of Keras 3.

Options that Keras 3 no longer knows are left out where they have the value that changes nothing; with any other the
model is refused, since it would compute something else.
"""

from __future__ import annotations

import re
from typing import Any

from unlearning.errors import InputError, first_line, printable

PLACES = ("layers", "initializers", "regularizers", "constraints", "dtype_policies", "random")
"""Where a class that a configuration names is looked for in Keras."""

RENAMED = {
    "ThresholdedReLU": "ReLU",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "LSTMV1": "LSTM",
    "LSTMV2": "LSTM",
    "GRUV2": "GRU",
    "NormalizationV1": "Normalization",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
}
"""Classes under another name."""

_CHANGE_NOTHING: dict[str, tuple[Any, ...]] = {
    "dtype": ("float32", None),
    "groups": (1, None),
    "implementation": (0, 1, 2),
    "keepdims": (False, None),
    "optional": (False, None),
    "ragged": (False, None),
    "renorm": (False,),
    "rng_type": ("stateful", None),
    "softmax_robust_masking": (False,),
    "sparse": (False, None),
    "stateful": (False,),
    "time_major": (False,),
    "trainable": (True,),
    "unroll": (False,),
    "zero_output_for_mask": (False,),
}
"""Options that a layer may not know in Keras 3, with the values that change nothing; of others, only None does."""
_SAID_ELSEWHERE = {
    *("batch_input_shape", "expects_training_arg", "experimental_run_tf_function", "fused", "input_dtype"),
    *("input_length", "key_shape", "query_shape", "value_shape"),
}
"""Options that say what the graph says, too, or how something was computed."""


def make_layer(entry: dict[str, Any], name: str, find: Any) -> Any:
    """Makes a layer of Keras 3.

    Args:
        entry: `class_name` and `config` of the layer, as Keras 2 wrote them.
        name: Its new name.
        find: Returns the class that is registered under a name, or None.

    Returns:
        The layer, not built.

    Raises:
        InputError: If Keras 3 has no such layer, or does not know one of its options.
    """
    kind = str(entry["class_name"])
    config = {**mend(kind, entry.get("config") or {}), "name": name}
    made = _class_of(kind, find)
    while True:
        try:
            return made.from_config(dict(config))
        except Exception as error:  # a layer may raise anything about its options
            unknown = _unknown_option(error, config)
            if unknown is None:
                raise InputError(
                    f"Keras 3 cannot make the layer {printable(name)!r} ({kind}): {_told(error)}"
                ) from error
            harmless = unknown.endswith("_initializer") or config[unknown] in _CHANGE_NOTHING.get(unknown, (None,))
            if not harmless:
                raise InputError(
                    f"The layer {printable(name)!r} ({kind}) has {unknown}={config[unknown]!r}, which Keras 3 does not "
                    "know, and which changes what it computes."
                ) from error
            del config[unknown]


def mend(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """Returns a layer's configuration with what stands otherwise in Keras 3, layers within it included."""
    mended = {key: _mended(value) for key, value in config.items() if key not in _SAID_ELSEWHERE}
    axis = mended.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        mended["axis"] = int(axis[0])
    if kind == "ThresholdedReLU":
        mended = {
            **{key: mended[key] for key in ("name", "trainable", "dtype") if key in mended},
            "threshold": float(mended.get("theta", 1.0)),
        }
    for option in ("activation", "recurrent_activation"):
        if mended.get(option) == "hard_sigmoid":
            raise InputError(
                f"The layer {printable(str(config.get('name')))!r} uses hard_sigmoid, which is another function in "
                "Keras 3 (x / 6 + 1/2 where it was x / 5 + 1/2): the model would predict otherwise."
            )
    if kind in ("GRU", "GRUCell"):
        mended.setdefault("reset_after", False)  # the only way there was, before it was an option
    if kind == "LeakyReLU" and "alpha" in mended:
        mended["negative_slope"] = mended.pop("alpha")
    if kind == "SyncBatchNormalization":
        mended["synchronized"] = True
    return mended


def _mended(value: Any) -> Any:
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("class_name")
    if kind == "__tuple__":
        return tuple(_mended(one) for one in value["items"])
    if kind == "TensorShape":
        return tuple(value["items"])
    if isinstance(kind, str) and isinstance(value.get("config"), dict):
        import keras

        if kind in ("Policy", "PolicyV1"):
            return str(value["config"].get("name", "float32"))
        new = RENAMED.get(kind, kind)
        place = next((place for place in PLACES if hasattr(getattr(keras, place), new)), None)
        config = mend(kind, value["config"])
        if place == "layers":
            config = _without_unknown(getattr(keras.layers, new), config)
        # Whatever is of Keras is looked for in its public places, wherever the file says that it stands.
        if place is not None:
            return {"module": f"keras.{place}", "class_name": new, "config": config, "registered_name": None}
        return {**value, "config": config}
    return {key: _mended(one) for key, one in value.items()}


def _without_unknown(kind: Any, config: dict[str, Any]) -> dict[str, Any]:
    """The options of a layer within a layer that Keras 3 knows; the others must change nothing."""
    made = make_layer({"class_name": kind.__name__, "config": config}, str(config.get("name", "inner")), lambda _: None)
    return {**made.get_config(), "name": made.name}


def _class_of(kind: str, find: Any) -> Any:
    import keras

    own = find(kind)
    if own is not None:
        return own
    return getattr(keras.layers, RENAMED.get(kind, kind))


def _unknown_option(error: Exception, config: dict[str, Any]) -> str | None:
    """The first option that an error names as one it does not know."""
    text = str(error)
    told = re.findall(r"Unrecognized keyword arguments passed to \w+: \{(.*)\}", text, re.DOTALL)
    told = told[-1:] or re.findall(r"unexpected keyword argument ('\w+')", text)[-1:]
    return next((name for name in config if told and f"'{name}'" in told[0] and name != "name"), None)


def _told(error: Exception) -> str:
    return printable(first_line(ValueError(str(error).rpartition("Exception encountered:")[2]))[:200])
