"""Training: the best epoch, the log, divergence, precision."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from support.paths import ROOT
from support.training import (
    read_log,
    tiny_data,
    tiny_model,
)
from unlearning.training import (
    ShuffledBatches,
    TrainingDivergedError,
    TrainSettings,
    building_context,
    train,
)


def test_best_epoch_is_kept(tmp_path: Path) -> None:
    """With a learning rate this large the loss bounces, so the last epoch is not the best."""
    images, labels = tiny_data()
    model, report = train(
        tiny_model(),
        ShuffledBatches(images, labels, batch_size=8),
        settings=TrainSettings(epochs=12, optimizer="sgd", learning_rate=2.0),
        checkpoint=tmp_path / "sub" / "best.keras",
        log=tmp_path / "log.csv",
    )
    losses = [float(row["loss"]) for row in read_log(tmp_path / "log.csv")]
    assert len(losses) == 12
    assert report.epochs_for_min == 1 + int(np.argmin(losses)) < 12
    assert report.train_loss == min(losses)
    stored = keras.saving.load_model(tmp_path / "sub" / "best.keras")
    for a, b in zip(stored.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv", "sub"]
    assert report.time > 0 and report.cpu_time_s > 0


@pytest.mark.parametrize("broken", ["pixel", "rate"])
def test_divergence_is_one_clear_error_and_writes_nothing(tmp_path: Path, broken: str) -> None:
    images, labels = tiny_data()
    rate = 1e-3
    if broken == "pixel":
        images[3] = np.nan
    else:
        rate = 1e38
    (tmp_path / "best.keras").write_text("precious")
    with pytest.raises(TrainingDivergedError, match="not finite"):
        train(
            tiny_model(),
            (images, labels),
            settings=TrainSettings(epochs=5, batch_size=8, learning_rate=rate, optimizer="sgd"),
            checkpoint=tmp_path / "best.keras",
            log=tmp_path / "log.csv",
            backup_dir=tmp_path / "backup",
        )
    assert [p.name for p in tmp_path.iterdir()] == ["best.keras"]
    assert (tmp_path / "best.keras").read_text() == "precious"


def test_tuples_and_validation_data_work(tmp_path: Path) -> None:
    data = tiny_data()
    _, report = train(
        tiny_model(),
        data,
        validation=data,
        settings=TrainSettings(epochs=2, monitor="val_loss", weight_decay=1e-3),
        checkpoint=tmp_path / "m.keras",
        log=tmp_path / "l.csv",
    )
    assert "val_accuracy" in report.history[0]


@pytest.mark.parametrize("nesterov", [True, False])
def test_momentum_and_weight_decay_are_what_the_docstring_says(tmp_path: Path, nesterov: bool) -> None:
    """Two steps on one batch against the update written out: decoupled decay, both kinds of momentum."""
    images, labels = tiny_data(16)
    rate, decay = 0.05, 0.3
    model, restated = tiny_model(), tiny_model()
    settings = TrainSettings(
        epochs=2,
        batch_size=16,
        learning_rate=rate,
        optimizer="sgd",
        nesterov=nesterov,
        weight_decay=decay,
        monitor="last",
    )
    model, _ = train(
        model, (images, labels), settings=settings, checkpoint=tmp_path / "m.keras", log=tmp_path / "l.csv"
    )
    flat = images.reshape(16, -1)
    weights = [np.array(w, dtype=np.float64) for w in restated.get_weights()]
    velocity = [np.zeros_like(w) for w in weights]
    for _ in range(2):
        scores = np.exp(flat @ weights[0] + weights[1])
        error = (scores / scores.sum(axis=1, keepdims=True) - np.eye(3)[labels]) / 16
        for i, gradient in enumerate((flat.T @ error, error.sum(axis=0))):
            weights[i] = weights[i] * (1 - rate * decay)
            velocity[i] = 0.9 * velocity[i] - rate * gradient
            weights[i] = weights[i] + (0.9 * velocity[i] - rate * gradient if nesterov else velocity[i])
    for found, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_mixed_precision_builds_half_precision_layers() -> None:
    with building_context(mixed_precision=True):
        model = tiny_model()
    assert model.layers[-1].compute_dtype == "float16"
    assert keras.config.dtype_policy().name == "float32"


def test_architectures_and_training_import_no_tensorflow() -> None:
    for folder in ("architectures", "training"):
        for path in (ROOT / "unlearning" / folder).rglob("*.py"):
            top = [line for line in path.read_text().splitlines() if line.startswith(("import", "from"))]
            assert not [line for line in top if "tensorflow" in line], path
