"""A binary classifier with one sigmoid unit is repaired, scored and saved like any other, and keeps its one output."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from support.small import blobs
from unlearning import detect, repair
from unlearning.errors import InputError
from unlearning.evaluation import accuracy, predict, predict_probabilities
from unlearning.interop import one_output, two_classes
from unlearning.methods import get
from unlearning.task import Corrections, Split, UnlearningTask

layers = keras.layers


def body(*ends) -> keras.Model:
    keras.utils.set_random_seed(0)
    start = keras.Input((6, 6, 1))
    x = layers.Dense(8, activation="tanh", name="hidden")(layers.Flatten()(start))
    for end in ends:
        x = end(x)
    return keras.Model(start, x)


ENDS = {
    "sigmoid": lambda: [layers.Dense(1, activation="sigmoid")],
    "activation": lambda: [layers.Dense(1), layers.Activation("sigmoid")],
    "logit": lambda: [layers.Dense(1)],
    "within": lambda: [keras.Sequential([keras.Input((8,)), layers.Dense(1, activation="sigmoid")])],
    "averaged": lambda: [
        layers.Reshape((8, 1)),
        layers.Conv1D(1, 1, activation="sigmoid"),
        layers.GlobalMaxPooling1D(),
    ],
}


@pytest.fixture(scope="module")
def task() -> UnlearningTask:
    true = blobs(300, 2, seed=1)
    given = true.labels.copy()
    given[:90] = 1 - given[:90]
    flagged = Corrections(np.arange(90), true.labels[:90])
    return UnlearningTask(Split(true.images, given), flagged, blobs(300, 2, seed=2), 2)


@pytest.fixture(scope="module")
def poisoned(task: UnlearningTask) -> keras.Model:
    model = body(layers.Dense(1, activation="sigmoid", name="said"))
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    model.fit(task.train.images, task.train.labels, epochs=150, batch_size=64, verbose=0)
    return model


@pytest.mark.parametrize("ends", ENDS)
def test_two_classes_say_the_same_and_come_back(ends: str) -> None:
    model, rows = body(*ENDS[ends]()), blobs(20, 2).images
    seen = two_classes(model, rows)
    z, (a, b) = np.asarray(model(rows))[:, 0], np.asarray(seen(rows)).T
    np.testing.assert_allclose(b - a if ends == "logit" else b, z, atol=1e-5)
    again = one_output(seen, model)
    np.testing.assert_allclose(np.asarray(again(rows))[:, 0], z, atol=1e-5)
    assert again.output_shape == (None, 1)
    assert two_classes(seen, rows) is seen


def test_scores_are_those_of_two_classes(poisoned: keras.Model, task: UnlearningTask) -> None:
    rows = task.validation
    said = np.asarray(poisoned(rows.images))[:, 0]
    assert accuracy(poisoned, rows) == np.mean((said > 0.5) == rows.labels)
    np.testing.assert_allclose(predict(poisoned, rows.images)[:, 1], said, atol=1e-6)
    np.testing.assert_allclose(predict_probabilities(poisoned, rows.images), np.stack([1 - said, said], 1), atol=1e-5)


@pytest.mark.parametrize(
    "method",
    [
        ("second-order", {}),
        ("first-order", {}),
        ("fine-tuning", {"epochs": 3}),
        ("fspmu", {}),
        ("last-layer", {}),
        ("sap", {"trusted_count": 100}),
        ("retraining", {"epochs": 3}),
        ("sap+second-order", {}),
    ],
    ids=lambda one: one[0],
)
def test_methods_keep_the_one_output(method, poisoned: keras.Model, task: UnlearningTask) -> None:
    before = [weight.copy() for weight in poisoned.get_weights()]
    name, options = method
    done = get(name, options).unlearn(poisoned, task)
    assert done.model.output_shape == (None, 1)
    assert accuracy(done.model, task.validation) == pytest.approx(done.validation_accuracy_after, abs=1e-9)
    assert done.validation_accuracy_after >= done.validation_accuracy_before
    assert all(np.array_equal(a, b) for a, b in zip(before, poisoned.get_weights(), strict=True))
    if name == "second-order":
        assert done.applied and done.validation_accuracy_after > done.validation_accuracy_before


@pytest.mark.parametrize("detector", ["patches", "neighbours", "loss-mixture", "self-influence", "cross-validation"])
def test_detectors(detector: str, poisoned: keras.Model, task: UnlearningTask) -> None:
    assert detect(poisoned, task.train, detector=detector).record.num_classes == 2


def test_saved_with_its_one_output(poisoned: keras.Model, task: UnlearningTask, tmp_path) -> None:
    done = repair(poisoned, task.train, flagged=task.corrections, validation=task.validation)
    done.model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert again.output_shape == (None, 1) and again.layers[-1].units == 1
    assert accuracy(again, task.validation) == done.outcome.validation_accuracy_after


def test_several_labels_a_row_are_refused(task: UnlearningTask) -> None:
    model = body(layers.Dense(2, activation="sigmoid"))
    with pytest.raises(InputError, match="multi-label"):
        repair(model, task.train, flagged=task.corrections, validation=task.validation)
    with pytest.raises(InputError, match="multi-label"):
        detect(model, task.train)


def test_a_model_without_a_graph(task: UnlearningTask) -> None:
    @keras.saving.register_keras_serializable()
    class Plain(keras.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.flat, self.said = layers.Flatten(), layers.Dense(1, activation="sigmoid")

        def build(self, shape):
            self.said.build((None, 36))
            self.built = True

        def call(self, inputs):
            return self.said(self.flat(inputs))

    model = Plain()
    model.build((None, 6, 6, 1))
    done = repair(fitted_binary(model, task), task.train, flagged=task.corrections, validation=task.validation)
    assert isinstance(done.model, Plain) and np.asarray(done.model(task.train.images[:2])).shape == (2, 1)


def fitted_binary(model: keras.Model, task: UnlearningTask) -> keras.Model:
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    model.fit(task.train.images, task.train.labels, epochs=20, batch_size=64, verbose=0)
    return model
