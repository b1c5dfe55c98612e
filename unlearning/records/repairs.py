"""The scores of repairs: of a cell of an experiment, and of a user's own model."""

from __future__ import annotations

from typing import Annotated, Any

from unlearning.records.acceptance import Accepted, Deployed, MovedParameters
from unlearning.records.base import Record, Versioned
from unlearning.records.configs import UnlearnConfig
from unlearning.records.detections import DetectionResults
from unlearning.records.shown import Shown, metrics_of
from unlearning.records.trainings import ClassScores, Environment
from unlearning.settings import Classes, Count, NonNegative, Seconds, Seed, Sha256, Share, since


class Work(Record):
    """Per-example evaluations; see `unlearning.task.WorkCount`."""

    forward_rows: Count
    """Rows passed forward through the network or its head."""
    gradient_rows: Count
    """Rows whose gradient was taken."""
    curvature_rows: Count
    """Rows that entered a product of the curvature with a vector."""


class Solve(Record):
    """One linear solve; see `unlearning.task.SolveReport`."""

    solver: str
    """Name of the solver."""
    status: str
    """Why it ended."""
    iterations: Count
    """Iterations made."""
    relative_residual: NonNegative | None
    """Norm of the residual as a fraction of the right-hand side's; None where it is not finite."""
    damping: NonNegative
    """Multiple of the identity that was added to the curvature."""
    lambda_max: float | None
    """Estimate of the largest eigenvalue of the curvature, or None."""
    negative_curvature: bool
    """Whether a direction of negative curvature was met."""
    matvecs: Count
    """Products of the curvature with a vector."""


class RowList(Record):
    """A list of row numbers that stands beside the record; see `unlearning.records.rows`."""

    count: Count
    """Number of rows."""
    sha256: Sha256
    """Hash of the numbers as little-endian int64."""


class UnlearningResults(Versioned):
    """Scores of a repair."""

    method: str
    """Registered name."""
    variant: str
    """Text that tells runs of one method apart."""
    config: UnlearnConfig
    """The method's configuration."""
    config_hash: Sha256
    """SHA-256 over it and the configurations of data, model, and noise."""
    budget: Count
    """Requested number of corrupted rows."""
    rate: Share
    """Share of training rows that are corrupted."""
    seed: Seed
    """Seed of noise, poisoned model and method."""
    num_classes: Classes
    """Number of classes."""
    acc_clean: Annotated[Share, Shown("test accuracy of the clean model", "%")]
    """Test accuracy of the clean model."""
    acc_before_fix: Annotated[Share, Shown("test accuracy before", "%")]
    """Test accuracy of the poisoned model."""
    acc_after_fix: Annotated[Share, Shown("test accuracy after the repair", "%", "higher", compared="acc_after_fix")]
    """Test accuracy of the repaired model."""
    acc_perc_restored: Annotated[
        float | None,
        Shown("share of the lost accuracy that came back", "%", "higher", compared="acc_perc_restored"),
    ]
    """`(after - before) / (clean - before)`, a fraction; None where nothing was lost."""
    diverged: bool
    """Whether the method met non-finite numbers or a diverging solve."""
    applied: bool
    """Whether any weight was changed."""
    status: str
    """Why."""
    validation_accuracy_before: Annotated[Share, Shown("validation accuracy before", "%")]
    """On the whole validation split: the rows that choose and those that decide."""
    validation_accuracy_after: Annotated[Share, Shown("validation accuracy after", "%", "higher")]
    """The same after the repair; never lower."""
    corrected_accuracy_before: Annotated[Share | None, Shown("bad rows healed before", "%")]
    """Share of bad training rows predicted as their true label, before."""
    corrected_accuracy_after: Annotated[Share | None, Shown("bad rows healed", "%", "higher")]
    """The same after the repair."""
    bad_label_agreement_before: Annotated[Share | None, Shown("bad labels kept before", "%")]
    """Share of bad training rows still predicted as their wrong label, before."""
    bad_label_agreement_after: Annotated[Share | None, Shown("bad labels kept", "%", "lower")]
    """The same after the repair."""
    n_gradients: Count
    """Per-example gradient evaluations."""
    work: Work
    """All work counts."""
    unlearning_duration_s: Annotated[Seconds, Shown("time of the repair", "s", "lower", compared="seconds")]
    """Wall-clock seconds: features, search and solves; what `sharding` prepares in advance is in `details`."""
    unlearning_cpu_s: Annotated[Seconds, Shown("processor time of the repair", "s", "lower")]
    """Process CPU seconds of the same."""
    training_time_s: Seconds
    """Wall-clock seconds that training the poisoned model took."""
    training_cpu_s: Seconds
    """Process CPU seconds of the same."""
    num_params: Count
    """Trainable parameters of the model."""
    solves: list[Solve]
    """One entry a linear solve."""
    history: list[dict[str, float | int | str | None]]
    """One entry a step; its `validation_accuracy` is that on the rows that choose (all, in files from before 0.2)."""
    details: dict[str, Any] = {}
    """What the method adds, such as the spectra of `sap`; by stage in a chain."""
    rows: Annotated[dict[str, RowList], since("0.2", before={})] = {}
    """Lists of rows in `rows.npz` by name, such as the trusted rows of `sap`; as `stage.name` in a chain."""
    acceptance: Annotated[Accepted | None, since("0.2", before=None)] = None
    """What decided whether the proposed model was taken; None where nothing was proposed, and in older files."""
    moved: Annotated[MovedParameters | None, since("0.2", before=None)] = None
    """Which parameters the proposed model changed; None where nothing was proposed, and in older files."""
    class_report_before: dict[str, ClassScores] | None = None
    """Scores by class (`"0"`, `"1"`, ...) on the test split, before. This field and those below are None in
    files from before they were measured."""
    class_report_after: dict[str, ClassScores] | None = None
    """The same after the repair."""
    membership_auc_before: Annotated[Share | None, Shown("membership AUC before")] = None
    """How well the loss of the wrong label tells the bad training rows from test rows with labels as wrong, as
    an area under the ROC curve (0.5: no trace), before; None where there are no such rows."""
    membership_auc_after: Annotated[Share | None, Shown("membership AUC", "", "lower")] = None
    """The same after the repair."""
    disagreement_before: Annotated[Share | None, Shown("disagreement with retraining before", "%")] = None
    """Share of test rows where poisoned and retrained model predict different classes; None without a retrained
    model in the same cell."""
    disagreement_after: Annotated[Share | None, Shown("disagreement with retraining", "%", "lower")] = None
    """The same of the repaired model."""
    disagreement_reference: str | None = None
    """Which one that was: `retraining` or `retraining-unflagged`."""
    class_names: list[str] | None = None
    """Names of the classes in label order; None with more than 100."""
    confusion_before: list[list[Count]] | None = None
    """Test rows by true class (rows) and predicted class (columns), before; None with more than 100 classes."""
    confusion_after: list[list[Count]] | None = None
    """The same after the repair."""
    model_sha256: Sha256
    """Hash of the stored repaired weights."""
    environment: Environment
    """Versions and device."""


