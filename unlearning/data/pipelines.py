"""tf.data pipelines that apply label noise by row number, inside the pipeline.

The pipeline carries row numbers; images and given labels are looked up by them. The same rows can so be fed with any
labelling, without copying an image, and every batch is a function of the seed, the epoch and the row numbers alone.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from unlearning.data.listed import ImageFiles
from unlearning.errors import invalid
from unlearning.task import Split

PADDING = 4
"""Largest random shift in pixels."""


def training_pipeline(
    split: Split,
    *,
    given_labels: np.ndarray | None = None,
    batch_size: int = 128,
    seed: int = 0,
    augment: bool = False,
    cache: bool | str = False,
    with_rows: bool = False,
) -> tf.data.Dataset:
    """Builds shuffled batches of images and given labels, in a new order every epoch.

    Args:
        split: The images (and the labels, where `given_labels` is None).
        given_labels: Integer array `(rows,)` to train on instead; for example `Corruption.given_labels`.
        batch_size: Rows a batch; the last one may be smaller.
        seed: Seed of order and augmentation; two pipelines with one seed yield the same epochs.
        augment: Random shifts of up to 4 pixels and horizontal mirroring.
        cache: Keep the looked-up rows in memory (True) or in files at this path: worth it for images on slow disks.
        with_rows: Yield `(images, labels, rows)`, to see which rows a batch holds.

    Returns:
        A dataset of `(images, labels)` batches, prefetched.

    Raises:
        InputError: If `given_labels` does not fit the split or `batch_size` is not positive.
    """
    if batch_size < 1:
        raise invalid("batch_size", "a positive integer", batch_size)
    labels = split.labels if given_labels is None else np.asarray(given_labels)
    if labels.shape != (len(split),) or not np.issubdtype(labels.dtype, np.integer):
        raise invalid("given_labels", f"{len(split)} integers", f"{labels.dtype} of shape {labels.shape}")
    look_up = _lookup(split.images)
    table = tf.constant(labels.astype(np.int64))
    rows = tf.data.Dataset.range(len(split))
    if cache:
        # Cached rows are kept before shuffling and augmentation, which must differ from epoch to epoch.
        held = rows.batch(batch_size).map(look_up, num_parallel_calls=1).unbatch()
        held = held.cache() if cache is True else held.cache(str(cache))
        pairs = tf.data.Dataset.zip(rows, held).shuffle(len(split), seed=seed).batch(batch_size)
    else:
        pairs = rows.shuffle(len(split), seed=seed).batch(batch_size)
        pairs = pairs.map(lambda index: (index, look_up(index)), num_parallel_calls=tf.data.AUTOTUNE)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)

    def finish(pair, number):  # type: ignore[no-untyped-def]
        index, images = pair
        images = shift_and_mirror(images, number) if augment else images
        given = tf.gather(table, index)
        return (images, given, index) if with_rows else (images, given)

    dataset = tf.data.Dataset.zip(pairs, seeds)
    return dataset.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def evaluation_pipeline(split: Split, batch_size: int = 512) -> tf.data.Dataset:
    """Builds batches of images and labels in row order.

    Args:
        split: The rows.
        batch_size: Rows a batch.

    Returns:
        A dataset of `(images, labels)` batches.
    """
    look_up, table = _lookup(split.images), tf.constant(split.labels)
    rows = tf.data.Dataset.range(len(split)).batch(batch_size)
    return rows.map(lambda index: (look_up(index), tf.gather(table, index))).prefetch(tf.data.AUTOTUNE)


def shift_and_mirror(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Shifts every image by up to `PADDING` pixels (zeros move in) and mirrors half of them.

    Args:
        images: Tensor `(rows, height, width, channels)`.
        seed: Two integers; the result depends on nothing else.

    Returns:
        A tensor of the same shape and dtype.
    """
    shape = tf.shape(images)
    rows, height, width = shape[0], shape[1], shape[2]
    padded = tf.pad(images, [[0, 0], [PADDING, PADDING], [PADDING, PADDING], [0, 0]])
    shifts = tf.random.stateless_uniform([2, rows], seed, maxval=2 * PADDING + 1, dtype=tf.int32)
    mirrored = tf.random.stateless_uniform([rows], seed + 1) < 0.5
    y = shifts[0][:, tf.newaxis] + tf.range(height)
    x = tf.tile(tf.range(width)[tf.newaxis], [rows, 1])
    x = shifts[1][:, tf.newaxis] + tf.where(mirrored[:, tf.newaxis], x[:, ::-1], x)
    return tf.gather(tf.gather(padded, y, axis=1, batch_dims=1), x, axis=2, batch_dims=1)


def _lookup(images: np.ndarray):  # type: ignore[no-untyped-def]
    """Returns a graph function from row numbers to images: one tensor in memory, or reads from disk."""
    if not isinstance(images, (np.memmap, ImageFiles)):
        table = tf.constant(images)
        return lambda rows: tf.gather(table, rows)

    def read(rows: tf.Tensor) -> tf.Tensor:
        values = tf.numpy_function(lambda index: np.asarray(images[index]), [rows], images.dtype)
        values.set_shape((None, *images.shape[1:]))
        return values

    return read
