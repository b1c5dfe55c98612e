"""How well wrong labels are found by what a pretrained network sees, and by what others make of the same probabilities.

    export TFDS_DATA_DIR=... EYES=efficientnet_lite0.keras CIFAR_N=CIFAR-10_human.npz
    PYTHONPATH=.:tests python tests/benchmarks/eyes.py [--seeds 42,7,13] [--kinds symmetric-20,...] [--patches]

CIFAR-10, 20,000 training rows; the network looks at them at 96 pixels, once: it is EfficientNet-Lite0, trained on
ImageNet. `pretrained` is the detector with its defaults, `margin` the same without its transition matrix,
`confident-learning` cleanlab on the same leave-one-out probabilities. `own F1` is at the line that the detector draws,
`best F1` at the best one; `suggested` is the share of the truly bad suspects whose suggested label is right. Wrong
labels of people have no seed. Seconds are processor seconds; the features are computed once and then read back.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import keras
import numpy as np
from sklearn.metrics import precision_recall_curve

from support.benchmarks import save
from unlearning import detection
from unlearning.data import load
from unlearning.data.settings import DataSettings
from unlearning.detection import Detection, DetectionStatus, Evidence, score_detection
from unlearning.eyes import open_eyes, see
from unlearning.noise import corrupt
from unlearning.task import Split

KINDS = (
    "human-worse_label",
    "human-aggre_label",
    "symmetric-20",
    "symmetric-50",
    "flip-pairs-20",
    "asymmetric-20",
)
"""Kind and percent of the rows, or kind and labels of the file."""


def measure(found: Detection, given: np.ndarray, true: np.ndarray, share: float | None) -> dict[str, Any]:
    """Returns the columns that every detector has."""
    bad = np.flatnonzero(given != true)
    scores = score_detection(found, bad)
    precision, recall, _ = precision_recall_curve(given != true, found.scores)
    best = float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))
    right = np.intersect1d(found.suspects, bad)
    return {
        "AUROC": scores["auroc"],
        "average precision": scores["average_precision"],
        "own F1": scores["f1"],
        "best F1": best,
        "bad": len(bad) / len(given),
        "estimated": share,
        "suggested": float(np.mean(found.suggested_labels[right] == true[right])) if len(right) else None,
    }


def by_cleanlab(probabilities: np.ndarray, given: np.ndarray) -> Detection | None:
    """Confident learning on probabilities, as the detector of that name calls it; None without cleanlab."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return None
    issues = find_label_issues(given, probabilities, n_jobs=1)
    quality = get_label_quality_scores(given, probabilities, method="normalized_margin")
    return Detection(1 - quality, np.flatnonzero(issues), probabilities.argmax(1), None, DetectionStatus.OK)


def main() -> None:
    """Measures every kind and seed, and saves the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="42,7,13")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--patches", action="store_true", help="`patches` too, on the first seed")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    logging.disable(logging.WARNING)

    network = os.environ["EYES"]
    data = load(DataSettings(dataset="cifar10", train_rows=options.rows))
    images, true = data.train.images, data.train.labels
    model = keras.Sequential([keras.Input(images.shape[1:]), keras.layers.Flatten(), keras.layers.Dense(10)])
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("UNLEARNING_CACHE", folder)
        started = time.process_time()
        width = see(open_eyes(network), images).shape[1]
        features_s = time.process_time() - started
        started = time.process_time()
        see(open_eyes(network), images)
        again_s = time.process_time() - started
        facts = {"images": options.rows, "features": width, "features_s": round(features_s, 1)}
        facts["again_s"] = round(again_s, 1)
        seeds = [int(seed) for seed in options.seeds.split(",")]
        for seed in seeds:
            for name in options.kinds.split(","):
                kind, _, what = name.rpartition("-")
                if kind == "human" and seed != seeds[0]:
                    continue
                budget = None if kind == "human" else round(options.rows * int(what) / 100)
                file = {"labels_file": os.environ["CIFAR_N"], "labels_key": what} if kind == "human" else {}
                told = {"num_classes": 10, "data_name": "cifar10", "ids": data.train_ids, **file}
                given = corrupt(kind, data.train, budget=budget, seed=seed, **told).given_labels
                for line in compare(
                    name, model, Split(images, given), true, network, options.patches and seed == seeds[0]
                ):
                    rows.append({"wrong labels": name, "seed": seed, **line})
                    print(rows[-1], flush=True)
                save("eyes", rows, out=options.out, **facts)


def compare(
    name: str, model: keras.Model, split: Split, true: np.ndarray, network: str, patches: bool
) -> list[dict[str, Any]]:
    """Returns one line a detector."""
    lines = []
    wanted = {"pretrained": ("pretrained", {"eyes": network})}
    if patches:
        wanted["patches"] = ("patches", {})
    for label, (detector, told) in wanted.items():
        started = time.process_time()
        found = detection.get(detector, told).detect(model, split, 10)
        taken = time.process_time() - started
        lines.append(
            {
                "detector": label,
                **measure(found, split.labels, true, found.details["estimated_noise_rate"]),
                "structure": found.details.get("structure", ""),
                "seconds": taken,
            }
        )
    plain = detection.get("pretrained", {"eyes": network, "transition": False})
    evidence = Evidence(model, split, 10, 0)
    probabilities, details = plain.probabilities(evidence)
    margin = plain._judge(probabilities, details, evidence)
    lines.append({"detector": "margin", **measure(margin, split.labels, true, margin.details["estimated_noise_rate"])})
    started = time.process_time()
    issues = by_cleanlab(probabilities, split.labels)
    if issues is not None:
        share = len(issues.suspects) / len(true)
        taken = time.process_time() - started
        lines.append({"detector": "confident-learning", **measure(issues, split.labels, true, share), "seconds": taken})
    return lines


if __name__ == "__main__":
    main()
