"""The JSON files: their one definition, their hashes, and how they are read and written.

Keys of the published result files keep their names and get honest meanings: all accuracies are on the test split, and
`n_gradients` counts per-example gradient evaluations. Shares are fractions, times are seconds. The sections
"Attributes" below are also what the exported JSON Schema says of the fields (see `unlearning.records.schema`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from unlearning.errors import InputError, invalid
from unlearning.strict_json import parse_json

SCHEMA_VERSION: Literal[1] = 1
_LARGEST_FILE = 16 * 2**20


class Record(BaseModel):
    """Base of all records: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class DataConfig(Record):
    """Which rows. Paths are not recorded, only names.

    Attributes:
        dataset: Name of the image set: `digits`, a tensorflow-datasets name, or the stem of a file or folder.
        data_seed: Seed of the splits (and of the subset, where there is one).
        train_rows: Size of the random training subset in rows, or None for all rows.
        image_size: Height and width in pixels to which image files were resized, or None.
    """

    dataset: str
    data_seed: int
    train_rows: int | None = None
    image_size: int | None = None


class TrainConfig(Record):
    """How a model was trained.

    Attributes:
        schema_version: Version of this schema.
        data: Which rows.
        model: Name of the architecture.
        epochs: Passes over the training rows.
        batch_size: Rows a training step.
        learning_rate: Peak learning rate of the optimizer.
        optimizer: Name of the optimizer.
        schedule: How the learning rate moves over the training.
        weight_decay: Decoupled weight decay: the share of a weight taken off it at a learning rate of one.
        augment: Whether images were shifted and mirrored at random while training.
        mixed_precision: Whether training computed in float16.
        deterministic: Whether deterministic kernels were forced.
        seed: Seed of initial weights, row order and augmentation.
        objective: What training minimised; left out where it is plain cross-entropy.
        objective_options: Constants of the objective, by name; left out where it is plain cross-entropy.
        milestones: Epochs (from 0) from which on the learning rate is multiplied by `decay`; left out with `decay`
            where the schedule is another one.
        decay: That factor.
        nesterov: Whether the momentum of SGD is Nesterov's; left out where it is.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    data: DataConfig
    model: str
    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: Literal["adam", "sgd"]
    schedule: Literal["constant", "cosine", "step"]
    weight_decay: float
    augment: bool
    mixed_precision: bool
    deterministic: bool
    seed: int
    objective: str = "cross-entropy"
    objective_options: dict[str, float] = {}
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    nesterov: bool = True

    @model_serializer(mode="wrap")
    def _without_what_is_plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves plain settings out, so that files (and hashes) from before there were others stay valid."""
        content = handler(self)
        if self.objective == "cross-entropy":
            del content["objective"], content["objective_options"]
        if self.schedule != "step" and not self.milestones and self.decay == 0.1:
            del content["milestones"], content["decay"]
        if self.nesterov:
            del content["nesterov"]
        return content


class PoisonConfig(Record):
    """How labels (or images) were corrupted.

    Attributes:
        schema_version: Version of this schema.
        noise: Kind of noise.
        budget: Requested number of corrupted training rows.
        seed: Seed of the choice of rows and labels.
        labels_key: Which labels of the file of human labels; None for other noise.
        labels_sha256: Hash of recorded labels; left out for other noise.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    noise: str
    budget: int
    seed: int
    labels_key: str | None = None
    labels_sha256: str | None = None

    @model_serializer(mode="wrap")
    def _without_plain_hash(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves the hash out where no labels were recorded, for the same reason."""
        content = handler(self)
        if self.labels_sha256 is None:
            del content["labels_sha256"]
        return content


class DetectConfig(Record):
    """How a cell's suspects were found."""

    schema_version: Literal[1] = SCHEMA_VERSION
    detector: str
    options: dict[str, Any]


