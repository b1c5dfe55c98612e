"""Corrects trained Keras classifiers that learned from wrong labels, and measures that it helped.

The names below load on first use, so that importing the package (and `--help`) does not import TensorFlow.

Example:
    >>> from unlearning import load_model, repair
    >>> model = load_model("model.keras")
    >>> done = repair(model, (x, y), flagged={7: 0, 12: 2}, validation=(x_val, y_val))
    >>> done.outcome.validation_accuracy_after >= done.outcome.validation_accuracy_before
    True
    >>> done.model.save("repaired.keras")

    Where nobody knows which labels are wrong:

    >>> from unlearning import detect
    >>> found = detect(model, (x, y), detector="neighbours")
    >>> len(found.suspected) > 0
    True
    >>> done = repair(model, (x, y), detect="neighbours", method="first-order", validation=(x_val, y_val))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
