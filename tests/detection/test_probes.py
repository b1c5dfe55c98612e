"""Detectors that judge by a probe of their own, against brute force; and repairs whose flagged rows are detected."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from support.paths import ROOT
from support.small import blobs, fitted, poisoned_task, small_model
from unlearning import detection, methods
from unlearning.detection.base import Detection, DetectionStatus
from unlearning.detection.cuts import estimate_noise_rate, log_odds
from unlearning.detection.patches import PatchFeatures
from unlearning.detection.ridge import calibrate, leave_one_out
from unlearning.errors import InputError
from unlearning.methods.detected import Detected, suspected_corrections
from unlearning.task import REMOVED, Corrections, OutcomeStatus, Split, UnlearningTask

BANK = {"filters": 8, "size": 4, "threshold": 0.25, "grid": 2, "seed": 0}


def digits(rows: int = 500, flips: int = 100) -> tuple[Split, np.ndarray]:
    """Digits of which the first rows carry the next class as their label; and the true labels."""
    images, true = load_digits(return_X_y=True)
    images = images[:rows].reshape(-1, 8, 8, 1).astype(np.float32)
    given = true[:rows].copy()
    given[:flips] = (given[:flips] + 1) % 10
    return Split(images, given), true[:rows].astype(np.int64)


def digit_model() -> keras.Model:
    layers = keras.layers
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )


def noise(rows: int, height: int = 12, width: int = 12, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (rows, height, width, channels)).astype(np.float32)


class TestLeaveOneOut:
    @pytest.mark.parametrize("columns", [5, 30])  # fewer and more than rows
    def test_equals_fits_without_each_row(self, columns: int) -> None:
        rng = np.random.default_rng(0)
        features, labels = rng.normal(size=(14, columns)), rng.integers(0, 3, 14)
        penalty = 0.3
        found = leave_one_out(features.copy(), labels, 3, (penalty,))
        z = (features - features.mean(0)) / features.std(0)
        y = np.eye(3)[labels]
        for row in range(14):
            kept = np.arange(14) != row
            centre, mean = z[kept].mean(0), y[kept].mean(0)
            a = z[kept] - centre
            slopes = np.linalg.solve(a.T @ a + 14 * penalty * np.eye(columns), a.T @ (y[kept] - mean))
            np.testing.assert_allclose(found.predictions[row], mean + (z[row] - centre) @ slopes, atol=1e-10)

    def test_chooses_the_penalty_of_least_error(self) -> None:
        rng = np.random.default_rng(1)
        features, labels = rng.normal(size=(60, 50)), rng.integers(0, 2, 60)  # nothing to learn: shrink hard
        found = leave_one_out(features, labels, 2, (1e-4, 1e3))
        assert found.penalty == pytest.approx(1e3)
        assert found.errors[1e3] < found.errors[1e-4]

    def test_constant_and_missing_features_and_classes_do_no_harm(self) -> None:
        features = np.random.default_rng(2).normal(size=(20, 3))
        features[:, 1] = 7
        found = leave_one_out(features, np.arange(20) % 2, 4, (0.1,))
        assert np.isfinite(found.predictions).all() and found.predictions.shape == (20, 4)
        np.testing.assert_allclose(found.predictions[:, 2:], 0, atol=1e-12)

    def test_more_features_than_rows(self) -> None:
        rng = np.random.default_rng(3)
        found = leave_one_out(rng.normal(size=(10, 40)), np.arange(10) % 2, 2, (1e-3,))
        assert np.isfinite(found.predictions).all()

    def test_bad_input(self) -> None:
        with pytest.raises(InputError, match="three rows"):
            leave_one_out(np.zeros((2, 1)), np.array([0, 1]), 2, (1.0,))
        with pytest.raises(InputError, match="finite"):
            leave_one_out(np.full((5, 2), np.nan), np.zeros(5, int), 2, (1.0,))


class TestProbabilities:
    def test_calibration_finds_the_temperature(self) -> None:
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 2, (20_000, 4))
        labels = (logits + rng.gumbel(size=logits.shape)).argmax(-1)  # drawn from softmax(logits)
        expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(calibrate(logits / 5, labels), expected, atol=0.03)

    def test_log_odds_by_hand(self) -> None:
        probabilities = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.0, 0.5, 0.5]])
        odds = log_odds(probabilities, np.array([0, 2, 1]))
        np.testing.assert_allclose(odds, [np.log(2 / 7), np.log(7), 0], atol=1e-12)

    def test_the_noise_rate_of_anchors(self) -> None:
        rng = np.random.default_rng(0)
        true = rng.integers(0, 5, 20_000)
        sure = rng.uniform(0.3, 1, len(true))
        predicted = np.where(rng.random(len(true)) < sure, true, rng.integers(0, 5, len(true)))
        probabilities = np.full((len(true), 5), ((1 - sure) / 4)[:, np.newaxis])
        probabilities[np.arange(len(true)), predicted] = sure
        given = np.where(rng.random(len(true)) < 0.3, (true + 1) % 5, true)
        assert estimate_noise_rate(probabilities, given) == pytest.approx(0.3, abs=0.04)
        assert np.mean(predicted != given) > 0.45  # what counting all disagreements would say


class TestPatchFeatures:
    def test_equals_normalising_patch_by_patch(self) -> None:
        images = noise(40)
        bank = PatchFeatures(images, **BANK)
        kernel = bank._kernel.numpy().reshape(-1, 8)
        scale, low = 255 / (images.max() - images.min()), images.min()
        image = (images[3].astype(np.float64) - low) * scale
        responses = np.empty((9, 9, 8))
        for top in range(9):
            for left in range(9):
                patch = image[top : top + 4, left : left + 4].ravel()
                patch = (patch - patch.mean()) / np.sqrt(patch.var() + 10)
                responses[top, left] = patch @ kernel - bank._offset.numpy()
        active = np.concatenate([np.maximum(responses - 0.25, 0), np.maximum(-responses - 0.25, 0)], -1)
        regions = [slice(0, 5), slice(5, 9)]
        expected = [[active[r, c].mean((0, 1)) for c in regions] for r in regions]
        np.testing.assert_allclose(bank(images[3:4])[0], np.ravel(expected), atol=2e-4)

    def test_mirroring_makes_mirror_images_equal(self) -> None:
        images = noise(30)
        bank = PatchFeatures(images, **BANK)
        one, other = bank(images[:5], mirror=True), bank(images[:5, :, ::-1], mirror=True)
        np.testing.assert_allclose(one, other, rtol=1e-5)
        assert not np.allclose(bank(images[:5]), bank(images[:5, :, ::-1]), rtol=1e-2)

    def test_brightness_and_contrast_of_the_whole_set_do_not_matter(self) -> None:
        images = noise(30)
        moved = images / 255 * 6 - 3
        np.testing.assert_allclose(
            PatchFeatures(images, **BANK)(images), PatchFeatures(moved, **BANK)(moved), rtol=1e-3, atol=1e-4
        )

    @pytest.mark.parametrize(("height", "width"), [(64, 48), (8, 8), (3, 5)])
    def test_any_size(self, height: int, width: int) -> None:
        images = noise(20, height, width, 1)
        bank = PatchFeatures(images, **BANK)
        assert bank(images).shape == (20, bank.count) and np.isfinite(bank(images)).all()

    def test_images_without_contrast_and_without_numbers(self) -> None:
        images = np.full((20, 8, 8, 1), 3.0)
        assert np.isfinite(PatchFeatures(images, **BANK)(images)).all()
        images[0, 0, 0] = np.nan
        with pytest.raises(InputError, match="finite pixels"):
            PatchFeatures(images, **BANK)


@pytest.fixture(scope="module")
def memorised() -> tuple[keras.Model, Split, np.ndarray]:
    """A network that has learned wrong digits by heart, its rows, and the true labels."""
    split, true = digits()
    model = digit_model()
    return fitted(model, split, epochs=60), split, true


class TestDetectors:
    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("patches", {"filters": 32}),
            ("probe", {"epochs": 10, "batch_size": 16}),
            ("probe", {"epochs": 10, "batch_size": 16, "folds": 3}),
            ("pooled", {"filters": 32, "epochs": 10, "batch_size": 16}),
        ],
    )
    def test_see_through_memorised_labels(self, memorised, name: str, options: dict) -> None:
        model, split, true = memorised
        weights = [w.copy() for w in model.get_weights()]
        found = detection.get(name, options).detect(model, split, 10)
        assert roc_auc_score(split.labels != true, found.scores) > 0.9
        assert found.status is DetectionStatus.OK
        assert found.details["estimated_noise_rate"] == pytest.approx(0.2, abs=0.1)
        precision = np.mean((split.labels != true)[found.suspects])
        assert precision > 0.6
        right = np.mean(found.suggested_labels[found.suspects] == true[found.suspects])
        assert right > 0.5
        assert (found.suggested_labels != split.labels)[
            found.suspects
        ].all()  # whose own label is likeliest, is no suspect
        for before, after in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)
        again = detection.get(name, options).detect(model, split, 10)
        np.testing.assert_array_equal(found.scores, again.scores)

    def test_patches_do_not_look_at_the_model(self, memorised) -> None:
        model, split, _ = memorised
        fresh = digit_model()
        one, other = (detection.get("patches", {"filters": 16}).detect(m, split, 10) for m in (model, fresh))
        np.testing.assert_array_equal(one.scores, other.scores)

    def test_pooling_adds_up_log_odds_and_asks_the_patches_whether_to_mirror(self, memorised) -> None:
        model, split, _ = memorised
        options = {"epochs": 2, "batch_size": 16}
        pooled = detection.get("pooled", {**options, "filters": 32}).detect(model, split, 10)
        assert pooled.details["probe"]["augment"] == pooled.details["patches"]["mirror"]
        # Where both call the same class likeliest next to the given one, the pool's log-odds are their mean.
        one, two = (
            detection.get("patches", {"filters": 32}).detect(model, split, 10),
            detection.get("probe", {**options, "augment": pooled.details["probe"]["augment"]}).detect(model, split, 10),
        )
        agree = (one.suggested_labels == two.suggested_labels) & (one.suggested_labels != split.labels)
        assert agree.sum() > 10
        np.testing.assert_allclose(pooled.scores[agree], (one.scores[agree] + two.scores[agree]) / 2, rtol=1e-4)
        with pytest.raises(InputError, match="epochs"):
            detection.get("pooled", {"epochs": 0})

    def test_a_probe_with_folds_never_saw_what_it_judges(self, memorised) -> None:
        """Changing a row's own label moves its score only through that label, not through the probe."""
        model, split, _ = memorised
        probe = detection.get("probe", {"epochs": 1, "folds": 2})
        changed = split.labels.copy()
        changed[7] = (changed[7] + 1) % 10
        one, other = (probe.detect(model, s, 10) for s in (split, Split(split.images, changed)))
        assert one.suggested_labels[7] == other.suggested_labels[7]

    def test_right_labels_give_a_status_and_no_suspects(self, caplog) -> None:
        split = blobs(200, noise=0.05)
        found = detection.get("patches", {"filters": 16, "mirror": False}).detect(small_model(), split, 3)
        assert found.details["leave_one_out_accuracy"] == 1
        assert not len(found.suspects) and found.status is not DetectionStatus.OK
        assert "no row" in caplog.text

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("patches", {"filters": 0}, "filters"),
            ("patches", {"penalties": []}, "penalties"),
            ("patches", {"activation": -1}, "activation"),
            ("patches", {"anchor_share": 0}, "anchor_share"),
            ("patches", {"cut": "elbow"}, "cut"),
            ("probe", {"folds": 1}, "folds"),
            ("probe", {"epochs": 0}, "epochs"),
            ("probe", {"optimizer": "lion"}, "optimizer"),
            ("probe", {"learning_rate": 0}, "learning_rate"),
        ],
    )
    def test_bad_options(self, name: str, options: dict, message: str) -> None:
        with pytest.raises(InputError, match=message):
            detection.get(name, options)

    def test_more_folds_than_rows(self, memorised) -> None:
        model, split, _ = memorised
        with pytest.raises(InputError, match="folds"):
            detection.get("probe", {"folds": 9}).detect(model, split.subset(np.arange(5)), 10)

    def test_a_diverging_probe(self, memorised) -> None:
        model, split, _ = memorised
        with pytest.raises(InputError, match="diverge"):
            detection.get("probe", {"optimizer": "sgd", "learning_rate": 1e30}).detect(model, split, 10)

    @pytest.mark.parametrize("cut", ["mixture", "share", "value"])
    def test_other_cuts(self, memorised, cut: str) -> None:
        model, split, _ = memorised
        found = detection.get("patches", {"filters": 16, "cut": cut, "value": 0.0}).detect(model, split, 10)
        assert 0 < len(found.suspects) < 250

    def test_gmm_is_the_loss_mixture(self, memorised) -> None:
        model, split, _ = memorised
        one, other = (detection.get(name).detect(model, split, 10) for name in ("gmm", "loss-mixture"))
        np.testing.assert_array_equal(one.suspects, other.suspects)


