"""Influence functions for Keras classifiers: frozen features, gradient differences, curvature products, solvers.

The rooms, in the order in which data flows: `head` cuts a model at a named layer, `rows` keeps the frozen part's
features, `objective` sums losses, gradients and curvature products over rows, `conjugate_gradients` and `solvers`
invert, `problem` puts them together for one unlearning task. On it stand the two updates: `steps` repeats what
`line_search` (first order) or `newton` (second order) proposes. Beside them, `squares` measures which weights matter
to which rows, `pixels` how fast a loss turns with its image, and `certified` is logistic regression with a proof.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
