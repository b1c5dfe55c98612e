"""The same architecture again, with fresh weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unlearning.errors import InputError
from unlearning.interop import as_logit_model, has_graph
from unlearning.streams import stream_seed

if TYPE_CHECKING:
    import keras


def draw_afresh(model: keras.Model, seed: int, *, logits: bool = True) -> keras.Model:
    """Builds a model of the same architecture with fresh weights, and seeds all that training it draws.

    Args:
        model: A Sequential or functional classifier; it is not changed.
        seed: Seed of the fresh weights, and of everything random that follows.
        logits: Whether to take a final softmax off first. Where that has been done, False leaves the copy out, which
            would draw from the seeded stream, too.

    Returns:
        The new model, uncompiled.

    Raises:
        InputError: If the model is subclassed, so that it cannot be built anew.

    Example:
        >>> fresh = draw_afresh(model, seed=7)
        >>> fresh.count_params() == model.count_params()
        True
    """
    import keras

    if not has_graph(model):
        raise InputError("model", "a Sequential or functional model, to be built with fresh weights", model.name)
    keras.utils.set_random_seed(stream_seed(seed, "initialisation"))
    return keras.models.clone_model(as_logit_model(model) if logits else model)
