"""Cutting a trained model at a named layer: a frozen backbone, and the head whose weights an update may move.

The backbone runs in inference mode and never changes, so its outputs (the features) are constants: they are computed
once, and every gradient and curvature product afterwards costs only the head. On the reference network this makes one
product tens of times cheaper than differentiating through the whole model.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from unlearning.errors import InputError
from unlearning.influence.determinism import check_images, check_model
from unlearning.interop import (
    ALL,
    as_logit_model,
    choose_boundary,
    copy_model,
    cut,
    gives_probabilities,
    has_graph,
    inference_arguments,
    probability_floor,
    read_logits,
)

_TRIED_ROWS = 512


class Head:
    """The differentiable part of a classifier as a function of one flat parameter vector.

    Args:
        model: Any built Keras classifier with softmax or logit outputs. It is copied, never changed.
        trainable_from: Name of the first layer to update; `"all"` for every weight; None for the dense head behind the
            last Flatten or global pooling layer (or, without one, the last layer that has weights).
        cache_features: Cut the graph at the boundary and treat the backbone's outputs as data. With False the head
            takes images and every evaluation runs the whole network (the reference's behaviour; for comparison).

    Attributes:
        boundary: Name of the first updated layer, or `"all"`.
        size: Number of parameters in the flat vector.
        dtype: Their TensorFlow dtype.

    Raises:
        InputError: If the layer does not exist, has no trainable weights at or behind it, or the graph cannot be cut
            there.
    """

    def __init__(self, model: keras.Model, trainable_from: str | None = None, cache_features: bool = True) -> None:
        self._original = model
        self._work = as_logit_model(model)
        self.boundary = choose_boundary(self._work, trainable_from)
        self._backbone: keras.Model | None = None
        self._function = self._work
        layers = self._work.layers
        if self.boundary != ALL:
            position = [layer.name for layer in layers].index(self.boundary)
            if cache_features and has_graph(self._work) and position > 0:
                parts = cut(self._work, layers[position])
                if parts is not None:
                    self._backbone, self._function = parts
            layers = layers[position:]
        tracked = {id(v): v for layer in layers for v in layer.trainable_variables}
        # The head of a graph is what lies behind the cut; layers listed after it but beside it are not part of it.
        self.variables = [v for v in self._function.trainable_variables if id(v) in tracked]
        if not self.variables:
            raise InputError("trainable_from", "a layer with trainable weights at or behind it", self.boundary)
        self.dtype = tf.as_dtype(self.variables[0].dtype)
        self._shapes = [tuple(v.shape) for v in self.variables]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self.size = sum(self._sizes)
        self._takes_log = False
        self._inference = inference_arguments(self._work)

    def check(self, images: np.ndarray, num_classes: int) -> None:
        """Runs a few images through the model to see whether they fit each other.

        Passes on an `InputError` if shapes or class counts do not fit, if the model puts out probabilities whose logits
        are neither at hand nor to be had from a logarithm, or if the same rows do not give the same twice.
        """
        self._takes_log = gives_probabilities(self._work, images, num_classes)
        if self._takes_log:
            self._check_logarithm(images)
        check_images(images)
        check_model(self._work, images)

    def layers(self) -> list[keras.layers.Layer]:
        """Returns the layers of the differentiated part, nested ones included."""
        return list(self._function._flatten_layers(include_self=False))

    def parameters(self) -> tf.Tensor:
        """Returns the model's own parameters as one flat vector of shape `(size,)`."""
        return self.flatten([v.value for v in self.variables])

    def flatten(self, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
        """Concatenates tensors shaped like the head's variables into one vector of shape `(size,)`."""
        return tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)

    def unflatten(self, vector: tf.Tensor) -> list[tf.Tensor]:
        """Splits a vector of shape `(size,)` into tensors shaped like the head's variables."""
        return [
            tf.reshape(part, shape) for part, shape in zip(tf.split(vector, self._sizes), self._shapes, strict=True)
        ]

    def regularisation(self, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
        """Returns the sum of the model's own weight penalties at the given parameter values (a scalar)."""
        pairs = [(v.regularizer, t) for v, t in zip(self.variables, tensors, strict=True) if v.regularizer is not None]
        return tf.add_n([penalty(t) for penalty, t in pairs]) if pairs else tf.zeros([], self.dtype)

    @property
    def is_regularised(self) -> bool:
        """Whether any updated weight carries a penalty."""
        return any(v.regularizer is not None for v in self.variables)

    def logits(self, tensors: Sequence[tf.Tensor], inputs: tf.Tensor) -> tf.Tensor:
        """Evaluates the head in inference mode.

        Args:
            tensors: Parameter values, shaped like `variables`.
            inputs: Features (or images, where nothing is cached), shape `(rows, ...)`.

        Returns:
            Logits of shape `(rows, classes)`.
        """
        values = {id(v): t for v, t in zip(self.variables, tensors, strict=True)}
        trainable = [values.get(id(v), v.value) for v in self._function.trainable_variables]
        fixed = [v.value for v in self._function.non_trainable_variables]
        outputs, _ = self._function.stateless_call(trainable, fixed, inputs, **self._inference)
        return read_logits(outputs, self._takes_log)

    def _check_logarithm(self, images: np.ndarray) -> None:
        """Refuses probabilities that have lost what curvature needs.

        A logarithm of float32 probabilities gives products within 1e-5, so long as none of them has become zero (from a
        difference of 85 between logits on): a class that has becomes one that nothing can bring back.

        Raises:
            InputError: If the probabilities are in half precision, or one of them has become zero.
        """
        scores = self._work(np.asarray(images[:_TRIED_ROWS], dtype=np.float32), **self._inference)
        if hasattr(scores, "_keras_logits"):
            return
        dtype = keras.backend.standardize_dtype(scores.dtype)
        smallest = float(keras.ops.min(keras.ops.cast(scores, "float64")))
        if dtype not in ("float32", "float64"):
            received = f"probabilities in {dtype}"
        elif smallest <= probability_floor(dtype):
            received = f"probabilities in {dtype} as small as {smallest:g}"
        else:
            return
        last = f"layer {self._work.layers[-1].name!r}" if has_graph(self._work) else f"{type(self._work).__name__}.call"
        raise InputError(
            "model",
            f"logits from {last}, or probabilities that a Softmax layer or a layer with activation='softmax' puts out "
            "last, so that their logits are known",
            received,
        )

    @property
    def is_cached(self) -> bool:
        """Whether the head takes features of a backbone rather than images."""
        return self._backbone is not None

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of one row of features."""
        if self._backbone is None:
            raise InputError("This head takes images; it has no features.")
        return tuple(self._backbone.output_shape[1:])

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """Runs the frozen backbone in inference mode on a batch of images."""
        assert self._backbone is not None
        return self._backbone(images, training=False)

    def repaired(self, vector: tf.Tensor) -> keras.Model:
        """Returns a fresh copy of the original model with the head's parameters taken from `vector`."""
        for variable, value in zip(self.variables, self.unflatten(vector), strict=True):
            variable.assign(value)
        model = copy_model(self._original)
        model.set_weights(self._work.get_weights())
        return model
