"""Detection: the mixture, every detector against an oracle, the guards, the files and the command."""

from __future__ import annotations

import csv
import json
import logging
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from unlearning.repairs.detect import detect_rows, write_suspects
from unlearning.repairs.own import read_flagged, repair_model

from support.paths import GOLDEN as GOLDEN_FILES
from support.paths import ROOT
from support.small import blobs, fitted, poisoned_task, small_model
from unlearning import detection
from unlearning.detection.base import Detection, DetectionStatus
from unlearning.detection.features import penultimate_features
from unlearning.detection.metrics import score_detection
from unlearning.detection.mixture import Mixture, fit_mixture
from unlearning.drawing.figures import draw_mixture
from unlearning.errors import InputError
from unlearning.evaluation import predict, probabilities
from unlearning.projection.selection import cross_entropy
from unlearning.records import DetectionResults, read_json
from unlearning.task import REMOVED, Split

GOLDEN = json.loads((GOLDEN_FILES / "detection.json").read_text())
FLIPS = 80
OWN = tuple(name for name in detection.available() if name != "confident-learning")


class Streamed:
    """Images that only give out batches, as those read from disk do."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images
        self.shape, self.dtype, self.nbytes = images.shape, images.dtype, images.nbytes

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows):
        return self._images[rows]

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("all images were asked for at once")


@pytest.fixture(scope="module")
def planted() -> tuple[keras.Model, Split, np.ndarray]:
    """A model trained for a few epochs on 400 rows, of which the first 80 are mislabelled; and the true labels."""
    task, true = poisoned_task(rows=400, flips=FLIPS)
    return fitted(small_model(), task.train, epochs=15), task.train, true


def scored(losses: np.ndarray) -> tuple[keras.Model, Split]:
    """A two-class model without weights, whose cross-entropies on the split are the given numbers."""
    model = keras.Sequential([keras.Input((1, 1, 2)), keras.layers.Flatten(), keras.layers.Softmax()])
    images = np.zeros((len(losses), 1, 1, 2), np.float32)
    images[:, 0, 0, 1] = np.log(np.expm1(losses))  # -log softmax_0 = log(1 + exp(difference))
    return model, Split(images, np.zeros(len(losses), np.int64))


def detect(name: str, model: keras.Model, split: Split, classes: int = 3, seed: int = 0, **options) -> Detection:
    return detection.get(name, options).detect(model, split, classes, seed)


class TestRegistry:
    def test_every_detector_has_a_summary_and_a_json_configuration(self) -> None:
        assert set(detection.summaries()) == set(detection.available())
        for name in detection.available():
            detector = detection.get(name)
            assert detection.get(name, json.loads(json.dumps(detector.config()))) == detector

    def test_listing_imports_nothing_heavy(self) -> None:
        code = (
            "import sys; from unlearning import detection; detection.summaries()\n"
            "assert not {'tensorflow', 'keras', 'sklearn', 'numpy'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

    @pytest.mark.parametrize(
        ("name", "options", "match"),
        [
            ("no-such", {}, "one of loss-mixture"),
            ("loss-mixture", {"share": "0.1"}, "loss-mixture.share"),
            ("loss-mixture", {"threshold": "1.0"}, "threshold"),
            ("loss-mixture", {"threshold": "high"}, "loss-mixture.threshold"),
            ("loss-mixture", {"min_share": "0.8"}, "min_share < max_share"),
            ("loss-mixture", {"min_separation": "-1"}, "min_separation"),
            ("loss-mixture", {"max_iter": "0"}, "max_iter"),
            ("loss-mixture", {"reg_covar": "0"}, "reg_covar"),
            ("loss-ranking", {"share": "0"}, "share"),
            ("loss-ranking", {"count": "0"}, "count"),
            ("self-influence", {"damping": "0"}, "damping"),
            ("self-influence", {"cut": "value"}, "value"),
            ("self-influence", {"cut": "knife"}, "cut"),
            ("neighbours", {"neighbours": "0"}, "neighbours"),
            ("neighbours", {"metric": "manhattan"}, "metric"),
            ("cross-validation", {"folds": "1"}, "folds"),
            ("cross-validation", {"probe": "forest"}, "probe"),
            ("cross-validation", {"inverse_penalty": "0"}, "inverse_penalty"),
            ("combination", {"members": '["combination"]'}, "other than combination"),
            ("combination", {"members": "[]"}, "members"),
            ("combination", {"members": '["no-such"]'}, "one of loss-mixture"),
        ],
    )
    def test_bad_options(self, name: str, options: dict[str, str], match: str) -> None:
        with pytest.raises(InputError, match=match):
            detection.get(name, options)


class TestMixture:
    def test_golden_values(self) -> None:
        losses = np.array(GOLDEN["losses"])
        constants = {key: GOLDEN[key] for key in ("max_iter", "tol", "reg_covar")}
        mixture = fit_mixture(losses, normalise=False, **constants)
        for key in ("means", "variances", "weights"):
            np.testing.assert_allclose(getattr(mixture, key), GOLDEN[key], rtol=1e-9)
        np.testing.assert_allclose(1 - mixture.posterior(losses), GOLDEN["low_posterior"], rtol=1e-7, atol=1e-12)
        assert np.flatnonzero(losses > mixture.boundary(losses, 0.5)).tolist() == GOLDEN["suspects"]

    def test_golden_suspects_through_the_detector(self) -> None:
        found = detect("loss-mixture", *scored(np.array(GOLDEN["losses"])), classes=2, normalise=False)
        np.testing.assert_allclose(found.scores, GOLDEN["losses"], rtol=1e-5)
        assert found.suspects.tolist() == GOLDEN["suspects"] and found.status is DetectionStatus.OK
        np.testing.assert_allclose(found.details["mixture"]["means"], GOLDEN["means"], rtol=1e-5)

    def test_normalising_is_fitting_on_the_unit_interval(self) -> None:
        rng = np.random.default_rng(3)
        scores = np.concatenate([rng.normal(2, 0.3, 300), rng.normal(9, 1.5, 60)])
        unit = (scores - scores.min()) / np.ptp(scores)
        oracle = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0).fit(unit[:, np.newaxis])
        mixture = fit_mixture(scores)
        high = int(np.argmax(oracle.means_))
        np.testing.assert_allclose(mixture.posterior(scores), oracle.predict_proba(unit[:, np.newaxis])[:, high])
        shifted = fit_mixture(100 * scores - 7)
        np.testing.assert_allclose(shifted.posterior(100 * scores - 7), mixture.posterior(scores), atol=1e-9)

    def test_the_posterior_passes_the_threshold_at_the_boundary(self) -> None:
        mixture = Mixture((0.0, 3.0), (0.2, 1.0), (0.8, 0.2), True, 3)
        scores = np.linspace(-2, 6, 400)
        for threshold in (0.1, 0.5, 0.9):
            line = mixture.boundary(scores, threshold)
            assert line is not None and 0 < line < 3
            assert mixture.posterior(np.array([line]))[0] == pytest.approx(threshold, abs=1e-6)

    @pytest.mark.parametrize("variances", [(0.05, 4.0), (4.0, 0.05)])
    def test_unequal_widths_do_not_turn_the_ranking_round(self, variances: tuple[float, float]) -> None:
        mixture = Mixture((0.0, 3.0), variances, (0.5, 0.5), True, 3)
        scores = np.linspace(-8, 11, 500)
        beyond = mixture.posterior(scores) > 0.5
        # The bare posterior calls the lowest scores high, or the highest ones low.
        assert beyond[0] if variances[0] < variances[1] else not beyond[-1]
        line = mixture.boundary(scores, 0.5)
        assert line is not None and 0 <= line < 3

    def test_no_boundary(self) -> None:
        assert Mixture((0.0, 3.0), (0.1, 0.1), (0.5, 0.5), True, 3).boundary(np.zeros(9), 0.5) is None


class TestPlantedFlips:
    @pytest.mark.parametrize(
        ("name", "options", "least"),
        [
            ("loss-mixture", {}, 0.97),
            ("loss-ranking", {}, 0.97),
            ("self-influence", {}, 0.97),
            ("self-influence", {"curvature": True}, 0.93),
            ("neighbours", {}, 0.97),
            ("neighbours", {"metric": "euclidean", "weighted": True}, 0.97),
            ("cross-validation", {}, 0.97),
            ("cross-validation", {"probe": "neighbours"}, 0.95),
            ("combination", {}, 0.98),
        ],
    )
    def test_are_found(self, planted, name: str, options: dict, least: float) -> None:
        model, split, true = planted
        before = [w.copy() for w in model.get_weights()]
        found = detect(name, model, split, **options)
        metrics = score_detection(found, np.arange(FLIPS))
        assert metrics["auroc"] >= least and found.status is DetectionStatus.OK
        assert metrics["precision"] >= 0.6 and metrics["recall"] >= 0.8
        assert np.mean(found.suggested_labels[:FLIPS] == true[:FLIPS]) >= 0.85
        json.dumps(dict(found.details), allow_nan=False)
        again = detect(name, model, split, **options)
        np.testing.assert_array_equal(found.scores, again.scores)
        np.testing.assert_array_equal(found.suspects, again.suspects)
        assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))

    def test_memorised_labels_are_seen_by_other_rows(self) -> None:
        """A head that has learned every label by heart: the losses are silent, cross-validation is not."""
        true = blobs(200, noise=0.8)
        given = true.labels.copy()
        given[:30] = (given[:30] + 1) % 3
        keras.utils.set_random_seed(0)
        wide = keras.Sequential(
            [
                keras.Input((6, 6, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(512, activation="relu", trainable=False),
                keras.layers.Dense(3),
            ]
        )
        split = Split(true.images, given)
        model = fitted(wide, split, epochs=60, learning_rate=0.02)
        assert np.mean(predict(model, split.images).argmax(-1) == given) > 0.99
        own = detect("loss-ranking", model, split)
        unseen = detect("cross-validation", model, split, inverse_penalty=1e-3)
        auroc = [score_detection(found, np.arange(30))["auroc"] for found in (own, unseen)]
        assert auroc[1] >= 0.98 and auroc[1] > auroc[0] + 0.03
        assert np.mean(own.suggested_labels[:30] == given[:30]) > 0.95
        assert np.mean(unseen.suggested_labels[:30] == true.labels[:30]) > 0.95

    def test_images_are_streamed(self, planted) -> None:
        model, split, _ = planted
        streamed = Split(Streamed(split.images), split.labels)
        for name in ("loss-mixture", "neighbours"):
            expected = detect(name, model, split).scores
            np.testing.assert_allclose(detect(name, model, streamed).scores, expected, atol=1e-6)

    def test_losses_are_those_of_the_library(self, planted) -> None:
        model, split, _ = planted
        np.testing.assert_array_equal(detect("loss-ranking", model, split).scores, cross_entropy(model, split))

    def test_a_count_of_rows(self, planted) -> None:
        model, split, _ = planted
        found = detect("loss-ranking", model, split, count=7)
        assert set(found.suspects) == set(np.argsort(-found.scores)[:7])
        assert found.threshold == found.scores[found.suspects].min()
        share = detect("self-influence", model, split, cut="share", share=0.1)
        assert len(share.suspects) == 40
        with pytest.raises(InputError, match="number of rows"):
            detect("loss-ranking", model, split, count=401)

    def test_the_combination_is_the_mean_rank(self, planted) -> None:
        model, split, _ = planted
        names = ["loss-ranking", "neighbours"]
        found = detect("combination", model, split, members=names)
        ranks = []
        for name in names:
            scores = detect(name, model, split).scores
            below = (scores[:, np.newaxis] > scores).sum(1) + ((scores[:, np.newaxis] == scores).sum(1) - 1) / 2
            ranks.append(below / (len(scores) - 1))
        np.testing.assert_allclose(found.scores, np.mean(ranks, axis=0), atol=1e-12)
        counts = [len(detect(name, model, split).suspects) for name in names]
        assert len(found.suspects) == int(np.median(counts))
        assert len(detect("combination", model, split, members=names, cut="share", share=0.25).suspects) == 100


class TestFeatures:
    @pytest.mark.parametrize("separate", [False, True])
    def test_numpy_oracle(self, separate: bool) -> None:
        inputs = keras.Input((2, 3, 1))
        hidden = keras.layers.Dense(5, activation="relu", name="hidden")(keras.layers.Flatten()(inputs))
        dropped = keras.layers.Dropout(0.9)(hidden)
        outputs = keras.layers.Dense(4, activation=None if separate else "softmax")(dropped)
        model = keras.Model(inputs, keras.layers.Softmax()(outputs) if separate else outputs)
        images = np.random.default_rng(0).standard_normal((11, 2, 3, 1)).astype(np.float32)
        kernel, bias = model.get_layer("hidden").get_weights()
        expected = np.maximum(images.reshape(11, 6) @ kernel + bias, 0)
        np.testing.assert_allclose(penultimate_features(model, images, batch_size=4), expected, atol=1e-6)

    def test_models_without_such_a_layer(self) -> None:
        class Subclassed(keras.Model):
            def call(self, x):
                return x

        images = np.zeros((2, 6, 6, 1), np.float32)
        with pytest.raises(InputError, match="Sequential or functional"):
            penultimate_features(Subclassed(), images)
        with pytest.raises(InputError, match="Dense layer of its own"):
            penultimate_features(keras.Sequential([keras.Input((6, 6, 1)), small_model()]), images)
        rows = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Dense(3), keras.layers.GlobalAveragePooling2D()])
        with pytest.raises(InputError, match="one feature vector"):
            penultimate_features(rows, images)
        with pytest.raises(InputError, match="Dense layer of logits"):
            inputs = keras.Input((6, 6, 1))
            scores = keras.layers.Dense(3, activation="relu")(keras.layers.Flatten()(inputs))
            detect("self-influence", keras.Model(inputs, scores), blobs(20))


class TestOracles:
    @pytest.mark.parametrize("softmax", [False, True])
    @pytest.mark.parametrize("bias", [False, True])
    def test_self_influence_is_the_gradient_of_each_row(self, float64, softmax: bool, bias: bool) -> None:
        keras.utils.set_random_seed(1)
        last = keras.layers.Dense(3, activation="softmax" if softmax else None, use_bias=bias)
        model = keras.Sequential(
            [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(4, activation="tanh"), last]
        )
        split = blobs(12)
        expected = []
        for image, label in zip(split.images, split.labels, strict=True):
            with tf.GradientTape() as tape:
                loss = keras.losses.sparse_categorical_crossentropy(
                    np.array([label]), model(image[np.newaxis]), from_logits=not softmax
                )
            parts = tape.gradient(loss, last.trainable_variables)
            expected.append(np.sqrt(sum(np.sum(np.square(part)) for part in parts)))
        found = detect("self-influence", model, split)
        np.testing.assert_allclose(found.scores, expected, rtol=2e-5)

    def test_self_influence_in_the_metric_of_the_features(self, planted) -> None:
        model, split, _ = planted
        features = penultimate_features(model, split.images).astype(np.float64)
        rows = np.hstack([features, np.ones((len(features), 1))])
        moment = rows.T @ rows / len(rows)
        inverse = np.linalg.inv(moment + 0.3 * np.trace(moment) / len(moment) * np.eye(len(moment)))
        errors = probabilities(predict(model, split.images)) - np.eye(3)[split.labels]
        expected = np.sqrt((errors**2).sum(1) * np.array([row @ inverse @ row for row in rows]))
        found = detect("self-influence", model, split, curvature=True, damping=0.3)
        np.testing.assert_allclose(found.scores, expected, rtol=1e-8)

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_neighbours_by_brute_force(self, planted, metric: str, weighted: bool) -> None:
        model, split, _ = planted
        x = penultimate_features(model, split.images).astype(np.float64)
        if metric == "cosine":
            unit = x / np.linalg.norm(x, axis=1, keepdims=True)
            distances = 1 - unit @ unit.T
        else:
            distances = np.sqrt(((x[:, np.newaxis] - x) ** 2).sum(-1))
        np.fill_diagonal(distances, np.inf)
        nearest = np.argsort(distances, axis=1)[:, :9]
        near = np.take_along_axis(distances, nearest, 1)
        weights = 1 / np.maximum(near, 1e-6 * near.mean()) if weighted else np.ones_like(near)
        differs = split.labels[nearest] != split.labels[:, np.newaxis]
        expected = (weights * differs).sum(1) / weights.sum(1)
        found = detect("neighbours", model, split, neighbours=9, metric=metric, weighted=weighted)
        close = np.isclose(found.scores, expected, atol=1e-2)
        assert close.mean() > 0.99  # float32 features: near ties may go to another neighbour
        assert roc_auc_score(np.arange(400) < FLIPS, found.scores) > 0.95

    def test_cross_validation_by_hand(self, planted) -> None:
        model, split, _ = planted
        x, p = penultimate_features(model, split.images), np.zeros((400, 3))
        for seen, unseen in StratifiedKFold(4, shuffle=True, random_state=5).split(x, split.labels):
            judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=300))
            p[unseen] = judge.fit(x[seen], split.labels[seen]).predict_proba(x[unseen])
        found = detect("cross-validation", model, split, seed=5, folds=4, inverse_penalty=0.5)
        np.testing.assert_allclose(found.scores, -np.log(p[np.arange(400), split.labels]), rtol=1e-9)
        np.testing.assert_array_equal(found.suggested_labels, p.argmax(1))

    def test_classes_without_or_with_few_rows(self) -> None:
        split = blobs(90)
        labels = split.labels.copy()
        labels[labels == 1] = 2
        labels[0] = 1  # the only row of its class: never seen by the probe that judges it
        found = detect("cross-validation", small_model(5), Split(split.images, labels), classes=5)
        assert np.isfinite(found.scores).all() and found.scores.argmax() == 0
        assert set(found.suggested_labels) <= {0, 2}


class TestGuards:
    def warned(self, caplog, status: DetectionStatus) -> None:
        assert any(str(status) in r.message and r.levelno == logging.WARNING for r in caplog.records)

    @pytest.mark.parametrize("name", OWN)
    def test_equal_scores(self, name: str, caplog) -> None:
        model = small_model(2)
        split = Split(np.ones((80, 6, 6, 1), np.float32), np.zeros(80, np.int64))
        if name == "cross-validation":
            with pytest.raises(InputError, match="two classes"):
                detect(name, model, split, classes=2)
            return
        options = {"members": ["loss-mixture", "loss-ranking"]} if name == "combination" else {}
        found = detect(name, model, split, classes=2, **options)
        assert found.status is DetectionStatus.CONSTANT_SCORES and not len(found.suspects)
        self.warned(caplog, DetectionStatus.CONSTANT_SCORES)

    def test_one_component(self, caplog) -> None:
        losses = np.random.default_rng(0).normal(5, 0.5, 600)
        found = detect("loss-mixture", *scored(losses), classes=2)
        assert found.status is DetectionStatus.COLLAPSED_MIXTURE and not len(found.suspects)
        assert found.threshold is None and found.details["mixture"]["separation"] < 2
        self.warned(caplog, DetectionStatus.COLLAPSED_MIXTURE)
        assert len(detect("loss-mixture", *scored(losses), classes=2, min_separation=0).suspects)

    def test_nearly_all_suspect(self, caplog) -> None:
        rng = np.random.default_rng(0)
        losses = np.concatenate([rng.uniform(0.1, 0.2, 60), rng.uniform(4, 5, 540)])
        found = detect("loss-mixture", *scored(losses), classes=2)
        assert found.status is DetectionStatus.LOPSIDED and found.suspects.tolist() == list(range(60, 600))
        self.warned(caplog, DetectionStatus.LOPSIDED)
        assert detect("loss-mixture", *scored(losses), classes=2, max_share=0.95).status is DetectionStatus.OK

    def test_too_few_suspects(self) -> None:
        losses = np.append(np.random.default_rng(0).uniform(0.1, 0.2, 599), 5)
        found = detect("loss-mixture", *scored(losses), classes=2, min_share=0.01)
        assert found.status is DetectionStatus.LOPSIDED and found.suspects.tolist() == [599]

    def test_nothing_suspect(self, planted, caplog) -> None:
        found = detect("self-influence", *planted[:2], cut="value", value=1e6)
        assert found.status is DetectionStatus.NOTHING_SUSPECT and not len(found.suspects)
        self.warned(caplog, DetectionStatus.NOTHING_SUSPECT)

    def test_one_mixture_a_class(self, caplog) -> None:
        rng = np.random.default_rng(0)
        easy = np.concatenate([rng.uniform(0.01, 0.02, 200), rng.uniform(0.5, 0.6, 40)])
        hard = np.concatenate([rng.uniform(4, 4.3, 200), rng.uniform(9, 9.5, 40)])
        model, split = scored(np.concatenate([easy, hard, [3.0] * 5]))
        labels = np.repeat([0, 1, 2], [240, 240, 5])
        model = keras.Sequential(
            [keras.Input((1, 1, 3)), keras.layers.Flatten(), keras.layers.Softmax()]
        )  # the score of the given class is 0, that of one other class makes the loss
        images = np.full((485, 1, 1, 3), -60, np.float32)
        images[np.arange(485), 0, 0, labels] = 0
        images[np.arange(485), 0, 0, (labels + 1) % 3] = split.images[:, 0, 0, 1]
        found = detect("loss-mixture", model, Split(images, labels), per_class=True)
        assert found.suspects.tolist() == [*range(200, 240), *range(440, 480)]
        assert found.threshold is None and found.details["classes"]["2"]["status"] == "too_few_or_equal"
        assert any("class 2" in r.message for r in caplog.records)
        together = detect("loss-mixture", model, Split(images, labels))
        assert not set(range(200, 240)) & set(together.suspects.tolist())

    def test_bad_input(self, planted) -> None:
        model, split, _ = planted
        with pytest.raises(InputError, match="two rows"):
            detect("loss-mixture", model, split.subset(np.arange(1)))
        with pytest.raises(InputError, match=r"classes 0\.\.1"):
            detect("loss-mixture", model, split, classes=2)
        with pytest.raises(InputError, match="5 outputs"):
            detect("loss-mixture", model, split, classes=5)
        with pytest.raises(InputError, match="neighbours"):
            detect("neighbours", model, split.subset(np.arange(20)))
        with pytest.raises(InputError, match="neighbours"):
            detect("cross-validation", model, split.subset(np.arange(30)), probe="neighbours")
        with pytest.raises(InputError, match="folds"):
            detect("cross-validation", model, split.subset(np.arange(20)), folds=20)
        broken = small_model()
        broken.set_weights([np.full_like(w, np.nan) for w in broken.get_weights()])
        with pytest.raises(InputError, match="finite"):
            detect("loss-mixture", broken, split)

    def test_a_detection_is_checked(self) -> None:
        def make(scores=(0.0, 1.0), suspects=(1,), labels=(0, 0)) -> Detection:
            return Detection(np.array(scores), np.array(suspects), np.array(labels), None, DetectionStatus.OK)

        assert make().scores.dtype == np.float64
        for change, match in (
            ({"scores": (0.0, np.nan)}, "finite"),
            ({"suspects": (1, 0)}, "ascending"),
            ({"suspects": (2,)}, "ascending"),
            ({"labels": (0,)}, "one label a row"),
        ):
            with pytest.raises(InputError, match=match):
                make(**change)


class TestConfidentLearning:
    def test_without_cleanlab(self, planted, monkeypatch) -> None:
        for name in ("cleanlab", "cleanlab.filter", "cleanlab.rank"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(InputError, match="pip install cleanlab"):
            detect("confident-learning", *planted[:2])

    @pytest.mark.parametrize("out_of_sample", [False, True])
    def test_planted_flips(self, planted, out_of_sample: bool) -> None:
        pytest.importorskip("cleanlab")
        from cleanlab.filter import find_label_issues

        model, split, _ = planted
        found = detect("confident-learning", model, split, out_of_sample=out_of_sample)
        assert score_detection(found, np.arange(FLIPS))["auroc"] >= 0.97
        assert found.details["out_of_sample"] is out_of_sample
        if not out_of_sample:
            own = probabilities(predict(model, split.images))
            np.testing.assert_array_equal(found.suspects, np.flatnonzero(find_label_issues(split.labels, own)))


class TestMetrics:
    def test_by_hand(self) -> None:
        found = Detection(np.array([0.9, 0.8, 0.3, 0.1]), np.array([0, 1]), np.zeros(4), 0.5, DetectionStatus.OK)
        metrics = score_detection(found, np.array([0, 2]))
        assert metrics == pytest.approx(
            {"precision": 0.5, "recall": 0.5, "f1": 0.5, "auroc": 0.75, "average_precision": (1 + 2 / 3) / 2}
        )
        none = score_detection(found, np.array([], np.int64))
        assert none["auroc"] is None and none["average_precision"] is None and none["precision"] == 0
        with pytest.raises(InputError, match="bad_rows"):
            score_detection(found, np.array([4]))


class TestFiles:
    def test_the_csv_is_what_repair_reads(self, planted, tmp_path: Path) -> None:
        model, split, _ = planted
        found = detect("neighbours", model, split)
        write_suspects(tmp_path / "a.csv", split, found)
        flagged = read_flagged(tmp_path / "a.csv", len(split), 3)
        assert sorted(flagged.rows) == found.suspects.tolist()
        np.testing.assert_array_equal(flagged.labels, found.suggested_labels[flagged.rows])
        with (tmp_path / "a.csv").open() as file:
            rows = list(csv.DictReader(file))
        scores = [float(row["score"]) for row in rows]
        assert scores == sorted(scores, reverse=True) and {row["suspect"] for row in rows} == {"1"}
        write_suspects(tmp_path / "all.csv", split, found, all_rows=True)
        everything = read_flagged(tmp_path / "all.csv", len(split), 3)
        expected = split.labels.copy()
        expected[found.suspects] = found.suggested_labels[found.suspects]
        np.testing.assert_array_equal(everything.labels, expected[everything.rows])

    def test_a_suspect_without_another_label_is_removed(self, tmp_path: Path) -> None:
        split = Split(np.zeros((3, 2, 2, 1), np.float32), np.array([0, 1, 2]))
        found = Detection(np.array([3.0, 2.0, 1.0]), np.array([0, 1]), np.array([2, 1, 2]), 1.5, DetectionStatus.OK, {})
        write_suspects(tmp_path / "a.csv", split, found, all_rows=True)
        flagged = read_flagged(tmp_path / "a.csv", 3, 3)
        assert dict(zip(flagged.rows.tolist(), flagged.labels.tolist(), strict=True)) == {0: 2, 1: REMOVED, 2: 2}

    def test_no_suspects_leave_only_the_header(self, planted, tmp_path: Path) -> None:
        model, split, _ = planted
        write_suspects(tmp_path / "a.csv", split, detect("self-influence", model, split, cut="value", value=1e6))
        assert (tmp_path / "a.csv").read_text() == "row,given_label,suggested_label,score,suspect,corrected_label\n"
        with pytest.raises(InputError, match="flags no row"):
            read_flagged(tmp_path / "a.csv", len(split), 3)

    @pytest.mark.parametrize("known", [False, True])
    def test_the_figure(self, planted, tmp_path: Path, known: bool) -> None:
        found = detect("loss-mixture", *planted[:2])
        mixture = found.details["mixture"] if known else None
        bad = np.arange(FLIPS) if known else None
        draw_mixture(tmp_path / "a.png", found.scores, mixture=mixture, threshold=found.threshold, bad_rows=bad)
        draw_mixture(tmp_path / "b.png", np.zeros(9), bad_rows=bad if bad is None else np.empty(0, int))
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def cli(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


class TestCommand:
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory) -> Path:
        """A trained cell under `e`, and what a user would have of it: `data.npz` with wrong labels, and the model."""
        from unlearning.data import load_data
        from unlearning.noise import Corruption

        folder = tmp_path_factory.mktemp("detect")
        tiny = ("--train-rows", "300", "--epochs", "4", "--batch-size", "32", "--budgets", "60", "--seeds", "1")
        done = cli("train", *tiny, "--output", "e", "--quiet", cwd=folder)
        assert done.returncode == 0, done.stderr
        data = load_data("digits", train_rows=300)
        given = Corruption.load(folder / "e/budget-60/seed-1/corruption.npz").apply(data.train)
        np.savez(
            folder / "data.npz",
            **{
                f"{name}_{key}": getattr(split, key)
                for name, split in (("train", given), ("validation", data.validation), ("test", data.test))
                for key in ("images", "labels")
            },
        )
        (folder / "model.keras").write_bytes((folder / "e/budget-60/seed-1/poisoned_model.keras").read_bytes())
        return folder

    def test_a_cell_is_scored(self, folder: Path) -> None:
        before = {p: p.stat().st_mtime_ns for p in (folder / "e").rglob("*")}
        done = cli("detect", "e/budget-60/seed-1", "--detector", "cross-validation", "--out", "a/s.csv", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "AUROC" in done.stdout and max(map(len, done.stdout.splitlines())) <= 110
        record = read_json(folder / "a/s.json", DetectionResults)
        assert record.metrics is not None and record.metrics.auroc > 0.75 and record.bad_rows == 60
        assert (folder / "a/s.png").is_file()
        assert before == {p: p.stat().st_mtime_ns for p in (folder / "e").rglob("*")}
        again = cli("detect", "e/budget-60/seed-1", "--out", "a/s.csv", cwd=folder)
        assert again.returncode == 2 and "--force" in again.stderr and len(again.stderr.splitlines()) == 1

    def test_true_labels_play_no_part(self, folder: Path) -> None:
        """A user's model and data, in which the true labels do not exist, give the same suspects as the cell."""
        options = {"detector": "combination", "data_dir": None}
        cell = detect_rows(target=folder / "e/budget-60/seed-1", dataset=None, out=folder / "b/cell.csv", **options)
        own = detect_rows(
            target=folder / "model.keras", dataset=str(folder / "data.npz"), out=folder / "b/own.csv", **options
        )
        assert (folder / "b/cell.csv").read_bytes() == (folder / "b/own.csv").read_bytes()
        assert cell.metrics is not None and own.metrics is None and own.bad_rows is None

    def test_suspects_can_be_repaired(self, folder: Path) -> None:
        detect_rows(
            target=folder / "model.keras",
            dataset=str(folder / "data.npz"),
            detector="neighbours",
            overrides={"cut": "share"},
            out=folder / "s.csv",
        )
        repaired = repair_model(
            model=folder / "model.keras",
            dataset=str(folder / "data.npz"),
            flagged=folder / "s.csv",
            method="first-order",
            out=folder / "fixed.keras",
        )
        assert repaired.flagged_rows == 60 and repaired.removed_rows == 0

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"target": "none.keras"}, "existing file"),
            ({"target": "data.npz"}, "RUN_DIR|budget-<B>"),
            ({"target": "e"}, "budget-<B>"),
            ({"dataset": None}, "--data"),
            ({"out": "x/s.txt"}, ".csv"),
            ({"detector": "no-such"}, "one of loss-mixture"),
            ({"overrides": {"no": "1"}}, "loss-mixture.no"),
            ({"target": "e/budget-61/seed-1"}, "an existing"),
            ({"dataset": "mnist", "target": "e/budget-60/seed-1"}, "of this cell"),
        ],
    )
    def test_bad_input_writes_nothing(self, folder: Path, change: dict, match: str) -> None:
        options = {"target": "model.keras", "dataset": str(folder / "data.npz"), "detector": "loss-mixture"} | change
        options["target"] = folder / options["target"]
        with pytest.raises(InputError, match=match):
            detect_rows(out=folder / change.get("out", "x/s.csv"), **{k: v for k, v in options.items() if k != "out"})
        assert not (folder / "x").exists()

    def test_unfinished_or_damaged_cells(self, folder: Path, tmp_path: Path) -> None:
        import shutil

        cell = tmp_path / "e/budget-60/seed-1"
        shutil.copytree(folder / "e", tmp_path / "e")
        (cell / "poisoned_model.keras").write_bytes(b"other")
        with pytest.raises(InputError, match="hash"):
            detect_rows(target=cell, dataset=None, detector="loss-mixture", out=tmp_path / "s.csv")
        (cell / "train_results.json").unlink()
        with pytest.raises(InputError, match="is trained"):
            detect_rows(target=cell, dataset=None, detector="loss-mixture", out=tmp_path / "s.csv")
