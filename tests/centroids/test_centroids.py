"""Feature-space unlearning: golden values, properties of the losses, the callback in `fit`, and its methods."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.paths import GOLDEN as GOLDEN_FILES
from support.small import blobs, fitted, poisoned_task, small_model
from unlearning import detection, methods
from unlearning.centroids import losses
from unlearning.centroids.callback import PRESETS, CentroidSettings, FeatureSpaceUnlearning
from unlearning.centroids.mixture import memorised_split, mixture_split, row_losses
from unlearning.detection.mixture import fit_mixture
from unlearning.errors import InputError
from unlearning.evaluation import accuracy
from unlearning.methods.fspmu import Fspmu
from unlearning.methods.scrub import Scrub
from unlearning.task import REMOVED, Corrections, OutcomeStatus, Split, UnlearningTask
from unlearning.training import ShuffledBatches

GOLDEN = json.loads((GOLDEN_FILES / "fspmu.json").read_text())
EXPECTED = GOLDEN["expected"]
TEACHER, STUDENT, FEATURES = (tf.constant(GOLDEN["inputs"][n], tf.float64) for n in ("z_t", "z_s", "f"))
LABELS = np.array(GOLDEN["inputs"]["y"])
LOSSES = np.array(GOLDEN["inputs"]["loss"])
TOY: dict[str, Any] = {"preset": "nll", "learning_rate": 0.02, "batch_size": 32, "forget_batch_size": 60}
"""A rate for a network of a hundred weights instead of millions."""
NOTHING = Corrections(np.empty(0, int), np.empty(0, int))
QUICK: dict[str, Any] = {**TOY, "epochs": 3}


def golden_centroids() -> tf.Tensor:
    return losses.class_centroids(FEATURES, tf.nn.softmax(TEACHER))


def golden_cosines() -> tf.Tensor:
    return losses.cosines(FEATURES, golden_centroids())


def forget(cosine: tf.Tensor, kl: float, push: float, power: float = 2.0) -> tf.Tensor:
    divergence = losses.divergence(TEACHER, STUDENT)
    return losses.forget_loss(divergence, losses.push(cosine, power), kl=kl, push_factor=push)


def retain(cosine: tf.Tensor, ce: float, pull: float) -> tf.Tensor:
    entropy = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, STUDENT))
    return losses.retain_loss(entropy, losses.alignment(cosine, losses.class_weights(LABELS, 3)), ce=ce, pull=pull)


class TestGolden:
    def test_centroids_cosines_and_weights(self) -> None:
        np.testing.assert_allclose(golden_centroids(), EXPECTED["centroids"], rtol=1e-9)
        np.testing.assert_allclose(golden_cosines(), EXPECTED["cos"], rtol=1e-9)
        np.testing.assert_allclose(losses.push_weights(golden_cosines()), EXPECTED["weights"], rtol=1e-9)

    @pytest.mark.parametrize(
        ("found", "key"),
        [
            (lambda c: losses.divergence(TEACHER, STUDENT), "kl_T05"),
            (lambda c: losses.push(c), "push_cosT05"),
            (lambda c: losses.push(c, 4.0), "push_cosT025"),
            (lambda c: losses.alignment(c, losses.class_weights(LABELS, 3)), "align"),
            (lambda c: forget(c, 1.0, 0.5), "forget_original"),
            (lambda c: forget(c, 1.0, 1.0), "forget_nll"),
            (lambda c: forget(c, 1.0, 0.5, 4.0), "forget_cosT025"),
            (lambda c: forget(c, 0.5, 0.0), "scrub_forget"),
            (lambda c: retain(c, 1.0, 0.0), "scrub_retain"),
            (lambda c: retain(c, 1.0, 500.0), "retain_original"),
            (lambda c: retain(c, 5.0, 1.0), "retain_nll"),
        ],
    )
    def test_losses(self, found, key: str) -> None:
        assert float(found(golden_cosines())) == pytest.approx(EXPECTED[key], rel=1e-9)

    @pytest.mark.parametrize(
        ("loss", "key"),
        [
            (lambda c: forget(c, 1.0, 0.5), "grad_feat_forget"),
            (lambda c: retain(c, 1.0, 500.0), "grad_feat_retain"),
        ],
    )
    def test_feature_gradients(self, loss, key: str) -> None:
        centroids = golden_centroids()
        with tf.GradientTape() as tape:
            tape.watch(FEATURES)
            value = loss(losses.cosines(FEATURES, centroids))
        np.testing.assert_allclose(tape.gradient(value, FEATURES), EXPECTED[key], rtol=1e-8)

    def test_learning_rates(self) -> None:
        assert [losses.learning_rate(epoch) for epoch in range(1, 16)] == pytest.approx(EXPECTED["lr"])

    def test_clipped_steps_with_decoupled_decay(self) -> None:
        """Clipping here, and clipping by the optimizer, are the same step."""
        for clipvalue in (None, 1.0):
            weights = keras.Variable([0.3, -2.0])
            optimizer = keras.optimizers.SGD(5e-4, momentum=0.9, weight_decay=5e-4, clipvalue=clipvalue)
            for rate, gradient in ((5e-4, [0.4, 5.0]), (5e-5, [-3.0, 0.2])):
                optimizer.learning_rate = rate
                gradients = [tf.constant(gradient)]
                if clipvalue is None:
                    gradients, share = losses.clip_elements(gradients, 1.0)
                    assert float(share) == 0.5
                optimizer.apply(gradients, [weights])
            np.testing.assert_allclose(weights, EXPECTED["sgd_keras_2steps"], rtol=1e-6)

    def test_mixture(self) -> None:
        split = mixture_split(LOSSES)
        assert split.mixture is not None
        np.testing.assert_allclose(split.mixture.means, EXPECTED["gmm_means"], rtol=1e-6)
        np.testing.assert_allclose(split.mixture.variances, EXPECTED["gmm_var"], rtol=1e-6)
        np.testing.assert_allclose(split.mixture.weights, EXPECTED["gmm_weights"], rtol=1e-6)
        np.testing.assert_allclose(split.clean_probability, EXPECTED["gmm_clean_prob"], atol=1e-8)
        assert [split.retain.tolist(), split.forget.tolist()] == EXPECTED["split_original"]

    def test_memorised_rows(self) -> None:
        split = memorised_split(np.array(GOLDEN["inputs"]["loss_early"]), LOSSES)
        assert [split.retain.tolist(), split.forget.tolist()] == EXPECTED["split_nll"]
        assert split.final.retain.tolist() == EXPECTED["split_original"][0]
        with pytest.raises(InputError, match="early_losses"):
            memorised_split(LOSSES[1:], LOSSES)

    def test_presets_are_those_of_the_readme(self) -> None:
        factors = CentroidSettings().factors()
        assert factors[:4] == (1.0, 0.5, 1.0, 500.0) == tuple(PRESETS["original"].values())
        assert CentroidSettings(preset="nll", retain_pull=2.0).factors()[:4] == (1.0, 1.0, 5.0, 2.0)


class TestProperties:
    def test_divergence_starts_flat(self) -> None:
        """Where the student still is the teacher there is nothing to climb: only the push moves such a network."""
        with tf.GradientTape() as tape:
            tape.watch(TEACHER)
            value = losses.divergence(tf.identity(TEACHER), TEACHER)
        assert float(value) == 0
        np.testing.assert_allclose(tape.gradient(value, TEACHER), 0, atol=1e-12)

    def test_weights_sum_to_one_or_vanish(self) -> None:
        cosine = tf.constant([[0.5, -0.9], [-0.1, -0.2], [0.0, 0.0]])
        np.testing.assert_allclose(tf.reduce_sum(losses.push_weights(cosine), -1), [1, 1, 0], atol=1e-6)
        np.testing.assert_allclose(losses.push_weights(cosine, 2.0, True), [[1, 0], [0, 0], [0, 0]], atol=1e-6)
        np.testing.assert_allclose(losses.push_weights(cosine[:, :1])[:2], 1)

    @pytest.mark.parametrize("loss", [lambda c: forget(c, 0.0, 1.0), lambda c: retain(c, 0.0, 1.0)])
    def test_only_directions_matter(self, loss) -> None:
        centroids, scale = golden_centroids(), tf.constant([[0.1], [2.0], [30.0], [1.0]], tf.float64)
        values = []
        for factor in (1.0, scale):
            with tf.GradientTape() as tape:
                tape.watch(FEATURES)
                values.append(loss(losses.cosines(factor * FEATURES, centroids)))
            gradient = tape.gradient(values[-1], FEATURES)
            np.testing.assert_allclose(tf.reduce_sum(gradient * FEATURES, -1), 0, atol=1e-12)
        assert float(values[0]) == pytest.approx(float(values[1]))

    def test_centroids_know_no_order_and_add_up(self) -> None:
        weights = tf.nn.softmax(TEACHER)
        order = [2, 0, 3, 1]
        mixed = losses.class_centroids(tf.gather(FEATURES, order), tf.gather(weights, order))
        np.testing.assert_allclose(mixed, golden_centroids(), rtol=1e-12)
        parts = losses.centroid_sums(FEATURES[:1], weights[:1]) + losses.centroid_sums(FEATURES[1:], weights[1:])
        np.testing.assert_allclose(tf.math.l2_normalize(parts, -1), golden_centroids(), rtol=1e-12)

    def test_hard_centroids_by_hand(self) -> None:
        features = np.array([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
        found = losses.class_centroids(features, losses.class_weights(np.array([0, 0, 1]), 3))
        np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [-1, 0], [0, 0]], atol=1e-7)

    @pytest.mark.parametrize("labels", [[2, 0], [[2], [0]], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]])
    def test_labels_as_they_come(self, labels) -> None:
        np.testing.assert_array_equal(losses.class_weights(np.array(labels), 3), [[0, 0, 1], [1, 0, 0]])


class TestMixture:
    def test_equal_losses_say_nothing(self) -> None:
        split = mixture_split(np.full(5, 0.3))
        assert not len(split.forget) and split.mixture is None and split.details() is None

    def test_normalising_finds_what_the_variance_floor_hides(self) -> None:
        assert not len(mixture_split(LOSSES * 1e-3).forget)
        assert len(mixture_split(LOSSES * 1e-3, normalise=True).forget) == 5
        assert len(memorised_split(LOSSES[::-1] * 1e-3, LOSSES * 1e-3).forget) == 0
        assert len(memorised_split(LOSSES[::-1] * 1e-3, LOSSES * 1e-3, normalise=True).forget) > 0

    def test_is_the_detectors_mixture(self) -> None:
        """One fit for both; a mixture in the unit of the losses, whatever it was fitted on."""
        for normalise in (False, True):
            split = mixture_split(LOSSES, seed=3, normalise=normalise)
            assert split.mixture == fit_mixture(LOSSES, normalise=normalise, seed=3)
            assert 0 < split.mixture.means[0] < 0.1 and 1.9 < split.mixture.means[1] < 2.1

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [(([1.0],), "two rows"), (([1.0, np.nan],), "finite"), (([[1.0], [2.0]],), "shape"), ((LOSSES, 1.0), "thresh")],
    )
    def test_bad_input(self, arguments: tuple, match: str) -> None:
        with pytest.raises(InputError, match=match):
            mixture_split(*arguments)

    @pytest.mark.parametrize("softmax", [False, True])
    def test_row_losses(self, softmax: bool) -> None:
        model, rows = small_model(softmax=softmax), blobs(50)
        weights = model.get_weights()
        scores = model(rows.images, training=False).numpy()
        expected = keras.losses.sparse_categorical_crossentropy(rows.labels, scores, from_logits=not softmax)
        np.testing.assert_allclose(row_losses(model, rows, 3, batch_size=16), expected, atol=1e-5)
        other = row_losses(model, rows, 3, view="training", augment=True, batch_size=16)
        assert np.isfinite(other).all() and np.abs(other - expected).max() > 1e-3
        for before, after in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)  # moving statistics, too
        with pytest.raises(InputError, match="4 outputs"):
            row_losses(model, rows, 4)


def plain_model(*, softmax: bool = False, seed: int = 0) -> keras.Model:
    """No batch normalisation, so that the same numbers come out of training and inference mode."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Flatten(),
            layers.Dense(8, activation="tanh", name="hidden"),
            layers.Dense(3, activation="softmax" if softmax else None, name="logits"),
        ]
    )


