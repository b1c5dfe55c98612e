"""The method that chooses: what it decides on, what it says, and what it does with little time."""

import dataclasses

import keras
import numpy as np
import pytest

from support.small import fitted
from unlearning import methods
from unlearning.errors import InputError
from unlearning.evaluation import predict
from unlearning.methods.choosing import Auto
from unlearning.task import REMOVED, Corrections, Split, UnlearningTask

SMALL = {"learning_rate": 0.01, "batch_size": 32, "least_seconds": 300.0}


@pytest.fixture(scope="module")
def outcome(poisoned):
    model, task = poisoned
    return Auto(**SMALL).unlearn(model, task)


def test_it_goes_from_the_cheap_to_the_dear_and_tells_what_it_tried(outcome, poisoned) -> None:
    _, task = poisoned
    told = outcome.details["auto"]
    levels = [row.get("level") for row in outcome.history]
    assert levels[0] is None and levels[1] == levels[2] == "hidden" and "all" in levels[3:]
    assert outcome.applied and told["level"] in levels and told["stopped_at"] is None
    assert (told["flagged"], told["labelled"], told["guessed"]) == (len(task.corrections),) * 2 + (0,)
    assert told["choosing_annealed"] < told["choosing_after"]
    assert "given labels" in told["said"][1] and str(len(task.choosing)) in told["said"][0]


def test_rows_of_which_only_that_they_are_wrong_is_known_are_no_longer_said(poisoned) -> None:
    model, task = poisoned
    flagged = dataclasses.replace(task.corrections, labels=np.full(len(task.corrections), REMOVED))
    done = Auto(**SMALL).unlearn(model, dataclasses.replace(task, corrections=flagged))
    images, given = task.train.images[flagged.rows], task.train.labels[flagged.rows]

    def said(network) -> float:
        return float(np.mean(predict(network, images).argmax(-1) == given))

    assert done.applied and said(done.model) < said(model) - 0.2
    assert "without their right labels" in done.details["auto"]["said"][0]


def test_guesses_are_weighed(poisoned) -> None:
    """Half of the guesses are sure and right, half are unsure and wrong."""
    model, task = poisoned
    rows, right = task.corrections.rows, task.corrections.labels
    probable = np.full((len(rows), 3), 0.05)
    half = len(rows) // 2
    probable[np.arange(half), right[:half]] = 0.9
    wrong = (right[half:] + 2) % 3
    probable[np.arange(half, len(rows)), wrong] = 0.5
    probable /= probable.sum(1, keepdims=True)
    guesses = Corrections(rows, probable.argmax(1), probabilities=probable)
    done = Auto(**SMALL).unlearn(model, dataclasses.replace(task, corrections=guesses))
    healed = predict(done.model, task.train.images[rows]).argmax(-1) == right
    assert done.applied and healed.mean() > 0.7
    assert done.details["auto"]["guessed"] == len(rows)


def test_a_layer_that_is_named_is_the_only_one_tried(poisoned) -> None:
    model, task = poisoned
    done = Auto(**SMALL, trainable_from="hidden").unlearn(model, task)
    assert {row.get("level") for row in done.history[1:]} == {"hidden"}
    assert done.moved.parameters < done.moved.of


def test_next_to_no_time_still_tries_the_head(poisoned) -> None:
    model, task = poisoned
    done = Auto(**SMALL, seconds=0.01).unlearn(model, task)
    told = done.details["auto"]
    assert told["candidates"] == 1 and told["stopped_at"] is not None
    assert any("more time" in line.lower() for line in told["said"])


def test_without_flagged_rows_nothing_is_done(poisoned) -> None:
    model, task = poisoned
    done = Auto().unlearn(model, dataclasses.replace(task, corrections=Corrections.none()))
    assert not done.applied and str(done.status) == "nothing_flagged"


def test_time_that_a_detection_took_is_not_there_any_more() -> None:
    assert Auto(seconds=100).after(30).seconds == 70 and Auto(seconds=100).after(95).seconds == 20
    assert Auto(passes=3).after(30) == Auto(passes=3)


def test_corrected_images_are_what_is_taught(poisoned) -> None:
    model, task = poisoned
    flagged = task.corrections
    images = np.array(task.train.images)
    images[flagged.rows] = 9.0
    hidden = UnlearningTask(
        dataclasses.replace(task.train, images=images),
        dataclasses.replace(flagged, images=task.train.images[flagged.rows]),
        task.validation,
        3,
        seed=task.seed,
    )
    done = Auto(**SMALL).unlearn(model, hidden)
    healed = predict(done.model, flagged.images if flagged.images is not None else task.train.images[flagged.rows])
    assert done.applied and np.mean(healed.argmax(-1) == flagged.labels) > 0.8


def test_it_is_a_method_by_name() -> None:
    assert methods.get("auto", {"passes": 3}).passes == 3 and methods.get("auto").finds_rows
    with pytest.raises(InputError, match="passes"):
        methods.get("auto", {"passes": 0})


@pytest.mark.slow
def test_a_handful_of_wrong_rows_among_many_are_all_put_right() -> None:
    """40 of 10,000: the cost follows the wrong rows, none of them stays wrong, and validation is not worse."""
    rng = np.random.default_rng(0)
    centres = 0.35 * rng.standard_normal((10, 64))

    def draw(rows: int) -> Split:
        labels = rng.integers(0, 10, rows)
        return Split((centres[labels] + rng.standard_normal((rows, 64))).astype("float32"), labels)

    right, validation = draw(10_000), draw(2000)
    bad, given = rng.permutation(10_000)[:40], right.labels.copy()
    given[bad] = (given[bad] + rng.integers(1, 10, 40)) % 10
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    model = keras.Sequential([keras.Input((64,)), dense(256, "relu"), dense(256, "relu"), dense(10)])
    model = fitted(model, Split(right.images, given), epochs=15, learning_rate=1e-3)
    corrections = Corrections(bad, right.labels[bad])
    done = Auto().unlearn(model, UnlearningTask(Split(right.images, given), corrections, validation, 10))
    said = predict(done.model, right.images[bad]).argmax(-1)
    assert done.applied and np.array_equal(said, right.labels[bad])
    assert done.validation_accuracy_after >= done.validation_accuracy_before
    assert done.work.gradient_rows <= 3 * 200 * 128, "two candidates and a control of 200 steps each"
