"""Centroids, losses, clipping and schedule of feature-space unlearning, as pure functions.

Notation: `B` rows, `K` classes, `D` features; `f` features (what the last dense layer receives), `z` logits, `mu` unit
class centroids. Everything is computed in float32, or in float64 where the features or logits are. "FSPMU" is the
public code at github.com/meruemon/FSPMU, "SCRUB" is Kurmanji et al., NeurIPS 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from unlearning.errors import InputError


def precise(values: tf.Tensor) -> tf.Tensor:
    """Returns float64 as it is, all else in float32: cosines and divergences need more than half precision."""
    values = tf.convert_to_tensor(values)
    return values if values.dtype == tf.float64 else tf.cast(values, tf.float32)


def flat(features: tf.Tensor) -> tf.Tensor:
    """Returns features of shape `(B, ...)` as `(B, D)`."""
    return tf.reshape(precise(features), (tf.shape(features)[0], -1))


def class_weights(labels: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Returns labels as one row of class weights each.

    Args:
        labels: Integers of shape `(B,)` or `(B, 1)`, or class weights (one-hot, smoothed) of shape `(B, K)`.
        num_classes: `K`, at least 2.

    Returns:
        Float tensor of shape `(B, K)`.
    """
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 2 and labels.shape[1] == num_classes:
        return precise(labels)
    return tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), num_classes)


def centroid_sums(features: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns `S_c = sum_i w_ic f_i / ||f_i||`; sums over batches add up (FSPMU).

    Args:
        features: Shape `(B, ...)`.
        weights: Shape `(B, K)`: softmax probabilities for soft centroids, one-hot labels for hard ones.

    Returns:
        Shape `(K, D)`.
    """
    unit = tf.math.l2_normalize(flat(features), axis=-1)
    return tf.matmul(tf.cast(weights, unit.dtype), unit, transpose_a=True)


def class_centroids(features: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns `mu_c = S_c / ||S_c||` with `S` from `centroid_sums` (FSPMU; soft weights after TCL, CVPR 2023).

    Args:
        features: Shape `(B, ...)`.
        weights: Shape `(B, K)`.

    Returns:
        Shape `(K, D)`, unit rows; a class without any weight has a row of zeros, which attracts and repels nothing.
    """
    return tf.math.l2_normalize(centroid_sums(features, weights), axis=-1)


def cosines(features: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """Returns `c_ik = f_i . mu_k / ||f_i||`.

    Args:
        features: Shape `(B, ...)`.
        centroids: Shape `(K, D)`, unit rows.

    Returns:
        Shape `(B, K)`.
    """
    unit = tf.math.l2_normalize(flat(features), axis=-1)
    return tf.matmul(unit, tf.cast(centroids, unit.dtype), transpose_b=True)


def push_weights(cosine: tf.Tensor, power: float = 2.0, positive_only: bool = False) -> tf.Tensor:
    """Returns `w_ik = |c_ik|^p / sum_j |c_ij|^p`, without gradient (FSPMU has `p = 1/T = 2`).

    Args:
        cosine: Shape `(B, K)`.
        power: `p`.
        positive_only: Use `max(c, 0)` in place of `|c|`. With `|c|` a feature that points away from a centroid is
            weighted, and so pushed further away, as one that points towards it.

    Returns:
        Shape `(B, K)`; rows sum to 1, or are zero where every cosine is.
    """
    cosine = tf.stop_gradient(cosine)
    raised = tf.pow(tf.nn.relu(cosine) if positive_only else tf.abs(cosine), tf.cast(power, cosine.dtype))
    return tf.math.divide_no_nan(raised, tf.reduce_sum(raised, axis=-1, keepdims=True))


def push(cosine: tf.Tensor, power: float = 2.0, positive_only: bool = False) -> tf.Tensor:
    """Returns `mean_i sum_k w_ik c_ik`, to be minimised on forget rows (FSPMU).

    Args:
        cosine: Shape `(B, K)`.
        power: See `push_weights`.
        positive_only: See `push_weights`.

    Returns:
        A scalar.
    """
    return tf.reduce_mean(tf.reduce_sum(push_weights(cosine, power, positive_only) * cosine, axis=-1))


def alignment(cosine: tf.Tensor, weights: tf.Tensor, row_weights: tf.Tensor | None = None) -> tf.Tensor:
    """Returns `mean_i c_i,y_i`, to be maximised on retain rows (FSPMU).

    Args:
        cosine: Shape `(B, K)`.
        weights: Shape `(B, K)`; see `class_weights`.
        row_weights: Shape `(B,)`, or None for ones.

    Returns:
        A scalar.
    """
    rows = tf.reduce_sum(tf.cast(weights, cosine.dtype) * cosine, axis=-1)
    if row_weights is not None:
        rows *= tf.reshape(tf.cast(row_weights, rows.dtype), [-1])
    return tf.reduce_mean(rows)


def divergence(teacher_logits: tf.Tensor, student_logits: tf.Tensor, temperature: float = 0.5) -> tf.Tensor:
    """Returns `T^2 mean_i KL(softmax(z0_i / T) || softmax(z_i / T))` (SCRUB; Hinton et al. 2015).

    Args:
        teacher_logits: `z0`, shape `(B, K)`; logarithms of probabilities do as well. No gradient flows here.
        student_logits: `z`, shape `(B, K)`.
        temperature: `T`.

    Returns:
        A scalar of at least 0.
    """
    teacher = tf.nn.log_softmax(tf.stop_gradient(precise(teacher_logits)) / temperature)
    student = tf.nn.log_softmax(precise(student_logits) / temperature)
    return temperature**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(teacher) * (teacher - student), axis=-1))


