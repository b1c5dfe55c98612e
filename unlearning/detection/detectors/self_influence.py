"""Self-influence: how far a row's own gradient reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from unlearning.detection.base import Detection, Evidence
from unlearning.detection.cuts import AnyCut
from unlearning.detection.features import last_dense
from unlearning.errors import InputError
from unlearning.progress import progress_bar
from unlearning.settings import PositiveFloat

if TYPE_CHECKING:
    import keras

_BLOCK = 8192  # rows of features in one float64 block


class SelfInfluence(AnyCut):
    """The length of a row's own loss gradient in the last dense layer, in a metric of choice.

    With logits `W^T h + b` the gradient of the cross-entropy is `h (p - y)^T` for the kernel and `p - y` for the bias,
    so that its squared length is `||p - y||^2 * h~^T M h~`, where `h~` is the features (and a 1 for the bias). `M` is
    the identity (the self-influence of TracIn at one checkpoint; Pruthi et al., NeurIPS 2020), or with `curvature` the
    inverse of the damped second moment `A = mean(h~ h~^T) + damping * mean(diag) * I`: the feature factor of a
    Kronecker-factored Gauss-Newton matrix, which stops rows with large features from looking suspicious.

    `scores` are lengths, not squares; with `curvature` in units of the metric.
    """

    curvature: bool = False
    """Use the inverse second moment."""
    damping: PositiveFloat = 1e-2
    """In units of the mean diagonal of the second moment."""

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        layer = _logit_layer(evidence)
        probabilities, labels = evidence.probabilities, evidence.labels
        errors = probabilities.copy()
        errors[np.arange(len(labels)), labels] -= 1
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(labels), _BLOCK)]

        def features(block: slice) -> np.ndarray:
            values = evidence.features[block].astype(np.float64)
            return np.hstack([values, np.ones((len(values), 1))]) if layer.use_bias else values

        factor = None
        if self.curvature:
            moment = sum(features(block).T @ features(block) for block in blocks) / len(labels)
            moment = np.asarray(moment)
            level = float(np.trace(moment)) / len(moment)
            try:
                factor = cho_factor(moment + self.damping * (level or 1.0) * np.eye(len(moment)))
            except LinAlgError as error:
                raise InputError(
                    "damping", "enough to make the second moment positive definite", self.damping
                ) from error
        lengths = np.empty(len(labels))
        for block in progress_bar(blocks, description="self-influence", unit="block"):
            values = features(block)
            turned = values if factor is None else cho_solve(factor, values.T).T
            lengths[block] = np.einsum("nd,nd->n", values, turned)
        scores = np.sqrt(np.einsum("nk,nk->n", errors, errors) * np.maximum(lengths, 0))
        details = {"out_of_sample": False, "layer": layer.name, "bias": bool(layer.use_bias)}
        return self._cut(scores, labels, probabilities.argmax(-1), evidence.seed, details)


def _logit_layer(evidence: Evidence) -> keras.layers.Dense:
    """The last dense layer, if its outputs are the logits: nothing but a softmax may follow."""
    import keras

    layer = last_dense(evidence.model)
    position = [id(other) for other in evidence.model.layers].index(id(layer))
    behind = evidence.model.layers[position + 1 :]
    softmax = (keras.activations.softmax, keras.activations.linear)
    plain = all(
        isinstance(other, keras.layers.Softmax) or getattr(other, "activation", None) in softmax for other in behind
    )
    if layer.units != evidence.num_classes or layer.activation not in softmax or not plain:
        raise InputError("model", "a Dense layer of logits at the end, with or without a softmax", layer.name)
    return layer