class UnlearnConfig(Record):
    """How a model was repaired.

    Attributes:
        schema_version: Version of this schema.
        method: Registered name, or several joined by `+`.
        variant: Text that tells runs of one method apart; part of the folder's name.
        hyperparameters: All hyperparameters of the method, by field name; by stage in a chain.
        validation: Labels of the validation rows that the method saw: wrong like the training rows', or true.
        seed: Seed of what the method draws.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    method: str
    variant: str
    hyperparameters: dict[str, Any]
    validation: Literal["noisy", "clean"]
    seed: int


class Environment(Record):
    """What the numbers were made with.

    Attributes:
        python: Version of Python.
        tensorflow: Version of TensorFlow.
        keras: Version of Keras.
        numpy: Version of NumPy.
        device: Name of the device that computed.
        threads: Number of processor threads that TensorFlow could use.
    """

    python: str
    tensorflow: str
    keras: str
    numpy: str
    device: str
    threads: int


class ClassScores(Record):
    """One class's entry, or an average, of scikit-learn's report; all shares are fractions of the test split.

    Attributes:
        precision: Share of the rows predicted as the class that belong to it.
        recall: Share of the class's rows that are predicted as it.
        f1_score: Harmonic mean of the two (JSON key `f1-score`).
        support: Number of rows of the class, or of all classes.
    """

    precision: float
    recall: float
    f1_score: float = Field(alias="f1-score")
    support: float


class TrainResults(BaseModel):
    """Scores of a trained model. One more key per class (`"0"`, `"1"`, ...) holds that class's scores.

    Attributes:
        schema_version: Version of this schema.
        config_hash: SHA-256 over the configurations that determine the numbers.
        accuracy: On the test split.
        macro_avg: Unweighted class average (JSON key `macro avg`).
        weighted_avg: Class average weighted by support (JSON key `weighted avg`).
        train_loss: Training loss of the best epoch.
        test_loss: Cross-entropy on the test split.
        epochs_for_min: The best epoch, from 1.
        time: Wall-clock seconds of training.
        cpu_time_s: Process CPU seconds of training.
        rows: Training rows.
        corrupted_rows: Rows whose label (or image) was wrong.
        validation_accuracy_clean: Accuracy on the validation split with true labels.
        validation_accuracy_noisy: Accuracy on the validation split corrupted like the training rows, or None.
        num_params: Trainable parameters.
        model_sha256: Hash of the stored weights file.
        data_sha256: Hash of images and labels.
        environment: Versions and device.
    """

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)
    __pydantic_extra__: dict[str, ClassScores] = Field(init=False)

    schema_version: Literal[1] = SCHEMA_VERSION
    config_hash: str
    accuracy: float
    macro_avg: ClassScores = Field(alias="macro avg")
    weighted_avg: ClassScores = Field(alias="weighted avg")
    train_loss: float
    test_loss: float
    epochs_for_min: int
    time: float
    cpu_time_s: float
    rows: int
    corrupted_rows: int
    validation_accuracy_clean: float
    validation_accuracy_noisy: float | None
    num_params: int
    model_sha256: str
    data_sha256: str
    environment: Environment


class Work(Record):
    """Per-example evaluations; see `unlearning.task.WorkCount`.

    Attributes:
        forward_rows: Rows passed forward through the network or its head.
        gradient_rows: Rows whose gradient was taken.
        curvature_rows: Rows that entered a product of the curvature with a vector.
    """

    forward_rows: int
    gradient_rows: int
    curvature_rows: int


class Solve(Record):
    """One linear solve; see `unlearning.task.SolveReport`.

    Attributes:
        solver: Name of the solver.
        status: Why it ended.
        iterations: Iterations made.
        relative_residual: Norm of the residual as a fraction of the right-hand side's; None where it is not finite.
        damping: Multiple of the identity that was added to the curvature.
        lambda_max: Estimate of the largest eigenvalue of the curvature, or None.
        negative_curvature: Whether a direction of negative curvature was met.
        matvecs: Products of the curvature with a vector.
    """

    solver: str
    status: str
    iterations: int
    relative_residual: float | None
    damping: float
    lambda_max: float | None
    negative_curvature: bool
    matvecs: int


class UnlearningResults(Record):
    """Scores of a repair.

    Attributes:
        schema_version: Version of this schema.
        method: Registered name.
        variant: Text that tells runs of one method apart.
        config: The method's configuration.
        config_hash: SHA-256 over it and the configurations of data, model, and noise.
        budget: Requested number of corrupted rows.
        rate: Share of training rows that are corrupted.
        seed: Seed of noise, poisoned model and method.
        num_classes: Number of classes.
        acc_clean: Test accuracy of the clean model.
        acc_before_fix: Test accuracy of the poisoned model.
        acc_after_fix: Test accuracy of the repaired model.
        acc_perc_restored: `(after - before) / (clean - before)`, a fraction; None where nothing was lost.
        diverged: Whether the method met non-finite numbers or a diverging solve.
        applied: Whether any weight was changed.
        status: Why.
        validation_accuracy_before: On the validation split the method saw.
        validation_accuracy_after: The same after the repair; never lower.
        corrected_accuracy_before: Share of bad training rows predicted as their true label, before.
        corrected_accuracy_after: The same after the repair.
        bad_label_agreement_before: Share of bad training rows still predicted as their wrong label, before.
        bad_label_agreement_after: The same after the repair.
        n_gradients: Per-example gradient evaluations.
        work: All work counts.
        unlearning_duration_s: Wall-clock seconds: features, search and solves; what `sharding` prepares in advance is
            in `details`.
        unlearning_cpu_s: Process CPU seconds of the same.
        training_time_s: Wall-clock seconds that training the poisoned model took.
        training_cpu_s: Process CPU seconds of the same.
        num_params: Trainable parameters of the model.
        solves: One entry a linear solve.
        history: One entry a step.
        details: What the method adds, such as the spectra and trusted rows of `sap`; by stage in a chain.
        class_report_before: Scores by class (`"0"`, `"1"`, ...) on the test split, before. This field and those below
            are None in files from before they were measured.
        class_report_after: The same after the repair.
        membership_auc_before: How well the loss of the wrong label tells the bad training rows from test rows with
            labels as wrong, as an area under the ROC curve (0.5: no trace), before; None where there are no such rows.
        membership_auc_after: The same after the repair.
        disagreement_before: Share of test rows where poisoned and retrained model predict different classes; None
            without a retrained model in the same cell.
        disagreement_after: The same of the repaired model.
        disagreement_reference: Which one that was: `retraining` or `retraining-unflagged`.
        class_names: Names of the classes in label order; None with more than 100.
        confusion_before: Test rows by true class (rows) and predicted class (columns), before; None with more than 100
            classes.
        confusion_after: The same after the repair.
        model_sha256: Hash of the stored repaired weights.
        environment: Versions and device.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    method: str
    variant: str
    config: UnlearnConfig
    config_hash: str
    budget: int
    rate: float
    seed: int
    num_classes: int
    acc_clean: float
    acc_before_fix: float
    acc_after_fix: float
    acc_perc_restored: float | None
    diverged: bool
    applied: bool
    status: str
    validation_accuracy_before: float
    validation_accuracy_after: float
    corrected_accuracy_before: float | None
    corrected_accuracy_after: float | None
    bad_label_agreement_before: float | None
    bad_label_agreement_after: float | None
    n_gradients: int
    work: Work
    unlearning_duration_s: float
    unlearning_cpu_s: float
    training_time_s: float
    training_cpu_s: float
    num_params: int
    solves: list[Solve]
    history: list[dict[str, float | int | str | None]]
    details: dict[str, Any] = {}
    class_report_before: dict[str, ClassScores] | None = None
    class_report_after: dict[str, ClassScores] | None = None
    membership_auc_before: float | None = None
    membership_auc_after: float | None = None
    disagreement_before: float | None = None
    disagreement_after: float | None = None
    disagreement_reference: str | None = None
    class_names: list[str] | None = None
    confusion_before: list[list[int]] | None = None
    confusion_after: list[list[int]] | None = None
    model_sha256: str
    environment: Environment


