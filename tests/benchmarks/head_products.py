"""Times one Gauss-Newton product on cached features against one through the whole network.

    PYTHONPATH=.:tests python tests/benchmarks/head_products.py [--rows 50000] [--model cnn]

Random weights and images: the arithmetic, and so the time, is the same as for trained ones.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from support.benchmarks import save
from unlearning.architectures import build
from unlearning.influence import Head, Objective, RowStore


def seconds(function, repeats: int) -> float:
    """The fastest of several calls, after one that compiles."""
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--whole-rows", type=int, default=1024, help="rows timed through the whole network")
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    model = build(options.model, input_shape=(32, 32, 3), num_classes=10, seed=0)
    labels = rng.integers(0, 10, options.rows)

    cached = Head(model)
    features = rng.random((options.rows, *cached.feature_shape), dtype=np.float32)
    objective = Objective(cached, RowStore(features, cached.dtype), np.arange(options.rows), labels)
    at = cached.parameters()
    vector = tf.constant(rng.standard_normal(cached.size), tf.float32)

    whole = Head(model, cached.boundary, cache_features=False)
    images = rng.integers(0, 256, (options.whole_rows, 32, 32, 3)).astype(np.uint8)
    slow = Objective(whole, RowStore(images, whole.dtype), np.arange(len(images)), labels[: len(images)])

    print(f"{options.model}: {cached.size:,} head parameters, {options.rows:,} cached rows")
    rows = []
    for curvature in ("gauss-newton", "hessian"):
        fast_product, slow_product = (tf.function(o.product(curvature)) for o in (objective, slow))
        fast = seconds(lambda p=fast_product: p(at, vector).numpy(), 3)
        through = seconds(lambda p=slow_product: p(at, vector).numpy(), 2)
        per_1024 = (fast * 1024 / options.rows, through * 1024 / options.whole_rows)
        print(
            f"{curvature:>13}: {fast:6.2f} s a product; per 1,024 rows {1e3 * per_1024[0]:7.1f} ms cached, "
            f"{1e3 * per_1024[1]:7.1f} ms through the network: {per_1024[1] / per_1024[0]:.0f} x"
        )
        rows.append(
            {
                "curvature": curvature,
                "seconds_a_product": fast,
                "ms_per_1024_rows_cached": 1e3 * per_1024[0],
                "ms_per_1024_rows_through_the_network": 1e3 * per_1024[1],
                "times_faster": per_1024[1] / per_1024[0],
            }
        )
    save("head_products", rows, model=options.model, head_parameters=cached.size, cached_rows=options.rows)


if __name__ == "__main__":
    main()
