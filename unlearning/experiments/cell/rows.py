"""Which rows a cell works on: its corruption, and the training, validation and test rows as its stages see them."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Literal

from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.cell.stages import finished, read_own
from unlearning.links import real_below
from unlearning.records import PoisonConfig, TrainConfig, TrainResults, config_hash
from unlearning.streams import stream

if TYPE_CHECKING:
    from unlearning.noise import Corruption, Rows
    from unlearning.task import Corrections, Split

logger = logging.getLogger(__name__)


class Cell:
    """One cell of an experiment: a budget and a seed, and the rows that follow from them.

    Args:
        setup: The experiment.
        budget: Number of rows to corrupt.
        seed: Seed of noise, poisoned model and method.
    """

    def __init__(self, setup: Setup, budget: int, seed: int) -> None:
        self.setup, self.budget, self.seed = setup, budget, seed
        self.files = layout.cell_files(setup.folder, budget, seed)

    @property
    def train_config(self) -> TrainConfig:
        """How the poisoned model is trained."""
        return self.setup.train_config(self.seed)

    @functools.cached_property
    def poison_config(self) -> PoisonConfig:
        """How its labels are corrupted; a cell that an earlier version began is drawn as that version did."""
        asked = self.setup.poison_config(self.budget, self.seed)
        there = read_own(self.files.poison_config, PoisonConfig)
        return asked if there is None else asked.model_copy(update={"streams": there.streams})

    @functools.cached_property
    def corruption(self) -> Corruption:
        """What is wrong with the training rows: what the finished model was really trained on, or a fresh draw."""
        from unlearning.noise import Corruption

        results = read_own(self.files.results, TrainResults)
        if results is not None and self.files.corruption.is_file():
            there = Corruption.load(self.files.corruption)
            self._check_belongs(there, results)
            return there
        kind = self.setup.settings.build_noise()
        return kind.corrupt(part_rows(self.setup, "train"), self.budget, self.poison_config.draw_seed("train"))

    def _check_belongs(self, corruption: Corruption, results: TrainResults) -> None:
        """Raises `InputError` if a stored corruption is not the one that the finished model was trained on."""
        if results.corruption_sha256 is not None:
            belongs = corruption.sha256() == results.corruption_sha256
        else:  # records of version 0.1 hold no hash
            poison = self.poison_config
            belongs = (corruption.kind, corruption.seed) == (poison.noise, poison.draw_seed("train"))
            belongs &= (corruption.budget, len(corruption.true_labels)) == (results.corrupted_rows, results.rows)
        if not belongs:
            raise InputError(
                f"{self.files.corruption} is not the corruption that {self.files.model.name} was trained with. "
                "Put the right file back, or remove the cell's folder."
            )

    @functools.cached_property
    def given(self) -> Split:
        """The training rows as the model is trained on them."""
        return self.corruption.apply(self.setup.data.train)

    def known(self, share: float) -> Corrections:
        """Returns the bad rows that are flagged, with their right labels.

        Args:
            share: Which part of them, at least one row; rounded, and drawn at random.
        """
        import numpy as np

        everything = self.corruption.corrections(self.setup.data.train)
        if share == 1:
            return everything
        order = stream(self.seed, "known rows").permutation(len(everything))
        return everything.subset(np.sort(order[: max(1, round(share * len(everything)))]))

    @functools.cached_property
    def noisy_validation(self) -> Split:
        """The validation rows as the user would have them: wrong in the same way as the training rows."""
        return self._alike("validation").apply(self.setup.data.validation)

    @property
    def validation(self) -> Split:
        """The validation rows that methods see."""
        return self.noisy_validation if self.setup.settings.validation == "noisy" else self.setup.data.validation

    @functools.cached_property
    def held_out(self) -> Split:
        """Test rows corrupted like the training rows, the bad ones only; none where the test rows do not suffice."""
        import numpy as np

        test = self.setup.data.test
        try:
            alike = self._alike("test")
            return alike.apply(test).subset(alike.rows)
        except InputError as error:  # too few test rows of the classes that were corrupted
            logger.info("no membership test: %s", error)
            return test.subset(np.empty(0, np.int64))

    def _alike(self, part: Literal["validation", "test"]) -> Corruption:
        """The same noise on another part of the data."""
        kind, seed = self.setup.settings.build_noise(), self.poison_config.draw_seed(part)
        return kind.alike(self.corruption, part_rows(self.setup, "train"), part_rows(self.setup, part), seed)


def part_rows(setup: Setup, part: Literal["train", "validation", "test"]) -> Rows:
    """Returns what noise may look at in a part of the data."""
    from unlearning.noise import Rows

    data = setup.data
    return Rows(
        split=getattr(data, part),
        num_classes=data.num_classes,
        data_name=data.name,
        ids=data.train_ids if part == "train" else None,
        pixel_max=data.pixel_range[1],
        fine_labels=None if data.fine_labels is None else data.fine_labels[part],
    )


def cells(setup: Setup) -> list[Cell]:
    """Returns the grid, in order."""
    return [Cell(setup, budget, seed) for budget in budgets(setup) for seed in setup.settings.seeds]


def budgets(setup: Setup) -> tuple[int, ...]:
    """Returns the numbers of rows to corrupt; rates need the number of training rows, labels in a file the rows."""
    settings = setup.settings
    if not settings.takes_budget:
        return (_budget_of_the_file(setup),)
    if settings.budgets:
        return settings.budgets
    rows = _training_rows(setup)
    return tuple(max(1, round(rate * rows)) for rate in settings.rates or (0.2,))


def _training_rows(setup: Setup) -> int:
    for seed in setup.clean_seeds:
        wanted = config_hash(setup.clean_config(seed))
        found = finished(layout.clean_of(setup.folder, seed).results, TrainResults, wanted)
        if found is not None:
            return found.rows
    return len(setup.data.train)


def _budget_of_the_file(setup: Setup) -> int:
    """How many labels of a file are wrong; from a cell with the same labels where there is one: loading takes long."""
    seed = setup.settings.seeds[0]
    for path in sorted(setup.folder.glob("budget-*/seed-*/poison_config.json")):
        there = read_own(real_below(setup.folder, path), PoisonConfig)
        if there is not None and there == Cell(setup, there.budget, there.seed).poison_config:
            return there.budget
    return Cell(setup, 0, seed).corruption.budget
