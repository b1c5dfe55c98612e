"""What a grid still has to do, and about how long it takes and how much memory it needs.

Seconds are taken from finished cells of the same experiment folder where there are any: the mean over cells of the
recorded training time, and of each method's recorded duration. Elsewhere a rule gives the order of magnitude:

- training: `3 x forward operations x rows x epochs / (4 x 10^10 x cores)` seconds, plus 5 s: a backward pass costs two
  forward passes, and the rate is that of the committed `cnn_small` on 20,000 CIFAR-10 rows (578 s on two cores);
- a method: a tenth of the training, plus 5 s, for each stage of a chain; `retraining` and its kin: the training.

Memory of one process, in bytes:

    10^9 + 10 x training images + 40 x parameters + 8 x batch rows x layer outputs

The terms: TensorFlow with its compiled graphs; images as stored, their corrupted copy, and cached features; float32
weights, gradients, three Adam moments and the copies of best, given and repaired weights; and the float32 outputs of
all layers, kept for the backward pass with as many gradients. For `cnn_small` on 32x32x3 images it gives 1.4, 1.5, 1.8
and 2.7 GB for 5,000, 10,000, 20,000 and 50,000 rows, where the README's table has peaks of 1.1, 1.2, 1.5 and 2.3 GB.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from unlearning import methods
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.choices import PlannedRepair
from unlearning.experiments.cell.repairing import find_repaired
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.cell.training import find_clean, find_poisoned
from unlearning.records import UnlearningResults
from unlearning.registry import Role
from unlearning.startup import usable_cores

if TYPE_CHECKING:
    import keras

_BASE_BYTES = 10**9
_OPERATIONS_A_CORE_S = 4e10
_FIXED_S = 5.0
_METHOD_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class CellState:
    """What is there of a cell.

    Attributes:
        budget: The cell's budget.
        seed: The cell's seed.
        clean_s: Recorded seconds of training the clean model of its seed, or None where it is not trained.
        training_s: Recorded seconds of its training, or None where the model is not trained.
        repairs: Results by method; None where a repair is missing.
        failed: Whether an earlier run left a `failure.json`.
    """

    budget: int
    seed: int
    clean_s: float | None
    training_s: float | None
    repairs: tuple[tuple[PlannedRepair, UnlearningResults | None], ...]
    failed: bool

    @property
    def done(self) -> bool:
        """Whether nothing is missing."""
        trained = self.clean_s is not None and self.training_s is not None
        return trained and all(result is not None for _, result in self.repairs)


def find_cell(setup: Setup, budget: int, seed: int) -> CellState:
    """Looks at what is there of a cell; writes nothing.

    Passes on an `InputError` if the cell holds another configuration, or a damaged file.

    Returns:
        What is finished and what is missing.
    """
    cell = Cell(setup, budget, seed)
    clean, trained = find_clean(setup, seed), find_poisoned(cell)
    return CellState(
        budget,
        seed,
        None if clean is None else clean.time,
        None if trained is None else trained.time,
        tuple((planned, find_repaired(cell, planned)) for planned in setup.repairs),
        cell.files.failure.is_file(),
    )


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimated duration.

    Attributes:
        seconds: How long.
        measured: Whether from finished cells of the same folder; otherwise by the rule.
    """

    seconds: float
    measured: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """A grid's missing work.

    Attributes:
        clean: Whether each clean model is trained, by seed; of cells that share one, under the seed of the first.
        cells: State of every cell.
        training: Estimated duration of one training.
        methods: Estimated durations of the methods, by folder name.
        memory_bytes: Estimated memory of one process.
    """

    clean: dict[int, bool]
    cells: tuple[CellState, ...]
    training: Estimate
    methods: dict[str, Estimate]
    memory_bytes: int

    @property
    def seconds(self) -> float:
        """Estimated seconds of all that is missing, one thing after the other."""
        total = self.training.seconds * sum(not done for done in self.clean.values())
        for cell in self.cells:
            total += self.training.seconds if cell.training_s is None else 0.0
            total += sum(self.methods[planned.label].seconds for planned, result in cell.repairs if result is None)
        return total

    def describe(self) -> dict[str, Any]:
        """Returns the plan as JSON-ready values; durations in seconds."""
        return {
            "clean": [{"seed": seed, "training_done": done} for seed, done in self.clean.items()],
            "cells": [
                {
                    "budget": cell.budget,
                    "seed": cell.seed,
                    "training_done": cell.training_s is not None,
                    "repairs_done": {planned.label: result is not None for planned, result in cell.repairs},
                    "failed_before": cell.failed,
                }
                for cell in self.cells
            ],
            "training": dataclasses.asdict(self.training),
            "methods": {name: dataclasses.asdict(estimate) for name, estimate in self.methods.items()},
            "seconds": self.seconds,
            "memory_bytes": self.memory_bytes,
        }


