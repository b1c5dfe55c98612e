"""The refit of a linear layer against scikit-learn, and against its own optimality conditions."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression, Ridge

from unlearning.influence.softmax import Standardised, fit_ridge, fit_softmax

RNG = np.random.default_rng(0)
ROWS, COLUMNS, CLASSES = 300, 7, 4
FEATURES = RNG.normal(size=(ROWS, COLUMNS)) * np.array([1, 10, 0.1, 1, 1, 100, 1]) + 3
LABELS = (FEATURES[:, 0] * 2 + RNG.normal(size=ROWS) > 6).astype(int) + 2 * (RNG.random(ROWS) > 0.7)
TARGETS = np.eye(CLASSES)[LABELS]


class TestSoftmax:
    @pytest.mark.parametrize("penalty", [0.1, 0.003])
    def test_it_is_the_minimum_that_scikit_learn_finds(self, penalty):
        features = Standardised(FEATURES)
        (found,) = fit_softmax(features, TARGETS, [penalty])
        fit = LogisticRegression(C=1 / (ROWS * penalty), tol=1e-10, max_iter=5000).fit(
            features.rows.astype(np.float64), LABELS
        )
        wanted = fit.predict_proba(features.rows.astype(np.float64))
        np.testing.assert_allclose(softmax(found.logits(FEATURES), axis=1), wanted, atol=2e-4)

    def test_soft_targets_are_met_at_the_minimum(self):
        soft = RNG.dirichlet(np.ones(CLASSES), ROWS)
        features = Standardised(FEATURES)
        (found,) = fit_softmax(features, soft, [0.01])
        wrong = softmax(found.logits(FEATURES), axis=1) - soft
        kernel = found.kernel * FEATURES.std(axis=0)[:, np.newaxis]
        slope = features.rows.T @ wrong / ROWS + 0.01 * kernel
        assert np.abs(slope).max() < 1e-4 and np.abs(wrong.mean(axis=0)).max() < 1e-4

    def test_penalties_come_from_the_strongest_on_and_shrink_less_and_less(self):
        found = list(fit_softmax(Standardised(FEATURES), TARGETS, [0.001, 0.1, 0.01]))
        assert [layer.penalty for layer in found] == [0.1, 0.01, 0.001]
        norms = [np.linalg.norm(layer.kernel * FEATURES.std(axis=0)[:, np.newaxis]) for layer in found]
        assert norms == sorted(norms)

    def test_without_a_bias_nothing_is_centred(self):
        (found,) = fit_softmax(Standardised(FEATURES, intercept=False), TARGETS, [0.01])
        np.testing.assert_array_equal(found.bias, 0)
        fit = LogisticRegression(C=1 / (ROWS * 0.01), tol=1e-10, max_iter=5000, fit_intercept=False).fit(
            FEATURES / FEATURES.std(axis=0), LABELS
        )
        wanted = fit.predict_proba(FEATURES / FEATURES.std(axis=0))
        np.testing.assert_allclose(softmax(found.logits(FEATURES), axis=1), wanted, atol=2e-4)

    def test_a_constant_feature_and_an_empty_class_do_no_harm(self):
        constant = np.concatenate([FEATURES, np.full((ROWS, 1), 5.0)], axis=1)
        labels = np.where(LABELS == 3, 0, LABELS)
        (found,) = fit_softmax(Standardised(constant), np.eye(CLASSES)[labels], [0.01])
        assert np.isfinite(found.kernel).all() and np.all(found.kernel[-1] == 0)
        assert (found.logits(constant).argmax(axis=1) != 3).all()


class TestRidge:
    def test_it_is_the_minimum_that_scikit_learn_finds(self):
        features = Standardised(FEATURES)
        found = fit_ridge(features, TARGETS, 0.02)
        fit = Ridge(alpha=0.02 * ROWS).fit(features.rows.astype(np.float64), TARGETS)
        np.testing.assert_allclose(found.logits(FEATURES), fit.predict(features.rows), atol=1e-5)
