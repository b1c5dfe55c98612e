"""What every objective is: frozen settings with one verb, and what it returns. Nothing here imports Keras."""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from unlearning.errors import InputError
from unlearning.settings import Settings

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What to compile and fit.

    Attributes:
        model: The model to train: the given one, or one that shares its layers. Save the given one.
        data: What to train it on.
        loss: What to compile it with.
    """

    model: keras.Model
    data: Any
    loss: keras.losses.Loss


class Objective(Settings, abc.ABC):
    """What training minimises; the fields are its options."""

    one_device: ClassVar[bool] = False
    """Whether its steps are its own and do not reduce gradients over the replicas of a `tf.distribute` strategy."""
    comparable: ClassVar[bool] = False
    """Whether its losses can be compared across epochs: no burn-in, no blends, and a lower bound."""

    def prepare(
        self, model: keras.Model, data: keras.utils.PyDataset, *, num_classes: int, epochs: int, seed: int
    ) -> Prepared:
        """Makes the objective ready for `compile` and `fit`.

        Args:
            model: A model with logit outputs. For an objective of its own steps: Sequential or functional.
            data: Data set of batches with class numbers as labels, such as `ShuffledBatches`.
            num_classes: Number of classes.
            epochs: Epochs of the whole training.
            seed: Seeds what the objective draws.

        Returns:
            Model, data and loss.

        Raises:
            InputError: If model and data do not fit, or an objective for one device gets a model that is on several.
        """
        strategy = getattr(model, "distribute_strategy", None)  # of TensorFlow's models
        if self.one_device and strategy is not None and strategy.num_replicas_in_sync > 1:
            expected = f"a model on one device for {type(self).__name__}"
            raise InputError("model", expected, f"{strategy.num_replicas_in_sync} replicas")
        return self._prepare(model, data, num_classes, epochs, seed)

    @abc.abstractmethod
    def _prepare(
        self, model: keras.Model, data: keras.utils.PyDataset, num_classes: int, epochs: int, seed: int
    ) -> Prepared:
        """Does the work of `prepare`."""


def cross_entropy() -> keras.losses.Loss:
    """Returns the loss that most objectives are compiled with."""
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
