"""One repair of a cell: the same in-memory repair that a user gets, and the oracle's scores beside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unlearning.errors import InputError, printable
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.choices import PlannedRepair
from unlearning.experiments.cell.detecting import ensure_detected
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.scoring import Scorer
from unlearning.experiments.cell.stages import agrees, claim, finished, keep_inside, set_aside
from unlearning.experiments.cell.training import ensure_clean, ensure_poisoned
from unlearning.files import file_sha256, write_table
from unlearning.methods.base import Took
from unlearning.records import UnlearningResults, config_hash, read_json, write_json
from unlearning.repairs.environment import describe_environment

if TYPE_CHECKING:
    from unlearning.task import Corrections, UnlearningOutcome

logger = logging.getLogger(__name__)


def find_repaired(cell: Cell, planned: PlannedRepair) -> UnlearningResults | None:
    """Returns the results of a repair, or None where it is not made; writes nothing.

    Passes on an `InputError` if the folder holds another configuration.
    """
    files = planned.files(cell.files.folder)
    keep_inside(cell.setup.folder, files)
    agrees(files.config, planned.config(cell.seed))
    return finished(files.results, UnlearningResults, repair_hash(cell, planned))


def repair_hash(cell: Cell, planned: PlannedRepair) -> str:
    """Returns the hash of everything that determines a repair's numbers."""
    clean = cell.setup.clean_config(cell.seed)
    return config_hash(clean, cell.train_config, cell.poison_config, planned.config(cell.seed))


def awaited_duration(cell: Cell, planned: PlannedRepair, name: str) -> Took:
    """Returns how long another method took in the same cell, less a detection that the two share.

    Raises:
        InputError: If it has not been run there.
    """
    files = planned.beside(cell.files.folder, name)
    keep_inside(cell.setup.folder, files)
    if not files.results.is_file():
        raise InputError(
            "seconds", f"like:NAME with a finished result in {cell.files.folder} (name that method first)", name
        )
    found = read_json(files.results, UnlearningResults)
    shared = found.details.get("detection", {})  # its time is in the record, and comes on top of the limit again
    return Took(
        found.unlearning_duration_s - shared.get("detection_duration_s", 0.0),
        found.unlearning_cpu_s - (shared.get("detection_cpu_s") or 0.0),
    )


def ensure_repaired(cell: Cell, planned: PlannedRepair, scorer: Scorer | None = None) -> UnlearningResults:
    """Repairs a cell's poisoned model by one method unless the results are there.

    Args:
        cell: The cell.
        planned: The repair.
        scorer: The cell's scorer, so that the poisoned model is scored once for several repairs.

    Returns:
        The results.
    """
    files, config = planned.files(cell.files.folder), planned.config(cell.seed)
    keep_inside(cell.setup.folder, files)
    claim(files.config, config)
    found = find_repaired(cell, planned)
    if found is not None:
        return found
    set_aside(files.results, UnlearningResults)
    method = planned.method
    method = method.resolve({name: awaited_duration(cell, planned, name) for name in method.waits_for()})

    from unlearning.evaluation import name_scores, restored_share, score_model
    from unlearning.interop import load_model, save_model, set_determinism
    from unlearning.repairs.core import repair
    from unlearning.repairs.outcome import MOST_COUNTED_CLASSES, has_diverged, outcome_fields, write_row_lists

    setup, settings, data = cell.setup, cell.setup.settings, cell.setup.data
    clean, poisoned = ensure_clean(setup, cell.seed), ensure_poisoned(cell, need_model=True)
    set_determinism(cell.seed, settings.deterministic)
    setup.check_data(poisoned)
    model = load_model(cell.files.model)
    flagged: Corrections | None = cell.known(planned.known_share)
    suspects = None
    if settings.detect is not None and planned.known_share == 1:  # nothing is known; one detection serves all repairs
        flagged, suspects = None, ensure_detected(cell, settings.detect, model)
    done = repair(
        model,
        cell.given,
        flagged=flagged,
        method=method,
        found=suspects,
        validation=cell.validation,
        num_classes=data.num_classes,
        seed=cell.seed,
    )
    outcome = done.outcome
    before = (scorer or Scorer(cell)).before(planned, model, poisoned.model_sha256)
    scores = name_scores(before.scores, score_model(done.model, before.rows))
    confusions = scores.pop("confusions")
    small = data.num_classes <= MOST_COUNTED_CLASSES
    save_model(done.model, files.model)
    _write_logs(cell, files, outcome)
    _draw(files, outcome, confusions, data.class_names)
    results = UnlearningResults(
        method=planned.name,
        variant=planned.variant,
        config=config,
        config_hash=repair_hash(cell, planned),
        budget=cell.budget,
        rate=cell.corruption.rate,
        seed=cell.seed,
        num_classes=data.num_classes,
        acc_clean=clean.accuracy,
        acc_perc_restored=restored_share(scores["acc_before_fix"], scores["acc_after_fix"], clean.accuracy),
        **scores,
        disagreement_reference=before.reference,
        class_names=[printable(name) for name in data.class_names] if small else None,
        confusion_before=confusions["before"].tolist() if small else None,
        confusion_after=confusions["after"].tolist() if small else None,
        diverged=has_diverged(outcome),
        **outcome_fields(outcome),
        **write_row_lists(files.rows, outcome),
        n_gradients=outcome.work.gradient_rows,
        unlearning_cpu_s=done.cpu_s,
        training_time_s=poisoned.time,
        training_cpu_s=poisoned.cpu_time_s,
        num_params=poisoned.num_params,
        model_sha256=file_sha256(files.model),
        environment=describe_environment(),
    )
    write_json(files.results, results)
    said = [] if results.acceptance is None else results.acceptance.lines()
    said += [] if results.moved is None else [results.moved.line()]
    logger.info("%s: %s", planned.name, "; ".join([results.status.replace("_", " "), *said]))
    return results


def _write_logs(cell: Cell, files: layout.MethodFiles, outcome: UnlearningOutcome) -> None:
    write_table(files.step_log, outcome.history)
    if outcome.solver_log:
        write_table(files.solver_log, outcome.solver_log)
    if cell.setup.settings.tensorboard is not None:
        from unlearning.drawing.boards import write_repair

        write_repair(cell.setup.board(files.folder), outcome.history, outcome.solver_log)


def _draw(
    files: layout.MethodFiles, outcome: UnlearningOutcome, confusions: Mapping[str, Any], names: tuple[str, ...]
) -> None:
    """Draws what there is to see; a picture that fails costs no record."""
    from unlearning.drawing import canvas, figures

    stages = (outcome.details, *(part for part in outcome.details.values() if isinstance(part, Mapping)))
    with canvas.optional(f"Confusions of {files.folder}"):
        figures.draw_confusions(files.figures, confusions, names)
    with canvas.optional(f"Steps of {files.folder}"):
        figures.draw_steps(files.figures / "steps.png", outcome.history)
    for details in stages:
        if "layers" in details:
            with canvas.optional(f"The projection of {files.folder}"):
                figures.draw_projection(files.figures / "projection.png", details, outcome.history)
