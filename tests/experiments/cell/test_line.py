"""A cell is a line: each stage stands alone, is found again, and repairs as a user's own repair does."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from support import grid
from support.trees import contents
from unlearning import repair
from unlearning.errors import InputError
from unlearning.experiments.cell.detecting import detected_files, ensure_detected
from unlearning.experiments.cell.line import check_grid, run_grid, run_repairs, write_configs
from unlearning.experiments.cell.reopening import open_poisoned, recorded_settings, reopen
from unlearning.experiments.cell.repairing import ensure_repaired, find_repaired
from unlearning.experiments.cell.rows import Cell, cells, part_rows
from unlearning.experiments.cell.settings import MethodChoice
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.cell.training import ensure_clean, find_clean, find_poisoned
from unlearning.interop import load_model
from unlearning.repairs.settings import DetectSettings

SETTINGS = grid.SETTINGS.changed(seeds=(1,))


@pytest.fixture
def finished(undisturbed: Path) -> Setup:
    """A cell of the grid, alone."""
    return Setup(SETTINGS.changed(output=undisturbed))


def test_stages_stand_alone_and_are_found_again(tmp_path: Path) -> None:
    setup = Setup(SETTINGS.changed(output=tmp_path / "e"))
    check_grid(setup)
    assert not (tmp_path / "e").exists(), "checking writes nothing"
    assert find_clean(setup, 1) is None
    (cell,) = cells(setup)
    assert find_poisoned(cell) is None and not (tmp_path / "e").exists(), "looking writes nothing"
    clean = ensure_clean(setup, 1)
    assert find_clean(setup, 1) == clean == ensure_clean(setup, 1)
    done = dict(run_repairs(cell))
    (planned,) = setup.repairs
    assert find_repaired(Cell(Setup(setup.settings), 40, 1), planned) == done[planned]


def test_a_cell_is_repaired_as_a_users_model_is(finished: Setup) -> None:
    """The in-memory repair, told what the cell knows, gives the weights that the cell has stored."""
    cell = Cell(finished, 40, 1)
    model, given, corruption = open_poisoned(cell)
    done = repair(
        model,
        given,
        flagged=corruption.corrections(finished.data.train),
        validation=cell.noisy_validation,
        method="first-order",
        num_classes=10,
        seed=1,
    )
    stored = load_model(finished.repairs[0].files(cell.files.folder).model)
    for ours, theirs in zip(done.model.get_weights(), stored.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_noisy_validation_is_as_wrong_as_the_training_rows(finished: Setup) -> None:
    """The rule that everything else stands on: what chooses has the labels that a user would have."""
    cell = Cell(finished, 40, 1)
    true = finished.data.validation.labels
    assert finished.settings.validation == "noisy" and cell.validation is cell.noisy_validation
    wrong = np.flatnonzero(cell.validation.labels != true)
    assert abs(len(wrong) / len(true) - 40 / 200) < 0.05
    np.testing.assert_array_equal(cell.validation.labels[wrong], 9 - true[wrong])  # flipped in pairs, as they are
    assert cell.given.labels.shape == (200,) and np.sum(cell.given.labels != finished.data.train.labels) == 40
    honest = Cell(Setup(SETTINGS.changed(output=finished.folder, validation="clean")), 40, 1)
    np.testing.assert_array_equal(honest.validation.labels, true)


def test_configurations_first_then_the_rest(finished: Setup, tmp_path: Path) -> None:
    setup = Setup(SETTINGS.changed(output=tmp_path / "e"))
    written = write_configs(setup)
    assert [path.name for path in written] == [
        "train_config.json",
        "train_config.json",
        "poison_config.json",
        "unlearn_config.json",
    ]
    for path in written:
        there = finished.folder / path.relative_to(tmp_path / "e")
        assert path.read_text() == there.read_text()


def test_a_reopened_cell_has_the_settings_it_was_made_with(finished: Setup) -> None:
    cell = reopen(finished.folder / "budget-40/seed-1", "first-order")
    before = contents(finished.folder)
    (planned,) = cell.setup.repairs
    assert find_repaired(cell, planned) is not None
    assert contents(finished.folder) == before
    kept = recorded_settings(finished.train_config(1), finished.poison_config(40, 1))
    for name in ("dataset", "train_rows", "epochs", "batch_size", "noise", "budgets", "seeds", "model"):
        assert getattr(kept, name) == getattr(finished.settings, name), name


def test_detection_once_for_all_methods(finished: Setup, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "e")
    choices = (MethodChoice(name="first-order"), MethodChoice(name="second-order-single"))
    detect = DetectSettings(detector="loss-ranking", options={"share": 0.2})
    setup = Setup(SETTINGS.changed(output=tmp_path / "e", methods=choices, detect=detect))
    results = run_grid(setup)
    folders = sorted(path.name for path in (tmp_path / "e/budget-40/seed-1").iterdir() if path.is_dir())
    assert folders == [
        "detect-loss-ranking",
        "first-order",
        "first-order-detected-loss-ranking",
        "second-order-single-detected-loss-ranking",
    ]
    assert all(result.details["flagged_by"][0]["suspects"] == 40 for result in results)
    seconds = {result.details["detection"]["detection_duration_s"] for result in results}
    assert len(seconds) == 1, "the second method found the suspects that were there"


@pytest.mark.slow
def test_a_detection_that_is_read_back_leads_to_the_same_repair(tmp_path: Path) -> None:
    """What the detector has drawn, or not, does not reach the method, dropout included."""
    choices = (MethodChoice(name="fspmu-reference", overrides={"epochs": 2, "learning_rate": 0.001}),)
    detect = DetectSettings(detector="probe", options={"epochs": 1})
    # A model that two epochs of the method improve.
    short = {"model": "cnn_small", "learning_rate": 1e-3, "epochs": 3, "batch_size": 32}
    settings = SETTINGS.changed(output=tmp_path / "e", methods=choices, detect=detect, **short)
    run_grid(Setup(settings))
    (folder,) = (tmp_path / "e/budget-40/seed-1").glob("fspmu-*")
    first = load_model(folder / "repaired_model.keras").get_weights()
    shutil.rmtree(folder)
    keras.utils.set_random_seed(99)
    run_grid(Setup(settings))
    for ours, theirs in zip(first, load_model(folder / "repaired_model.keras").get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    poisoned = load_model(folder.parent / "poisoned_model.keras").get_weights()
    assert any(not np.array_equal(a, b) for a, b in zip(first, poisoned, strict=True)), "nothing was repaired"


def test_guessed_labels_are_read_back_to_the_last_bit(finished: Setup, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "e")
    settings = SETTINGS.changed(output=tmp_path / "e", methods=())
    (cell,) = cells(Setup(settings))
    model, _, _ = open_poisoned(cell)
    how = DetectSettings(detector="pretrained", options={"cut": "share"})
    now, later = (ensure_detected(cell, how, model).suspected for _ in range(2))
    assert now.probabilities is not None and np.array_equal(now.probabilities, later.probabilities)
    np.testing.assert_allclose(now.probabilities.sum(axis=1), 1)
    files = detected_files(cell, how)
    files.guesses.write_bytes(b"no archive")
    again = ensure_detected(cell, how, model).suspected
    assert np.array_equal(again.probabilities, now.probabilities), "what is damaged is detected again"


@pytest.mark.parametrize("detect", [None, DetectSettings(detector="neighbours", options={"neighbours": 10})])
def test_a_part_of_the_bad_rows_is_flagged(finished: Setup, tmp_path: Path, detect) -> None:
    shutil.copytree(finished.folder, tmp_path / "e")
    changes = {"known_share": 0.25, "detect": detect, "methods": (MethodChoice(name="auto"),)}
    (cell,) = cells(Setup(SETTINGS.changed(output=tmp_path / "e", **changes)))
    some, more = cell.known(0.25), cell.known(0.5)
    assert len(some) == 10 and len(more) == 20 and set(some.rows) <= set(more.rows) <= set(cell.corruption.rows)
    (result,) = run_grid(cell.setup)
    assert result.config.known_share == 0.25 and "known-25" in result.variant
    told = result.details["auto"]
    assert told["flagged"] == 10 if detect is None else told["flagged"] > 10
    assert result.corrected_accuracy_after is not None, "of all bad rows, not of the flagged ones alone"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"model": "no-such"}, "one of cnn"),
        ({"noise": "no-such"}, "one of flip-pairs"),
        ({"budgets": (500,)}, "1..200"),
        ({"noise": "human", "budgets": None}, "labels"),
        ({"noise": "flip-pairs", "noise_options": {"target": 3}}, "target"),
        ({"methods": (MethodChoice(name="sap", overrides={"alpha": 1}),)}, "alpha"),
        ({"objective_options": {"alpha": 1.0}}, "alpha"),
    ],
)
def test_mistakes_come_before_anything_is_written(options: dict, match: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=match):
        check_grid(Setup(SETTINGS.changed(output=tmp_path / "e", **options)))
    assert not (tmp_path / "e").exists()


def test_the_corruption_of_another_cell_is_refused(finished: Setup, tmp_path: Path) -> None:
    """A mixed-up restore would flag the wrong rows, and the result would look sound."""
    shutil.copytree(finished.folder, tmp_path / "e")
    cell = Cell(Setup(SETTINGS.changed(output=tmp_path / "e")), 40, 1)
    cell.setup.settings.build_noise().corrupt(part_rows(finished, "train"), 40, 2).save(cell.files.corruption)
    with pytest.raises(InputError, match="is not the corruption that"):
        assert cell.corruption is not None
    with pytest.raises(InputError, match="is not the corruption that"):
        ensure_repaired(cell, Setup(SETTINGS.changed(methods=(MethodChoice(name="sap"),))).repairs[0])


@pytest.mark.parametrize(("objective", "monitor"), [("cross-entropy", "loss"), ("mixup", "last")])
def test_retraining_follows_the_recipe_of_the_experiment(objective: str, monitor: str) -> None:
    """Losses of some objectives do not compare across epochs; then the last epoch counts, there and here."""
    methods = (MethodChoice(name="retraining"),)
    (planned,) = Setup(SETTINGS.changed(objective=objective, methods=methods)).repairs
    recipe = planned.config(1).hyperparameters["recipe"]
    assert (recipe["objective"], recipe["monitor"], recipe["epochs"]) == (objective, monitor, SETTINGS.epochs)
