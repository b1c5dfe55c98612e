"""Feature-space unlearning (FSPMU): push forget rows off the class centroids, pull the others onto them.

Every epoch first passes over the *forget rows* (those whose labels are, or seem to be, wrong) and raises the divergence
from the model as it was while their features leave the centroids they are closest to; then it trains on the *retain
rows* as usual, their features drawn to the centroid of their label. FSPMU is SCRUB (Kurmanji, Triantafillou, Hayes and
Triantafillou, "Towards Unbounded Machine Unlearning", NeurIPS 2023) with centroid terms in place of the retain
divergence; the equations here are those of its public code (github.com/meruemon/FSPMU).

- `losses`: centroids, forget and retain losses, clipping and the learning-rate schedule, as pure functions
- `mixture`: forget rows from a two-component Gaussian mixture on losses
- `callback`: `FeatureSpaceUnlearning`, the Keras callback that puts it together; `wrapping` is what it does to a model
- `settings`: its hyperparameters
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