class FailedStage(Record):
    """One thing that went wrong in a cell.

    Attributes:
        stage: `training`, the folder name of a method, or `worker` where the whole process ended.
        error_type: Name of the exception's class.
        message: Its text.
        traceback: The innermost frames, outermost first, as `file:line in function`.
    """

    stage: str
    error_type: str
    message: str
    traceback: list[str] = []


class CellFailure(Record):
    """Why a cell of a grid is unfinished; a later successful run removes the file.

    Attributes:
        schema_version: Version of this schema.
        budget: The cell's budget.
        seed: The cell's seed.
        failures: What went wrong, in order; methods that are not named here are done.
        failed_at: When, as ISO 8601 in UTC.
        environment: Versions and device.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    budget: int
    seed: int
    failures: list[FailedStage] = Field(min_length=1)
    failed_at: str
    environment: Environment


class DetectionMetrics(Record):
    """A detection against the rows that are truly bad; see `unlearning.detection.metrics`. All are fractions.

    Attributes:
        precision: Share of the suspects that are bad.
        recall: Share of the bad rows that are suspect.
        f1: Harmonic mean of the two.
        auroc: Area under the receiver operating characteristic of the scores, or None where it is undefined.
        average_precision: Area under the precision-recall curve of the scores, or None where it is undefined.
    """

    precision: float
    recall: float
    f1: float
    auroc: float | None
    average_precision: float | None


class DetectionResults(Record):
    """What `detect` found among the training rows of a model.

    Attributes:
        schema_version: Version of this schema.
        detector: Registered name.
        options: Its options.
        rows: Training rows.
        num_classes: Number of classes.
        suspects: Rows called suspect.
        suspect_share: The same as a fraction of the rows.
        suggestions_changed: Suspects whose suggested label differs from the given one.
        threshold: The score that divides, or None where no single number does.
        status: `ok`, or why the suspects deserve no trust.
        details: What the detector adds, such as the parameters of a mixture.
        metrics: Scores against the known bad rows, or None where they are not known.
        bad_rows: Number of known bad rows, or None.
        seed: Seed of what the detector draws.
        detection_duration_s: Wall-clock seconds.
        detection_cpu_s: Processor seconds; None in files from before they were measured.
        config_hash: Of what a cell's detection was made from; None outside of cells.
        environment: Versions and device.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    detector: str
    options: dict[str, Any]
    rows: int
    num_classes: int
    suspects: int
    suspect_share: float
    suggestions_changed: int
    threshold: float | None
    status: str
    details: dict[str, Any] = {}
    metrics: DetectionMetrics | None
    bad_rows: int | None
    seed: int
    detection_duration_s: float
    detection_cpu_s: float | None = None
    config_hash: str | None = None
    environment: Environment


