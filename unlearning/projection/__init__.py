"""Scaled Activation Projection (SAP): corrective unlearning without knowing which labels are wrong.

Every kernel is multiplied from the input side by a projection onto what the layer receives from *trusted* rows, those
the model finds easy. Directions that only memorised rows use are damped. Kodge, Ravikumar, Saha and Roy, "SAP:
Corrective Machine Unlearning with Scaled Activation Projection for Label Noise Robustness", AAAI 2025.

- `sites`: the kernels of a model, and the rows of numbers each of them multiplies
- `statistics`: one streaming pass that gathers the second moments of those rows
- `solver`: the projected kernel in closed form
- `selection`: trusted rows
- `search`: one projection of a network, its scale chosen on validation rows
- `callback`: `ScaledActivationProjection`, the Keras callback around it
- `settings`: its hyperparameters
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
