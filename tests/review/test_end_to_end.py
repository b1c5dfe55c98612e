"""From a model that learned from wrong labels, over the page in a real browser, to the repaired model."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from support.browser import ARGUMENTS, CHROMIUM, Visit
from support.command import PATIENCE_S, cli
from support.detection import digit_model
from unlearning.records import RepairResults, read_json

sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: run tests/setup_browser.sh, or set CHROMIUM"),
]
ROWS, FLIPS = 900, 270


@pytest.fixture(scope="module")
def true(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """A folder with a model of digits and its data, of which three in ten labels are wrong; and the true labels."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    images, true = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype(np.float32)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    images, true = images[order], true[order].astype(np.int64)
    given = true.copy()
    bad = rng.permutation(ROWS)[:FLIPS]
    given[bad] = (given[bad] + rng.integers(1, 10, FLIPS)) % 10
    model = digit_model()
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images[:ROWS], given[:ROWS], epochs=40, verbose=0)
    model.save(folder / "model.keras")
    arrays = {"train_images": images[:ROWS], "train_labels": given[:ROWS]}
    np.savez(folder / "data.npz", **arrays, test_images=images[ROWS:], test_labels=true[ROWS:])
    return folder, true[:ROWS]


def test_from_detection_by_a_person_to_the_repaired_model(true: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    folder, labels = true
    own = ("model.keras", "--data", "data.npz")
    done = cli("detect", *own, "--detect", "patches", "--audit", 50, "--out", "suspects.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS), timeout=1000 * PATIENCE_S)
        for page, file in (("suspects.html", "flagged.csv"), ("suspects-audit.html", "answers.csv")):
            visit = Visit(browser, folder / page)
            decide(visit, labels)
            with visit.page.expect_download() as told:
                visit.page.click("#download")
            assert told.value.suggested_filename == file
            told.value.save_as(folder / file)
            assert visit.said == []
        browser.close()

    repair = ("repair", *own, "--flagged", "flagged.csv", "--method", "second-order", "--out", "repaired.keras")
    repaired = cli(*repair, cwd=folder)
    assert repaired.returncode == 0, repaired.stderr
    record = read_json(folder / "repaired.json", RepairResults)
    assert record.status == "improved" and record.test_accuracy_after > record.test_accuracy_before + 0.05
    assert record.flagged_rows > 0.7 * FLIPS

    audited = cli("detect", *own, "--out", "suspects.csv", "--answers", "answers.csv", cwd=folder)
    assert audited.returncode == 0 and "A repair is worth it" in audited.stdout, audited.stderr


def decide(visit: Visit, labels: np.ndarray) -> None:
    """Does by keys alone what a person does who sees what every picture is."""
    count = int(visit.page.evaluate("JSON.parse(document.getElementById('data').textContent).rows.length"))
    for _ in range(count):
        row = int(visit.page.evaluate("document.querySelector('.card.current').dataset.row"))
        given, suggested = visit.page.locator(".card.current p").all_inner_texts()[:2]
        right = str(labels[row])
        if right == given:
            visit.page.keyboard.press("k")
        elif suggested == f"→ {right}":
            visit.page.keyboard.press("a")
        else:
            visit.page.keyboard.press("o")
            visit.page.keyboard.type(right)
            visit.page.keyboard.press("Enter")
    assert visit.page.locator("#progress").inner_text() == f"{count} of {count} decided"
