"""Both models are asked the same, whether or not what they share is computed once."""

import dataclasses

import keras
import numpy as np
import pytest

from tests.support.small import blobs, fitted, poisoned_task, small_model
from unlearning import methods
from unlearning.evaluation import likelihood, predict, predict_probabilities
from unlearning.interop import copy_model
from unlearning.methods import FLAGGED, NOTHING, RIGHT_LABELS
from unlearning.methods.verdict import _upper, ask
from unlearning.task import REMOVED, Corrections


@pytest.fixture(scope="module")
def case():
    task, _ = poisoned_task()
    return fitted(small_model(), task.train), task


def changed(model: keras.Model, layer: str, by: float = 0.7) -> keras.Model:
    other = copy_model(model, blobs(8).images)
    weights = other.get_layer(layer).get_weights()
    other.get_layer(layer).set_weights([w + by * np.sign(np.arange(w.size).reshape(w.shape) % 3 - 1) for w in weights])
    return other


def right(model: keras.Model, split) -> float:
    return float(np.mean(predict(model, split.images).argmax(axis=-1) == split.labels))


class TestAsk:
    @pytest.mark.parametrize("layer", ["conv", "hidden", "logits"])
    @pytest.mark.parametrize("told", [NOTHING, FLAGGED, RIGHT_LABELS])
    def test_answers_are_those_of_the_whole_models(self, case, layer, told):
        model, task = case
        proposal = changed(model, layer)
        weights = proposal.get_weights()
        before, after = ask(model, proposal, task, told)
        assert before.accuracy == right(model, task.validation)
        assert after.accuracy == right(proposal, task.validation)
        assert before.choosing == right(model, task.choosing)
        rows = task.corrections.rows
        said = predict(proposal, task.train.images[rows]).argmax(axis=-1)
        found = after.judge(after).flagged
        if told == NOTHING:
            assert found is None
        else:
            put_right = said == task.corrections.labels if told == RIGHT_LABELS else said != task.train.labels[rows]
            assert found.before == pytest.approx(np.mean(put_right))
        for now, was in zip(proposal.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(now, was)

    def test_removed_rows_are_right_where_their_label_is_no_longer_said(self, case):
        model, task = case
        removed = Corrections(task.corrections.rows, np.full(len(task.corrections), REMOVED))
        task = dataclasses.replace(task, corrections=removed)
        before, _ = ask(model, None, task, RIGHT_LABELS)
        said = predict(model, task.train.images[removed.rows]).argmax(axis=-1)
        assert before.judge(before).flagged.before == pytest.approx(np.mean(said != task.train.labels[removed.rows]))


class TestLikelihood:
    def test_rows_are_asked_about_as_they_should_have_been(self, case):
        """A replaced image counts with its corrected label; without right labels, the given image with another one."""
        model, task = case
        rows = task.corrections.rows
        images = task.validation.images[: len(rows)]
        replaced = Corrections(rows, task.corrections.labels, images)
        task = dataclasses.replace(task, corrections=replaced, measure="likelihood")
        told, _ = ask(model, None, task, RIGHT_LABELS)
        found = predict_probabilities(model, images)[np.arange(len(rows)), replaced.labels]
        assert told.judge(told).flagged.before == pytest.approx(np.exp(np.mean(np.log(found))))
        bad, _ = ask(model, None, task, FLAGGED)
        given = predict_probabilities(model, task.train.images[rows])[np.arange(len(rows)), task.train.labels[rows]]
        assert bad.judge(bad).flagged.before == pytest.approx(np.exp(np.mean(np.log(1 - given))))
        assert told.accuracy == right(model, task.validation)
        assert told.choosing == pytest.approx(likelihood(model, task.choosing))

    @pytest.mark.parametrize("name", ["first-order", "second-order", "fine-tuning"])
    def test_methods_choose_by_it(self, case, name):
        model, task = case
        task = dataclasses.replace(task, measure="likelihood")
        outcome = methods.get(name).unlearn(model, task)
        best = max(row["validation_likelihood"] for row in outcome.history)
        assert outcome.applied
        assert likelihood(outcome.model, task.choosing) == pytest.approx(best, rel=1e-4)


class TestShared:
    def test_the_cut_is_in_front_of_what_moved(self, case):
        model, _ = case
        part = _upper(model, changed(model, "hidden"))
        assert [layer.name for layer in part.model.layers if layer.weights] == ["hidden", "logits"]

    def test_nothing_is_shared_from_the_first_layer_on_or_by_another_network(self, case):
        model, _ = case
        assert _upper(model, changed(model, "conv")) is None
        assert _upper(model, copy_model(model, blobs(8).images)) is None
        assert _upper(model, small_model(hidden=5)) is None
