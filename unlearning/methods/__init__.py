"""The registry of unlearning methods: one file a method, presets by name.

Methods compose: `sap+second-order` runs the second on what the first returns (see `chain`).

To add a method, write `unlearning/methods/<name>.py` with a class that derives from `base.Method`, and add one entry to
`METHODS`, whose `needs` say what it is told of bad rows; other packages call `register`, or name an entry point in the
group `unlearning.methods`. The command line, the contract test and the result files pick it up from there. Importing
this package imports no TensorFlow; a method's module is imported when the method is asked for.

Example:
    >>> from unlearning import methods
    >>> "second-order" in methods.available()
    True
    >>> methods.entry("sap+second-order").family
    'sap+second-order'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unlearning.errors import InputError
from unlearning.registry import Entry, Registry, Role

if TYPE_CHECKING:
    from unlearning.methods.base import Method

NOTHING: frozenset[str] = frozenset()
"""An entry's `needs` of a method that is told nothing of bad rows."""
FLAGGED = frozenset({"flagged"})
"""The same where it is told which rows they are."""
RIGHT_LABELS = frozenset({"flagged", "corrected"})
"""The same where it is told what their labels should have been, besides."""

METHODS = Registry(
    "method",
    "unlearning.methods",
    (
        Entry(
            "auto",
            "unlearning.methods.choosing:Auto",
            "chooses what to train, and from which layer on, by what is known and by the time there is",
            family="auto",
            needs=RIGHT_LABELS,
        ),
        Entry(
            "first-order",
            "unlearning.methods.first_order:FirstOrder",
            "one gradient-difference step, its length chosen on validation",
            family="first-order",
            needs=RIGHT_LABELS,
        ),
        Entry(
            "second-order",
            "unlearning.methods.second_order:SecondOrder",
            "damped Newton steps under the curvature's bound, in Kronecker factors, re-linearised",
            family="second-order",
            needs=RIGHT_LABELS,
        ),
        Entry(
            "second-order-single",
            "unlearning.methods.second_order:SecondOrder",
            "the closed form: one such solve",
            family="second-order",
            needs=RIGHT_LABELS,
            preset={"steps": 1},
        ),
        Entry(
            "last-layer",
            "unlearning.methods.last_layer:LastLayer",
            "the last layer fitted exactly to the corrected labels, on features computed once",
            family="last-layer",
            needs=RIGHT_LABELS,
        ),
        Entry(
            "first-order-reference",
            "unlearning.methods.first_order:FirstOrder",
            "the published schedule: fixed tau on 512 misclassified rows a step",
            Role.PUBLISHED,
            family="first-order",
            needs=RIGHT_LABELS,
            preset={"rows": "errors", "error_rows": 512, "tau": 2e-5, "steps": 10},
        ),
        Entry(
            "second-order-lissa",
            "unlearning.methods.second_order:SecondOrder",
            "the published schedule: LiSSA on 1,024 misclassified rows a step",
            Role.PUBLISHED,
            family="second-order",
            needs=RIGHT_LABELS,
            preset={
                **{"rows": "errors", "error_rows": 1024, "solver": "lissa", "steps": 10, "curvature": "hessian"},
                # LiSSA looks at neither; they are those of version 0.1, so that its records say the same.
                **{"dampings": (0.1, 0.03, 0.01, 0.003, 0.001), "step_lengths": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)},
            },
        ),
        Entry(
            "sap",
            "unlearning.methods.sap:Sap",
            "project every kernel onto what trusted rows need; no labels flagged",
            family="sap",
        ),
        Entry(
            "fspmu",
            "unlearning.methods.fspmu:Fspmu",
            "leave flagged rows out and pull all others onto the centroids of their classes",
            family="fspmu",
            needs=FLAGGED,
        ),
        Entry(
            "fspmu-corrected",
            "unlearning.methods.fspmu:Fspmu",
            "the same with those flagged rows whose right labels are known, with these labels",
            family="fspmu",
            needs=RIGHT_LABELS,
            preset={"rows": "corrected"},
        ),
        Entry(
            "fspmu-reference",
            "unlearning.methods.fspmu_reference:FspmuReference",
            "the published schedule: push flagged rows off the class centroids, pull the others onto theirs",
            Role.PUBLISHED,
            family="fspmu",
            needs=FLAGGED,
        ),
        Entry(
            "fspmu-gmm",
            "unlearning.methods.fspmu_reference:FspmuReference",
            "the same on rows whose losses stand out; no labels flagged",
            Role.PUBLISHED,
            family="fspmu",
            preset={"pred": "gmm"},
        ),
        Entry(
            "fspmu-memorised",
            "unlearning.methods.fspmu_reference:FspmuReference",
            "the same on rows that a short training finds noisy and the model clean; no labels flagged",
            Role.PUBLISHED,
            family="fspmu",
            preset={"pred": "memorised", "preset": "nll"},
        ),
        Entry(
            "scrub",
            "unlearning.methods.scrub:Scrub",
            "part from the old model on flagged rows, stay with it on the others",
            Role.PUBLISHED,
            family="scrub",
            needs=FLAGGED,
        ),
        Entry(
            "retraining",
            "unlearning.methods.retraining:Retraining",
            "the gold standard: the same recipe on corrected labels",
            Role.GOLD,
            family="retraining",
            needs=RIGHT_LABELS,
        ),
        Entry(
            "retraining-unflagged",
            "unlearning.methods.retraining:Retraining",
            "the same recipe without the flagged rows",
            Role.GOLD,
            family="retraining",
            needs=FLAGGED,
            preset={"rows": "unflagged"},
        ),
        Entry(
            "sharding",
            "unlearning.methods.sharding:Sharding",
            "SISA: an ensemble on disjoint shards, of which few are retrained",
            Role.CONTROL,
            family="sharding",
            needs=RIGHT_LABELS,
        ),
        Entry(
            "ssd",
            "unlearning.methods.ssd:Ssd",
            "dampen weights that matter far more to flagged rows than to all rows",
            Role.CONTROL,
            family="ssd",
            needs=FLAGGED,
        ),
        Entry(
            "fine-tuning",
            "unlearning.methods.fine_tuning:FineTuning",
            "a tenth of the epochs again on corrected labels, the learning rate falling to zero",
            Role.CONTROL,
            family="fine-tuning",
            needs=RIGHT_LABELS,
        ),
        Entry(
            "fine-tuning-constant",
            "unlearning.methods.fine_tuning:FineTuning",
            "the same at three constant learning rates, as in version 0.1",
            Role.CONTROL,
            family="fine-tuning",
            needs=RIGHT_LABELS,
            preset={"schedule": "constant", "learning_rates": (1e-3, 3e-4, 1e-4)},
        ),
        Entry(
            "fine-tuning-trusted",
            "unlearning.methods.fine_tuning:FineTuning",
            "fine-tuning on trusted rows; no labels flagged",
            Role.CONTROL,
            family="fine-tuning",
            preset={"rows": "trusted"},
        ),
        Entry(
            "annealing",
            "unlearning.methods.fine_tuning:FineTuning",
            "the steps of fine-tuning on the given labels, wrong ones included: what no correction brings",
            Role.CONTROL,
            family="fine-tuning",
            preset={"rows": "given"},
        ),
    ),
)
"""All methods and presets."""

