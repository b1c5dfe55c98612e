"""Forget rows from losses alone."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from support.paths import GOLDEN as GOLDEN_FILES
from support.small import blobs, small_model
from unlearning.centroids.mixture import memorised_split, mixture_split, row_losses
from unlearning.detection.mixture import fit_mixture
from unlearning.errors import InputError

GOLDEN = json.loads((GOLDEN_FILES / "fspmu.json").read_text())

EXPECTED = GOLDEN["expected"]
LOSSES = np.array(GOLDEN["inputs"]["loss"])


class TestGolden:
    def test_mixture(self) -> None:
        split = mixture_split(LOSSES)
        assert split.mixture is not None
        np.testing.assert_allclose(split.mixture.means, EXPECTED["gmm_means"], rtol=1e-6)
        np.testing.assert_allclose(split.mixture.variances, EXPECTED["gmm_var"], rtol=1e-6)
        np.testing.assert_allclose(split.mixture.weights, EXPECTED["gmm_weights"], rtol=1e-6)
        np.testing.assert_allclose(split.clean_probability, EXPECTED["gmm_clean_prob"], atol=1e-8)
        assert [split.retain.tolist(), split.forget.tolist()] == EXPECTED["split_original"]

    def test_memorised_rows(self) -> None:
        split = memorised_split(np.array(GOLDEN["inputs"]["loss_early"]), LOSSES)
        assert [split.retain.tolist(), split.forget.tolist()] == EXPECTED["split_nll"]
        assert split.final.retain.tolist() == EXPECTED["split_original"][0]
        with pytest.raises(InputError, match="early_losses"):
            memorised_split(LOSSES[1:], LOSSES)


class TestMixture:
    def test_equal_losses_say_nothing(self) -> None:
        split = mixture_split(np.full(5, 0.3))
        assert not len(split.forget) and split.mixture is None and split.details() is None

    def test_normalising_finds_what_the_variance_floor_hides(self) -> None:
        assert not len(mixture_split(LOSSES * 1e-3).forget)
        assert len(mixture_split(LOSSES * 1e-3, normalise=True).forget) == 5
        assert len(memorised_split(LOSSES[::-1] * 1e-3, LOSSES * 1e-3).forget) == 0
        assert len(memorised_split(LOSSES[::-1] * 1e-3, LOSSES * 1e-3, normalise=True).forget) > 0

    def test_is_the_detectors_mixture(self) -> None:
        """One fit for both; a mixture in the unit of the losses, whatever it was fitted on."""
        for normalise in (False, True):
            split = mixture_split(LOSSES, seed=3, normalise=normalise)
            assert split.mixture == fit_mixture(LOSSES, normalise=normalise, seed=3)
            assert 0 < split.mixture.means[0] < 0.1 and 1.9 < split.mixture.means[1] < 2.1

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [(([1.0],), "two rows"), (([1.0, np.nan],), "finite"), (([[1.0], [2.0]],), "shape"), ((LOSSES, 1.0), "thresh")],
    )
    def test_bad_input(self, arguments: tuple, match: str) -> None:
        with pytest.raises(InputError, match=match):
            mixture_split(*arguments)

    @pytest.mark.parametrize("softmax", [False, True])
    def test_row_losses(self, softmax: bool) -> None:
        model, rows = small_model(softmax=softmax), blobs(50)
        weights = model.get_weights()
        scores = model(rows.images, training=False).numpy()
        expected = keras.losses.sparse_categorical_crossentropy(rows.labels, scores, from_logits=not softmax)
        np.testing.assert_allclose(row_losses(model, rows, 3, batch_size=16), expected, atol=1e-5)
        other = row_losses(model, rows, 3, view="training", augment=True, batch_size=16)
        assert np.isfinite(other).all() and np.abs(other - expected).max() > 1e-3
        for before, after in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)  # moving statistics, too
        with pytest.raises(InputError, match="4 outputs"):
            row_losses(model, rows, 4)


def test_batch_statistics_are_those_of_shuffled_batches() -> None:
    model, rows = small_model(), blobs(12)
    orders = [row_losses(model, rows, 3, view="training", batch_size=4, seed=seed) for seed in (0, 1)]
    assert not np.allclose(*orders)
    plain = [row_losses(model, rows, 3, view="inference", batch_size=4, seed=seed) for seed in (0, 1)]
    np.testing.assert_array_equal(*plain)
