"""A backdoor: a small bright square teaches the model to answer with one class.

Gu, Dolan-Gavitt and Garg, "BadNets", arXiv 1708.06733. Images and labels change; correcting a row needs both back.
"""

from __future__ import annotations

import numpy as np

from unlearning.errors import invalid
from unlearning.noise.corruption import Corruption, Patch, Request, require_in_memory

_SHARE = 8  # the patch covers an eighth of the shorter side


def patch_images(request: Request) -> Corruption:
    """Patches `budget` rows that are not of the target class and gives them its label."""
    require_in_memory(request.split, "A backdoor changes pixels")
    true = request.split.labels
    if not 0 <= request.target < request.num_classes:
        raise invalid("target", f"a class 0..{request.num_classes - 1}", request.target)
    candidates = np.flatnonzero(true != request.target)
    if request.budget > len(candidates):
        raise invalid("budget", f"at most {len(candidates)}, the rows not of class {request.target}", request.budget)
    rows = np.sort(np.random.default_rng(request.seed).choice(candidates, request.budget, replace=False))
    given = true.copy()
    given[rows] = request.target
    size = max(1, min(request.split.images.shape[1:3]) // _SHARE)
    patch = Patch(size=size, value=request.pixel_max, target=request.target)
    return Corruption("backdoor", request.seed, given, true, rows, patch)