register = METHODS.register
available = METHODS.names
summaries = METHODS.summaries


def entry(name: str) -> Entry:
    """Returns what there is to know of a method without building it.

    Passes on an `InputError` if a name is unknown.

    Args:
        name: A registered name, or several joined by `+`.

    Returns:
        The entry. That of a chain has the role of its last stage, the families of all joined by `+`, and all needs.
    """
    stages = [METHODS.entry(stage) for stage in name.split("+")]
    if len(stages) == 1:
        return stages[0]
    return Entry(
        name,
        "unlearning.methods.chain:Chain",
        "; then ".join(stage.summary for stage in stages),
        stages[-1].role,
        "+".join(stage.family for stage in stages),
        frozenset().union(*(stage.needs for stage in stages)),
    )


def needs_flagged(name: str, overrides: Mapping[str, Any] | None = None) -> bool:
    """Tells whether a method, or any stage of a chain, does nothing without flagged rows; arguments as for `get`."""
    return get(name, overrides).needs_flagged


def get(name: str, overrides: Mapping[str, Any] | None = None) -> Method:
    """Builds a method by name.

    Passes on an `InputError` if the name or a field is unknown, or a value does not fit.

    Args:
        name: A registered name, or several joined by `+`, to be run one after the other.
        overrides: Hyperparameters to change, by field name. Text is read as JSON where it is JSON (`"0.1"`, `"[1, 2]"`,
            `"null"`) and as a plain string otherwise. In a chain the name of the stage comes first: `sap.rounds`.

    Returns:
        The method, frozen settings.

    Example:
        >>> get("second-order", {"steps": "3"}).config()["steps"]
        3
    """
    if "+" in name:
        return _chain(name, overrides or {})
    return METHODS.build(name, overrides)


def _chain(name: str, overrides: Mapping[str, Any]) -> Method:
    from unlearning.methods.chain import Chain

    by_stage: dict[str, dict[str, Any]] = {stage: {} for stage in name.split("+")}
    for key, value in overrides.items():
        stage, _, field = key.partition(".")
        if stage not in by_stage or not field:
            raise InputError(f"{name}.{key}", f"STAGE.FIELD with a stage among {', '.join(by_stage)}", key)
        by_stage[stage][field] = value
    if len(by_stage) != name.count("+") + 1:
        raise InputError("method", "a chain of different methods", name)
    return Chain(stages=tuple((stage, get(stage, values)) for stage, values in by_stage.items()))


get_method = get
"""`get`, under the name it has at the top level."""
