"""TensorFlow operations in the graphs of Keras 2 (`TFOpLambda`), in the words of `keras.ops`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

LAMBDAS = ("TFOpLambda", "SlicingOpLambda")
"""Classes of Keras 2 that stand for an operation."""
SLICING = "__operators__.getitem"


def _ops(name: str, **renamed: str) -> Callable[..., Any]:
    """Returns a call of `keras.ops`, with keywords under the names that they have there."""

    def call(*args: Any, **options: Any) -> Any:
        import keras

        kept = {renamed.get(key, key): value for key, value in options.items() if value is not None}
        return getattr(keras.ops, name)(*args, **kept)

    return call


def _two(name: str) -> Callable[..., Any]:
    def call(x: Any, y: Any) -> Any:
        import keras

        return getattr(keras.ops, name)(x, y)

    return call


def _activation(name: str) -> Callable[..., Any]:
    def call(x: Any, axis: Any = None, alpha: Any = None, approximate: Any = None) -> Any:
        import keras

        told = {"axis": axis, "negative_slope": alpha, "approximate": approximate}
        return getattr(keras.ops, name)(x, **{key: value for key, value in told.items() if value is not None})

    return call


def _reduced(name: str) -> Callable[..., Any]:
    def call(x: Any, axis: Any = None, keepdims: Any = None) -> Any:
        import keras

        return getattr(keras.ops, name)(x, axis=axis, keepdims=bool(keepdims))

    return call


def _cast(x: Any, dtype: str) -> Any:
    import keras

    return keras.ops.cast(x, dtype)


def _clip(t: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    import keras

    return keras.ops.clip(t, clip_value_min, clip_value_max)


def _matmul(a: Any, b: Any) -> Any:
    import keras

    return keras.ops.matmul(a, b)


def slice_of(x: Any, slice_spec: Any) -> Any:
    """Returns a part of a tensor, as `SlicingOpLambda` describes it."""

    def read(one: Any) -> Any:
        if isinstance(one, Mapping) and set(one) >= {"start", "stop", "step"}:
            return slice(one["start"], one["stop"], one["step"])
        if isinstance(one, Mapping):  # what the formats write for three dots
            return Ellipsis
        return one

    return x[tuple(map(read, slice_spec)) if isinstance(slice_spec, list | tuple) else read(slice_spec)]


OPERATIONS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("math.add", "__operators__.add", "add"), _two("add")),
    **dict.fromkeys(("math.subtract", "subtract"), _two("subtract")),
    **dict.fromkeys(("math.multiply", "multiply"), _two("multiply")),
    **dict.fromkeys(("math.truediv", "math.divide", "divide", "realdiv"), _two("divide")),
    **dict.fromkeys(("math.pow", "pow"), _two("power")),
    **dict.fromkeys(("math.maximum", "maximum"), _two("maximum")),
    **dict.fromkeys(("math.minimum", "minimum"), _two("minimum")),
    **dict.fromkeys(("linalg.matmul", "matmul"), _matmul),
    **{
        f"{place}{short}": _reduced(name)
        for place in ("math.", "")
        for short, name in {
            "reduce_mean": "mean",
            "reduce_sum": "sum",
            "reduce_max": "max",
            "reduce_min": "min",
        }.items()
    },
    **{
        f"{place}{name}": _activation(name)
        for place in ("math.", "nn.", "")
        for name in ("tanh", "sigmoid", "exp", "log", "sqrt", "square", "abs", "negative", "sin", "cos", "rsqrt")
    },
    **{
        f"nn.{name}": _activation(name)
        for name in ("relu", "relu6", "softmax", "log_softmax", "silu", "gelu", "elu", "selu", "softplus", "leaky_relu")
    },
    "nn.swish": _activation("silu"),
    "math.softplus": _activation("softplus"),
    "clip_by_value": _clip,
    "cast": _cast,
    "identity": _ops("copy"),
    "stop_gradient": _ops("stop_gradient"),
    "reshape": _ops("reshape", shape="newshape"),
    "expand_dims": _ops("expand_dims"),
    "squeeze": _ops("squeeze"),
    "transpose": _ops("transpose", perm="axes"),
    "concat": _ops("concatenate"),
    "stack": _ops("stack"),
    "compat.v1.transpose": _ops("transpose", perm="axes"),
}
"""Operations by their names in TensorFlow, each called with the arguments of that name."""