class RepairResults(Versioned):
    """What `repair` did to a user's model; accuracies are against the labels found in the data."""

    method: str
    """Registered name."""
    hyperparameters: dict[str, Any]
    """Its hyperparameters."""
    loss: Annotated[dict[str, Any], since("0.2", before={})] = {}
    """What the user said of the model's own loss (`label_smoothing`, `class_weights`); empty: cross-entropy."""
    flagged_rows: Count
    """Rows named in the CSV, without those whose corrected label is the given one."""
    unchanged_rows: Annotated[Count, since("0.2", before=0)] = 0
    """Those that are left out for that."""
    removed_rows: Count
    """Those of them that are removed rather than relabelled."""
    applied: bool
    """Whether any weight was changed."""
    status: str
    """Why."""
    validation_accuracy_before: Share
    """On the data's validation split."""
    validation_accuracy_after: Share
    """The same after the repair."""
    test_accuracy_before: Share
    """On the data's test split."""
    test_accuracy_after: Share
    """The same after the repair."""
    corrected_accuracy_before: Share | None
    """Share of relabelled rows predicted as their corrected label, before."""
    corrected_accuracy_after: Share | None
    """The same after the repair."""
    work: Work
    """Work counts."""
    unlearning_duration_s: Seconds
    """Wall-clock seconds."""
    unlearning_cpu_s: Annotated[Seconds | None, since("0.2", before=None)] = None
    """Process CPU seconds of detection and method; None in older files."""
    solves: list[Solve]
    """One entry a linear solve."""
    history: list[dict[str, float | int | str | None]]
    """One entry a step; its `validation_accuracy` is that on the rows that choose (all, in files from before 0.2)."""
    details: dict[str, Any] = {}
    """What the method adds."""
    rows: Annotated[dict[str, RowList], since("0.2", before={})] = {}
    """Lists of rows in the file `<name>-rows.npz` beside it, by name."""
    acceptance: Annotated[Accepted | None, since("0.2", before=None)] = None
    """What decided whether the proposed model was taken; None where nothing was proposed, and in older files."""
    moved: Annotated[MovedParameters | None, since("0.2", before=None)] = None
    """Which parameters the proposed model changed; None where nothing was proposed, and in older files."""
    detection: DetectionResults | None = None
    """How the flagged rows were found; None where they were given or not needed."""
    class_names: Annotated[list[str] | None, since("0.2", before=None)] = None
    """Names of the classes in label order; None with more than 100, and in older files."""
    confusion_before: Annotated[list[list[Count]] | None, since("0.2", before=None)] = None
    """Rows of the data's test split by their label as found (rows) and predicted class (columns), before; None with
    more than 100 classes, and in older files."""
    confusion_after: Annotated[list[list[Count]] | None, since("0.2", before=None)] = None
    """The same after the repair."""
    command: Annotated[list[str] | None, since("0.2", before=None)] = None
    """The words of the command that was given, names of files in place of their paths; None where it was no command,
    and in older files."""
    deployed: Annotated[Deployed | None, since("0.2", before=None)] = None
    """The check of the LiteRT file; None where none was asked for, and in older files."""
    environment: Environment
    """Versions and device."""


def metrics() -> dict[str, Shown]:
    """Returns the measures of a repair by the names of their fields in `UnlearningResults`."""
    return metrics_of(UnlearningResults)