@dataclasses.dataclass
class Script:
    """A detector that says what it is told, and notes which models it has seen."""

    answers: list[tuple[list[int], list[int]]]
    seen: list = dataclasses.field(default_factory=list)

    def detect(self, model, split, num_classes, seed=0) -> Detection:
        rows, labels = self.answers[len(self.seen)]
        self.seen.append(model)
        suggested = split.labels.copy()
        suggested[rows] = labels
        status = DetectionStatus.OK if rows else DetectionStatus.NOTHING_SUSPECT
        return Detection(np.zeros(len(split)), np.array(rows, dtype=np.int64), suggested, None, status)

    def config(self) -> dict:
        return {}


@pytest.fixture
def scripted(monkeypatch):
    def install(*answers: tuple[list[int], list[int]]) -> Script:
        script = Script(list(answers))
        monkeypatch.setattr(Detected, "build_detector", lambda self: script)
        return script

    return install


@pytest.fixture(scope="module")
def planted() -> tuple[keras.Model, UnlearningTask, np.ndarray]:
    task, true = poisoned_task(rows=300, flips=60)
    return fitted(small_model(), task.train, epochs=40), task, true


class TestDetected:
    def test_equals_flagging_the_same_rows(self, planted, scripted) -> None:
        model, task, true = planted
        rows = list(range(60))
        scripted((rows, true[:60].tolist()))
        one = Detected(method=methods.get("first-order"), detector="patches").unlearn(model, task)
        other = methods.get("first-order").unlearn(
            model, dataclasses.replace(task, corrections=Corrections(np.arange(60), true[:60]))
        )
        assert one.applied and one.validation_accuracy_after == other.validation_accuracy_after
        for a, b in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert one.details["flagged_by"][0]["suspects"] == 60

    def test_does_not_look_at_the_tasks_corrections(self, planted, scripted) -> None:
        model, task, _ = planted
        scripted(([], []))
        outcome = Detected(method=methods.get("first-order"), detector="patches").unlearn(model, task)
        assert not outcome.applied and outcome.status is OutcomeStatus.NOTHING_FLAGGED

    def test_suspects_are_relabelled_or_removed(self) -> None:
        given = np.array([0, 1, 2, 0])
        suspected = Corrections(np.array([1, 3]), np.array([2, 0]))
        relabelled = suspected_corrections(suspected, given, "relabel")
        assert relabelled.labels.tolist() == [2, REMOVED]  # suggesting the given label corrects nothing
        assert suspected_corrections(suspected, given, "remove").labels.tolist() == [REMOVED, REMOVED]
        assert relabelled.rows.tolist() == [1, 3]

    def test_rounds_look_with_the_repaired_model_and_repair_the_original(self, planted, scripted) -> None:
        model, task, true = planted
        half, rows = list(range(30)), list(range(60))
        script = scripted((half, true[:30].tolist()), (rows, true[:60].tolist()))
        outcome = Detected(method=methods.get("first-order"), detector="patches", rounds=2).unlearn(model, task)
        assert script.seen[0] is model and script.seen[1] is not model
        once = methods.get("first-order").unlearn(
            model, dataclasses.replace(task, corrections=Corrections(np.arange(60), true[:60]))
        )
        scores = [entry["validation_accuracy"] for entry in outcome.details["flagged_by"]]
        assert scores[1] == once.validation_accuracy_after
        assert outcome.validation_accuracy_after == max(scores)

    def test_bad_options(self) -> None:
        inner = methods.get("first-order")
        for options, message in (
            ({"detector": "oracle"}, "detector"),
            ({"detector": "patches", "options": {"filters": 0}}, "filters"),
            ({"detector": "patches", "suspects": "ignore"}, "suspects"),
            ({"detector": "patches", "rounds": 0}, "rounds"),
        ):
            with pytest.raises(InputError, match=message):
                Detected(method=inner, **options)


