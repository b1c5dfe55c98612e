"""Time and peak memory of one repair against the number of training rows, each in a process of its own.

    PYTHONPATH=.:tests python tests/benchmarks/scaling.py [--rows 5000,10000,20000,50000] [--model cnn] [--method NAME]

Random 32x32x3 images and random weights: the work of a fixed number of steps does not depend on their content.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


from support.benchmarks import save


def measure(rows: int, model_name: str, method: str) -> dict[str, float]:
    """Runs one repair in this process."""
    import numpy as np

    from unlearning import methods
    from unlearning.architectures import build
    from unlearning.task import Corrections, Split, UnlearningTask

    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        return Split(rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, count))

    train, flagged = split(rows), np.arange(rows // 5)
    task = UnlearningTask(train, Corrections(flagged, (train.labels[flagged] + 1) % 10), split(5000), 10)
    model = build(model_name, input_shape=(32, 32, 3), num_classes=10, seed=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu = time.process_time()
    outcome = methods.get(method).unlearn(model, task)
    cpu = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": outcome.duration_s, "processor_seconds": cpu, "peak_mb": peak / 1024, "before_mb": before / 1024}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="5000,10000,20000,50000")
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--method", default="second-order-single")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.model, options.method)))
        return
    print(f"{options.method} on {options.model}, 5,000 validation rows")
    table = []
    print("    rows  seconds  us a row  peak MB  of which before the repair")
    for rows in map(int, options.rows.split(",")):
        command = [
            sys.executable,
            __file__,
            "--measure",
            str(rows),
            "--model",
            options.model,
            "--method",
            options.method,
        ]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        result = json.loads(done.stdout.splitlines()[-1])
        per_row = 1e6 * result["seconds"] / rows
        print(
            f"{rows:8,} {result['seconds']:8.1f} {per_row:9.0f} {result['peak_mb']:8.0f} {result['before_mb']:8.0f}",
            flush=True,
        )
        table.append({"rows": rows, "us_a_row": per_row, **result})
    save("scaling", table, method=options.method, model=options.model)


if __name__ == "__main__":
    main()
