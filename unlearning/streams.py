"""Random streams by name: one seed serves every purpose, and no two purposes draw the same numbers.

Two draws by one seed are one draw: `default_rng(seed).choice(rows, ...)` in the noise and again in a method takes the
same rows, so that a "random" sample of the training rows is exactly that of the wrong ones. And NumPy pads seeds with
zeros, so that `(seed, 0)` is `seed`. Here a stream is a seed and a name, hashed together (`SeedSequence` with a spawn
key), and streams of different names are independent.

The first word says who draws, the others what for; a number tells epochs, folds or rounds apart:

    noise, validation noise, held-out noise     which labels are wrong
    order, initialisation                       a training
    method, detector, acceptance                a repair
    drawing                                     what a picture shows

Only what others must be able to redo draws from a bare seed: the division into training, validation and test rows
(scikit-learn's `train_test_split(random_state=seed)`), and a kind of noise that is called by itself. The cells of an
experiment give their noise the seed of the stream `noise`.

Example:
    >>> rows = stream(42, "method", "curvature rows").choice(1000, 3, replace=False)
    >>> bad = stream(42, "noise").choice(1000, 3, replace=False)
    >>> set(rows) == set(bad)
    False
    >>> stream_seed(42, "order", 0) == stream_seed(42, "order", 0) != stream_seed(42, "order", 1)
    True
"""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """Returns the generator of a purpose.

    Args:
        seed: The seed that a user has given, at least 0.
        name: Words and numbers that name the purpose, at least one.
    """
    return np.random.default_rng(_sequence(seed, name))


def stream_seed(seed: int, *name: str | int) -> int:
    """Returns the same as a seed in `0..2**32-1`, for libraries that draw by themselves (Keras, scikit-learn).

    Args:
        seed: The seed that a user has given, at least 0.
        name: Words and numbers that name the purpose, at least one.
    """
    return int(_sequence(seed, name).generate_state(1)[0])


def _sequence(seed: int, name: tuple[str | int, ...]) -> np.random.SeedSequence:
    if not name:
        raise ValueError("a stream has a name")
    key = [zlib.crc32(part.encode()) if isinstance(part, str) else int(part) for part in name]
    return np.random.SeedSequence(int(seed), spawn_key=key)
