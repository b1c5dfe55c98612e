"""The detector with eyes, end to end: its options, its cache, what is known of some rows, and what the output says."""

from __future__ import annotations

import logging
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_digits

from unlearning import detect, detection, repair
from unlearning.cli import main
from unlearning.errors import InputError
from unlearning.eyes import cache
from unlearning.interop import save_model
from unlearning.task import REMOVED, Split

BAD = 240


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEARNING_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learned to tell 500 digits, of which none is looked at below."""
    layers = keras.layers
    images, labels = load_digits(return_X_y=True)
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(12, 5, activation="relu", strides=2),
            layers.Conv2D(24, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )
    network.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    larger = keras.ops.image.resize(images[1200:].reshape(-1, 8, 8, 1) * 255 / 16, (16, 16), interpolation="bicubic")
    network.fit(larger, labels[1200:], epochs=25, verbose=0)
    path = tmp_path_factory.mktemp("eyes") / "digits.keras"
    save_model(network, path)
    return path


@pytest.fixture(scope="module")
def rows() -> tuple[Split, np.ndarray]:
    """1,200 digits, of which 240 carry the next class's label; and the true labels."""
    images, true = load_digits(return_X_y=True)
    images, true = images[:1200].reshape(-1, 8, 8, 1).astype(np.float32), true[:1200].astype(np.int64)
    given = true.copy()
    bad = np.random.default_rng(0).permutation(1200)[:BAD]
    given[bad] = (given[bad] + 1) % 10
    return Split(images, given), true


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A model that has learned nothing."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Rescaling(1 / 16), layers.Flatten(), layers.Dense(10)])


def quality(found: detection.Detection, split: Split, true: np.ndarray, left: np.ndarray) -> float:
    """F1 of the suspects among the rows of a mask."""
    bad, suspect = (split.labels != true) & left, np.zeros(len(true), bool)
    suspect[found.suspects] = True
    return 2 * np.count_nonzero(bad & suspect) / (np.count_nonzero(bad) + np.count_nonzero(suspect & left))


@pytest.mark.parametrize("judge", ["ridge", "neighbours", "logistic"])
def test_wrong_labels_are_found_whatever_judges(model, eyes, rows, judge: str) -> None:
    split, true = rows
    found = detection.get("pretrained", {"eyes": str(eyes), "judge": judge}).detect(model, split, 10)
    scores = detection.score_detection(found, np.flatnonzero(split.labels != true))
    assert scores["auroc"] > 0.95 and scores["f1"] > 0.75
    assert found.details["estimated_noise_rate"] == pytest.approx(0.2, abs=0.05)
    assert found.details["judge"] == judge


def test_eyes_see_what_an_untrained_model_does_not(model, eyes, rows) -> None:
    split, true = rows
    bad = np.flatnonzero(split.labels != true)
    by_eyes = detect(model, split, eyes=eyes, bad_rows=bad)
    assert by_eyes.record.detector == "pretrained" and by_eyes.record.options["eyes"].startswith(
        "digits.keras (SHA-256 "
    )
    assert by_eyes.record.metrics.auroc > 0.95
    kept = list(cache.folder().glob("*.npy"))
    again = detect(model, split, eyes=eyes)
    assert list(cache.folder().glob("*.npy")) == kept and len(kept) == 1
    np.testing.assert_array_equal(by_eyes.detection.scores, again.detection.scores)


