"""Training through `model.fit`, resumable after a kill. Plain Keras: it runs on any backend.

Importing this package, its settings, recipes or list of objectives imports no Keras.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
