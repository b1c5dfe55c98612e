"""Feature-space unlearning around an ordinary `fit`."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.centroids import PUBLISHED, TOY, plain_model
from support.small import poisoned_task
from unlearning.centroids import losses
from unlearning.centroids.callback import FeatureSpaceUnlearning
from unlearning.errors import InputError
from unlearning.evaluation import accuracy
from unlearning.task import OutcomeStatus, Split


def compiled(model: keras.Model, rate: float = 0.05, **options: Any) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(rate), loss=loss, **options)
    return model


class Peek(keras.callbacks.Callback):
    """Keeps the weights at the end of every epoch, before the best ones are put back."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[list[np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.weights.append(self.model.get_weights())


class CountTraining(keras.layers.Layer):
    """Counts its calls in training and in inference mode; for models that run eagerly."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.calls = {True: 0, False: 0}

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if isinstance(inputs, tf.Tensor) and hasattr(inputs, "numpy"):
            self.calls[bool(training)] += 1
        return inputs


def features_of(model: keras.Model, images: np.ndarray) -> tf.Tensor:
    return keras.Model(model.inputs[0], model.get_layer("hidden").output)(images)


class TestCallback:
    def test_two_passes_by_hand(self, poisoned) -> None:
        """One forget step, then one retain step, as a tape and NumPy take them."""
        source, task = poisoned
        wrong, rate = task.corrections.rows, 0.05
        kept = np.arange(60, 240)
        model, expected = plain_model(), plain_model()
        for copy in (model, expected):
            copy.set_weights(source.get_weights())
        callback = FeatureSpaceUnlearning(
            task.train,
            task.validation,
            wrong,
            **PUBLISHED
            | {
                "learning_rate": rate,
                "retain_pull": 30.0,
                "retain_kl": 0.5,
                "forget_kl": 2.0,
                "forget_batch_size": 60,
                "batch_size": 180,
                "clip": 0.1,
                "forget_push": 20.0,
            },
        )
        peek = Peek()
        compiled(model).fit(callback.retain_batches(), callbacks=[callback, peek], verbose=0)

        images, labels = task.train.images, task.train.labels
        centroids = losses.class_centroids(features_of(expected, images[kept]), tf.nn.softmax(expected(images[kept])))
        np.testing.assert_allclose(callback.reports[0].centroids, centroids, atol=1e-5)
        teacher = expected(images)
        variables = [v.value for v in expected.trainable_variables]
        for chosen, is_forget in ((wrong, True), (kept, False)):
            with tf.GradientTape() as tape:
                cosine = losses.cosines(features_of(expected, images[chosen]), centroids)
                logits = expected(images[chosen])
                divergence = losses.divergence(tf.gather(teacher, chosen), logits)
                if is_forget:
                    loss = losses.forget_loss(divergence, losses.push(cosine), kl=2.0, push_factor=20.0)
                else:
                    entropy = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels[chosen], logits))
                    loss = entropy - 30 * tf.reduce_mean(tf.gather(cosine, labels[chosen], batch_dims=1))
                    loss += 0.5 * divergence
            for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
                variable.assign_sub(rate * tf.clip_by_value(gradient, -0.1, 0.1))
        for found, wanted in zip(peek.weights[0], expected.get_weights(), strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-5)
        assert 0 < callback.reports[0].history[1]["clipped"] < 1

    def test_forget_rows_leave_and_retain_rows_close_up(self, poisoned) -> None:
        source, task = poisoned
        wrong, kept = task.corrections.rows, np.arange(60, 240)
        measured: dict[str, tuple[float, float]] = {}
        given = losses.class_weights(task.train.labels[kept], 3)

        def measure(model: keras.Model, centroids: np.ndarray) -> tuple[float, float]:
            away = losses.push(losses.cosines(features_of(model, task.train.images[wrong]), centroids))
            near = losses.alignment(losses.cosines(features_of(model, task.train.images[kept]), centroids), given)
            return float(away), float(near)

        for name, change in {
            "both": {},
            "no forget": {"forget_push": 0.0, "forget_kl": 0.0},
            "forget alone": {"retain_ce": 0.0, "retain_pull": 0.0},
        }.items():
            model = plain_model()
            model.set_weights(source.get_weights())
            options = {**TOY, "retain_pull": 5.0, **change}
            callback = FeatureSpaceUnlearning(task.train, task.validation, wrong, **options)
            peek = Peek()
            compiled(model).fit(callback.retain_batches(), epochs=4, callbacks=[callback, peek], verbose=0)
            model.set_weights(peek.weights[-1])
            centroids = callback.reports[0].centroids
            assert centroids is not None
            measured[name] = measure(model, centroids)
            measured["before"] = measure(source, centroids)
        assert measured["both"][0] < measured["no forget"][0]
        assert measured["forget alone"][0] < measured["before"][0]
        assert measured["both"][1] > measured["before"][1] > measured["forget alone"][1]

    def test_one_student_pass_a_step(self) -> None:
        task, _ = poisoned_task()
        keras.utils.set_random_seed(0)
        layers = keras.layers
        model = keras.Sequential([keras.Input((6, 6, 1)), CountTraining(), layers.Flatten(), layers.Dense(3)])
        compiled(model, run_eagerly=True)
        counter = model.layers[0]
        callback = FeatureSpaceUnlearning(task.train, task.validation, np.arange(60), **{**TOY, "batch_size": 60})
        trainings = []

        class Count(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                trainings.append(counter.calls[True])

        model.fit(callback.retain_batches(), epochs=2, callbacks=[callback, Count()], verbose=0)
        assert trainings == [3, 6]  # three retain steps an epoch; the forget step is a graph, traced without a count
        work = callback.reports[0].work
        assert work.gradient_rows == 2 * 240
        assert work.forward_rows == 180 + 2 * 60 + 3 * len(task.validation)  # centroids, teacher, scores

    def test_of_equal_epochs_the_first_one_stays(self, poisoned, monkeypatch) -> None:
        """Every further epoch moves the model away from what it was, for nothing."""
        source, task = poisoned
        model, peek, scores = plain_model(), Peek(), iter([0.5, 0.5, 0.6, 0.6, 0.55])
        model.set_weights(source.get_weights())
        monkeypatch.setattr("unlearning.centroids.callback.accuracy", lambda *_: next(scores))
        callback = FeatureSpaceUnlearning(task.train, task.validation, task.corrections.rows, **TOY)
        compiled(model).fit(callback.retain_batches(), epochs=4, callbacks=[callback, peek], verbose=0)
        assert callback.reports[0].validation_accuracy_after == 0.6
        for found, wanted in zip(model.get_weights(), peek.weights[1], strict=True):
            np.testing.assert_array_equal(found, wanted)
        assert any(not np.array_equal(a, b) for a, b in zip(peek.weights[1], peek.weights[2], strict=True))

    def test_in_a_strangers_fit(self, poisoned) -> None:
        """Somebody's softmax model with one-hot labels, Adam, metrics, validation data, trained before."""
        _, task = poisoned
        model = plain_model(softmax=True)
        optimizer = keras.optimizers.Adam(0.01, global_clipnorm=3.0)
        model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
        targets, held_out = np.eye(3)[task.train.labels], np.eye(3)[task.validation.labels]
        model.fit(task.train.images, targets, epochs=40, verbose=0)
        before = accuracy(model, task.validation)
        callback = FeatureSpaceUnlearning(task.train, task.validation, task.corrections.rows, **TOY, refresh=2)
        kept = np.arange(60, 240)
        log = model.fit(
            task.train.images[kept],
            targets[kept],
            epochs=6,
            validation_data=(task.validation.images, held_out),
            callbacks=[callback],
            verbose=0,
        )
        report = callback.reports[0]
        assert report.applied and report.status is OutcomeStatus.IMPROVED
        assert report.validation_accuracy_before == before
        assert report.validation_accuracy_after == accuracy(model, task.validation) > before
        assert report.validation_accuracy_after == max(row["validation_accuracy"] for row in report.history)
        assert {"loss", "val_loss", "accuracy", "forget_kl", "retain_alignment"} <= set(log.history)
        assert min(log.history["val_loss"]) > 0  # validation loss is the model's own, without a centroid term
        json.dumps([report.details(), list(report.history)])
        # Nothing is left behind.
        assert "compute_loss" not in model.__dict__ and "call" not in model.layers[-1].__dict__
        assert (optimizer.clipvalue, optimizer.global_clipnorm) == (None, 3.0)
        assert float(optimizer.learning_rate) == pytest.approx(0.01)
        assert model.fit(task.train.images, targets, verbose=0).history["loss"][0] > 0

    def test_a_subclassed_half_precision_model(self) -> None:
        """Loss scaling is taken off before clipping, and a `call` without `training` does."""

        class Stranger(keras.Model):
            def __init__(self) -> None:
                super().__init__()
                self.flatten = keras.layers.Flatten()
                self.hidden = keras.layers.Dense(8, activation="tanh")
                self.out = keras.layers.Dense(3, dtype="float32")

            def call(self, inputs):
                return self.out(self.hidden(self.flatten(inputs)))

        task, _ = poisoned_task()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            keras.utils.set_random_seed(0)
            model = compiled(Stranger())
        finally:
            keras.config.set_dtype_policy("float32")
        model.fit(task.train.images, task.train.labels, verbose=0)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        callback = FeatureSpaceUnlearning(
            task.train, task.validation, task.corrections.rows, **{**TOY, "centroids": "hard", "view": "training"}
        )
        model.fit(callback.retain_batches(), epochs=3, callbacks=[callback], verbose=0)
        pushes = [row["forget_push"] for row in callback.reports[0].history[1:]]
        assert pushes[-1] < pushes[0]
        assert model.optimizer.inner_optimizer.clipvalue is None

    def test_forgetting_stops_without_labels(self, poisoned) -> None:
        source, task = poisoned
        model = plain_model()
        model.set_weights(source.get_weights())
        options = {**TOY, "stop_agreement": 1.0, "batch_norm_rows": 32}
        callback = FeatureSpaceUnlearning(task.train, task.validation, task.corrections.rows, **options)
        compiled(model).fit(callback.retain_batches(), epochs=2, callbacks=[callback], verbose=0)
        assert [row["forget_kl"] is None for row in callback.reports[0].history] == [True, False, True]

    def test_retain_rows(self, poisoned) -> None:
        _, task = poisoned
        labels = np.arange(240) % 3
        split = Split(np.arange(240.0, dtype=np.float32)[:, None, None, None] * np.ones((1, 6, 6, 1)), labels)

        def rows(**options: Any) -> list[int]:
            callback = FeatureSpaceUnlearning(split, task.validation, np.array([3, 1]), batch_size=240, **options)
            images, given = callback.retain_batches()[0]
            found = images[:, 0, 0, 0].astype(int)
            np.testing.assert_array_equal(given, labels[found])
            return sorted(found.tolist())

        assert rows() == [0, 2, *range(4, 240)]
        assert rows(exclude_forget=False) == list(range(240))
        assert rows(retain_rows=np.array([1, 5])) == [5]
        assert rows(retain_rows=np.array([1, 5]), exclude_forget=False) == [1, 5]

    @pytest.mark.parametrize("broken", [3, 200])
    def test_non_finite_rows_leave_the_model_alone(self, poisoned, broken: int) -> None:
        """Row 3 is forgotten, row 200 is retained and makes the centroids useless."""
        source, task = poisoned
        model = plain_model()
        model.set_weights(source.get_weights())
        images = task.train.images.copy()
        images[broken] = np.nan
        train = Split(images, task.train.labels)
        callback = FeatureSpaceUnlearning(train, task.validation, task.corrections.rows, **TOY)
        compiled(model).fit(callback.retain_batches(), epochs=3, callbacks=[callback], verbose=0)
        report = callback.reports[0]
        assert report.status is OutcomeStatus.NON_FINITE and not report.applied
        assert (report.centroids is None) == (broken == 200)
        json.dumps(report.details())
        for before, after in zip(source.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"forget_rows": np.array([240])}, "forget_rows.*0..239"),
            ({"forget_rows": np.array([0.5])}, "forget_rows"),
            ({"forget_rows": np.empty(0, int)}, "at least one"),
            ({"forget_rows": np.arange(240)}, "left to retain"),
            ({"retain_rows": np.array([-1])}, "retain_rows"),
            ({"validation": Split(np.empty((0, 6, 6, 1)), np.empty(0, int))}, "validation"),
            ({"zeta": 1.0}, "forget_push"),
            ({"preset": "best"}, "preset.*'pull', 'original' or 'nll'"),
            ({"centroids": "fuzzy"}, "centroids.*'soft' or 'hard'"),
            ({"view": "both"}, "view.*'inference'"),
            ({"forget_push": -1.0}, "forget_push"),
            ({"temperature": 0.0}, "temperature"),
            ({"clip": 0.0}, "clip"),
            ({"batch_size": 0}, "batch_size"),
            ({"forget_epochs": -1}, "forget_epochs"),
            ({"stop_agreement": 1.5}, "stop_agreement"),
        ],
    )
    def test_bad_input(self, poisoned, change: dict, match: str) -> None:
        _, task = poisoned
        arguments = {"train": task.train, "validation": task.validation, "forget_rows": np.arange(5), **change}
        with pytest.raises(InputError, match=match):
            FeatureSpaceUnlearning(**arguments)

    @pytest.mark.parametrize("case", ["layer", "classes", "schedule", "train_step"])
    def test_a_model_it_cannot_work_with(self, poisoned, case: str) -> None:
        _, task = poisoned

        class OwnStep(keras.Sequential):
            def train_step(self, data):
                return {"loss": tf.reduce_sum(self(data[0]))}

        options, train, match = {}, task.train, "feature_layer.*hidden, logits"
        model = compiled(plain_model())
        if case == "layer":
            options = {"feature_layer": "none"}
        elif case == "classes":
            train, match = Split(train.images, train.labels + 1), "labels 0..3"
        elif case == "schedule":
            model.optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10))
            match = "learning_rate"
        else:
            model, match = compiled(OwnStep(plain_model().layers)), "compute_loss"
        callback = FeatureSpaceUnlearning(train, task.validation, np.arange(60), **options)
        with pytest.raises(InputError, match=match):
            model.fit(callback.retain_batches(), callbacks=[callback], verbose=0)
        assert "compute_loss" not in model.__dict__ and "call" not in model.layers[-1].__dict__

    def test_release_after_an_exception(self, poisoned) -> None:
        _, task = poisoned

        class Interrupt(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                raise KeyboardInterrupt

        model = compiled(plain_model())
        callback = FeatureSpaceUnlearning(task.train, task.validation, np.arange(60), **TOY)
        with pytest.raises(KeyboardInterrupt):
            model.fit(callback.retain_batches(), callbacks=[callback, Interrupt()], verbose=0)
        assert "compute_loss" in model.__dict__
        callback.release()
        assert "compute_loss" not in model.__dict__ and model.optimizer.clipvalue is None
