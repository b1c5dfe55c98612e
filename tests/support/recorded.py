"""Records for tests that read, write and compare them."""

from __future__ import annotations

from typing import Any

from unlearning.records import DataConfig, TrainConfig

TRAIN = TrainConfig(
    data=DataConfig(dataset="digits", data_seed=42),
    model="cnn_small",
    epochs=3,
    batch_size=128,
    learning_rate=1e-3,
    optimizer="adam",
    schedule="constant",
    weight_decay=0.0,
    augment=False,
    mixed_precision=False,
    deterministic=False,
    seed=42,
)
SCORES = {"precision": 1.0, "recall": 0.5, "f1-score": 0.6, "support": 3.0}
TRAIN_RESULTS: dict[str, Any] = {
    **{str(k): SCORES for k in range(2)},
    **{"accuracy": 0.5, "macro avg": SCORES, "weighted avg": SCORES},
    **{"config_hash": "c" * 64, "train_loss": 0.1, "test_loss": 0.2, "epochs_for_min": 3, "time": 1.0},
    **{"cpu_time_s": 1.0, "rows": 5, "corrupted_rows": 0, "validation_accuracy_clean": 0.5},
    **{"validation_accuracy_noisy": None, "num_params": 7, "model_sha256": "e" * 64, "data_sha256": "d" * 64},
    "environment": {"python": "3", "tensorflow": "2", "keras": "3", "numpy": "2", "device": "CPU", "threads": 2},
}
