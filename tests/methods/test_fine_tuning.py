"""Fine-tuning: the fall of its learning rate, equal time, and annealing."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from support.small import fitted, poisoned_task, small_model
from unlearning import feeding, methods
from unlearning.errors import InputError
from unlearning.interop import copy_model
from unlearning.methods.base import Took, corrected_rows
from unlearning.projection.statistics import recalibrate_batch_norm
from unlearning.streams import stream, stream_seed
from unlearning.task import Corrections
from unlearning.training import ShuffledBatches

EAGER = {"epochs": 4, "learning_rates": [0.01], "batch_size": 16}


def weights_after(model, task, name: str = "fine-tuning", **settings) -> list[np.ndarray]:
    outcome = methods.get(name, EAGER | settings).unlearn(model, task)
    assert outcome.applied
    return outcome.model.get_weights()


def assert_same(one: list[np.ndarray], other: list[np.ndarray], **tolerance: float) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, **({"rtol": 0} | tolerance))


class TestSchedule:
    def test_falls_linearly_to_zero_and_the_last_step_is_taken(self) -> None:
        """Keras's own schedule, on the same rows, gives the same weights."""
        task, _ = poisoned_task(rows=120, flips=30)
        dense = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        model = fitted(dense, task.train, epochs=3)
        rows = corrected_rows(task)
        other = copy_model(model)
        falling = keras.optimizers.schedules.PolynomialDecay(0.01, 4 * 8, end_learning_rate=0.0)
        order = stream_seed(task.seed, "method", "order")
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        other.compile(optimizer=keras.optimizers.Adam(falling), loss=loss)
        feeding.fit(other, ShuffledBatches(rows.images, rows.labels, batch_size=16, seed=order), epochs=4)
        assert_same(weights_after(model, task), other.get_weights(), rtol=1e-4, atol=1e-6)

    def test_only_its_end_is_scored(self) -> None:
        task, _ = poisoned_task(rows=120, flips=30)
        outcome = methods.get("fine-tuning", EAGER | {"learning_rates": [0.01, 0.001]}).unlearn(small_model(), task)
        assert [row["learning_rate"] for row in outcome.history] == [None, 0.01, 0.001]
        assert outcome.history[1]["last_learning_rate"] == pytest.approx(0.01 / 32)
        constant = methods.get("fine-tuning-constant", EAGER).unlearn(small_model(), task)
        assert [row["learning_rate"] for row in constant.history] == [None, 0.01, 0.01, 0.01, 0.01]

    @pytest.mark.parametrize("clock", ["seconds", "cpu_seconds"])
    def test_reaches_zero_when_time_ends_it(self, clock: str) -> None:
        task, _ = poisoned_task(rows=120, flips=30)
        for budget in (3.0, 12.0, 48.0):  # a busy machine may need all of it to compile
            outcome = methods.get("fine-tuning", {clock: budget, "batch_size": 16}).unlearn(small_model(), task)
            if outcome.work.gradient_rows > 3 * 120:
                break
        assert outcome.details == {clock: budget} and outcome.work.gradient_rows > 3 * 120
        assert 0 <= outcome.history[1]["last_learning_rate"] < 0.2 * 1e-3  # a busy machine may take long for a step
        if clock == "seconds":
            # What comes after the training is foreseen, too.
            assert budget / 2 < outcome.duration_s < 1.25 * budget

    def test_time_alone_ends_what_has_no_number_of_epochs(self) -> None:
        from unlearning.training import TrainSettings

        recipe = TrainSettings(epochs=30)
        assert methods.get("fine-tuning").adapt(recipe).config()["epochs"] == 3
        assert methods.get("fine-tuning", {"seconds": 9}).adapt(recipe).config()["epochs"] is None
        assert methods.get("fine-tuning", {"seconds": 9, "epochs": 2}).adapt(recipe).config()["epochs"] == 2
        assert methods.get("fine-tuning-constant", {"seconds": 9}).adapt(recipe).config()["epochs"] == 3

    def test_every_kind_of_rows_gets_the_same_steps(self) -> None:
        task, _ = poisoned_task(rows=120, flips=30)
        for rows in ("corrected", "unflagged", "trusted", "given"):
            settings = EAGER | {"rows": rows, "trusted_count": 40}
            outcome = methods.get("fine-tuning", settings).unlearn(small_model(), task)
            assert outcome.work.gradient_rows == 4 * 8 * 16, rows
            assert outcome.history[1]["last_learning_rate"] == pytest.approx(0.01 / 32), rows


