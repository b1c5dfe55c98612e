"""Repairing a model of your own: what is known -> detect -> repair -> review.

`repair` works in memory and also serves the cells of experiments; `paths` is the same for files, `flagged` the CSV file
that a person edits in between.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