def make_plan(setup: Setup, cells: Sequence[CellState]) -> Plan:
    """Estimates what is missing.

    Args:
        setup: The experiment.
        cells: Its cells, or some of them.

    Returns:
        The plan.
    """
    size = _measure_model(setup)
    recorded = [cell.training_s for cell in cells if cell.training_s is not None]
    recorded = recorded or [cell.clean_s for cell in cells if cell.clean_s is not None]
    if recorded:
        training = Estimate(sum(recorded) / len(recorded), True)
    else:
        rate = _OPERATIONS_A_CORE_S * len(usable_cores())
        rows = len(setup.data.train)
        training = Estimate(3 * size.operations * rows * setup.settings.epochs / rate + _FIXED_S, False)
    estimates = {}
    for planned in setup.repairs:
        seconds = [
            result.unlearning_duration_s
            for cell in cells
            for other, result in cell.repairs
            if other is planned and result is not None
        ]
        measured = Estimate(sum(seconds) / len(seconds), True) if seconds else None
        estimates[planned.label] = measured or Estimate(_rule(planned, training.seconds), False)
    return Plan(clean_states(setup, cells), tuple(cells), training, estimates, size.memory_bytes)


def clean_states(setup: Setup, cells: Iterable[CellState]) -> dict[int, bool]:
    """Returns whether each clean model of some cells is trained, by seed; see `Plan`."""
    states = {cell.seed: cell.clean_s is not None for cell in cells}
    return dict(list(states.items())[:1]) if layout.has_one_clean(setup.folder) else states


def _rule(planned: PlannedRepair, training_s: float) -> float:
    roles = [methods.entry(stage).role for stage in planned.name.split("+")]
    return sum(training_s if role is Role.GOLD else _METHOD_SHARE * training_s + _FIXED_S for role in roles)


@dataclasses.dataclass(frozen=True)
class _Size:
    operations: float
    memory_bytes: int


def memory_of_a_process(setup: Setup) -> int:
    """Estimates the memory of a process that runs cells, in bytes, by this module's rule."""
    return _measure_model(setup).memory_bytes


def _measure_model(setup: Setup) -> _Size:
    from unlearning.architectures import build

    data, settings = setup.data, setup.settings
    model = build(settings.model, input_shape=data.input_shape, num_classes=data.num_classes, pixel_max=data.pixel_max)
    images = getattr(data.train.images, "nbytes", 0)  # image files are read one by one
    outputs = sum(_elements(layer) for layer in model.layers)
    memory = _BASE_BYTES + 10 * images + 40 * model.count_params() + 8 * settings.batch_size * outputs
    return _Size(forward_operations(model), int(memory))


def _elements(layer: keras.layers.Layer) -> int:
    """Numbers in a layer's output for one image."""
    shape = getattr(getattr(layer, "output", None), "shape", ())
    return math.prod(d for d in shape[1:] if d is not None)


def forward_operations(model: keras.Model) -> float:
    """Returns the floating-point operations of one image's forward pass: two for each use of a kernel's weight.

    Args:
        model: A Sequential or functional model.
    """
    total = 0.0
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            places = math.prod(d for d in layer.output.shape[1:-1] if d is not None)
            total += 2.0 * math.prod(kernel.shape) * places
    return total
