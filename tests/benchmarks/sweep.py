"""What the machinery of grids costs, and what two workers gain.

    PYTHONPATH=.:tests python tests/benchmarks/sweep.py [--cells 1000] [--seeds 4] [--epochs 10]

Three measurements on the digits:
- resume: `run` on a tree of finished cells, made from one real cell by changing seeds and hashes; it finds everything
  done. Printed are the seconds of the search itself and those of the whole command, TensorFlow's import included.
- overhead: seconds of a grid run in one process that are not spent inside its cells or their clean models.
- workers: the same grid with one worker and with two.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TQDM_DISABLE"] = "1"

ROOT = Path(__file__).resolve().parents[2]


def multiply(folder: Path, cells: int, settings) -> None:  # type: ignore[no-untyped-def]
    """Copies a finished cell of seed 0 under the seeds 1 to `cells - 1`, as if they had been run."""
    from unlearning.experiments.cell import folder as layout
    from unlearning.experiments.cell.repairing import repair_hash
    from unlearning.experiments.cell.rows import Cell
    from unlearning.experiments.cell.setup import Setup
    from unlearning.records import config_hash

    (budget,) = settings.budgets
    source = layout.cell_files(folder, budget, 0).folder
    setup = Setup(settings.changed(seeds=tuple(range(cells))))
    (planned,) = setup.repairs
    clean = layout.clean_of(folder, 0).folder
    for seed in range(1, cells):
        config = setup.clean_config(seed)
        changes = {"train_config.json": {"seed": seed}, "train_results.json": {"config_hash": config_hash(config)}}
        own = layout.clean_of(folder, seed).folder
        own.mkdir()
        for name, changed in changes.items():
            (own / name).write_text(json.dumps(json.loads((clean / name).read_text()) | changed))
        target = layout.cell_files(folder, budget, seed)
        target.folder.mkdir()
        train, poison = setup.train_config(seed), setup.poison_config(budget, seed)
        method = planned.files(target.folder)
        for path in source.rglob("*.json"):
            content = json.loads(path.read_text())
            if "seed" in content:
                content["seed"] = seed
            if path.name == "train_results.json":
                content["config_hash"] = config_hash(train, poison)
            if path.name == "unlearning_results.json":
                content["config"]["seed"] = seed
                content["config_hash"] = repair_hash(Cell(setup, budget, seed), planned)
            copy = target.folder / path.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(json.dumps(content))
        assert json.loads(method.config.read_text())["seed"] == seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()

    from support.benchmarks import save
    from unlearning.experiments.cell.settings import MethodChoice, RunSettings
    from unlearning.experiments.cell.setup import Setup
    from unlearning.experiments.grid import sweep
    from unlearning.startup import import_tensorflow

    import_tensorflow()
    logging.getLogger("unlearning").setLevel(logging.ERROR)
    base = RunSettings(budgets=(251,), methods=(MethodChoice(name="first-order"),), epochs=arguments.epochs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = base.changed(output=folder / "many", seeds=(0,), train_rows=300, budgets=(60,), epochs=2)
        sweep.sweep(Setup(one))
        multiply(folder / "many", arguments.cells, one)
        seeds = tuple(range(arguments.cells))
        started = time.perf_counter()
        report = sweep.sweep(Setup(one.changed(seeds=seeds)))
        assert len(report.results) == arguments.cells
        found_s = time.perf_counter() - started
        print(f"resume: {arguments.cells} finished cells found in {found_s:.2f} s", flush=True)
        command = [sys.executable, str(ROOT / "cli.py"), "run", "--out", str(folder / "many"), "--epochs", "2"]
        command += ["--train-rows", "300", "--budgets", "60", "--methods", "first-order", "--json"]
        started = time.perf_counter()
        text = subprocess.run([*command, "--seeds", ",".join(map(str, seeds))], check=True, capture_output=True).stdout
        assert len(json.loads(text)) == arguments.cells
        command_s = time.perf_counter() - started
        print(f"resume: the whole command takes {command_s:.2f} s", flush=True)
        shutil.rmtree(folder / "many")

        times = {}
        for workers in (1, 2):
            grid = base.changed(output=folder / f"grid-{workers}", seeds=tuple(range(arguments.seeds)))
            inside = _Inside()
            inside.watch()
            started = time.perf_counter()
            report = sweep.sweep(Setup(grid), sweep.SweepOptions(workers=workers))
            times[workers] = time.perf_counter() - started
            assert len(report.results) == arguments.seeds
            if workers == 1:
                share = 100 * (times[1] - inside.seconds) / inside.seconds
                print(f"overhead: {times[1] - inside.seconds:.2f} s on top of {inside.seconds:.1f} s, {share:.1f} %")
        print(f"workers: {times[1]:.1f} s with one, {times[2]:.1f} s with two: ratio {times[1] / times[2]:.2f}")
        figures = {
            "seconds to find finished cells": found_s,
            "seconds of the whole command": command_s,
            "per cent of overhead": share,
            "seconds with one worker": times[1],
            "seconds with two workers": times[2],
        }
        rows = [{"figure": name, "value": value} for name, value in figures.items()]
        save("sweep", rows, cells=arguments.cells, seeds=arguments.seeds, epochs=arguments.epochs)


class _Inside:
    """Adds up the seconds that go into training and repairing."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def watch(self) -> None:
        from unlearning.experiments.grid import cells

        for name in ("ensure_clean", "ensure_poisoned", "ensure_repaired"):
            setattr(cells, name, self._timed(getattr(cells, name)))

    def _timed(self, function):  # type: ignore[no-untyped-def]
        def timed(*arguments, **named):  # type: ignore[no-untyped-def]
            self._depth += 1
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - started

        return timed


if __name__ == "__main__":
    main()
