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
from support.small import fitted, poisoned_task
from unlearning import detection, methods
from unlearning.detection.mixture import fit_mixture
from unlearning.errors import InputError
from unlearning.methods.fspmu import Fspmu
from unlearning.methods.scrub import Scrub
from unlearning.streams import stream_seed
from unlearning.task import REMOVED, Corrections, OutcomeStatus, Split, UnlearningTask
from unlearning.training import ShuffledBatches

QUICK: dict[str, Any] = {**TOY, "epochs": 3}


@pytest.fixture(scope="module")
def poisoned() -> tuple[keras.Model, UnlearningTask]:
    task, _ = poisoned_task()
    return fitted(plain_model(), task.train), task


class TestFspmu:
    def test_right_labels_move_nothing(self, poisoned) -> None:
        """Corrections say which labels are wrong; which ones are right is not looked at."""
        model, task = poisoned
        rows = task.corrections.rows
        labels = (task.corrections.labels, (task.corrections.labels + 2) % 3, np.full(60, REMOVED))
        tasks = [dataclasses.replace(task, corrections=Corrections(rows, others)) for others in labels]
        outcomes = [Fspmu(**QUICK).unlearn(model, other) for other in tasks]
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
        outcome = Fspmu(**QUICK, pred="gmm", gmm_normalise=True).unlearn(model, none)
        found = outcome.rows["forget_rows"]
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
        outcome = Fspmu(**QUICK, pred="loss-ranking", pred_options=options).unlearn(model, none)
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
