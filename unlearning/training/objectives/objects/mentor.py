"""Objectives that trust rows with a small loss: MentorNet in its threshold form, and MentorMix."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from unlearning.errors import InputError
from unlearning.training.objectives.objects.checks import number
from unlearning.training.objectives.objects.shared import SharedLayersModel


class _SmallLossModel(SharedLayersModel):
    """What both share: thresholds that follow a quantile of the losses, and a burn-in of coin tosses."""

    def __init__(self, model: keras.Model, quantile: float, ema: float, burn_in: int, seed: int) -> None:
        expected = "a number in (0, 1)"
        quantile = number("quantile", quantile, expected, above=0, below=1)
        ema = 0.0 if ema == 0 else number("ema", ema, "a number in [0, 1)", above=0, below=1)
        if isinstance(burn_in, bool) or burn_in != int(burn_in) or burn_in < 0:
            raise InputError("burn_in", "a number of batches, at least 0", burn_in)
        super().__init__(model)
        self.quantile, self.ema, self.burn_in = quantile, ema, int(burn_in)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.batches_seen = self.add_weight(
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="batches_seen",
        )
        self.threshold = self._add_threshold("threshold")

    def _add_threshold(self, name: str) -> keras.Variable:
        return self.add_weight(
            shape=(), dtype="float32", initializer="zeros", trainable=False, aggregation="mean", name=name
        )

    def _row_losses(self, y: Any, y_pred: Any) -> Any:
        """One compiled loss a row, before any reduction; no gradient flows through it."""
        loss: Any = keras.losses.get(self.loss)
        loss = loss.call if isinstance(loss, keras.losses.Loss) else loss
        return ops.stop_gradient(ops.reshape(loss(y, ops.cast(y_pred, "float32")), (-1,)))

    def _keep(self, losses: Any, threshold: keras.Variable) -> Any:
        """Moves a threshold with a batch's losses and returns 1 for the rows to learn from, else 0."""
        rows = ops.shape(losses)[0]
        # What is added is far less than a row, and more than what float32 may take off a whole number.
        place = ops.cast(ops.floor(ops.cast(rows, "float32") * self.quantile + 1e-4), "int32")
        value = self.ema * threshold + (1 - self.ema) * ops.take(ops.sort(losses), ops.minimum(place, rows - 1))
        threshold.assign(value)
        small = ops.cast(losses < value, "float32")
        if not self.burn_in:
            return small
        coin = ops.cast(keras.random.uniform(ops.shape(losses), seed=self.seed_generator) < 0.5, "float32")
        return ops.where(self.batches_seen < self.burn_in, coin, small)


