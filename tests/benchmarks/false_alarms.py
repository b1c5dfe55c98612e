"""How often methods call a repair of a clean model an improvement, and how often that is one.

    PYTHONPATH=.:tests python tests/benchmarks/false_alarms.py [--seeds 20] [--methods second-order,sap] [--flips 0]

A small network is trained on digits with right labels, and 60 of its training rows are flagged nevertheless, with wrong
labels; methods that need no flagged rows are told nothing. Whatever a method changes then is a false alarm.
"Worse" is: on the test rows, by a one-sided sign test at the level 0.05. `--flips 90` makes as many labels wrong, and
flags those: what the rule costs where there is something to repair.

Every run is kept in the file of results with its counts, so that a run that is there is not made again, and the table
can be made for another rule. `retraining` is the hard case: it fits the wrong labels and chooses nothing on the way.
`retraining-unflagged` and `sharding` are left out, as the dearest.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from support.benchmarks import RESULTS as FOLDER
from support.benchmarks import describe_machine
from support.false_alarms import Run, draw_case, is_worse, run
from unlearning import acceptance, methods
from unlearning.files import write_text

RESULTS = FOLDER / "false_alarms.json"

SETTINGS: dict[str, dict[str, Any]] = {
    "first-order": {},
    "second-order": {"trainable_from": "all"},
    "fine-tuning": {"epochs": 4, "batch_size": 32},
    "sap": {"alphas": [1e4, 1e3, 300, 100, 30, 10, 3], "trusted_count": 150},
    "ssd": {},
    "scrub": {"epochs": 4, "learning_rate": 0.02, "batch_size": 32},
    "fspmu-reference": {"epochs": 4, "learning_rate": 0.02, "batch_size": 32, "preset": "nll"},
    "fine-tuning-trusted": {"epochs": 4, "batch_size": 32, "trusted_count": 300},
    "fspmu-gmm": {"epochs": 4, "learning_rate": 0.02, "batch_size": 32, "preset": "nll", "gmm_normalise": True},
    "second-order-single": {},
    "first-order-reference": {"steps": 2, "tau": 1e-3},
    "second-order-lissa": {"steps": 2, "lissa_iterations": 30, "lissa_scale": 500.0, "lissa_batch_rows": 64},
    "retraining": {"epochs": 25, "recipe": {"learning_rate": 0.005, "batch_size": 32}},
    "fspmu-memorised": {"epochs": 4, "learning_rate": 0.02, "batch_size": 32, "gmm_normalise": True},
}
"""The published constants belong to networks of a million weights; these fit a small one."""


def summarise(runs: list[Run]) -> list[dict[str, Any]]:
    """Returns one line a method: how many runs are called improved, and are worse or better on the test rows."""
    lines = []
    for name, told in dict.fromkeys((found.method, found.told) for found in runs):
        some = [found for found in runs if (found.method, found.told) == (name, told)]
        taken = [found for found in some if found.verdict() == "improved"]
        # What a detector suspects is no evidence, so that its false alarms are judged on validation rows alone.
        silent = [dataclasses.replace(found, flagged=None) for found in some]
        lines.append(
            {
                "method": name,
                "told": told,
                "seeds": len(some),
                "improved_before": sum(found.taken_before for found in some),
                "improved_before_and_worse": sum(found.taken_before and is_worse(found.test_before) for found in some),
                "improved": len(taken),
                "improved_and_worse": sum(is_worse(found.test) for found in taken),
                "improved_and_better": sum(is_worse((f.test[0], f.test[2], f.test[1])) for f in taken),
                "improved_if_suspected": sum(found.verdict() == "improved" for found in silent),
                "proposed_and_worse": sum(is_worse(found.test) for found in some),
            }
        )
    return lines


def main() -> None:
    """Makes the runs that are missing, one seed after the other, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--methods", default=",".join(SETTINGS))
    parser.add_argument("--flips", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()

    content = json.loads(options.out.read_text()) if options.out.is_file() else {"runs": []}
    runs = [Run(**{k: tuple(v) if isinstance(v, list) else v for k, v in each.items()}) for each in content["runs"]]
    there = {(found.seed, found.method) for found in runs}
    for seed in range(options.seeds):
        missing = [name for name in options.methods.split(",") if (seed, name) not in there]
        case = draw_case(seed, flips=options.flips) if missing else None
        for name in missing:
            told = "relabelled" if methods.needs_flagged(name) else "nothing"
            runs.append(run(name, methods.get(name, SETTINGS[name]), case, told))
            print(runs[-1], runs[-1].verdict(), flush=True)
        content = {
            "flips": options.flips,
            "level": acceptance.LEVEL,
            "guard": acceptance.GUARD,
            "environment": describe_machine(),
            "settings": SETTINGS,
            "summary": summarise(runs),
            "runs": [],
        }
        if missing or seed == options.seeds - 1:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            lines = ",\n".join(f"  {json.dumps(dataclasses.asdict(found))}" for found in runs)  # a line a run
            text = json.dumps(content, indent=1).replace('"runs": []', f'"runs": [\n{lines}\n ]')
            write_text(options.out, text + "\n")
    for line in summarise(runs):
        print("  ".join(f"{key}={value}" for key, value in line.items()))


if __name__ == "__main__":
    main()
