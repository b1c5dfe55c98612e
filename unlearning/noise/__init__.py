"""Ways for labels (and images) to go wrong, each returning one `Corruption`.

A kind is one class, a `Noise`: its inputs are its fields, and `draw` corrupts `Rows`. To add one, write the class and
add one line to `NOISES`; other packages call `register`, or name an entry point in the group `unlearning.noises`.

Example:
    >>> import numpy as np
    >>> from unlearning.noise import corrupt
    >>> from unlearning.task import Split
    >>> split = Split(np.zeros((6, 2, 2, 1)), np.array([0, 0, 0, 1, 1, 1]))
    >>> corrupt("flip-pairs", split, budget=4, seed=0, num_classes=2).budget
    4
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
