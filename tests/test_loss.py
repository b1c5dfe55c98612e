"""What the user says of the model's own loss is what methods minimise; it is Keras's own, row by row."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.command import assert_refused, cli
from support.small import fitted, poisoned_task, small_model
from unlearning import repair
from unlearning.errors import InputError
from unlearning.influence.problem import InfluenceProblem
from unlearning.influence.settings import FeatureSettings
from unlearning.loss import OriginalLoss
from unlearning.task import Corrections, UnlearningTask

STATED = OriginalLoss(label_smoothing=0.2, class_weights=(1.0, 3.0, 0.5))


def of_keras(labels: np.ndarray, scores: np.ndarray, closed: bool = False) -> float:
    loss = keras.losses.CategoricalCrossentropy(from_logits=not closed, label_smoothing=0.2)
    return float(loss(np.eye(3)[labels], scores, sample_weight=np.array(STATED.class_weights)[labels]))


@pytest.mark.parametrize("closed", [False, True])
def test_is_that_of_keras(closed: bool) -> None:
    scores = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    scores = np.asarray(keras.ops.softmax(scores)) if closed else scores
    labels = np.arange(7) % 3
    assert float(STATED.build(closed)(labels, scores)) == pytest.approx(of_keras(labels, scores, closed), rel=1e-5)
    assert isinstance(OriginalLoss().build(closed), keras.losses.SparseCategoricalCrossentropy)


def with_loss(task: UnlearningTask, corrections: Corrections) -> UnlearningTask:
    return UnlearningTask(task.train, corrections, task.validation, 3, loss=STATED)


class TestInfluence:
    """The objective, its gradient, and the gradient difference of the flagged rows."""

    def test_the_objective_is_that_of_keras(self) -> None:
        task, _ = poisoned_task()
        model = small_model()
        problem = InfluenceProblem(model, with_loss(task, task.corrections), FeatureSettings())
        labels = task.train.labels.copy()
        labels[task.corrections.rows] = task.corrections.labels
        expected = of_keras(labels, model(task.train.images).numpy())
        assert float(problem.corrected.loss(problem.initial)) == pytest.approx(expected, rel=1e-4)

    def test_the_difference_is_that_of_the_two_objectives(self) -> None:
        task, _ = poisoned_task()
        flagged = Corrections(task.corrections.rows, np.where(np.arange(60) < 5, -1, task.corrections.labels))
        model = small_model()
        problem = InfluenceProblem(model, with_loss(task, flagged), FeatureSettings(trainable_from="logits"))
        weights = np.array(STATED.class_weights)
        layer = model.get_layer("logits")

        def gradient(labels: np.ndarray) -> np.ndarray:
            with tf.GradientTape() as tape:
                logs = tf.nn.log_softmax(model(task.train.images))
                targets = 0.8 * np.eye(3)[labels] + 0.2 / 3
                counted = weights[labels] * (labels >= 0)
                loss = tf.reduce_mean(counted.astype("f") * -tf.reduce_sum(targets.astype("f") * logs, axis=-1))
            return np.concatenate([np.ravel(g) for g in tape.gradient(loss, [v.value for v in layer.weights])])

        corrected = task.train.labels.copy()
        corrected[flagged.rows] = flagged.labels
        expected = gradient(corrected) - gradient(task.train.labels)
        np.testing.assert_allclose(problem.right_hand_side(problem.initial), expected, atol=1e-5)


@pytest.mark.parametrize("method", ["second-order", "fine-tuning", "fspmu"])
def test_methods_take_it(method: str) -> None:
    task, _ = poisoned_task()
    model = fitted(small_model(), task.train)
    options = {"epochs": 2} if method == "fine-tuning" else {}
    given = {"flagged": task.corrections, "validation": task.validation, "method": method, "options": options}
    plain, stated = repair(model, task.train, **given), repair(model, task.train, loss=STATED, **given)
    assert stated.outcome.validation_accuracy_after >= stated.outcome.validation_accuracy_before
    differ = [not np.array_equal(a, b) for a, b in zip(plain.model.weights, stated.model.weights, strict=True)]
    assert any(differ) or not (plain.outcome.applied or stated.outcome.applied)


def test_one_weight_a_class() -> None:
    task, _ = poisoned_task()
    with pytest.raises(InputError, match="one weight for each of 3 classes"):
        repair(small_model(), task.train, flagged=task.corrections, loss=OriginalLoss(class_weights=(1.0, 2.0)))
    with pytest.raises(InputError, match="label_smoothing"):
        OriginalLoss(label_smoothing=1.0)


def test_stated_on_the_command_line(tmp_path: Path) -> None:
    task, _ = poisoned_task()
    fitted(small_model(), task.train).save(tmp_path / "m.keras")
    names = ("train_images", "train_labels", "test_images", "test_labels")
    held = task.validation
    arrays = (task.train.images, task.train.labels, held.images, held.labels)
    np.savez(tmp_path / "data.npz", **dict(zip(names, arrays, strict=True)))
    (tmp_path / "flagged.csv").write_text("row,corrected_label\n" + "".join(f"{row},\n" for row in range(60)))
    stated = ("--set", "loss.label_smoothing=0.1", "--set", "loss.class_weights=[1, 2, 1]")
    command = ("repair", "m.keras", "--data", "data.npz", "--flagged", "flagged.csv", "--method", "second-order")
    done = cli(*command, *stated, "--out", "r.keras", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "r.json").read_text())["loss"]
    assert told == {"label_smoothing": 0.1, "class_weights": [1, 2, 1]}
    assert_refused(cli(*command, "--set", "loss.smoothing=1", "--out", "s.keras", cwd=tmp_path), "loss.smoothing")


@pytest.mark.parametrize(
    "stated", [{}, {"label_smoothing": 0.2}, {"class_weights": (1, 3, 0.5), "label_smoothing": 0.1}]
)
def test_weights_of_one_hot_labels_give_the_same_loss(stated: dict) -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((20, 3)).astype("float32"), rng.integers(0, 3, 20)
    loss = OriginalLoss(**stated)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    found = -(loss.weigh(np.eye(3)[labels]) * logs).sum(axis=1).mean()
    assert found == pytest.approx(float(loss.build(closed=False)(labels, scores)), rel=1e-5)
