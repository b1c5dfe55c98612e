"""The scores of a trained model."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from unlearning.records.base import Record, Versioned
from unlearning.settings import Count, NonNegative, Positive, Seconds, Sha256, Share, since


class Environment(Record):
    """What the numbers were made with."""

    python: str
    """Version of Python."""
    tensorflow: str
    """Version of TensorFlow."""
    keras: str
    """Version of Keras."""
    numpy: str
    """Version of NumPy."""
    device: str
    """Name of the device that computed."""
    threads: Positive
    """Number of processor threads that TensorFlow could use."""
    floats: Annotated[str, since("0.2", before="float32")] = "float32"
    """What Keras computes with where nothing else is said."""


class ClassScores(Record):
    """One class's entry, or an average, of scikit-learn's report; all shares are fractions of the test split."""

    precision: Share
    """Share of the rows predicted as the class that belong to it."""
    recall: Share
    """Share of the class's rows that are predicted as it."""
    f1_score: Share = Field(alias="f1-score")
    """Harmonic mean of the two (JSON key `f1-score`)."""
    support: NonNegative
    """Number of rows of the class, or of all classes."""


class TrainResults(Versioned):
    """Scores of a trained model. One more key per class (`"0"`, `"1"`, ...) holds that class's scores."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, ClassScores] = Field(init=False)

    config_hash: Sha256
    """SHA-256 over the configurations that determine the numbers."""
    accuracy: Share
    """On the test split."""
    macro_avg: ClassScores = Field(alias="macro avg")
    """Unweighted class average (JSON key `macro avg`)."""
    weighted_avg: ClassScores = Field(alias="weighted avg")
    """Class average weighted by support (JSON key `weighted avg`)."""
    train_loss: float
    """Training loss of the best epoch."""
    test_loss: float
    """Cross-entropy on the test split."""
    epochs_for_min: Positive
    """The best epoch, from 1."""
    time: Seconds
    """Wall-clock seconds of training."""
    cpu_time_s: Seconds
    """Process CPU seconds of training."""
    rows: Count
    """Training rows."""
    corrupted_rows: Count
    """Rows whose label (or image) was wrong."""
    validation_accuracy_clean: Share
    """Accuracy on the validation split with true labels."""
    validation_accuracy_noisy: Share | None
    """Accuracy on the validation split corrupted like the training rows, or None."""
    num_params: Count
    """Trainable parameters."""
    model_sha256: Sha256
    """Hash of the stored weights file."""
    data_sha256: Sha256
    """Hash of images and labels."""
    corruption_sha256: Annotated[Sha256 | None, since("0.2", before=None)] = None
    """Hash of the corruption that the model was trained with; None of a clean model."""
    environment: Environment
    """Versions and device."""