def compiled(model: keras.Model, rate: float = 0.05, **options: Any) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(rate), loss=loss, **options)
    return model


@pytest.fixture(scope="module")
def poisoned() -> tuple[keras.Model, UnlearningTask]:
    task, _ = poisoned_task()
    return fitted(plain_model(), task.train), task


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
            learning_rate=rate,
            retain_pull=30.0,
            retain_kl=0.5,
            forget_kl=2.0,
            forget_batch_size=60,
            batch_size=180,
            clip=0.1,
            forget_push=20.0,
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
            ({"preset": "best"}, "original, nll"),
            ({"centroids": "fuzzy"}, "soft, hard"),
            ({"view": "both"}, "inference"),
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


class TestMethods:
    def test_right_labels_move_nothing(self, poisoned) -> None:
        """Corrections say which labels are wrong; which ones are right is not looked at."""
        model, task = poisoned
        rows = task.corrections.rows
        labels = (task.corrections.labels, (task.corrections.labels + 1) % 3, np.full(60, REMOVED))
        tasks = [dataclasses.replace(task, corrections=Corrections(rows, others)) for others in labels]
        outcomes = [Fspmu(**QUICK).unlearn(model, other) for other in tasks]
        assert outcomes[0].applied
        for outcome in outcomes[1:]:
            for a, b in zip(outcomes[0].model.get_weights(), outcome.model.get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)
        assert outcomes[0].details["forget_rows"] == list(range(60))
        assert outcomes[0].details["factors"]["retain_ce"] == 5.0

    def test_the_mixture_needs_no_corrections(self) -> None:
        task, _ = poisoned_task()
        model = fitted(plain_model(), task.train, epochs=8)
        none = dataclasses.replace(task, corrections=NOTHING)
        outcome = Fspmu(**QUICK, pred="gmm", gmm_normalise=True).unlearn(model, none)
        found = np.array(outcome.details["forget_rows"])
        assert outcome.applied and (found < 60).mean() > 0.8
        assert {"means", "variances", "weights", "converged", "separation"} <= set(outcome.details["mixture"])
        assert Fspmu(**QUICK).unlearn(model, none).status is OutcomeStatus.NOTHING_FLAGGED

    def test_memorised_rows_by_hand(self, poisoned) -> None:
        """The published rule from plain Keras: a fresh network, its losses, and the model's."""
        model, task = poisoned
        options = {**QUICK, "gmm_normalise": True, "gmm_threshold": 0.4, "probe_epochs": 3, "momentum": 0.8}
        method = Fspmu(**options, pred="memorised", probe_learning_rate=0.07)
        weights = model.get_weights()
        outcome = method.unlearn(model, dataclasses.replace(task, corrections=NOTHING))
        for before, after in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)

        keras.utils.set_random_seed(task.seed)
        probe = keras.models.clone_model(model)
        probe.compile(
            keras.optimizers.SGD(0.07, momentum=0.8, weight_decay=5e-4),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        batches = ShuffledBatches(task.train.images, task.train.labels, batch_size=32, seed=task.seed)
        probe.fit(batches, epochs=3, shuffle=False, verbose=0)
        noisy = []
        for scored in (probe, model):
            logits = tf.constant(scored.predict(task.train.images, verbose=0))
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(task.train.labels, logits).numpy().astype(float)
            mixture = fit_mixture(loss, seed=task.seed)
            noisy.append(1 - mixture.posterior(loss) <= 0.4)
        early, final = noisy
        assert outcome.details["forget_rows"] == np.flatnonzero(early & ~final).tolist() != []
        assert outcome.details["retain_count"] == np.count_nonzero(~final & ~early)
        assert set(outcome.details["mixture"]) == {"early", "final"}
        assert outcome.work.gradient_rows >= 3 * 240 and json.dumps(outcome.details)

        published = dataclasses.replace(method, exclude_forget=False)
        again = published.unlearn(model, dataclasses.replace(task, corrections=NOTHING))
        assert again.details["forget_rows"] == outcome.details["forget_rows"]
        assert again.details["retain_count"] == np.count_nonzero(~final), "forget rows are among the retained"

    def test_a_detector_names_the_rows(self, poisoned) -> None:
        model, task = poisoned
        none = dataclasses.replace(task, corrections=NOTHING)
        options = {"share": 0.2}
        outcome = Fspmu(**QUICK, pred="loss-ranking", pred_options=options).unlearn(model, none)
        expected = detection.get("loss-ranking", options).detect(model, task.train, 3, task.seed)
        assert outcome.details["forget_rows"] == expected.suspects.tolist()
        found = outcome.details["detection"]
        assert (found["detector"], found["status"], found["suspects"]) == ("loss-ranking", "ok", 48)
        assert found["options"] == {"share": 0.2, "count": None} and json.dumps(outcome.details)

    @pytest.mark.parametrize(
        ("pred", "options", "status"),
        [
            ("neighbours", {"value": 1.5}, OutcomeStatus.NOTHING_FLAGGED),
            ("loss-ranking", {"count": 240}, OutcomeStatus.NOTHING_FLAGGED),
            ("neighbours", {}, OutcomeStatus.NON_FINITE),
        ],
    )
    def test_a_detector_without_an_answer(self, poisoned, pred: str, options: dict, status: OutcomeStatus) -> None:
        model, task = poisoned
        images = task.train.images.copy()
        if status is OutcomeStatus.NON_FINITE:
            images[7] = np.nan
        task = dataclasses.replace(task, train=Split(images, task.train.labels), corrections=NOTHING)
        outcome = Fspmu(**QUICK, pred=pred, pred_options=options).unlearn(model, task)
        assert outcome.status is status and not outcome.applied
        assert ("detection" in outcome.details) == (status is OutcomeStatus.NOTHING_FLAGGED)
        for before, after in zip(model.get_weights(), outcome.model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)

    def test_who_needs_flagged_rows(self) -> None:
        assert methods.needs_flagged("fspmu") and methods.needs_flagged("scrub")
        assert not methods.needs_flagged("fspmu-gmm") and not methods.needs_flagged("fspmu-memorised")
        assert not methods.needs_flagged("fspmu", {"pred": "neighbours"})
        assert methods.needs_flagged("fspmu-gmm", {"pred": "known"})
        assert not methods.needs_flagged("sap+fspmu", {"fspmu.pred": "gmm"})
        assert methods.needs_flagged("sap+fspmu") and methods.needs_flagged("fine-tuning")
        assert not methods.needs_flagged("fine-tuning-trusted")
        assert methods.get("fspmu-memorised").factors()[:4] == (1.0, 1.0, 5.0, 1.0)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"pred": "oracle"}, "known, gmm, memorised, .*neighbours.*'oracle'"),
            ({"pred": "neighbours", "pred_options": '{"k": 3}'}, "neighbours.k.*metric"),
            ({"pred": "neighbours", "pred_options": '{"neighbours": 0}'}, "neighbours"),
            ({"pred_options": '{"neighbours": 3}'}, "pred_options.*pred=known"),
            ({"pred_options": "3"}, "fspmu.pred_options"),
            ({"probe_epochs": 0}, "probe_epochs"),
            ({"probe_learning_rate": 0}, "probe_learning_rate"),
        ],
    )
    def test_bad_hyperparameters(self, change: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            methods.get("fspmu", change)

    def test_a_probe_needs_a_graph(self, poisoned) -> None:
        _, task = poisoned

        @keras.saving.register_keras_serializable()
        class Own(keras.Model):
            def __init__(self, **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self.flatten, self.out = keras.layers.Flatten(), keras.layers.Dense(3)

            def call(self, inputs):
                return self.out(self.flatten(inputs))

        model = Own()
        model(task.train.images[:1])
        with pytest.raises(InputError, match="Sequential or functional"):
            Fspmu(**QUICK, pred="memorised").unlearn(model, task)

    def test_scrub_has_no_centroid_terms_and_stays_with_the_teacher(self) -> None:
        assert Scrub().factors() == (0.5, 0.0, 1.0, 0.0, 0.01)
        assert Scrub(preset="nll").factors() == Scrub().factors()

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"pred": "cls"}, "known, gmm"),
            ({"epochs": 0}, "epochs"),
            ({"gmm_threshold": 1.0}, "gmm_threshold"),
            ({"momentum": 1.0}, "momentum"),
            ({"weight_decay": -1.0}, "weight_decay"),
            ({"learning_rate": None}, "learning_rate"),
        ],
    )
    def test_bad_input(self, options: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            Fspmu(**options)
