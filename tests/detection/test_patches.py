"""Patch features against cutting every patch out."""

from __future__ import annotations

import numpy as np
import pytest

from unlearning.detection.patches import PatchFeatures
from unlearning.errors import InputError

BANK = {"filters": 8, "size": 4, "threshold": 0.25, "grid": 2, "kept": 1.0, "seed": 0}


def noise(rows: int, height: int = 12, width: int = 12, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (rows, height, width, channels)).astype(np.float32)


class TestPatchFeatures:
    def test_equals_normalising_patch_by_patch(self) -> None:
        images = noise(40)
        bank = PatchFeatures(images, **BANK)
        kernel = bank._bases[0][:-1].astype(np.float64) @ bank._filters
        offset = -bank._bases[0][-1].astype(np.float64) @ bank._filters
        scale, low = 255 / (images.max() - images.min()), images.min()
        image = (images[3].astype(np.float64) - low) * scale
        responses = np.empty((9, 9, 8))
        for top in range(9):
            for left in range(9):
                patch = image[top : top + 4, left : left + 4].ravel()
                patch = (patch - patch.mean()) / np.sqrt(patch.var() + 10)
                responses[top, left] = patch @ kernel - offset
        active = np.concatenate([np.maximum(responses - 0.25, 0), np.maximum(-responses - 0.25, 0)], -1)
        regions = [slice(0, 5), slice(5, 9)]
        expected = [[active[r, c].mean((0, 1)) for c in regions] for r in regions]
        np.testing.assert_allclose(bank(images[3:4])[0], np.ravel(expected), atol=2e-4)

    def test_mirroring_makes_mirror_images_equal(self) -> None:
        images = noise(30)
        bank = PatchFeatures(images, **BANK)
        one, other = bank(images[:5], mirror=True), bank(images[:5, :, ::-1], mirror=True)
        np.testing.assert_allclose(one, other, rtol=1e-5)
        assert not np.allclose(bank(images[:5]), bank(images[:5, :, ::-1]), rtol=1e-2)

    def test_mirror_images_are_those_of_mirrored_pixels(self) -> None:
        images = noise(30, 12, 11)
        bank = PatchFeatures(images, **BANK)
        np.testing.assert_allclose(bank.mirrored(images[:5]), bank(images[:5, :, ::-1]), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            bank(images[:5], mirror=True), bank(images[:5]) + bank.mirrored(images[:5]), rtol=1e-5
        )

    def test_few_directions_see_nearly_the_same(self) -> None:
        rng = np.random.default_rng(1)
        smooth = rng.normal(size=(60, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2) + rng.normal(
            0, 0.05, (60, 16, 16, 3)
        )
        whole, part = (PatchFeatures(smooth, **BANK | {"kept": kept, "filters": 40}) for kept in (1.0, 0.95))
        assert part._filters.shape[0] < whole._filters.shape[0]
        a, b = whole(smooth), part(smooth)
        alike = [np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True) if x.std() > 0]
        assert np.median(alike) > 0.95

    def test_threads_change_nothing(self, monkeypatch) -> None:
        images = noise(30)
        bank = PatchFeatures(images, **BANK)
        alone = bank(images, mirror=True)
        monkeypatch.setattr("unlearning.detection.patches.pool_size", lambda: 3)
        np.testing.assert_array_equal(bank(images, mirror=True), alone)

    def test_brightness_and_contrast_of_the_whole_set_do_not_matter(self) -> None:
        images = noise(30)
        moved = images / 255 * 6 - 3
        np.testing.assert_allclose(
            PatchFeatures(images, **BANK)(images), PatchFeatures(moved, **BANK)(moved), rtol=1e-3, atol=1e-4
        )

    @pytest.mark.parametrize(("height", "width"), [(64, 48), (8, 8), (3, 5)])
    def test_any_size(self, height: int, width: int) -> None:
        images = noise(20, height, width, 1)
        bank = PatchFeatures(images, **BANK)
        assert bank(images).shape == (20, bank.count) and np.isfinite(bank(images)).all()

    def test_images_without_contrast_and_without_numbers(self) -> None:
        images = np.full((20, 8, 8, 1), 3.0)
        assert np.isfinite(PatchFeatures(images, **BANK)(images)).all()
        images[0, 0, 0] = np.nan
        with pytest.raises(InputError, match="finite pixels"):
            PatchFeatures(images, **BANK)
