"""Networks that were trained on other pictures, and what they see in yours: one feature vector a row.

`open_eyes` takes the path of a `.keras` or LiteRT file, or the name of a network of `keras.applications` or of
keras-hub; `see` returns the features of images, from the cache where the same eyes have seen the same images before.
Importing this package imports no Keras.

Example:
    >>> from unlearning.eyes import open_eyes
    >>> open_eyes("no-such-network")
    Traceback (most recent call last):
    ...
    unlearning.errors.InputError: Invalid value for argument `eyes`. Expected own, a .keras or .tflite file, a name of \
keras.applications, or hub: and a preset of keras-hub. Received: 'no-such-network'
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
