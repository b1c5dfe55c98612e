"""An objective on a few rows."""

from __future__ import annotations

import numpy as np

from unlearning.influence import Head, Objective, RowStore


def objective_on(model, split, **options) -> Objective:
    head = Head(model, options.pop("trainable_from", None), options.pop("cache_features", True))
    head.check(split.images, 3)
    limit = options.pop("memory_limit_bytes", 2**30)
    store = RowStore.from_images(head, [split.images], memory_limit_bytes=limit, feature_dtype=head.dtype.name)
    return Objective(head, store, np.arange(len(split)), split.labels, **options)
