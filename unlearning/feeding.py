"""Feeding Keras: batches for `fit` and `predict` without the waits of tf.data's autotuning.

On TensorFlow, Keras reads arrays and data sets of batches through tf.data pipelines that tune themselves. There is
little to tune in such a pipeline, and the end of each of its iterators waits for the tuner: on one core 60 to 130 ms an
epoch or prediction, during which nothing computes; an epoch of `cnn_small` on 1,437 digits takes 260 ms without. Here
the same batches come in the same order from a pipeline that does not tune itself, two batches ahead. Importing this
module imports no Keras.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.profiling import spending
from unlearning.progress import pulse

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_AHEAD = 2


@spending("training")
def fit(
    model: keras.Model, data: Any, *, callbacks: Sequence[keras.callbacks.Callback] = (), **options: Any
) -> keras.callbacks.History:
    """Is `model.fit`, silent and on batches in their own order: Keras would shuffle them with a state that is not ours.

    Args:
        model: A compiled model.
        data: A data set of batches, or whatever else `model.fit` takes as one argument. What is more than tuples of
            arrays that differ in nothing but their number of rows is left to Keras.
        callbacks: See `model.fit`.
        **options: See `model.fit`.

    Returns:
        What `model.fit` returns.
    """
    import keras

    hooks = [*callbacks, keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: pulse())]
    with _own_errors() as guard:
        first = _plain_batch(data) if keras.backend.backend() == "tensorflow" else None
        if first is not None:
            hooks.append(_tell_epochs(data))
            data = _pipeline(guard(data.__getitem__), data.num_batches, like=first)
        return model.fit(data, callbacks=hooks, shuffle=False, verbose=0, **options)


def predict(model: keras.Model, read: Callable[[int], Any], count: int) -> Any:
    """Is `model.predict` on batches.

    A batch that is alone goes in without a pipeline: building one takes 70 ms, thirty times as long as a small network
    needs.

    Args:
        model: A built model.
        read: Returns the inputs of a batch by its number; they differ in nothing but their number of rows.
        count: Number of batches.

    Returns:
        What `model.predict` returns.
    """
    import keras

    first = read(0)  # tells its shape; reading it again may mean decoding files again

    def reread(index: int) -> Any:
        pulse()
        return read(index) if index else first

    if count == 1:
        pulse()
        return model.predict_on_batch(first)
    with _own_errors() as guard:
        if keras.backend.backend() == "tensorflow":
            return model.predict(_pipeline(guard(reread), count, like=first), verbose=0)
        return model.predict(_data_set(reread, count), verbose=0)


def _plain_batch(data: Any) -> tuple[np.ndarray, ...] | None:
    """Returns the first batch of data that are so many tuples of arrays, read by one thread; None of other data."""
    import keras

    if not isinstance(data, keras.utils.PyDataset) or data.num_batches is None:
        return None
    if data.workers > 1 or data.use_multiprocessing:
        return None
    first, last = data[0], data[data.num_batches - 1]
    if not all(isinstance(b, tuple) and all(isinstance(a, np.ndarray) for a in b) for b in (first, last)):
        return None
    alike = [(a.shape[1:], a.dtype) for a in first] == [(a.shape[1:], a.dtype) for a in last]
    return first if alike else None


def _data_set(read: Callable[[int], Any], count: int) -> keras.utils.PyDataset:
    """Returns batches by number as a data set of Keras."""
    import keras

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int) -> Any:
            return read(index)

    return Batches()


def _tell_epochs(batches: keras.utils.PyDataset) -> keras.callbacks.Callback:
    """Tells a data set of batches when an epoch begins and ends, as Keras does where it knows the data set.

    That includes an end before the first epoch, from `fit` making sure that it starts afresh.

    Returns:
        A callback for `fit`.
    """
    import keras

    return keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: batches.on_epoch_end(),
        on_epoch_begin=lambda epoch, logs: batches.on_epoch_begin(),
        on_epoch_end=lambda epoch, logs: batches.on_epoch_end(),
    )


@contextlib.contextmanager
def _own_errors() -> Iterator[Callable[[Callable[[int], Any]], Callable[[int], Any]]]:
    """Raises what reading a batch raises as it was, not as the error of TensorFlow that it is turned into."""
    raised: list[Exception] = []

    def guard(read: Callable[[int], Any]) -> Callable[[int], Any]:
        def guarded(index: int) -> Any:
            try:
                return read(index)
            except Exception as error:
                raised.append(error)
                raise

        return guarded

    try:
        yield guard
    except Exception:
        if raised:
            raise raised[0] from None
        raise


def _pipeline(read: Callable[[int], Any], count: int, like: Any) -> tf.data.Dataset:
    """Returns batches by number, shaped like a given one, as a pipeline that does not tune itself."""
    import keras
    import tensorflow as tf  # only here: other backends need none

    def generate() -> Iterator[Any]:
        for index in range(count):
            yield read(index)

    def specify(array: Any) -> tf.TensorSpec:
        return tf.TensorSpec((None, *array.shape[1:]), keras.backend.standardize_dtype(array.dtype))

    options = tf.data.Options()
    options.autotune.enabled = False
    signature = keras.tree.map_structure(specify, like)
    pipeline = tf.data.Dataset.from_generator(generate, output_signature=signature)
    return pipeline.apply(tf.data.experimental.assert_cardinality(count)).prefetch(_AHEAD).with_options(options)
