"""The controls: SISA shards, selective synaptic dampening, fine-tuning for equal time, and what experiments record."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from unlearning.experiments.cell.run import Experiment, MethodChoice, Settings

from support.paths import MODELS
from support.small import blobs, fitted, poisoned_task, small_model
from unlearning import methods
from unlearning.errors import InputError
from unlearning.evaluation import label_loss, membership_auc, predict, probabilities
from unlearning.influence.head import Head
from unlearning.influence.rows import RowStore
from unlearning.interop import as_logit_model, copy_model, load_model, save_model
from unlearning.methods.base import Method, conclude, corrected_rows
from unlearning.methods.chain import Chain
from unlearning.methods.sharding import Sharding, assign_shards, combine
from unlearning.methods.ssd import SquaredGradients, Ssd, dampening
from unlearning.noise import Corruption, corrupt_alike
from unlearning.records import (
    PoisonConfig,
    TrainConfig,
    UnlearnConfig,
    UnlearningResults,
    config_hash,
    read_json,
)
from unlearning.task import REMOVED, Corrections, OutcomeStatus, Split, UnlearningTask, WorkCount
from unlearning.training import TrainSettings


def constant_model(logits: list[float]) -> keras.Model:
    """A model that answers every one-pixel image with the same logits."""
    model = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Flatten(), keras.layers.Dense(len(logits))])
    model.set_weights([np.zeros((1, len(logits))), np.array(logits)])
    return model


def softmax(logits: list[float]) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def linear_model(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3, name="logits")])


class TestCombine:
    LOGITS = ([2.0, 1.9, 0.0], [2.0, 1.9, 0.0], [0.0, 9.0, 0.0])
    IMAGE = np.zeros((1, 1, 1, 1), np.float32)

    def scores(self, logits, aggregation) -> np.ndarray:
        return combine([constant_model(part) for part in logits], aggregation).predict(self.IMAGE, verbose=0)[0]

    def test_majority_and_mean_can_differ(self) -> None:
        mean = np.mean([softmax(part) for part in self.LOGITS], axis=0)
        np.testing.assert_allclose(self.scores(self.LOGITS, "mean"), mean, rtol=1e-5)
        votes = self.scores(self.LOGITS, "vote")
        np.testing.assert_allclose(votes, (np.array([2, 1, 0]) + mean) / 4, rtol=1e-5)
        assert (votes.argmax(), mean.argmax()) == (0, 1)

    @pytest.mark.parametrize(("second", "winner"), [([0.0, 3.0, 0.0], 1), ([0.0, 1.0, 0.0], 0)])
    def test_a_tie_goes_to_the_larger_sum(self, second: list[float], winner: int) -> None:
        scores = self.scores(([2.0, 0.0, 0.0], second), "vote")
        assert scores.argmax() == winner and scores.sum() == pytest.approx(1)

    @pytest.mark.parametrize("aggregation", ["vote", "mean"])
    def test_one_constituent_answers_for_itself(self, aggregation: str) -> None:
        np.testing.assert_allclose(self.scores([[1.0, 2.0, 0.5]], aggregation), softmax([1.0, 2.0, 0.5]), rtol=1e-5)

    @pytest.mark.parametrize("aggregation", ["vote", "mean"])
    def test_the_ensemble_is_an_ordinary_model(self, aggregation: str, tmp_path: Path) -> None:
        """Loaded in safe mode, copied, and made of nothing that a user of Keras alone lacks."""
        ensemble = combine([small_model(seed=k) for k in range(3)], aggregation)
        images = blobs(20).images
        expected = ensemble.predict(images, verbose=0)
        save_model(ensemble, tmp_path / "e.keras")
        for model in (load_model(tmp_path / "e.keras"), copy_model(ensemble), as_logit_model(ensemble)):
            np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-6)
        with zipfile.ZipFile(tmp_path / "e.keras") as archive:
            config = archive.read("config.json").decode()
        assert "Lambda" not in config and "unlearning" not in config


class TestSharding:
    RECIPE = {"learning_rate": 0.01, "batch_size": 16}

    def test_shards_are_a_partition(self) -> None:
        parts = assign_shards(23, 5, seed=3)
        assert sorted(len(part) for part in parts) == [4, 4, 5, 5, 5]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(23))
        assert not np.array_equal(parts[0], assign_shards(23, 5, seed=4)[0])

    def test_only_hit_shards_are_trained_again_and_exactly(self) -> None:
        """The result is that of a training in which the mistake was never made: same ensemble, to the last bit."""
        task, true = poisoned_task(rows=60, flips=60)
        hit = assign_shards(60, 2, task.seed)[1]
        flagged = Corrections(hit[:4], true[hit[:4]])
        model = small_model()
        method = Sharding(shards=2, epochs=1, recipe=self.RECIPE)
        outcome = method.unlearn(model, dataclasses.replace(task, corrections=flagged))
        details = outcome.details
        assert details["affected_shards"] == [1] and details["retrained_rows"] == 30
        assert outcome.work.gradient_rows == 30
        assert details["preparation_work"]["gradient_rows"] == 60
        assert outcome.preparation_duration_s == details["preparation_duration_s"] > 0 < outcome.duration_s

        corrected = Split(task.train.images, task.train.labels.copy())
        corrected.labels[flagged.rows] = flagged.labels
        never = method.unlearn(model, dataclasses.replace(task, train=corrected, corrections=flagged))
        assert outcome.applied and never.applied
        for a, b in zip(outcome.model.get_weights(), never.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_a_shard_without_rows_drops_out(self) -> None:
        task, _ = poisoned_task(rows=60, flips=20)
        gone = assign_shards(60, 3, task.seed)[2]
        removal = Corrections(gone, np.full(len(gone), REMOVED))
        method = Sharding(shards=3, epochs=1, recipe=self.RECIPE)
        outcome = method.unlearn(small_model(), dataclasses.replace(task, corrections=removal))
        assert outcome.details["constituents"] == 2 and outcome.details["retrained_rows"] == 0
        assert outcome.work.gradient_rows == 0

    def test_nothing_flagged_prepares_nothing(self) -> None:
        task, _ = poisoned_task()
        none = Corrections(np.empty(0, np.int64), np.empty(0, np.int64))
        outcome = Sharding().unlearn(small_model(), dataclasses.replace(task, corrections=none))
        assert outcome.status is OutcomeStatus.NOTHING_FLAGGED and outcome.work.gradient_rows == 0

    @pytest.mark.parametrize(
        ("overrides", "match"),
        [({"shards": 0}, "shards"), ({"aggregation": "max"}, "aggregation"), ({"recipe": {"depth": 3}}, "recipe")],
    )
    def test_bad_input(self, overrides: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            methods.get("sharding", overrides)

    def test_more_shards_than_rows(self) -> None:
        task, _ = poisoned_task(rows=60, flips=20)
        with pytest.raises(InputError, match="at most the 60"):
            Sharding(shards=61).unlearn(small_model(), task)

    def test_the_recipe_is_the_models_own(self) -> None:
        adapted = Sharding(shards=3).adapt(TrainSettings(epochs=7, learning_rate=0.5))
        assert (adapted.shards, adapted.settings().epochs, adapted.settings().learning_rate) == (3, 7, 0.5)

    def test_corrected_rows_of_a_part(self) -> None:
        task, true = poisoned_task(rows=30, flips=3)
        removal = dataclasses.replace(task, corrections=Corrections(np.arange(3), np.array([REMOVED, 1, 2])))
        among = np.array([0, 1, 7])
        part = corrected_rows(removal, among=among)
        assert part.labels.tolist() == [1, true[7]]
        np.testing.assert_array_equal(part.images, task.train.images[[1, 7]])
        assert not len(corrected_rows(removal, among=np.array([0])))


@dataclasses.dataclass(frozen=True)
class _Prepared(Method):
    """A method that did nothing now and a lot before."""

    def unlearn(self, model, task):
        outcome = conclude(model, None, task, started=0.0, work=WorkCount(), history=[{"step": 0}])
        return dataclasses.replace(outcome, duration_s=0.25, preparation_duration_s=1e-6, preparation_cpu_s=2.0)


def test_a_chain_sums_preparations_and_keeps_them_out_of_its_time() -> None:
    task, _ = poisoned_task(rows=30, flips=3)
    outcome = Chain((("a", _Prepared()), ("b", _Prepared()))).unlearn(small_model(), task)
    assert outcome.preparation_cpu_s == 4.0 and outcome.preparation_duration_s == pytest.approx(2e-6)
    assert outcome.duration_s > 0


class TestSquaredGradients:
    ROWS = blobs(23, seed=5)

    def fisher(self, model: keras.Model, rows: np.ndarray, **options) -> np.ndarray:
        head = Head(model, "all")
        store = RowStore.from_images(head, [self.ROWS.images])
        return SquaredGradients(head, store, self.ROWS.labels, **options).mean(rows)

    def gradients(self, model: keras.Model) -> np.ndarray:
        """Softmax regression, one row each: `(p - e_y)` times the pixels, and `p - e_y` for the bias."""
        pixels = self.ROWS.images.reshape(23, -1).astype(np.float64)
        kernel, bias = model.get_weights()
        scores = np.exp(pixels @ kernel + bias)
        residual = scores / scores.sum(axis=1, keepdims=True) - np.eye(3)[self.ROWS.labels]
        outer = pixels[:, :, None] * residual[:, None, :]
        return np.concatenate([outer.reshape(23, -1), residual], axis=1)

    @pytest.mark.parametrize("batch_rows", [1, 7, 23, 64])
    def test_is_the_diagonal_of_the_empirical_fisher_matrix(self, batch_rows: int) -> None:
        model = linear_model()
        rows = np.array([0, 3, 4, 9, 11, 12, 17, 20, 22])
        expected = (self.gradients(model)[rows] ** 2).mean(axis=0)
        np.testing.assert_allclose(self.fisher(model, rows, batch_rows=batch_rows), expected, rtol=1e-4, atol=1e-9)

    def test_the_published_estimate_squares_batches(self) -> None:
        model = linear_model()
        gradients = self.gradients(model)
        batches = [gradients[:10], gradients[10:20], gradients[20:]]
        expected = np.mean([batch.mean(axis=0) ** 2 for batch in batches], axis=0)
        found = self.fisher(model, np.arange(23), batch_rows=10, squares="batches")
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-9)

    def test_convolutions_and_batch_normalisation(self) -> None:
        import tensorflow as tf

        model = small_model()
        total = np.zeros(sum(v.numpy().size for v in model.trainable_variables))
        for image, label in zip(self.ROWS.images, self.ROWS.labels, strict=True):
            with tf.GradientTape() as tape:
                logits = model(image[None], training=False)
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits([label], logits)
            gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
            total += np.concatenate([g.numpy().ravel() ** 2 for g in gradients])
        found = self.fisher(model, np.arange(23), batch_rows=8)
        np.testing.assert_allclose(found, total / 23, rtol=1e-3, atol=1e-7)


class TestDampening:
    def test_by_hand(self) -> None:
        forget, full = np.array([4.0, 4.0, 1.0, 0.0]), np.array([0.1, 1.0, 1.0, 0.0])
        assert dampening(forget, full, 3.0).tolist() == pytest.approx([0.025, 0.25, 1, 1])
        assert dampening(forget, full, 10.0).tolist() == pytest.approx([0.025, 1, 1, 1])
        assert dampening(forget, full, 3.0, constant=8.0).tolist() == pytest.approx([0.2, 1, 1, 1])
        assert dampening(forget, full, 0.5).tolist() == pytest.approx([0.025, 0.25, 1, 1])


class TestSsd:
    @pytest.fixture(scope="class")
    def poisoned(self) -> tuple[keras.Model, UnlearningTask]:
        task, _ = poisoned_task()
        return fitted(small_model(hidden=16), task.train), task

    def test_weights_are_multiplied_by_the_published_factor(self, poisoned) -> None:
        model, task = poisoned
        outcome = Ssd().unlearn(model, task)
        head = Head(model, "all")
        squares = SquaredGradients(head, RowStore.from_images(head, [task.train.images]), task.train.labels)
        factors = dampening(squares.mean(task.corrections.rows), squares.mean(np.arange(240)), outcome.details["alpha"])
        assert outcome.applied and 0 < np.mean(factors < 1) < 1
        expected = head.parameters().numpy() * factors
        np.testing.assert_allclose(Head(outcome.model, "all").parameters().numpy(), expected, rtol=1e-4, atol=1e-7)
        # The flagged rows are among all rows, so that no ratio exceeds 240 / 60.
        assert 1 < outcome.details["largest_ratio"] <= 4 + 1e-6
        assert outcome.work == WorkCount(
            forward_rows=120 * (len(Ssd().alphas) + len(Ssd().shares) + 3), gradient_rows=240
        )

    def test_shares_are_the_shares_dampened(self, poisoned) -> None:
        model, task = poisoned
        outcome = Ssd(alphas=(), shares=(0.3, 0.1)).unlearn(model, task)
        assert [row["dampened"] for row in outcome.history[1:]] == pytest.approx([0.1, 0.3], abs=0.01)

    def test_corrected_labels_are_not_looked_at(self, poisoned) -> None:
        model, task = poisoned
        removal = Corrections(task.corrections.rows, np.full(60, REMOVED))
        method = Ssd(alphas=(3.0,), shares=())
        first, second = (method.unlearn(model, t) for t in (task, dataclasses.replace(task, corrections=removal)))
        for a, b in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_the_published_variant_and_a_named_part(self, poisoned) -> None:
        model, task = poisoned
        outcome = Ssd(squares="batches", trainable_from="logits").unlearn(model, task)
        assert outcome.details["parameters"] == 16 * 3 + 3
        assert outcome.work.gradient_rows == 240 + 60
        for layer in model.layers[:-1]:
            for a, b in zip(layer.get_weights(), outcome.model.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)

    def test_nothing_flagged(self, poisoned) -> None:
        model, task = poisoned
        none = Corrections(np.empty(0, np.int64), np.empty(0, np.int64))
        outcome = Ssd().unlearn(model, dataclasses.replace(task, corrections=none))
        assert outcome.status is OutcomeStatus.NOTHING_FLAGGED and not outcome.applied

    @pytest.mark.parametrize(
        ("overrides", "match"),
        [
            ({"alphas": [], "shares": []}, "alphas"),
            ({"shares": [0.5, 1.0]}, "shares"),
            ({"alphas": [1.0, 0.0]}, "alphas"),
            ({"dampening_constant": 0}, "dampening_constant"),
            ({"squares": "rows"}, "squares"),
            ({"batch_rows": 0}, "batch_rows"),
        ],
    )
    def test_bad_input(self, overrides: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            methods.get("ssd", overrides)


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
        assert method.waits_for() == ("sap",) and method.resolve({"sap": 2.5}).config()["seconds"] == 2.5
        chain = methods.get("sap+fine-tuning", {"fine-tuning.seconds": "like:second-order"})
        assert chain.waits_for() == ("second-order",)
        assert chain.resolve({"second-order": 3.0}).config()["fine-tuning"]["seconds"] == 3.0
        assert methods.get("sap").waits_for() == () and methods.get("fine-tuning").waits_for() == ()

    def test_a_name_alone_is_no_time(self) -> None:
        task, _ = poisoned_task(rows=30, flips=3)
        with pytest.raises(InputError, match="seconds"):
            methods.get("fine-tuning", {"seconds": "like:sap"}).unlearn(small_model(), task)

    def test_every_learning_rate_starts_anew(self) -> None:
        """As if it were the only one: the same weights, a fresh optimizer, the same order of rows."""
        task, _ = poisoned_task(rows=120, flips=30)
        model = fitted(small_model(), task.train, epochs=3)
        repaired = [
            methods.get("fine-tuning", {"learning_rates": rates, "epochs": 3, "batch_size": 16})
            .unlearn(model, task)
            .model.get_weights()
            for rates in ([1e-9, 0.01], [0.01])
        ]
        for one, other in zip(*repaired, strict=True):
            np.testing.assert_array_equal(one, other)
        assert any(np.any(new != old) for new, old in zip(repaired[0], model.get_weights(), strict=True))

    def test_stops_in_time_and_says_so(self) -> None:
        task, _ = poisoned_task(rows=120, flips=30)
        method = methods.get("fine-tuning", {"seconds": 1.0, "epochs": 10_000, "learning_rates": [0.001]})
        outcome = method.unlearn(small_model(), task)
        assert outcome.details == {"seconds": 1.0}
        assert 0 < outcome.work.gradient_rows < 10_000 * 120

    def test_tries_no_further_rate_when_time_is_up(self) -> None:
        task, _ = poisoned_task(rows=120, flips=30)
        outcome = methods.get("fine-tuning", {"seconds": 1e-3, "batch_size": 16}).unlearn(small_model(), task)
        assert outcome.work.gradient_rows == 16 and len(outcome.history) == 2


class TestCommittedResults:
    FILES = sorted(MODELS.rglob("unlearning_results.json"))

    def test_still_validate_and_keep_their_hashes(self) -> None:
        assert self.FILES
        for path in self.FILES:
            results = read_json(path, UnlearningResults)
            cell = path.parent.parent
            clean, train = (
                read_json(folder / "train_config.json", TrainConfig) for folder in (cell.parent.parent / "clean", cell)
            )
            poison = read_json(cell / "poison_config.json", PoisonConfig)
            config = read_json(path.parent / "unlearn_config.json", UnlearnConfig)
            assert results.config_hash == config_hash(clean, train, poison, config), path

    def test_hyperparameters_of_finished_controls_are_those_of_today(self) -> None:
        """Otherwise `run` would refuse the committed folders."""
        for name in ("fine-tuning", "retraining-unflagged"):
            for path in MODELS.rglob(f"{name}/unlearn_config.json"):
                there = json.loads(path.read_text())["hyperparameters"]
                train = read_json(path.parent.parent / "train_config.json", TrainConfig)
                recipe = train.model_dump(exclude={"schema_version", "data", "model", "deterministic", "seed"})
                assert methods.get(name).adapt(TrainSettings(**recipe)).config() == there, path


class TestExperiment:
    CHOICES = (
        MethodChoice("fine-tuning", (("seconds", "like:retraining"), ("epochs", 3))),
        MethodChoice("sharding", (("shards", 2), ("aggregation", "mean"), ("epochs", 1))),
        MethodChoice("ssd", (("shares", (0.01,)), ("trainable_from", "logits"))),
        MethodChoice("retraining", (("epochs", 5),)),
    )

    @staticmethod
    def settings(folder: Path, choices: tuple[MethodChoice, ...]) -> Settings:
        recipe = {"epochs": 3, "batch_size": 8, "learning_rate": 2e-3, "validation": "clean"}
        return Settings(train_rows=240, budgets=(80,), seeds=(1,), methods=choices, output=folder / "e", **recipe)

    @pytest.fixture(scope="class")
    def finished(self, tmp_path_factory) -> tuple[Experiment, list[UnlearningResults]]:
        experiment = Experiment(self.settings(tmp_path_factory.mktemp("controls"), self.CHOICES))
        return experiment, experiment.run()

    def test_the_order_asked_for_and_equal_time(self, finished) -> None:
        _, results = finished
        assert [r.method for r in results] == ["fine-tuning", "sharding", "ssd", "retraining"]
        tuned, retrained = results[0], results[3]
        assert tuned.config.hyperparameters["seconds"] == "like:retraining"
        assert tuned.details["seconds"] == retrained.unlearning_duration_s

    def test_scores_are_those_of_the_stored_models(self, finished) -> None:
        """Disagreement and membership, recomputed from the files by plain calls."""
        experiment, results = finished
        cell = experiment.folder / "budget-80/seed-1"
        data = experiment.data
        corruption = Corruption.load(cell / "corruption.npz")
        bad = corruption.apply(data.train).subset(corruption.rows)
        alike = corrupt_alike(corruption, data.test, num_classes=10, seed=1 + 20_000, data_name=data.name)
        held_out = alike.apply(data.test).subset(alike.rows)
        assert len(held_out) and (held_out.labels != data.test.labels[alike.rows]).all()
        retrained = results[3]
        assert retrained.applied and retrained.disagreement_after is None and retrained.disagreement_reference is None
        reference = predict(
            load_model(cell / "retraining-clean-validation/repaired_model.keras"), data.test.images
        ).argmax(-1)
        before = load_model(cell / "poisoned_model.keras")
        for result in results:
            after = load_model(cell / f"{result.method}-clean-validation/repaired_model.keras")
            for model, when in ((before, "before"), (after, "after")):
                classes = predict(model, data.test.images).argmax(-1)
                losses = [label_loss(probabilities(predict(model, s.images)), s.labels) for s in (bad, held_out)]
                scores = result.model_dump()
                assert scores[f"membership_auc_{when}"] == pytest.approx(membership_auc(*losses))
                recall = np.mean(classes[data.test.labels == 3] == 3)
                assert scores[f"class_report_{when}"]["3"]["recall"] == pytest.approx(recall)
                if result is not retrained:
                    assert result.disagreement_reference == "retraining"
                    assert scores[f"disagreement_{when}"] == pytest.approx(np.mean(classes != reference))

    def test_preparation_is_not_unlearning(self, finished) -> None:
        sharded = finished[1][1]
        assert sharded.details["affected_shards"] == [0, 1] and sharded.details["training_rows"] == 240
        assert sharded.n_gradients == 240 == sharded.details["preparation_work"]["gradient_rows"]
        assert sharded.details["preparation_duration_s"] > 0 and sharded.unlearning_cpu_s > 0

    def test_found_again(self, finished) -> None:
        experiment, results = finished
        assert Experiment(experiment.settings).run() == results

    def test_a_result_that_is_not_there_is_refused_before_anything_is_written(self, tmp_path: Path) -> None:
        choice = MethodChoice("fine-tuning", (("seconds", "like:second-order"),))
        with pytest.raises(InputError, match="second-order"):
            Experiment(self.settings(tmp_path, (choice, MethodChoice("second-order")))).run()
        with pytest.raises(InputError, match="letters"):
            unsafe = MethodChoice("fine-tuning", (("seconds", "like:../../up"),))
            Experiment(self.settings(tmp_path, (unsafe,))).run()
        assert not list(tmp_path.iterdir())
