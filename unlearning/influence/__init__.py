"""Influence functions for Keras classifiers: frozen features, gradient differences, curvature products, solvers.

The rooms, in the order in which data flows: `head` cuts a model at a named layer, `rows` keeps the frozen part's
features, `objective` sums losses, gradients and curvature products over rows, `solvers` inverts, `problem` puts them
together for one unlearning task.
"""

from unlearning.influence.head import Head
from unlearning.influence.objective import Objective
from unlearning.influence.problem import InfluenceProblem
from unlearning.influence.rows import RowStore
from unlearning.influence.solvers import ConjugateGradient, Lissa, solve_dense

__all__ = ["ConjugateGradient", "Head", "InfluenceProblem", "Lissa", "Objective", "RowStore", "solve_dense"]
