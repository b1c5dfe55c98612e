"""`ScaledActivationProjection`: SAP as a Keras callback; the work is done in `search`."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np

from unlearning.errors import InputError
from unlearning.projection.search import ProjectionReport, Search
from unlearning.projection.settings import ProjectionSettings
from unlearning.projection.sites import find_sites
from unlearning.task import Split, check_rows, check_split

logger = logging.getLogger(__name__)


class ScaledActivationProjection(keras.callbacks.Callback):
    """Projects the network at the end of training, or every few epochs.

    Args:
        train: Training rows with their given labels, as `(images, labels)` or `Split`; trusted rows come from here.
        validation: Held-out rows with the labels the user has; they choose `alpha`.
        settings: Hyperparameters; None for the defaults.
        every: Project after every so many epochs, too; None: only at the end.
        trusted_rows: Row numbers of `train` to trust, instead of a selection.
        seed: Seed of what is drawn.
        **overrides: Fields of `ProjectionSettings` to change.

    Attributes:
        reports: One `ProjectionReport` a projection.

    Raises:
        InputError: If data or settings make no sense.

    Example:
        >>> sap = ScaledActivationProjection((x, y), (x_val, y_val), trusted_count=50)
        >>> history = model.fit(x, y, epochs=2, callbacks=[sap], verbose=0)
        >>> sap.reports[-1].validation_accuracy_after >= sap.reports[-1].validation_accuracy_before
        True
    """

    def __init__(
        self,
        train: Split | tuple[np.ndarray, np.ndarray],
        validation: Split | tuple[np.ndarray, np.ndarray],
        *,
        settings: ProjectionSettings | None = None,
        every: int | None = None,
        trusted_rows: np.ndarray | None = None,
        seed: int = 0,
        **overrides: Any,
    ) -> None:
        super().__init__()
        self._train, self._validation = check_split("train", train), check_split("validation", validation)
        if every is not None and every < 1:
            raise InputError("every", "a positive number of epochs, or None", every)
        self._settings = (settings or ProjectionSettings()).changed(**overrides)
        if trusted_rows is not None:
            trusted_rows = check_rows("trusted_rows", trusted_rows, len(self._train))
        self._given = trusted_rows
        self._every, self._seed = every, seed
        self._pending = False
        self.reports: list[ProjectionReport] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the layers to project, so that a model without any is refused before it is trained."""
        if self.model.built:
            find_sites(self.model, self._settings.include, self._settings.exclude)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Projects where `every` says so; Keras calls this."""
        self._pending = self._every is None or (epoch + 1) % self._every != 0
        if not self._pending:
            self.project()

    def on_train_end(self, logs: Any = None) -> None:
        """Projects, unless the last epoch just did; Keras calls this."""
        if self._pending:
            self.project()

    def project(self) -> ProjectionReport:
        """Projects the callback's model now.

        Returns:
            The report; it is also appended to `reports`. The model is never worse on the validation rows than before.

        Raises:
            InputError: If the model has no layer to project.
        """
        if not isinstance(self.model, keras.Model):
            raise InputError("model", "a model (pass the callback to fit, or call set_model)", self.model)
        search = Search(self.model, self._train, self._validation, self._settings, self._seed)
        report = search.run(self._given)
        self.reports.append(report)
        if not report.applied:
            logger.info("SAP left the network as it was: %s.", report.status)
        return report