def cli(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


class TestCommands:
    def test_run_detects_once_and_finds_it_again(self, tmp_path: Path) -> None:
        options = (
            *("--train-rows", 400, "--epochs", 6, "--batch-size", 32, "--noise", "symmetric", "--rates", 0.3),
            *("--methods", "first-order,fspmu", "--set", "fspmu.epochs=1"),
            *("--detect", "patches", "--detect-set", "filters=16", "--output", "e"),
        )
        done = cli("run", *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("detecting by patches") == 1
        cell = tmp_path / "e/budget-120/seed-42"
        found = next(cell.glob("detect-patches-*"))
        record = json.loads((found / "detection_results.json").read_text())
        assert record["metrics"]["auroc"] > 0.7 and record["bad_rows"] == 120
        results = [json.loads(p.read_text()) for p in cell.glob("*/unlearning_results.json")]
        assert len(results) == 2
        for result in results:
            assert result["details"]["detection"]["metrics"] == record["metrics"]
            assert result["details"]["flagged_by"][0]["suspects"] == record["suspects"]
            assert result["unlearning_duration_s"] > record["detection_duration_s"]
            assert result["config"]["hyperparameters"]["detector"]["name"] == "patches"
        again = cli("run", *options, cwd=tmp_path)
        assert again.returncode == 0 and "detecting" not in again.stderr and again.stdout == done.stdout
        checked = cli("validate", "e", cwd=tmp_path)
        assert checked.returncode == 0, checked.stdout
        self.repairs_a_model_by_detection(tmp_path, cell)

    def repairs_a_model_by_detection(self, folder: Path, cell: Path) -> None:
        """One command from a model and its data to a repaired model and a list of suspects."""
        split, _ = digits(600, 100)
        np.savez(folder / "data.npz", images=split.images, labels=split.labels)
        done = cli(
            *("repair", cell / "poisoned_model.keras", "--data", "data.npz", "--detect", "gmm"),
            *("--method", "second-order", "--out", "repaired.keras", "--rounds", 2),
            cwd=folder,
        )
        assert done.returncode == 0, done.stderr
        record = json.loads((folder / "repaired.json").read_text())
        lines = (folder / "repaired-suspects.csv").read_text().splitlines()
        assert record["detection"]["detector"] == "gmm" and record["detection"]["suspects"] == len(lines) - 1 > 0
        assert record["flagged_rows"] == len(lines) - 1
        assert "rows are suspect" in done.stdout and (folder / "repaired.keras").is_file()

    def test_mistakes(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "data.npz", images=np.zeros((9, 8, 8, 1)), labels=np.zeros(9, int))
        for arguments, message in (
            (("run", "--suspects", "remove"), "need --detect"),
            (("run", "--detect", "oracle"), "oracle"),
            (("run", "--detect", "patches", "--detect-set", "speed=1"), "speed"),
            (("run", "--detect", "patches", "--rounds", "0"), "rounds"),
            (
                (
                    "repair",
                    "m.keras",
                    "--data",
                    "data.npz",
                    "--flagged",
                    "f.csv",
                    "--detect",
                    "gmm",
                    "--out",
                    "o.keras",
                ),
                "not both",
            ),
        ):
            done = cli(*arguments, cwd=tmp_path)
            assert done.returncode == 2 and message in done.stderr, (arguments, done.stderr)
            assert not (tmp_path / "models").exists()
