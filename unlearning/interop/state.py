"""What a model computes with, moved from layer to layer as the `.keras` format moves it.

Weights are not all of it. An adapted `Normalization` computes with constants that it makes of its weights when these
are loaded, a lookup layer has its vocabulary in no weight at all, and a layer of somebody's own says in
`save_own_variables` and `save_assets` what it needs. `set_weights` calls none of these; reading a file does, and so
does `move_state`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from unlearning.errors import first_line

if TYPE_CHECKING:
    import keras


def paired(source: Any, target: Any) -> Iterator[tuple[Any, Any]]:
    """Yields a layer with its copy, then the layers within it with theirs, at any depth; a shared one once.

    Args:
        source: A layer or model.
        target: Its copy, made of the same parts in the same order.

    Raises:
        ValueError: If the parts are not the same in number.
    """
    import keras

    waiting: list[tuple[Any, Any]] = [(source, target)]
    seen: set[int] = set()
    while waiting:
        one, other = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one, other
        parts, copies = _parts(one), _parts(other)
        if len(parts) != len(copies):
            raise ValueError(f"{one.name!r} has {len(parts)} layers, and its copy {len(copies)}")
        # In a graph stand operations, too; in a copy, a layer may stand for one.
        inner = [pair for pair in zip(parts, copies, strict=True) if isinstance(pair[0], keras.Layer)]
        waiting.extend(reversed(inner))


def move_state(source: Any, target: Any) -> None:
    """Gives a copy all that the original computes with.

    Random generators keep their own state: no prediction depends on it, and a training draws from its own seed.

    Args:
        source: A built layer or model; it is not changed.
        target: Its copy, which shares nothing with it.

    Raises:
        ValueError: If a layer's state does not fit its copy; the message names the layer.
    """
    for one, other in paired(source, target):
        try:
            load_state(one, other)
        except Exception as error:  # layers of others may raise anything
            reason = first_line(error)
            raise ValueError(f"the state of layer {one.name!r} cannot be moved: {reason}") from error
    # Bit by bit: a file keeps a LoRA layer's parts only merged, which is the same model, but not the same weights.
    target.set_weights(source.get_weights())


def keep_data(source: keras.Model, fresh: keras.Model) -> None:
    """Gives a freshly drawn model what no training of it would learn: that came from the data, or from elsewhere.

    These are adapted layers (whatever has `adapt`), frozen layers, and the constants of a layer that has nothing to
    learn. Batch normalisation learns its averages; they start anew.

    Args:
        source: The model.
        fresh: One of the same architecture with fresh weights.
    """
    for one, other in paired(source, fresh):
        if one is not source and _is_data(one):
            move_state(one, other)


def _is_data(layer: Any) -> bool:
    import keras

    if callable(getattr(layer, "adapt", None)):
        return True
    if not layer.weights:
        return False
    if not layer.trainable:
        return True
    own = type(layer).__module__.split(".")[0] != "keras"
    return own and not isinstance(layer, keras.Model) and not layer.trainable_weights and not _parts(layer)


def load_state(source: Any, target: Any) -> None:
    """Gives one layer what another of its kind computes with; not what is in layers within them.

    Args:
        source: A built layer.
        target: A layer of the same shape.
    """
    import keras

    kept: dict[str, Any] = {}
    source.save_own_variables(kept)
    target.load_own_variables({name: keras.ops.convert_to_numpy(value).copy() for name, value in kept.items()})
    if hasattr(source, "save_assets") and hasattr(target, "load_assets"):
        with tempfile.TemporaryDirectory(prefix="assets-") as folder:
            source.save_assets(folder)
            target.load_assets(folder)


def _parts(layer: Any) -> list[Any]:
    """What is right within a layer or graph, without what only stands for an input."""
    import keras

    inner = layer.layers if isinstance(layer, keras.Sequential) else getattr(layer, "operations", layer._layers)
    return [part for part in inner if not isinstance(part, keras.layers.InputLayer)]
