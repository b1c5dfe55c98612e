"""Squared gradients of rows and batches, and the factors that dampen weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from support.small import blobs, small_model
from unlearning.influence.dampening import dampening
from unlearning.influence.head import Head
from unlearning.influence.rows import RowStore
from unlearning.influence.squares import SquaredGradients


def linear_model(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3, name="logits")])


class TestSquaredGradients:
    ROWS = blobs(23, seed=5)

    def fisher(self, model: keras.Model, rows: np.ndarray, **options) -> np.ndarray:
        head = Head(model, "all")
        store = RowStore.from_images(head, [self.ROWS.images])
        return SquaredGradients(head, store, self.ROWS.labels, **options).mean(rows)

    def gradients(self, model: keras.Model) -> np.ndarray:
        """Softmax regression, one row each: `(p - e_y)` times the pixels, and `p - e_y` for the bias."""
        pixels = self.ROWS.images.reshape(23, -1).astype(np.float64)
        kernel, bias = model.get_weights()
        scores = np.exp(pixels @ kernel + bias)
        residual = scores / scores.sum(axis=1, keepdims=True) - np.eye(3)[self.ROWS.labels]
        outer = pixels[:, :, None] * residual[:, None, :]
        return np.concatenate([outer.reshape(23, -1), residual], axis=1)

    @pytest.mark.parametrize("batch_rows", [1, 7, 23, 64])
    def test_is_the_diagonal_of_the_empirical_fisher_matrix(self, batch_rows: int) -> None:
        model = linear_model()
        rows = np.array([0, 3, 4, 9, 11, 12, 17, 20, 22])
        expected = (self.gradients(model)[rows] ** 2).mean(axis=0)
        np.testing.assert_allclose(self.fisher(model, rows, batch_rows=batch_rows), expected, rtol=1e-4, atol=1e-9)

    def test_the_published_estimate_squares_batches(self) -> None:
        model = linear_model()
        gradients = self.gradients(model)
        batches = [gradients[:10], gradients[10:20], gradients[20:]]
        expected = np.mean([batch.mean(axis=0) ** 2 for batch in batches], axis=0)
        found = self.fisher(model, np.arange(23), batch_rows=10, squares="batches")
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-9)

    def test_convolutions_and_batch_normalisation(self) -> None:
        import tensorflow as tf

        model = small_model()
        total = np.zeros(sum(v.numpy().size for v in model.trainable_variables))
        for image, label in zip(self.ROWS.images, self.ROWS.labels, strict=True):
            with tf.GradientTape() as tape:
                logits = model(image[None], training=False)
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits([label], logits)
            gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
            total += np.concatenate([g.numpy().ravel() ** 2 for g in gradients])
        found = self.fisher(model, np.arange(23), batch_rows=8)
        np.testing.assert_allclose(found, total / 23, rtol=1e-3, atol=1e-7)


class TestDampening:
    def test_by_hand(self) -> None:
        forget, full = np.array([4.0, 4.0, 1.0, 0.0]), np.array([0.1, 1.0, 1.0, 0.0])
        assert dampening(forget, full, 3.0).tolist() == pytest.approx([0.025, 0.25, 1, 1])
        assert dampening(forget, full, 10.0).tolist() == pytest.approx([0.025, 1, 1, 1])
        assert dampening(forget, full, 3.0, constant=8.0).tolist() == pytest.approx([0.2, 1, 1, 1])
        assert dampening(forget, full, 0.5).tolist() == pytest.approx([0.025, 0.25, 1, 1])