class RepairResults(Record):
    """What `repair` did to a user's model; accuracies are against the labels found in the data.

    Attributes:
        schema_version: Version of this schema.
        method: Registered name.
        hyperparameters: Its hyperparameters.
        flagged_rows: Rows named in the CSV.
        removed_rows: Those of them that are removed rather than relabelled.
        applied: Whether any weight was changed.
        status: Why.
        validation_accuracy_before: On the data's validation split.
        validation_accuracy_after: The same after the repair.
        test_accuracy_before: On the data's test split.
        test_accuracy_after: The same after the repair.
        corrected_accuracy_before: Share of relabelled rows predicted as their corrected label, before.
        corrected_accuracy_after: The same after the repair.
        work: Work counts.
        unlearning_duration_s: Wall-clock seconds.
        solves: One entry a linear solve.
        history: One entry a step.
        details: What the method adds.
        detection: How the flagged rows were found; None where they were given or not needed.
        environment: Versions and device.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    method: str
    hyperparameters: dict[str, Any]
    flagged_rows: int
    removed_rows: int
    applied: bool
    status: str
    validation_accuracy_before: float
    validation_accuracy_after: float
    test_accuracy_before: float
    test_accuracy_after: float
    corrected_accuracy_before: float | None
    corrected_accuracy_after: float | None
    work: Work
    unlearning_duration_s: float
    solves: list[Solve]
    history: list[dict[str, float | int | str | None]]
    details: dict[str, Any] = {}
    detection: DetectionResults | None = None
    environment: Environment


class AngleGroup(Record):
    """Angles of one group of rows, in degrees; None without rows.

    Attributes:
        rows: Number of rows.
        mean: Mean angle over the rows, in degrees.
        std: Standard deviation over the rows (divisor `rows`), in degrees.
    """

    rows: int
    mean: float | None
    std: float | None


class FeatureResults(Record):
    """Where rows lie in feature space before and after a repair; see `unlearning.drawing.features`.

    Attributes:
        schema_version: Version of this schema.
        method: Registered name.
        variant: Text that tells runs of one method apart.
        budget: Requested number of corrupted rows.
        seed: Seed of the cell.
        num_classes: Number of classes.
        features: Length of a feature vector.
        rows: Training rows.
        forget_rows: Those of them that were to be forgotten.
        forget_source: `method`, if its record names them, or `corruption`, the rows that are truly bad.
        tsne_rows: Rows drawn for the t-SNE figure.
        angles: Under `before` and `after`, for `retain` and `forget` rows: the angle between a row's features and the
            centroid of its given label, which is made of the retain rows before the repair.
        poisoned_sha256: Hash of the weights before.
        repaired_sha256: Hash of the weights after.
        environment: Versions and device.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    method: str
    variant: str
    budget: int
    seed: int
    num_classes: int
    features: int
    rows: int
    forget_rows: int
    forget_source: Literal["method", "corruption"]
    tsne_rows: int
    angles: dict[str, dict[str, AngleGroup]]
    poisoned_sha256: str
    repaired_sha256: str
    environment: Environment


