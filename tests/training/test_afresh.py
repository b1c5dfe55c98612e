"""The same architecture again, with fresh weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from support.small import small_model
from unlearning.errors import InputError
from unlearning.interop import as_logit_model
from unlearning.streams import stream_seed
from unlearning.training import draw_afresh


def test_depends_on_the_seed_alone() -> None:
    model = small_model(softmax=True)
    before = [w.copy() for w in model.get_weights()]
    one, same, other = (draw_afresh(model, seed).get_weights() for seed in (1, 1, 2))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_outputs_logits_in_the_same_shape() -> None:
    model = small_model(5, softmax=True)
    fresh = draw_afresh(model, 0)
    assert fresh.layers[-1].activation is keras.activations.linear
    assert [layer.name for layer in fresh.layers] == [layer.name for layer in model.layers]
    assert draw_afresh(model, 0, logits=False).layers[-1].activation is keras.activations.softmax


@pytest.mark.parametrize("logits", [True, False])
def test_draws_what_it_always_drew(logits: bool) -> None:
    """Records of retrainings and probes stand on this order: seed, copy (unless there is one already), clone."""
    model = small_model()
    fresh = draw_afresh(model, 7, logits=logits)
    keras.utils.set_random_seed(stream_seed(7, "initialisation"))
    expected = keras.models.clone_model(as_logit_model(model) if logits else model)
    for a, b in zip(fresh.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_subclassed_model_cannot_be_built_anew() -> None:
    class Subclassed(keras.Model):
        pass

    with pytest.raises(InputError, match="Sequential or functional"):
        draw_afresh(Subclassed(), 0)
