"""Poisoned models of an experiment, opened again to be repaired and scored by benchmarks."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unlearning import repair
from unlearning.evaluation import accuracy, predict
from unlearning.experiments.cell.reopening import open_poisoned, reopen
from unlearning.records import TrainResults, read_json

VALUES = ("before", "after", "clean", "restored", "healed", "said", "cpu_s", "of training")
"""What is summed up over seeds."""


class Bench:
    """A poisoned model and everything that is scored on it."""

    def __init__(self, run_dir: Path) -> None:
        self.cell = reopen(run_dir)
        self.model, self.given, corruption = open_poisoned(self.cell)
        self.data = self.cell.setup.data
        self.right = corruption.corrections(self.data.train)
        self.before = accuracy(self.model, self.data.test)
        trained = read_json(self.cell.files.results, TrainResults)
        self.training_s = trained.cpu_time_s
        clean = run_dir.parents[1] / "clean" / run_dir.name / "train_results.json"
        self.clean = read_json(clean, TrainResults).accuracy
        self.noise = f"{self.cell.poison_config.noise} {100 * len(self.right) / len(self.given):.0f} %"

    def score(self, known: str, name: str, model: Any, spent: float, chosen: str = "") -> dict[str, Any]:
        """Returns a line of the table."""
        said = predict(model, self.given.images[self.right.rows]).argmax(-1)
        after = accuracy(model, self.data.test)
        line = {
            "wrong labels": self.noise,
            "seed": self.cell.seed,
            "known": known,
            "repair": name,
            "before": self.before,
            "after": after,
            "clean": self.clean,
            "restored": (after - self.before) / (self.clean - self.before),
            "healed": float(np.mean(said == self.right.labels)),
            "said": float(np.mean(said == self.given.labels[self.right.rows])),
            "cpu_s": spent,
            "of training": spent / self.training_s,
            "moved from": chosen,
        }
        print(line, flush=True)
        return line

    def run(self, **told: Any) -> tuple[Any, float]:
        """Repairs; returns the repair and its processor seconds, detection not included."""
        begun = time.process_time()
        done = repair(
            self.model,
            self.given,
            validation=self.cell.validation,
            num_classes=self.data.num_classes,
            seed=self.cell.seed,
            **told,
        )
        return done, time.process_time() - begun


def measured(
    description: str | None, measure: Callable[[Bench], Iterator[dict[str, Any]]]
) -> Iterator[tuple[list[dict[str, Any]], Path | None]]:
    """Measures the poisoned models that the command line names.

    Args:
        description: For its help.
        measure: Yields the lines of one model.

    Yields:
        All lines so far, after each of them, and the file that they are to go to; None for the committed one.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dirs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    lines: list[dict[str, Any]] = []
    for run_dir in options.run_dirs:
        for line in measure(Bench(run_dir)):
            lines.append(line)
            yield lines, options.out