class MentorNetModel(_SmallLossModel):
    """Trains a model's layers on the rows with the smaller losses (Jiang et al., MentorNet, ICML 2018).

    This is the fixed-threshold form of the curriculum, not the learned one. With `l` the losses of a batch of `B` rows:

        t <- ema * t + (1 - ema) * sorted(l)[int(B * quantile)]        v = 1 where l < t, else 0
        loss = sum(v * l) / B

    During the burn-in a fair coin decides each `v` instead, while `t` already follows the losses. `t` starts at 0 and
    is part of the saved weights, as is the number of batches seen.

    Args:
        model: A built Sequential or functional model with one output; its own layers are trained.
        quantile: Share of a batch's rows to keep, in (0, 1).
        ema: Weight of the previous threshold, in [0, 1).
        burn_in: Number of batches (not epochs) decided by coin.
        seed: Seeds the coin; reassign the state of `seed_generator` to seed anew.

    Example:
        >>> careful = MentorNetModel(model, quantile=0.75, burn_in=2 * len(batches))
        >>> careful.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = careful.fit(batches, epochs=2, verbose=0)
        >>> model.save("trained.keras")  # the model given above is the one that was trained
    """

    def __init__(
        self, model: keras.Model, quantile: float = 0.85, ema: float = 0.05, *, burn_in: int = 0, seed: int = 0
    ) -> None:
        super().__init__(model, quantile, ema, burn_in, seed)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns the loss of a batch; `fit` calls this. Outside training it is the compiled loss."""
        if training:
            kept = self._keep(self._row_losses(y, y_pred), self.threshold)
            sample_weight = kept if sample_weight is None else kept * ops.reshape(sample_weight, (-1,))
            self.batches_seen.assign(self.batches_seen + 1)
        return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)


class MentorMixModel(_SmallLossModel):
    """Trains a model's layers on blends that lean on trusted rows (Jiang et al., MentorMix, ICML 2020).

    A row is trusted, `v_i = 1`, as in `MentorNetModel`. Each row `i` then draws a partner `j` with probability
    `softmax(v)_j`, and a share `lam_i`, the larger of the two numbers of a Dirichlet(alpha, alpha) draw:

        lam_i <- lam_i if v_i = 1, else 1 - lam_i
        x~ = lam_i * x_i + (1 - lam_i) * x_j        l~ = lam_i * CE(x~, y_i) + (1 - lam_i) * CE(x~, y_j)

    A second threshold, on `l~` and with its own average, picks the rows that count (`v2`), by the same rule and with
    the same burn-in: `loss = sum(v2 * l~) / B`. Thresholds and number of batches seen are part of the saved weights.

    The batch passes through the model twice in training mode, plain (to find `v`; metrics are of this pass) and
    blended. Compile with a loss that averages over the batch, the default.

    Args:
        model: A built Sequential or functional model with one output; its own layers are trained.
        alpha: Both parameters of the Dirichlet distribution, positive. Small: hardly any blending.
        quantile: Share of a batch's rows to keep, in (0, 1).
        ema: Weight of the previous threshold, in [0, 1).
        burn_in: Number of batches (not epochs) decided by coin.
        seed: Seeds what is drawn; reassign the state of `seed_generator` to seed anew.

    Example:
        >>> careful = MentorMixModel(model, alpha=0.2, quantile=0.75)
        >>> careful.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = careful.fit(batches, epochs=2, verbose=0)
        >>> model.save("trained.keras")  # the model given above is the one that was trained
    """

    def __init__(
        self,
        model: keras.Model,
        alpha: float = 0.2,
        quantile: float = 0.85,
        ema: float = 0.05,
        *,
        burn_in: int = 0,
        seed: int = 0,
    ) -> None:
        alpha = number("alpha", alpha, "a positive number", above=0)
        super().__init__(model, quantile, ema, burn_in, seed)
        self.alpha = alpha
        self.mixed_threshold = self._add_threshold("mixed_threshold")
        if keras.backend.backend() == "tensorflow":
            self.supports_jit = False  # XLA has no gamma distribution there

    def _larger_share(self, rows: Any) -> Any:
        """The larger of the two numbers of a Dirichlet draw, per row."""
        # Gamma(a) is Gamma(a + 1) * U^(1/a). In logarithms, because for a small `a` both numbers underflow to 0.
        gamma = keras.random.gamma((2, rows), self.alpha + 1, seed=self.seed_generator)
        uniform = keras.random.uniform((2, rows), minval=1e-30, maxval=1.0, seed=self.seed_generator)
        logs = ops.log(gamma) + ops.log(uniform) / self.alpha
        return ops.sigmoid(ops.abs(logs[0] - logs[1]))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns the loss of a batch; `fit` calls this. Outside training it is the compiled loss."""
        if not training:
            return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=False)
        losses = self._row_losses(y, y_pred)
        trusted = self._keep(losses, self.threshold)
        rows = ops.shape(losses)[0]
        partner = keras.random.categorical(
            ops.broadcast_to(trusted[None, :], (rows, rows)), 1, dtype="int32", seed=self.seed_generator
        )[:, 0]
        share = self._larger_share(rows)
        share = trusted * share + (1 - trusted) * (1 - share)

        def blend(batch: Any) -> Any:
            batch = ops.cast(batch, "float32")
            own = ops.reshape(share, (rows,) + (1,) * (len(batch.shape) - 1))
            return own * batch + (1 - own) * ops.take(batch, partner, axis=0)

        blended = self(keras.tree.map_structure(blend, x), training=True)
        others = ops.take(y, partner, axis=0)
        mixed = share * self._row_losses(y, blended) + (1 - share) * self._row_losses(others, blended)
        counts = self._keep(mixed, self.mixed_threshold)
        if sample_weight is not None:
            counts = counts * ops.reshape(sample_weight, (-1,))
        self.batches_seen.assign(self.batches_seen + 1)
        # Both halves of l~ in one call of the compiled loss; it averages over 2B rows, hence the factor 2.
        return super().compute_loss(
            x=x,
            y=ops.concatenate([y, others]),
            y_pred=ops.concatenate([blended, blended]),
            sample_weight=2 * ops.concatenate([share * counts, (1 - share) * counts]),
            training=True,
        )