@pytest.mark.parametrize("kind", ["wrong, corrected", "wrong, removed", "wrong and right"])
def test_the_more_is_known_the_better_it_gets(model, eyes, rows, kind: str) -> None:
    """On the rows of which nothing is known in any of the runs."""
    split, true = rows
    order = np.random.default_rng(1).permutation(np.flatnonzero(split.labels != true))
    right = np.random.default_rng(2).permutation(np.flatnonzero(split.labels == true))
    left = np.ones(len(true), bool)
    left[order[: BAD // 2]] = left[right[: len(right) // 2]] = False
    detector = detection.get("pretrained", {"eyes": str(eyes), "size": 16})
    found, off = [], []
    for share in (0.0, 0.05, 0.2, 0.5):
        told = order[: round(share * BAD)]
        labels = np.full(len(told), REMOVED) if kind == "wrong, removed" else true[told]
        if kind == "wrong and right":
            also = right[: round(share * len(right))]
            told, labels = np.concatenate([told, also]), np.concatenate([labels, true[also]])
        known = detection.base.Corrections(told, labels)
        one = detector.detect(model, split, 10, known=known)
        assert not np.isin(one.suspects, told).any(), "what is known needs no detection"
        found.append(quality(one, split, true, left))
        off.append(abs(one.details["estimated_noise_rate"] - BAD / len(true)))
    assert found[-1] > found[0] and found[2] > found[0] - 0.01 and found[1] > found[0] - 0.02, found
    assert off[-1] < 0.03, off


def test_known_rows_and_suspects_are_repaired_together(model, eyes, rows) -> None:
    split, true = rows
    bad = np.flatnonzero(split.labels != true)[:40]
    good = np.flatnonzero(split.labels == true)[:10]
    flagged = {int(row): int(true[row]) for row in [*bad, *good]}
    done = repair(
        model, split, flagged=flagged, eyes=eyes, method="fine-tuning", validation=(split.images[:200], true[:200])
    )
    told = dict(zip(done.corrections.rows.tolist(), done.corrections.labels.tolist(), strict=True))
    assert {row: told[row] for row in bad.tolist()} == {int(row): int(true[row]) for row in bad}
    assert not set(good.tolist()) & set(told)
    assert len(told) == len(bad) + done.found.record.suspects


def test_known_rows_are_checked(model, eyes, rows) -> None:
    split, _ = rows
    detector = detection.get("pretrained", {"eyes": str(eyes)})
    for row, label, message in ((5000, 1, "known.rows"), (0, 10, "known.labels")):
        with pytest.raises(InputError, match=message):
            detector.detect(model, split, 10, known=detection.base.Corrections(np.array([row]), np.array([label])))


def test_eyes_belong_to_a_detector_that_has_them(model, rows) -> None:
    with pytest.raises(InputError, match="such as pretrained"):
        detect(model, rows[0], detector="patches", eyes="own")
    with pytest.raises(InputError, match="one pair of eyes"):
        detect(model, rows[0], detector="pretrained", options={"eyes": "own"}, eyes="other.keras")
    with pytest.raises(InputError, match="none beside a detector"):
        detect(model, rows[0], detector=detection.get("pretrained"), eyes="own")


def test_where_little_is_seen_the_output_says_what_eyes_add(model, rows, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        detect(
            model, Split(np.random.default_rng(0).random((300, 8, 8, 1), np.float32), rows[0].labels[:300]), eyes="own"
        )
    assert "--eyes NAME_OR_FILE" in caplog.text


class TestBroughtProbabilities:
    def test_are_judged_as_they_are(self, model, rows, tmp_path: Path) -> None:
        split, true = rows
        said = np.full((len(true), 10), 0.02)
        said[np.arange(len(true)), true] = 0.82
        np.savez(tmp_path / "p.npz", said)
        found = detection.get("probabilities", {"file": str(tmp_path / "p.npz")}).detect(model, split, 10)
        np.testing.assert_array_equal(found.suspects, np.flatnonzero(split.labels != true))
        np.testing.assert_array_equal(found.suggested_labels, true)

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ([np.full((3, 10), 0.1)], "of shape"),
            ([np.full((1200, 10), 0.3)], "summing to one"),
            ([np.full((1200, 10), np.nan)], "summing to one"),
            ([np.ones((1200, 10), int)], "of shape"),
            ([np.full((1200, 10), 0.1)] * 2, "one array"),
        ],
    )
    def test_what_is_none_is_refused(self, model, rows, tmp_path: Path, arrays: list, message: str) -> None:
        np.savez(tmp_path / "p.npz", *arrays)
        with pytest.raises(InputError, match=message):
            detection.get("probabilities", {"file": str(tmp_path / "p.npz")}).detect(model, rows[0], 10)


def test_on_the_command_line(model, eyes, rows, tmp_path: Path, monkeypatch) -> None:
    split, _ = rows
    monkeypatch.chdir(tmp_path)
    save_model(model, "model.keras")
    np.savez("data.npz", images=split.images, labels=split.labels)
    told = ["detect", "model.keras", "--data", "data.npz", "--eyes", str(eyes), "--out"]
    done = CliRunner().invoke(main, [*told, "a.csv"])
    assert done.exit_code == 0, done.output
    assert "pretrained" in done.output and " said " in done.output
    Path("known.csv").write_text("row,corrected_label\n0,\n")
    done = CliRunner().invoke(main, [*told, "b.csv", "--flagged", "known.csv"])
    assert done.exit_code == 0, done.output
    assert "\n0," not in Path("b.csv").read_text()
    for wrong, message in (
        (["--eyes", "gone.keras"], "an existing file"),
        (["--eyes", str(eyes), "--detect", "patches"], "such as pretrained"),
    ):
        done = CliRunner().invoke(main, ["detect", "model.keras", "--data", "data.npz", "--out", "c.csv", *wrong])
        assert done.exit_code != 0 and not Path("c.csv").exists()
        assert message in done.output + str(done.exception)
