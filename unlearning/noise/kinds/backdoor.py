"""A backdoor: a small bright square teaches the model to answer with one class.

Gu, Dolan-Gavitt and Garg, "BadNets", arXiv 1708.06733. Images and labels change; correcting a row needs both back.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from unlearning.data.pixels import pixel_range
from unlearning.errors import InputError
from unlearning.noise.base import Noise, Rows
from unlearning.noise.corruption import Corruption, Patch, require_in_memory
from unlearning.settings import Count

_SHARE = 8  # the patch covers an eighth of the shorter side


class Backdoor(Noise):
    """Patches `budget` rows that are not of the target class and gives them its label."""

    target: Count = 0
    """The label that a patched image gets."""

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Draws rows of other classes and patches them."""
        require_in_memory(rows.split, "A backdoor changes pixels")
        true = rows.split.labels
        if self.target >= rows.num_classes:
            raise InputError("target", f"a class 0..{rows.num_classes - 1}", self.target)
        candidates = np.flatnonzero(true != self.target)
        if budget > len(candidates):
            raise InputError("budget", f"at most {len(candidates)}, the rows not of class {self.target}", budget)
        chosen = np.sort(np.random.default_rng(seed).choice(candidates, budget, replace=False))
        given = true.copy()
        given[chosen] = self.target
        size = max(1, min(rows.split.images.shape[1:3]) // _SHARE)
        white = pixel_range(rows.split.images)[1] if rows.pixel_max is None else rows.pixel_max
        patch = Patch(size=size, value=white, target=self.target)
        return Corruption("backdoor", seed, given, true, chosen, patch)

    def alike(self, corruption: Corruption, train: Rows, other: Rows, seed: int) -> Corruption:
        """Puts the same patch on other rows."""
        patch = corruption.patch
        if patch is None:
            return super().alike(corruption, train, other, seed)
        if patch.target != self.target:
            return self.changed(target=patch.target).alike(corruption, train, other, seed)
        return super().alike(corruption, train, dataclasses.replace(other, pixel_max=patch.value), seed)
