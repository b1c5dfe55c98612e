"""Aligned text tables of results, at most 100 columns wide: one file a subject."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
