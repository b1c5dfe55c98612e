"""What the figures of an experiment are drawn from: its repairs by budget, method and seed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path

from unlearning.drawing.palette import Look, looks, sort_methods
from unlearning.errors import InputError
from unlearning.experiments.results.tree import Tree
from unlearning.records import TrainResults, UnlearningResults


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The repairs of one experiment folder.

    Attributes:
        name: Its name; see `Tree`.
        clean: Scores of the clean models by the seed of the cells that are compared with them; not all are there.
        repairs: Results by budget, method (folder name) and seed.
        logs: Solver logs by the same; not all are there.
    """

    name: str
    clean: dict[int, TrainResults]
    repairs: dict[int, dict[str, dict[int, UnlearningResults]]]
    logs: dict[tuple[int, str, int], Path]

    @property
    def budgets(self) -> list[int]:
        """The budgets, ascending."""
        return sorted(self.repairs)

    @property
    def methods(self) -> list[str]:
        """The methods, as a legend has them."""
        return sort_methods({name for methods in self.repairs.values() for name in methods})

    @property
    def seeds(self) -> list[int]:
        """The seeds of any budget, ascending."""
        return sorted({seed for budget in self.budgets for seed in self.cells(budget)})

    @functools.cached_property
    def looks(self) -> dict[str, Look]:
        """How each method is drawn; no two look alike."""
        return looks(self.methods)

    def of(self, budget: int, method: str) -> dict[int, UnlearningResults]:
        """Results by seed."""
        return self.repairs[budget].get(method, {})

    def restored(self, budget: int, method: str) -> dict[int, float]:
        """Restored shares in per cent by seed, where they are defined."""
        found = {seed: r.acc_perc_restored for seed, r in sorted(self.of(budget, method).items())}
        return {seed: 100 * share for seed, share in found.items() if share is not None}

    def restored_budgets(self) -> list[int]:
        """Budgets at which accuracy was lost, so that some could be restored."""
        return [b for b in self.budgets if any(self.restored(b, method) for method in self.methods)]

    def cells(self, budget: int) -> dict[int, UnlearningResults]:
        """One result a seed: for what all methods share, the poisoned and the clean model."""
        return {seed: r for cells in self.repairs[budget].values() for seed, r in sorted(cells.items())}

    def count_clean(self, seeds: Iterable[int]) -> str:
        """The number of clean models of some seeds' cells, as `(n = 3)`; empty where none is there."""
        found = {self.clean[seed].config_hash for seed in seeds if seed in self.clean}
        return f"(n = {len(found)})" if found else ""

    def rate(self, budget: int) -> float:
        """The share of wrong rows among all."""
        return next(iter(self.cells(budget).values())).rate

    def title(self, budget: int) -> str:
        """What stands above what is drawn of a budget."""
        return f"{budget:,} wrong rows ({100 * self.rate(budget):.3g} %)"

    def label(self, method: str, budgets: list[int]) -> str:
        """A method with its number of seeds, as `sap (n = 3)`, or as a range where it differs between budgets."""
        return f"{method} {count_seeds([self.of(budget, method) for budget in budgets])}"


def count_seeds(found: list[dict[int, UnlearningResults]]) -> str:
    """The number of seeds, as `(n = 3)`, or as a range where it differs."""
    counts = sorted({len(results) for results in found if results})
    return f"(n = {counts[0]})" if len(counts) == 1 else f"(n = {counts[0]}–{counts[-1]})"


def list_experiments(tree: Tree) -> list[Experiment]:
    """Returns the experiments that have finished repairs by this program, by name.

    Args:
        tree: What was read.

    Raises:
        InputError: If two experiments have one name.
    """
    experiments: list[Experiment] = []
    folders: dict[str, Path] = {}
    for found in tree.experiments:
        scores = {seed: model.results for seed, model in found.clean.items()}
        clean = {seed: results for seed, results in scores.items() if isinstance(results, TrainResults)}
        one = Experiment(found.name, clean, {}, {})
        for cell in found.cells:
            for repair in cell.repairs:
                if isinstance(repair.results, UnlearningResults):
                    methods = one.repairs.setdefault(cell.budget, {})
                    methods.setdefault(repair.label, {})[cell.seed] = repair.results
                    one.logs[cell.budget, repair.label, cell.seed] = repair.read.real(repair.layout.solver_log)
        if not one.repairs:
            continue
        if (other := folders.setdefault(one.name, found.folder)) != found.folder:
            raise InputError(
                f"Two experiments would both be drawn as {one.name}: {other} and {found.folder}. "
                "Draw them into different folders, or give the folder above both."
            )
        experiments.append(one)
    return sorted(experiments, key=lambda one: one.name)
