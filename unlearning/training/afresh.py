"""The same architecture again, with fresh weights.

What no training learns stays as it is: the statistics and vocabularies of adapted layers, which are made of data, and
frozen layers, which came trained from elsewhere. A network in front of which the pixels are no longer scaled as they
were, or whose frozen backbone is noise, says nothing of what training it again would give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unlearning.errors import InputError
from unlearning.interop import as_logit_model, has_graph, keep_data, rebuild_graph
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
        InputError: If the model is subclassed, so that it cannot be built anew, or if nothing in it can be trained.

    Example:
        >>> fresh = draw_afresh(model, seed=7)
        >>> fresh.count_params() == model.count_params()
        True
    """
    import keras

    if not has_graph(model):
        raise InputError("model", "a Sequential or functional model, to be built with fresh weights", model.name)
    if not model.trainable_weights:
        raise InputError("model", "a layer that can be trained (set layer.trainable = True)", "frozen layers only")
    keras.utils.set_random_seed(stream_seed(seed, "initialisation"))
    source = as_logit_model(model) if logits else model
    fresh = rebuild_graph(source)
    keep_data(source, fresh)
    return fresh
