"""Feature-space unlearning and SCRUB as methods."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.centroids import NOTHING, TOY, plain_model
from support.paths import FIXTURES
from support.small import fitted, poisoned_task, small_model
from unlearning import detection, methods
from unlearning.centroids.callback import FeatureSpaceUnlearning
from unlearning.centroids.settings import CentroidSettings
from unlearning.detection.mixture import fit_mixture
from unlearning.errors import InputError
from unlearning.methods.base import Took
from unlearning.methods.fspmu import Fspmu
from unlearning.methods.fspmu_reference import FspmuReference
from unlearning.methods.scrub import Scrub
from unlearning.streams import stream_seed
from unlearning.task import REMOVED, Corrections, OutcomeStatus, Split, UnlearningTask
from unlearning.training import ShuffledBatches, TrainSettings

QUICK: dict[str, Any] = {**TOY, "epochs": 3}


@pytest.fixture(scope="module")
def poisoned() -> tuple[keras.Model, UnlearningTask]:
    task, _ = poisoned_task()
    return fitted(plain_model(), task.train), task


class TestPull:
    @pytest.fixture
    def batch_norm(self, poisoned) -> tuple[keras.Model, UnlearningTask]:
        _, task = poisoned
        return fitted(small_model(hidden=8), task.train), task

    def test_method_and_callback_are_one(self, batch_norm) -> None:
        """The same settings, optimizer and model lead to the same weights, batch statistics included.

        The steps are those of four passes over all 240 rows: eight each, where one over the retain rows has six.
        """
        model, task = batch_norm
        method = Fspmu(epochs=4, learning_rate=0.01, batch_size=32, centroid_rows=100, batch_norm_rows=128)
        outcome = method.changed(trainable_from="all").unlearn(model, task)
        assert outcome.applied
        own = keras.models.clone_model(model)
        own.set_weights(model.get_weights())
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        own.compile(keras.optimizers.Adam(), loss)
        settings = {name: getattr(method, name) for name in CentroidSettings.model_fields}
        callback = FeatureSpaceUnlearning(
            task.train, task.choosing, task.corrections.rows, seed=task.seed, steps=4 * 8, **settings
        )
        own.fit(callback.retain_batches(), epochs=6, shuffle=False, callbacks=[callback], verbose=0)
        for ours, theirs in zip(own.get_weights(), outcome.model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        for ours, theirs in zip(callback.reports[0].history, outcome.history, strict=True):
            assert ours["validation_accuracy"] == theirs["validation_accuracy"]

    @pytest.mark.parametrize("cached", [True, False])
    def test_what_lies_below_the_boundary_stays(self, batch_norm, cached: bool) -> None:
        model, task = batch_norm
        method = Fspmu(epochs=6, learning_rate=0.02, batch_size=32, trainable_from="hidden", cache_features=cached)
        outcome = method.unlearn(model, task)
        assert outcome.applied and outcome.moved.layer == "hidden"
        assert outcome.moved.parameters == sum(
            w.size for x in ("hidden", "logits") for w in model.get_layer(x).get_weights()
        )

    def test_right_labels_join_where_it_is_said(self, poisoned) -> None:
        model, task = poisoned
        quick = {"epochs": 4, "learning_rate": 0.01, "batch_size": 32}
        some = task.corrections.labels.copy()
        some[30:] = REMOVED
        none = Corrections(task.corrections.rows, np.full(60, REMOVED))
        partly = dataclasses.replace(task, corrections=Corrections(task.corrections.rows, some))
        without = Fspmu(**quick).unlearn(model, task)
        method = methods.get("fspmu-corrected", quick)
        unknown = method.unlearn(model, dataclasses.replace(task, corrections=none))
        joined = method.unlearn(model, partly)
        for a, b in zip(without.model.get_weights(), unknown.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert (without.details["corrected_count"], joined.details["corrected_count"]) == (0, 30)
        assert joined.rows["forget_rows"].tolist() == list(range(30, 60))
        assert joined.details["retain_count"] == 210 and without.details["retain_count"] == 180
        everything = task.train.labels.copy()
        everything[:60] = task.corrections.labels
        of_all = Corrections(np.arange(240), everything)
        assert method.unlearn(model, dataclasses.replace(task, corrections=of_all)).details["retain_count"] == 240

    def test_corrected_images_are_trained_on(self, poisoned, monkeypatch) -> None:
        model, task = poisoned
        images = np.full((60, 6, 6, 1), 7.0, np.float32)
        seen = []
        monkeypatch.setattr(
            "unlearning.centroids.callback.ShuffledBatches",
            lambda images, labels, **options: seen.append(images) or ShuffledBatches(images, labels, **options),
        )
        corrections = dataclasses.replace(task.corrections, images=images)
        methods.get("fspmu-corrected", {"epochs": 1}).unlearn(model, dataclasses.replace(task, corrections=corrections))
        assert max(np.count_nonzero((batch == 7).all(axis=(1, 2, 3))) for batch in seen) == 60

    def test_time_alone_may_end_it(self, poisoned) -> None:
        """With no time to speak of, the first step is the last one."""
        model, task = poisoned
        outcome = Fspmu(cpu_seconds=1e-9, batch_size=32).unlearn(model, task)
        assert outcome.work.gradient_rows == 32 and len(outcome.history) == 2
        assert outcome.details["cpu_seconds"] == 1e-9

    def test_what_is_left_open_comes_from_the_recipe(self) -> None:
        recipe = TrainSettings(epochs=40, augment=True)
        assert Fspmu().adapt(recipe).epochs == 4 and Fspmu().adapt(recipe).augment is True
        assert Fspmu().adapt(recipe.changed(epochs=5)).epochs == 2 and Fspmu(epochs=7).adapt(recipe).epochs == 7
        assert Fspmu(seconds=3).adapt(recipe).epochs is None and Fspmu(augment=False).adapt(recipe).augment is False
        assert methods.get("fspmu-reference").adapt(recipe).epochs == 15
        timed = Fspmu(cpu_seconds="like:second-order")
        assert timed.waits_for() == ("second-order",)
        assert timed.resolve({"second-order": Took(5.0, 4.0)}).cpu_seconds == 4.0


class TestReference:
    def test_it_is_recorded_as_version_0_1_recorded_it(self) -> None:
        """What was added since says nothing new of the published schedule, and is neither written nor hashed."""
        (record,) = FIXTURES.rglob("fspmu-gmm-short/unlearn_config.json")
        old = json.loads(record.read_text())["hyperparameters"]
        overrides = {
            name: old[name] for name in ("epochs", "forget_epochs", "learning_rate", "milestones", "batch_size")
        }
        now = methods.get("fspmu-gmm", overrides | {"batch_norm_rows": old["batch_norm_rows"]})
        assert now.changed(augment=old["augment"]).config() == old
        assert not {"schedule", "optimizer", "trainable_from"} & set(methods.get("scrub").config())

    def test_right_labels_move_nothing(self, poisoned) -> None:
        """Corrections say which labels are wrong; which ones are right is not looked at."""
        model, task = poisoned
        rows = task.corrections.rows
        labels = (task.corrections.labels, (task.corrections.labels + 2) % 3, np.full(60, REMOVED))
        tasks = [dataclasses.replace(task, corrections=Corrections(rows, others)) for others in labels]
        outcomes = [FspmuReference(**QUICK).unlearn(model, other) for other in tasks]
        assert outcomes[0].applied
        for outcome in outcomes[1:]:
            for a, b in zip(outcomes[0].model.get_weights(), outcome.model.get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)
        assert outcomes[0].rows["forget_rows"].tolist() == list(range(60))
        assert outcomes[0].details["factors"]["retain_ce"] == 5.0

    def test_the_mixture_needs_no_corrections(self) -> None:
        task, _ = poisoned_task()
        model = fitted(plain_model(), task.train, epochs=8)
        none = dataclasses.replace(task, corrections=NOTHING)
        outcome = FspmuReference(**QUICK, pred="gmm", gmm_normalise=True).unlearn(model, none)
        found = outcome.rows["forget_rows"]
        assert outcome.applied and (found < 60).mean() > 0.8
        assert {"means", "variances", "weights", "converged", "separation"} <= set(outcome.details["mixture"])
        assert FspmuReference(**QUICK).unlearn(model, none).status is OutcomeStatus.NOTHING_FLAGGED

    @pytest.mark.slow
    def test_memorised_rows_by_hand(self, poisoned) -> None:
        """The published rule from plain Keras: a fresh network, its losses, and the model's."""
        model, task = poisoned
        options = {**QUICK, "gmm_normalise": True, "gmm_threshold": 0.4, "probe_epochs": 3, "momentum": 0.8}
        method = Fspmu(**options, pred="memorised", probe_learning_rate=0.07)
        weights = model.get_weights()
        outcome = method.unlearn(model, dataclasses.replace(task, corrections=NOTHING))
        for before, after in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)

        seed = stream_seed(task.seed, "method", "probe")
        keras.utils.set_random_seed(stream_seed(seed, "initialisation"))
        probe = keras.models.clone_model(model)
        probe.compile(
            keras.optimizers.SGD(0.07, momentum=0.8, weight_decay=5e-4),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        batches = ShuffledBatches(task.train.images, task.train.labels, batch_size=32, seed=seed)
        probe.fit(batches, epochs=3, shuffle=False, verbose=0)
        noisy = []
        for scored in (probe, model):
            logits = tf.constant(scored.predict(task.train.images, verbose=0))
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(task.train.labels, logits).numpy().astype(float)
            mixture = fit_mixture(loss, seed=task.seed)
            noisy.append(1 - mixture.posterior(loss) <= 0.4)
        early, final = noisy
        assert outcome.rows["forget_rows"].tolist() == np.flatnonzero(early & ~final).tolist() != []
        assert outcome.details["retain_count"] == np.count_nonzero(~final & ~early)
        assert set(outcome.details["mixture"]) == {"early", "final"}
        assert outcome.work.gradient_rows >= 3 * 240 and json.dumps(outcome.details)

        published = method.changed(exclude_forget=False)
        again = published.unlearn(model, dataclasses.replace(task, corrections=NOTHING))
        assert again.rows["forget_rows"].tolist() == outcome.rows["forget_rows"].tolist()
        assert again.details["retain_count"] == np.count_nonzero(~final), "forget rows are among the retained"

    def test_a_detector_names_the_rows(self, poisoned) -> None:
        model, task = poisoned
        none = dataclasses.replace(task, corrections=NOTHING)
        options = {"share": 0.2}
        outcome = FspmuReference(**QUICK, pred="loss-ranking", pred_options=options).unlearn(model, none)
        expected = detection.get("loss-ranking", options).detect(model, task.train, 3, task.seed)
        assert outcome.rows["forget_rows"].tolist() == expected.suspects.tolist()
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
        outcome = FspmuReference(**QUICK, pred=pred, pred_options=options).unlearn(model, task)
        assert outcome.status is status and not outcome.applied
        assert ("detection" in outcome.details) == (status is OutcomeStatus.NOTHING_FLAGGED)
        for before, after in zip(model.get_weights(), outcome.model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)

    def test_who_needs_flagged_rows(self) -> None:
        assert methods.needs_flagged("fspmu") and methods.needs_flagged("scrub")
        assert not methods.needs_flagged("fspmu-gmm") and not methods.needs_flagged("fspmu-memorised")
        assert methods.needs_flagged("fspmu-reference") and not methods.needs_flagged("fspmu", {"pred": "neighbours"})
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
            ({"rows": "corrected", "pred": "gmm"}, "fspmu.rows.*pred=gmm"),
            ({"cpu_seconds": "like:"}, "cpu_seconds"),
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
            FspmuReference(**QUICK, pred="memorised").unlearn(model, task)

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