def forget_loss(divergence_: tf.Tensor, push_: tf.Tensor, *, kl: float, push_factor: float) -> tf.Tensor:
    """Returns `L_F = -eta L_div + zeta L_push`; the labels play no part (FSPMU; SCRUB with `zeta = 0`).

    Args:
        divergence_: `L_div`, see `divergence`.
        push_: `L_push`, see `push`.
        kl: `eta`.
        push_factor: `zeta`.
    """
    return push_factor * push_ - kl * divergence_


def retain_loss(
    task_loss: tf.Tensor,
    alignment_: tf.Tensor,
    divergence_: tf.Tensor | float = 0.0,
    *,
    ce: float,
    pull: float,
    kl: float = 0.0,
) -> tf.Tensor:
    """Returns `L_R = gamma CE - delta L_align + alpha L_div` (FSPMU: `alpha = 0`; SCRUB: `delta = 0`).

    Args:
        task_loss: The loss that the model is trained with, such as the cross-entropy with the given labels.
        alignment_: `L_align`, see `alignment`.
        divergence_: `L_div`, see `divergence`.
        ce: `gamma`.
        pull: `delta`.
        kl: `alpha`.
    """
    return ce * task_loss - pull * alignment_ + kl * divergence_


def clip_elements(gradients: Sequence[tf.Tensor | None], limit: float) -> tuple[list[tf.Tensor | None], tf.Tensor]:
    """Returns `min(max(g, -limit), limit)` of every gradient entry, and the share of entries that this changed (FSPMU).

    With the large factors of the centroid terms the clipping sets the length of a step, so it is part of the method.

    Args:
        gradients: Dense gradients; None passes through.
        limit: Positive.

    Returns:
        The clipped gradients and a scalar in `0..1`.
    """
    present = [g for g in gradients if g is not None]
    clipped = tf.add_n([tf.math.count_nonzero(tf.abs(g) > limit, dtype=tf.float32) for g in present])
    entries = tf.add_n([tf.cast(tf.size(g), tf.float32) for g in present])
    return [None if g is None else tf.clip_by_value(g, -limit, limit) for g in gradients], clipped / entries


def learning_rate(
    epoch: int, initial: float = 5e-4, milestones: Sequence[int] = (7, 10, 10), factor: float = 0.1
) -> float:
    """Returns `initial * factor^m`, `m` the number of milestones below the epoch (FSPMU; a milestone may count twice).

    Args:
        epoch: Counted from 1.
        initial: Of the first epoch.
        milestones: Epochs after which the rate falls.
        factor: By how much.

    Raises:
        InputError: If `epoch` is less than 1.

    Example:
        >>> [learning_rate(e, 1.0) for e in (7, 8)]
        [1.0, 0.1]
    """
    if epoch < 1:
        raise InputError("epoch", "an epoch counted from 1", epoch)
    return initial * factor ** sum(epoch > milestone for milestone in milestones)
