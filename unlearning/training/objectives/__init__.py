"""Training that tolerates wrong labels: six published objectives beside plain cross-entropy, by name.

To add one, write a class of settings that derives from `Objective` in a file of its own, and add one line to
`OBJECTIVES` in `registry`; other packages call `register`, or name an entry point in the group
`unlearning.objectives`. The Keras objects that do the work (`MixUp`, `LogitClip`, ...) know nothing of all this and
serve in anybody's `compile` and `fit`. Keras is imported when one of them is asked for, or an objective is prepared.

Example:
    >>> from unlearning.training import objectives
    >>> ready = objectives.get("sam", {"rho": 0.1}).prepare(model, batches, num_classes=3, epochs=2, seed=0)
    >>> ready.model.compile("sgd", loss=ready.loss, metrics=["accuracy"])
    >>> history = ready.model.fit(ready.data, epochs=2, shuffle=False, verbose=0)
    >>> model.save("trained.keras")
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
