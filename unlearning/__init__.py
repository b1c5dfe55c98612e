"""Corrects trained Keras classifiers that learned from wrong labels, and measures that it helped.

The names below load on first use, so that importing the package (and `--help`) does not import TensorFlow.

Example:
    >>> from unlearning import Corrections, load_data, load_model, repair  # doctest: +SKIP
    >>> model, data = load_model("model.keras"), load_data("data.npz")  # doctest: +SKIP
    >>> done = repair(model, data, flagged=Corrections(rows, labels))  # doctest: +SKIP
    >>> done.outcome.validation_accuracy_after  # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
