"""Certified unlearning for logistic regression: exact Hessian, measured gradient residual, and what it is worth.

For labels `y` in {-1, 1}, parameters `theta` of shape `(features,)`, and noise `b ~ N(0, sigma^2 I)` that is drawn
before the fit,

    L(theta; D) = sum_i log(1 + exp(-y_i theta.x_i)) + lambda/2 |theta|^2 + b.theta.

Some rows of `D` change, which gives `D~`. With `G = grad L(theta; D~) - grad L(theta; D)`, to which only the changed
rows contribute, the closed-form updates are (Warnecke et al., "Machine Unlearning of Features and Labels", NDSS 2023)

    first order    theta' = theta - tau G
    second order   theta' = theta - H^-1 G,    H the Hessian of L(theta; D~), formed and factorised here.

The residual `|grad L(theta'; D~)|` is zero for the retrained model alone. The noise hides a residual of at most `r`:
`theta'` and a model retrained with noise of its own are (epsilon, delta)-indistinguishable if

    sigma >= r c / epsilon,    c = sqrt(2 ln(1.5 / delta))

(Guo et al., "Certified Data Removal from Machine Learning Models", ICML 2020, Theorem 3). So `sigma` is chosen before
the fit, and fixes how large a residual may become; beyond that, retrain. Three numbers can stand for `r`:

1. `worst_case_residual_bound` holds for any data with rows of that norm and for any noise. It is the strict one, and
   mostly too large to be of use.
2. `newton_residual_bound` uses these data and this step. It needs no gradient at the new parameters.
3. `gradient_residual` is measured, for these data and this draw of the noise. The experiments of Warnecke et al. use
   this one.

The second and third hold for the run at hand, not in advance: a certificate built on them says nothing about what the
decision to retrain gives away.

Everything is float64, dense, and meant for up to a few thousand features.

Example:
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> before = LogisticProblem(x, np.where(x[:, 0] + x[:, 1] > 0, 1, -1))
    >>> after = remove_features(before, [3])
    >>> theta = second_order(before, after, fit(before))
    >>> bool(gradient_residual(after, theta) < 0.01 * gradient_residual(after, fit(before)))
    True
"""

from unlearning.influence.certified.certificates import (
    Certificate,
    certified_sigma,
    certify,
    newton_residual_bound,
    reached_epsilon,
    residual_budget,
    worst_case_residual_bound,
)
from unlearning.influence.certified.logistic import (
    LogisticProblem,
    draw_noise,
    fit,
    gradient_residual,
    predict,
)
from unlearning.influence.certified.updates import (
    changed_rows,
    correct_rows,
    first_order,
    gradient_difference,
    remove_features,
    second_order,
)

__all__ = [
    "Certificate",
    "LogisticProblem",
    "certified_sigma",
    "certify",
    "changed_rows",
    "correct_rows",
    "draw_noise",
    "first_order",
    "fit",
    "gradient_difference",
    "gradient_residual",
    "newton_residual_bound",
    "predict",
    "reached_epsilon",
    "remove_features",
    "residual_budget",
    "second_order",
    "worst_case_residual_bound",
]
