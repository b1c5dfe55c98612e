"""The proof of a copy: it says of a few rows what the original says of them.

Whatever a layer keeps outside of what the `.keras` format saves, a copy has lost, and nothing else would tell: a repair
of such a copy is a repair of another model. The rows are those that the caller has, or made up from the shape and type
of the model's inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.errors import InputError, first_line
from unlearning.interop.calling import has_graph, inference_arguments
from unlearning.interop.state import paired

if TYPE_CHECKING:
    import keras

_ROWS = 4
_TOLERANCE = 1e-3
"""Of the largest value; kernels of a GPU that adds up in another order move float32 numbers as much."""
_COARSE = {"float16": 0.05, "bfloat16": 0.25}
"""The same where the original computes in half precision and its copy does not."""
_BYTE = 256
_SIDES = (32, 128)
"""Lengths tried for what an input leaves open, such as the sides of images."""


def prove(model: keras.Model, copied: keras.Model, rows: Any = None, *, opened: tuple[Any, ...] = ()) -> None:
    """Asks a model and its copy about the same few rows.

    Args:
        model: The original.
        copied: The copy.
        rows: Rows that the model takes, or None to make some up; the first few are asked about.
        opened: Of a copy with logits in place of probabilities: what led to the softmax, which it lacks.

    Raises:
        InputError: If the answers differ, or nothing is found that the model takes. The message names the first layer
            that answers differently, and says where it draws at random.
    """
    own = {id(weight) for weight in model.weights}
    seeds = [(v, v.numpy()) for v in model.variables if id(v) not in own]
    given, said = _ask_first(model, rows)
    # Two copies of a generator with a fixed seed begin alike, so that equal answers alone would prove nothing.
    draws = any(not np.array_equal(seed.numpy(), before) for seed, before in seeds)
    found = _answers(copied, given)
    if opened:
        found = [_softmax(one) for one in found]
    tolerance, coarse = _tolerance(model, copied)
    alike = len(found) == len(said) and all(_alike(*pair, tolerance, coarse) for pair in zip(said, found, strict=True))
    reason = None
    if draws or not alike:
        reason = _drawing(model, given)
    if reason is None and not alike:
        reason = _differing(model, copied, given, tolerance, coarse, opened)
    for seed, before in seeds:
        seed.assign(before)
    if reason is not None:
        raise InputError(f"Cannot copy the model {model.name!r}: {reason}")


def _drawing(model: keras.Model, rows: Any) -> str | None:
    """Says which layer draws at random, if any does."""
    for (layer, one), (_, other) in zip(_trace(model, rows), _trace(model, rows), strict=False):
        if not _same(one, other, _TOLERANCE):
            return (
                "it answers differently when it is asked twice about the same rows, in inference mode: layer "
                f"{layer.name!r} draws at random. Let its call pass `training` on, or take it out."
            )
    return None


def _differing(
    model: keras.Model, copied: keras.Model, rows: Any, tolerance: float, coarse: bool, opened: tuple[Any, ...]
) -> str:
    """Says which layer is the first that answers differently in the copy."""
    first = _trace(model, rows)
    counterpart = {id(one): other for one, other in paired(model, copied)}
    answers: dict[int, list[Any]] = {}
    for layer, outputs in _trace(copied, rows):
        answers.setdefault(id(layer), []).append(outputs)
    name = model.name
    for layer, outputs in first:
        told = answers.get(id(counterpart.get(id(layer))), [])
        if any(layer is one for one in opened) or layer is model or not told:
            continue
        if not _same(outputs, told.pop(0), tolerance, coarse):
            name = layer.name
            break
    return (
        f"layer {name!r} of the copy answers differently about the same rows. It computes with something that is "
        "neither a weight, nor in its get_config, nor in its save_own_variables or save_assets, so that a .keras file "
        "would lose it, too."
    )


def _trace(model: keras.Model, rows: Any) -> list[tuple[Any, list[Any]]]:
    """Returns each layer with what it puts out, in the order in which they are done: inner ones before outer ones."""
    done: list[tuple[Any, list[Any]]] = []

    def listen(layer: Any, name: str) -> None:
        inner = getattr(layer, name)

        def call(*inputs: Any, **options: Any) -> Any:
            outputs = inner(*inputs, **options)
            done.append((layer, _arrays(outputs)))
            return outputs

        vars(layer)[name] = call

    heard = [(layer, n) for layer, _ in paired(model, model) for n in ("call", "quantized_call") if hasattr(layer, n)]
    heard = [(layer, name) for layer, name in heard if name not in vars(layer)]
    try:
        for layer, name in heard:
            listen(layer, name)
        model(rows, **inference_arguments(model))
    finally:
        for layer, name in heard:
            vars(layer).pop(name, None)
    return done


def _ask_first(model: keras.Model, rows: Any) -> tuple[Any, list[np.ndarray]]:
    """Returns rows that the model takes, and what it says of them."""
    reason = "the shape of its inputs is not known"
    for tried in _rows_to_try(model, rows):
        try:
            return tried, _answers(model, tried)
        except Exception as error:  # a model may raise anything about rows that mean nothing to it
            reason = first_line(error)[:200]
    raise InputError(
        f"Cannot tell whether a copy of the model {model.name!r} predicts as it does: it takes no rows that were made "
        f"up from the shape of its inputs ({reason}). Give a few that it takes."
    )


def _rows_to_try(model: keras.Model, rows: Any) -> Iterator[Any]:
    """Yields rows, the most telling first."""
    import keras

    if rows is not None and len(rows):
        few = np.asarray(rows[:_ROWS])
        yield few.astype(np.float32) if few.dtype.kind in "biuf" else few
    if has_graph(model):
        inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    else:
        shape = (model.get_build_config() or {}).get("input_shape")
        if not isinstance(shape, list | tuple) or not all(n is None or isinstance(n, int) for n in shape):
            return
        inputs = keras.KerasTensor((None, *shape[1:]))  # built by a call on few rows, it takes others, too
    words, limit = _known(model)
    for side in _SIDES:
        for brightest in (255.0, 1.0, 0.0):
            rng = np.random.default_rng(0)
            yield keras.tree.map_structure(lambda t: _made_up(t, side, brightest, words, limit, rng), inputs)  # noqa: B023
    if words and not has_graph(model):
        yield keras.tree.map_structure(
            lambda t: _made_up(keras.KerasTensor(t.shape, "string"), _SIDES[0], 1.0, words, limit, rng), inputs
        )


def _made_up(tensor: Any, side: int, brightest: float, words: list[str], limit: int, rng: np.random.Generator) -> Any:
    """A few rows for one input: between 0 and 1, up to what bytes hold, and the same on both sides of zero."""
    shape = (tensor.shape[0] or _ROWS, *(side if n is None else n for n in tensor.shape[1:]))
    dtype = str(tensor.dtype)
    if dtype == "string":
        import keras

        drawn = rng.choice(np.array(words or ["word"], dtype=object), (*shape, 3))
        joined = [" ".join(row) if brightest <= 1 else row[0] for row in drawn.reshape(-1, 3)]
        return keras.ops.convert_to_tensor(np.array(joined).reshape(shape), dtype="string")
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if "int" in dtype:
        return rng.integers(0, max(1, min(limit, 100) if brightest else 1), shape).astype(dtype)
    values = rng.uniform(0, min(brightest, 1.0), shape)
    if brightest > 1 and limit == _BYTE:
        values[1::2] *= brightest
        values[2:] = 2 * values[2:] - values[2:].max(initial=0)
    return values.astype(np.float32 if dtype == "bfloat16" else dtype)


def _known(model: keras.Model) -> tuple[list[str], int]:
    """Returns words from the model's vocabularies, and a number below which all its embeddings know a row."""
    words: list[str] = []
    limit = _BYTE
    for layer, _ in paired(model, model):
        if callable(getattr(layer, "get_vocabulary", None)):
            try:
                words += [str(word) for word in layer.get_vocabulary()[:50]]
            except Exception:  # not adapted: it knows none
                continue
        limits = (getattr(layer, name, None) for name in ("input_dim", "num_tokens"))
        limit = min([limit, *(n for n in limits if isinstance(n, int))])
    return [word for word in dict.fromkeys(words) if word.strip()], max(limit, 1)


