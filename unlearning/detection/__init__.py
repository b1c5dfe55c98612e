"""Detectors by name: which training rows carry a wrong label, judged from the model and the given labels alone.

A detector ranks every row by how suspicious it is and draws a line; its suspects are what `repair` takes as flagged
rows. To add one, write a class of settings that derives from `Detector` in a file of its own under `detectors`, and add
one line to `DETECTORS` in `registry`; other packages call `register`, or name an entry point in the group
`unlearning.detectors`. Importing this package imports no Keras; a detector's module is imported when the detector is
asked for.

Example:
    >>> from unlearning import detection
    >>> "loss-mixture" in detection.available()
    True
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
