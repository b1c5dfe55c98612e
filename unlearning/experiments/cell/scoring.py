"""What no user could compute: how a repair does on true labels, beside the clean and the retrained model."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.choices import PlannedRepair
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.stages import keep_inside, read_own
from unlearning.files import file_sha256
from unlearning.methods import METHODS
from unlearning.records import UnlearningResults, read_json
from unlearning.registry import Role

if TYPE_CHECKING:
    import keras

    from unlearning.evaluation import ScoredRows


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """A poisoned model's scores, for all its repairs.

    Attributes:
        key: The hashes of the poisoned and the retrained weights.
        reference: Name of the retraining that repairs are compared with.
        rows: What is scored on.
        scores: See `evaluation.score_model`.
    """

    key: tuple[str, str | None]
    reference: str | None
    rows: ScoredRows
    scores: dict[str, Any]


class Scorer:
    """Scores the repairs of one cell; the poisoned model is scored once.

    Args:
        cell: The cell.
    """

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._before: Scored | None = None

    def before(self, planned: PlannedRepair, model: keras.Model, model_sha256: str) -> Scored:
        """Scores the poisoned model, unless that is done; anew when a retrained model has come.

        Args:
            planned: The repair that is to be scored beside it.
            model: The poisoned model.
            model_sha256: The hash of its weights.

        Returns:
            Its scores, and the rows that every repair of it is scored on.
        """
        from unlearning.evaluation import ScoredRows, predict, score_model
        from unlearning.interop import load_model

        cell, data = self._cell, self._cell.setup.data
        name, files = _reference(cell, planned)
        weights = None if files is None else read_json(files.results, UnlearningResults).model_sha256
        key = (model_sha256, weights)
        if self._before is None or self._before.key != key:
            bad = cell.corruption.rows
            classes = None if files is None else predict(load_model(files.model), data.test.images).argmax(axis=-1)
            rows = ScoredRows(
                data.test,
                cell.given.subset(bad),
                cell.corruption.true_labels[bad],
                cell.held_out,
                classes,
                data.num_classes,
            )
            self._before = Scored(key, name, rows, score_model(model, rows))
        return self._before


def _reference(cell: Cell, planned: PlannedRepair) -> tuple[str | None, layout.MethodFiles | None]:
    """The first gold standard whose finished model was kept and is there, byte for byte."""
    for entry in METHODS.entries():
        if entry.role is Role.GOLD:
            files = planned.beside(cell.files.folder, entry.name)
            keep_inside(cell.setup.folder, files)
            found = read_own(files.results, UnlearningResults)
            kept = found is not None and found.applied and files.model.is_file()
            if found is not None and kept and file_sha256(files.model) == found.model_sha256:
                return entry.name, files
    return None, None
