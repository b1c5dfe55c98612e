"""One unlearning task seen through a head: what the influence updates share.

With `n` training rows, given labels `y_i` and corrections `z -> z~`, the model was trained on
`L(theta) = (1/n) sum_i l(z_i, theta)` and should have been trained on `L~`, where flagged rows stand corrected and
removed rows have weight 0. The gradient difference of the flagged rows,

    d = (1/n) sum_flagged [grad l(z~_i, theta_0) - grad l(z_i, theta_0)] = grad L~(theta_0) - grad L(theta_0),

drives both closed-form updates of Warnecke et al. (NDSS 2023): `theta_0 - tau n d` and `theta_0 - H^-1 d`. A further
step from another `theta` needs the same quantity there. The right-hand side used is

    r(theta) = grad L~(theta) - grad L(theta_0),

which equals `d` at `theta_0` exactly, so the first step is the published one, and which vanishes where the corrected
objective is as stationary as the trained model was on its own; early-stopped training is thereby not "finished".
"""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf

from unlearning.influence.head import Head
from unlearning.influence.objective import Objective
from unlearning.influence.rows import RowStore
from unlearning.influence.settings import FeatureSettings
from unlearning.profiling import spending
from unlearning.task import REMOVED, UnlearningTask, WorkCount


class InfluenceProblem:
    """Features, objectives and scores of one task; the common ground of the influence methods.

    Args:
        model: The trained model; never changed.
        task: What to unlearn.
        settings: Boundary and feature cache.

    Attributes:
        head: The updated part of the model.
        initial: Its parameters, shape `(size,)`.
        corrected: The objective `L~` over all rows.
        difference: The objective whose gradient at `initial` is `d`; None where nothing is flagged.
        work: Per-example evaluations so far.
    """

    def __init__(self, model: keras.Model, task: UnlearningTask, settings: FeatureSettings) -> None:
        self.task = task
        self.work = WorkCount()
        self._settings = settings
        self.head = Head(model, settings.trainable_from, settings.cache_features)
        self.head.check(task.train.images, task.num_classes)
        self.initial = self.head.parameters()

        flagged, rows = task.corrections, len(task.train)
        images = [task.train.images] if flagged.images is None else [task.train.images, flagged.images]
        self._store = self._build_store(images, "features of the training rows")
        labels = task.train.labels.copy()
        labels[flagged.rows] = np.where(flagged.labels == REMOVED, labels[flagged.rows], flagged.labels)
        weights = np.ones(rows)
        weights[flagged.rows] = flagged.labels != REMOVED
        weights *= task.loss.weights(labels)
        smoothing = task.loss.label_smoothing
        # Corrected images were appended below the training rows; the originals stay for the gradient difference.
        self._corrected_index = np.arange(rows)
        if flagged.images is not None:
            self._corrected_index[flagged.rows] = rows + np.arange(len(flagged))
        self.corrected_labels, self._corrected_weights = labels, weights
        self.corrected = self.corrected_subset(np.arange(rows), normaliser=rows)

        self.difference: Objective | None = None
        if len(flagged):
            # The two halves of the difference are one objective: corrected rows with weight +1, given rows with -1.
            self.difference = Objective(
                self.head,
                self._store,
                np.concatenate([self._corrected_index[flagged.rows], flagged.rows]),
                np.concatenate([labels[flagged.rows], task.train.labels[flagged.rows]]),
                np.concatenate([weights[flagged.rows], -task.loss.weights(task.train.labels[flagged.rows])]),
                normaliser=rows,
                batch_rows=settings.batch_rows,
                penalised=False,
                label_smoothing=smoothing,
            )
        validation = task.choosing
        store = self._build_store([validation.images], "features of the validation rows")
        self._validation = Objective(
            self.head,
            store,
            np.arange(len(validation)),
            validation.labels,
            batch_rows=4 * settings.batch_rows,
            penalised=False,
        )
        self._difference_at_start: tf.Tensor | None = None
        self._offset: tf.Tensor | None = None

    def corrected_subset(self, rows: np.ndarray, normaliser: float | None = None, smoothing: float = 0.0) -> Objective:
        """Returns the corrected objective over some training rows (for sampled curvature).

        Args:
            rows: int64 array of training row numbers.
            normaliser: Divisor of the sum; the number of rows where None.
            smoothing: See `Objective`.
        """
        return Objective(
            self.head,
            self._store,
            self._corrected_index[rows],
            self.corrected_labels[rows],
            self._corrected_weights[rows],
            normaliser=normaliser,
            batch_rows=self._settings.batch_rows,
            smoothing=smoothing,
            label_smoothing=self.task.loss.label_smoothing,
        )

    def errors_objective(self, rng: np.random.Generator, parameters: tf.Tensor, most: int) -> Objective | None:
        """Returns the *summed* difference between what should be said and what the model says, where it errs.

        An error is a pair of what a row should teach and what it must not. Two kinds of row give one:

        1. A row that stays, of whose (corrected) image the model predicts another class than the (corrected) label:
           the label is taught, the prediction untaught. This is the published code's rule.
        2. A flagged row whose given label is withdrawn, where the model still answers the image it was trained on with
           that label: the given label is untaught there. It is needed where the first kind says nothing of a row: a
           removed one has no label to be compared with (nothing is taught, as its weight in the corrected objective is
           0), and a corrected image hides what the model makes of the one it was trained on.

        Args:
            rng: Draws the errors where there are more than `most`.
            parameters: Where the model stands, shape `(size,)`.
            most: Most errors to take.

        Returns:
            The objective; None where there is no error.
        """
        flagged, given = self.task.corrections, self.task.train.labels
        stays = self._corrected_weights != 0
        said = self.training_predictions(parameters)
        wrong = np.flatnonzero(stays & (said != self.corrected_labels))
        taught, untaught, unwanted = wrong, self._corrected_index[wrong], said[wrong]
        withdrawn = flagged.labels == REMOVED
        if flagged.images is not None:
            withdrawn |= flagged.labels != given[flagged.rows]
        if withdrawn.any():
            rows = flagged.rows[withdrawn]
            seen = Objective(self.head, self._store, rows, given[rows], batch_rows=self._settings.batch_rows)
            self.count(forward_rows=seen.rows)
            rows = rows[seen.predictions(parameters).numpy() == given[rows]]
            taught, untaught = np.concatenate([taught, rows]), np.concatenate([untaught, rows])
            unwanted = np.concatenate([unwanted, given[rows]])
        if not len(taught):
            return None
        chosen = rng.choice(len(taught), size=min(most, len(taught)), replace=False)
        taught, untaught, unwanted = taught[chosen], untaught[chosen], unwanted[chosen]
        return Objective(
            self.head,
            self._store,
            np.concatenate([self._corrected_index[taught], untaught]),
            np.concatenate([self.corrected_labels[taught], unwanted]),
            np.concatenate([self._corrected_weights[taught], -self.task.loss.weights(unwanted)]),
            normaliser=1.0,
            batch_rows=self._settings.batch_rows,
            penalised=False,
            label_smoothing=self.task.loss.label_smoothing,
        )

    @spending("gradients")
    def right_hand_side(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns `r(theta)`, shape `(size,)`; at the trained parameters this is the gradient difference `d`."""
        assert self.difference is not None
        if self._difference_at_start is None:
            self._difference_at_start = self.difference.gradient(self.initial)
            self.count(gradient_rows=self.difference.rows)
        if parameters is self.initial:
            return self._difference_at_start
        if self._offset is None:  # grad L(theta_0) = grad L~(theta_0) - d, needed from the second step on
            self._offset = self.corrected.gradient(self.initial) - self._difference_at_start
            self.count(gradient_rows=self.corrected.rows)
        self.count(gradient_rows=self.corrected.rows)
        return self.corrected.gradient(parameters) - self._offset

    def validation_score(self, parameters: tf.Tensor) -> float:
        """Returns the accuracy on the validation rows that choose; parameters that are not finite score -1.

        Where likelihood is the measure it is the geometric mean of the probabilities of their labels.
        """
        if not bool(tf.reduce_all(tf.math.is_finite(parameters))):
            return -1.0
        self.count(forward_rows=self._validation.rows)
        if self.task.measure == "likelihood":
            loss = float(self._validation.loss(parameters))
            return math.exp(-loss) if math.isfinite(loss) else -1.0
        predictions = self._validation.predictions(parameters).numpy()
        return float(np.mean(predictions == self.task.choosing.labels))

    def training_predictions(self, parameters: tf.Tensor) -> np.ndarray:
        """Returns the predicted class of every training row, `(n,)`."""
        self.count(forward_rows=self.corrected.rows)
        return self.corrected.predictions(parameters).numpy()

    def count(self, forward_rows: int = 0, gradient_rows: int = 0, curvature_rows: int = 0) -> None:
        """Adds to the work done."""
        self.work = self.work + WorkCount(forward_rows, gradient_rows, curvature_rows)

    @spending("features")
    def _build_store(self, images: list[np.ndarray], description: str) -> RowStore:
        if self.head.is_cached:
            self.count(forward_rows=sum(len(part) for part in images))
        return RowStore.from_images(
            self.head,
            images,
            feature_dtype=self._settings.feature_dtype,
            memory_limit_bytes=self._settings.memory_limit_bytes,
            description=description,
        )
