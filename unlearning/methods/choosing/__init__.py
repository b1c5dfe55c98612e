"""`auto`: the method that chooses what a model is taught and from where on it may move, by knowledge and by time.

- `lessons`: what each flagged row teaches, and policies for those whose right label nobody knows
- `course`: steps and the learning rate over them
- `levels`: the places from which a model may move, with activations computed once, and trainings above them
- `search`: from cheap to dear, against the clock
- `words`: what it says of itself
- `auto`: the method
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