class TestAnnealing:
    def test_takes_the_steps_of_fine_tuning_on_the_given_labels(self) -> None:
        task, _ = poisoned_task(rows=120, flips=30)
        model = fitted(small_model(), task.train, epochs=3)
        uncorrected = dataclasses.replace(task, corrections=Corrections.none())
        annealed = weights_after(model, task, "annealing")
        assert_same(annealed, weights_after(model, uncorrected))
        assert any(np.any(a != b) for a, b in zip(annealed, weights_after(model, task), strict=True))


def test_batch_normalisation_is_estimated_anew_at_the_end() -> None:
    """By the same code as in SAP and FSPMU, on the weights after the last step."""
    task, _ = poisoned_task(rows=120, flips=30)
    model = fitted(small_model(), task.train, epochs=3)
    rows = corrected_rows(task)
    moving = copy_model(model)
    moving.set_weights(weights_after(model, task))
    order = stream(task.seed, "method", "batch-norm rows").permutation(len(rows))[:100]
    assert recalibrate_batch_norm(moving, rows.subset(order).images) == 1
    assert_same(weights_after(model, task, batch_norm_rows=100), moving.get_weights(), atol=1e-6)


class TestEqualTime:
    @pytest.mark.parametrize(
        ("text", "value"), [("71", 71.0), ("null", None), ("0.5", 0.5), ("like:second-order", "like:second-order")]
    )
    def test_values(self, text: str, value) -> None:
        assert methods.get("fine-tuning", {"seconds": text}).config()["seconds"] == value

    @pytest.mark.parametrize("text", ["0", "-1", "soon", "like:", "unlike:sap"])
    def test_bad_values(self, text: str) -> None:
        with pytest.raises(InputError, match="seconds"):
            methods.get("fine-tuning", {"seconds": text})

    def test_resolved_by_name_alone_and_in_a_chain(self) -> None:
        method = methods.get("fine-tuning", {"seconds": "like:sap"})
        took = {"sap": Took(2.5, 4.5), "second-order": Took(3.0, 5.0)}
        assert method.waits_for() == ("sap",) and method.resolve(took).config()["seconds"] == 2.5
        by_processor = methods.get("fine-tuning", {"cpu_seconds": "like:sap"})
        assert by_processor.waits_for() == ("sap",) and by_processor.resolve(took).config()["cpu_seconds"] == 4.5
        chain = methods.get("sap+fine-tuning", {"fine-tuning.seconds": "like:second-order"})
        assert chain.waits_for() == ("second-order",)
        assert chain.resolve(took).config()["fine-tuning"]["seconds"] == 3.0
        assert methods.get("sap").waits_for() == () and methods.get("fine-tuning").waits_for() == ()

    def test_a_name_alone_is_no_time(self) -> None:
        task, _ = poisoned_task(rows=30, flips=3)
        with pytest.raises(InputError, match="seconds"):
            methods.get("fine-tuning", {"seconds": "like:sap"}).unlearn(small_model(), task)

    @pytest.mark.parametrize("schedule", ["linear", "constant"])
    def test_every_learning_rate_starts_anew(self, schedule: str) -> None:
        """As if it were the only one: the same weights, a fresh optimizer, the same order of rows."""
        task, _ = poisoned_task(rows=120, flips=30)
        model = fitted(small_model(), task.train, epochs=3)
        repaired = [
            methods.get("fine-tuning", {"learning_rates": rates, "epochs": 3, "batch_size": 16, "schedule": schedule})
            .unlearn(model, task)
            .model.get_weights()
            for rates in ([1e-9, 0.01], [0.01])
        ]
        for one, other in zip(*repaired, strict=True):
            np.testing.assert_array_equal(one, other)
        assert any(np.any(new != old) for new, old in zip(repaired[0], model.get_weights(), strict=True))

    def test_stops_in_time_and_says_so(self) -> None:
        task, _ = poisoned_task(rows=120, flips=30)
        method = methods.get("fine-tuning", {"seconds": 1.0, "epochs": 10_000, "schedule": "constant"})
        outcome = method.unlearn(small_model(), task)
        assert outcome.details == {"seconds": 1.0}
        assert 0 < outcome.work.gradient_rows < 10_000 * 120

    @pytest.mark.parametrize("schedule", ["linear", "constant"])
    def test_tries_no_further_rate_when_time_is_up(self, schedule: str) -> None:
        task, _ = poisoned_task(rows=120, flips=30)
        settings = {"seconds": 1e-3, "batch_size": 16, "learning_rates": [0.01, 0.001], "schedule": schedule}
        outcome = methods.get("fine-tuning", settings).unlearn(small_model(), task)
        assert outcome.work.gradient_rows == 16 and len(outcome.history) == 2
