"""What `repair` makes of models as strangers bring them, beside a falling learning rate in as much processor time.

    export TFDS_DATA_DIR=... EYES=efficientnet_lite0.keras
    PYTHONPATH=.:tests python tests/benchmarks/strangers.py [--seeds 3] [--only "ResNet-8" ...]

Every model was trained with a learning rate that falls to zero, on rows of which 20 % carry another class's label; so
do as many of the validation rows. No method is named: `auto` chooses. `known` says what it is told: the right labels of
the bad rows, or nothing, where the default detector finds them first and is part of its seconds. Its control trains all
weights that the model lets be trained with a falling learning rate for as many processor seconds, on the corrected
labels or without the suspects. `worse` says that the repaired model is worse on the test rows than the poisoned one
beyond chance (one-sided sign test of the rows on which they differ, 5 %). `moved` is the share of the parameters that
the repair has moved, `memory` the largest that the process had until then, GiB. A mean over seeds stands with its
standard deviation where there are several.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import keras
import numpy as np
from scipy.stats import binomtest

from support.benchmarks import over_seeds, save
from support.strangers import STRANGERS, Stranger, data_needed, divided
from unlearning import repair
from unlearning.evaluation import predict
from unlearning.task import REMOVED, Corrections, Split

WRONG = 0.2


def mislabelled(split: Split, classes: int, seed: int) -> tuple[Split, Corrections]:
    """Returns rows of which a share carries another class's label, and what puts them right."""
    rng = np.random.default_rng([seed, 3, len(split)])
    rows = np.sort(rng.choice(len(split), int(WRONG * len(split)), replace=False))
    labels = split.labels.copy()
    labels[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
    return Split(split.images, labels), Corrections(rows, split.labels[rows])


def trained(stranger: Stranger, split: Split, seed: int) -> tuple[keras.Model, float]:
    """Returns a model and the processor seconds that it took."""
    keras.utils.set_random_seed(seed)
    model = stranger.build()
    steps = stranger.epochs * -(-len(split) // 64)
    binary = model.output_shape[-1] == 1
    loss = "binary_crossentropy" if binary else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(stranger.rate, steps)), loss)
    begun = time.process_time()
    model.fit(split.images, split.labels, batch_size=64, epochs=stranger.epochs, verbose=0)
    return model, time.process_time() - begun


def right(model: keras.Model, split: Split) -> np.ndarray:
    """Returns which rows a model says right."""
    said = predict(model, split.images)
    said = said[:, 0] > 0.5 if said.shape[-1] == 1 else said.argmax(-1)
    return said == split.labels


def moved(before: keras.Model, after: keras.Model) -> float:
    """Returns the share of the parameters that differ."""
    pairs = list(zip(before.get_weights(), after.get_weights(), strict=True))
    return sum(int(np.sum(a != b)) for a, b in pairs) / sum(a.size for a, _ in pairs)


def measure(name: str, seed: int) -> Iterator[dict[str, Any]]:
    """Yields the lines of one model."""
    stranger = STRANGERS[name]
    train, validation, test = divided(stranger, seed)
    given, truth = mislabelled(train, stranger.classes, seed)
    validation, _ = mislabelled(validation, stranger.classes, seed)
    clean, _ = trained(stranger, train, seed)
    poisoned, training_s = trained(stranger, given, seed)
    clean_accuracy, were = right(clean, test).mean(), right(poisoned, test)

    def told(known: str, label: str, **how: Any) -> tuple[Any, dict[str, Any]]:
        done = repair(poisoned, given, validation=validation, num_classes=stranger.classes, seed=seed, **how)
        are = right(done.model, test)
        differ = int(np.sum(are != were))
        chance = binomtest(int(np.sum(are & ~were)), differ, alternative="less").pvalue if differ else 1.0
        line = {
            **{"model": name, "known": known, "repair": label, "seed": seed, "training rows": len(train)},
            **{"before": were.mean(), "after": are.mean(), "clean": clean_accuracy, "worse": bool(chance < 0.05)},
            **{"cpu s": done.cpu_s, "of training": done.cpu_s / training_s, "moved": moved(poisoned, done.model)},
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        print(line, flush=True)
        return done, line

    done, line = told("right labels", "auto", flagged=truth)
    yield line
    control = {"cpu_seconds": done.cpu_s, "rows": "corrected"}
    yield told("right labels", "fine-tuning", flagged=truth, method="fine-tuning", options=control)[1]
    done, line = told("nothing", "auto")
    yield line
    suspects = Corrections(done.found.suspected.rows, np.full(len(done.found.suspected), REMOVED))
    control = {"cpu_seconds": done.cpu_s, "rows": "unflagged"}
    how = (
        {"flagged": suspects, "method": "fine-tuning", "options": control} if len(suspects) else {"method": "annealing"}
    )
    yield told("nothing", "fine-tuning", **how)[1]


def summed_up(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns one line for all seeds of a model, what is known and a repair."""
    kind = ("model", "training rows", "known", "repair")
    table = over_seeds(lines, kind, ("before", "after", "clean", "cpu s", "of training", "moved", "memory"))
    for row in table:
        same = [line["worse"] for line in lines if all(line[key] == row[key] for key in kind)]
        row["worse"] = f"{sum(same)} of {len(same)}"
    return table


def main() -> None:
    """Measures every model, and saves the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=STRANGERS, default=list(STRANGERS))
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    lines: list[dict[str, Any]] = []
    for name in options.only:
        if (missing := data_needed(STRANGERS[name])) is not None:
            print(f"{name} is left out: {missing} is not there")
            continue
        for seed in range(options.seeds):
            lines += measure(name, seed)
            save("strangers", summed_up(lines), each=lines)


if __name__ == "__main__":
    main()