def _answers(model: keras.Model, rows: Any) -> list[np.ndarray]:
    return _arrays(model(rows, **inference_arguments(model)))


def _arrays(outputs: Any) -> list[Any]:
    import keras

    found: list[Any] = []
    for one in keras.tree.flatten(outputs):
        try:
            found.append(np.array(keras.ops.convert_to_numpy(one)))
        except Exception:  # within a loop of a graph there are no numbers
            found.append(None)
    return found


def _same(left: list[Any], right: list[Any], tolerance: float, coarse: bool = False) -> bool:
    pairs = zip(left, right, strict=False)
    return all(a is None or b is None or _alike(a, b, tolerance, coarse) for a, b in pairs)


def _alike(one: np.ndarray, other: np.ndarray, tolerance: float, coarse: bool = False) -> bool:
    """Whether two answers are equal but for rounding; what half precision cannot say does not count."""
    if one.shape != other.shape:
        return False
    if not _is_real(one) or not _is_real(other):
        return np.array_equal(one, other)
    one, other = one.astype(np.float64), other.astype(np.float64)
    if coarse:
        kept = np.isfinite(one) & np.isfinite(other)
        one, other = one[kept], other[kept]
    largest = float(np.max(np.abs(one), where=np.isfinite(one), initial=0.0))
    return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True))


def _is_real(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _softmax(scores: np.ndarray) -> np.ndarray:
    scores = scores.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _tolerance(model: keras.Model, copied: keras.Model) -> tuple[float, bool]:
    """Returns by how much answers may differ, and whether that is because the copy computes more precisely."""
    lifted = [_COARSE.get(a.compute_dtype, 0.0) for a, b in paired(model, copied) if a.compute_dtype != b.compute_dtype]
    return max([_TOLERANCE, *lifted]), bool(lifted)
