"""Comparing experiment folders: byte for byte, but for times, and for archives that carry the time of writing."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

TIMES = {
    "time",
    "cpu_time_s",
    "unlearning_duration_s",
    "unlearning_cpu_s",
    "training_time_s",
    "training_cpu_s",
    "seconds",
    "cpu_seconds",
    "detection_duration_s",
    "detection_cpu_s",
    "preparation_duration_s",
    "preparation_cpu_s",
    "failed_at",
    "model_sha256",  # .keras archives carry the time of writing
}


def contents(folder: Path) -> dict[str, str]:
    """What is in a folder, hidden files included: a digest a file, the same for what should count as the same."""
    found = {}
    for path in sorted(Path(parent) / name for parent, _, names in os.walk(folder) for name in names):
        found[str(path.relative_to(folder))] = hashlib.sha256(_content(path)).hexdigest()
    return found


def _content(path: Path) -> bytes:
    if path.suffix == ".json":
        return json.dumps(without_times(json.loads(path.read_text()))).encode()
    if path.suffix == ".csv":
        rows = [without_times(row) for row in csv.DictReader(io.StringIO(path.read_text()))]
        return json.dumps(rows).encode()
    if path.suffix == ".keras" and not path.name.startswith("."):
        import keras

        model = keras.saving.load_model(path, compile=False)
        return b"".join(str(w.shape).encode() + w.tobytes() for w in model.get_weights())
    return path.read_bytes()


def without_times(value: Any) -> Any:
    """A JSON value with everything blanked that differs between two equal runs."""
    if isinstance(value, dict):
        return {k: None if k in TIMES else without_times(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_times(v) for v in value]
    return value


def unfinished(folder: Path) -> list[str]:
    """Files that only a writer that was killed leaves behind, and locks."""
    names = [str(p.relative_to(folder)) for p in folder.rglob("*")]
    return [n for n in names if ".partial-" in n or ".locks" in n]