KINDS: dict[str, type[BaseModel]] = {
    "train_config": TrainConfig,
    "failure": CellFailure,
    "train_results": TrainResults,
    "poison_config": PoisonConfig,
    "unlearn_config": UnlearnConfig,
    "unlearning_results": UnlearningResults,
    "repair_results": RepairResults,
    "detection_results": DetectionResults,
    "features": FeatureResults,
}
"""All records by name. In an experiment folder the name is that of the file, with `.json`; the records of `repair` and
`detect` stand beside the file that the user asked for, under its name."""


R = TypeVar("R", bound=BaseModel)


def config_hash(*configs: Record) -> str:
    """Returns the SHA-256 of configurations in canonical JSON, as hexadecimal text."""
    content = [config.model_dump(mode="json", by_alias=True) for config in configs]
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def finite(value: Any) -> Any:
    """Replaces NaN and infinities by None, recursively: they are not JSON."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def write_text(path: Path, text: str) -> None:
    """Writes a text file so that `path` holds either the old or the whole new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".partial-", suffix=path.suffix)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, record: BaseModel) -> None:
    """Writes a record atomically."""
    content = record.model_dump(mode="json", by_alias=True)
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, kind: type[R]) -> R:
    """Reads a record.

    Args:
        path: The file.
        kind: The record's type.

    Returns:
        The record.

    Raises:
        InputError: If the file is missing, not JSON, absurdly large, or not such a record.
    """
    return parse_record(path, read_raw(path), kind)


def read_raw(path: Path) -> Any:
    """Reads a JSON file without saying what it should hold.

    Args:
        path: The file.

    Returns:
        Its content; see `unlearning.strict_json`.

    Raises:
        InputError: If the file is missing, absurdly large, or not JSON that can be taken.
    """
    if not path.is_file():
        raise invalid(path.name, "an existing file", str(path))
    if path.stat().st_size > _LARGEST_FILE:
        raise invalid(path.name, f"at most {_LARGEST_FILE} bytes", f"{path.stat().st_size} bytes in {path}")
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:  # syntax, encoding, and what parse_json refuses
        raise InputError(f"{path} is not valid JSON: {_shortened(str(error))}") from error


def parse_record(path: Path, content: Any, kind: type[R]) -> R:
    """Makes a record of what `read_raw` returned.

    Args:
        path: Where it was read, for the message.
        content: The content.
        kind: The record's type.

    Returns:
        The record.

    Raises:
        InputError: If it is not such a record.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = _shortened(".".join(str(part) for part in first["loc"])) or "the top level"
        message = _shortened(first["msg"])
        raise InputError(f"{path} is not a valid {kind.__name__} file: {where}: {message}") from error


def _shortened(text: str) -> str:
    return text if len(text) <= 150 else f"{text[:147]}..."


def differing_keys(a: Record, b: Record) -> list[str]:
    """Returns the dotted names of the fields in which two configurations differ, with both values."""

    def walk(left: Any, right: Any, name: str) -> list[str]:
        if isinstance(left, dict) and isinstance(right, dict):
            keys = sorted(set(left) | set(right))
            return [d for key in keys for d in walk(left.get(key), right.get(key), f"{name}.{key}" if name else key)]
        return [] if left == right else [f"{name} ({left!r} there, {right!r} now)"]

    return walk(a.model_dump(mode="json"), b.model_dump(mode="json"), "")
