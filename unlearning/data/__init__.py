"""Where images come from, and how they are split, once and for all by a seed.

Row numbers of the training split never change: they are positions in the source's own order (or, with `train_rows`, in
a seeded subset kept in that order). A source is one class, a `Source`; to add one, write it and add one line to
`SOURCES`; other packages call `register`, or name an entry point in the group `unlearning.sources`.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
