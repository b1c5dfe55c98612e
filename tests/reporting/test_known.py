"""The heat map of what is healed where a part of the bad rows is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unlearning.experiments.results.reader import read_folders
from unlearning.records import UnlearningResults
from unlearning.reporting.figures.experiment import Experiment, list_experiments
from unlearning.reporting.figures.known import collect, draw_known, healed_utility

RECORD = Path(__file__).parents[2] / "models/published"


@pytest.fixture(scope="module")
def record() -> UnlearningResults:
    (first, *_) = (
        result
        for one in list_experiments(read_folders([RECORD]))
        for methods in one.repairs.values()
        for cells in methods.values()
        for result in cells.values()
        if result.corrected_accuracy_after is not None
    )
    return first


def known(record: UnlearningResults, share: float, healed: float, accuracy: float) -> UnlearningResults:
    config = record.config.model_copy(update={"known_share": share})
    return record.model_copy(update={"config": config, "corrected_accuracy_after": healed, "acc_after_fix": accuracy})


def test_cells_are_means_of_the_product_over_seeds(record: UnlearningResults) -> None:
    repairs = {
        "auto-known-10": {1: known(record, 0.1, 0.5, 0.8), 2: known(record, 0.1, 0.7, 0.8)},
        "auto": {1: known(record, 1.0, 1.0, 0.9)},
        "auto-detected-patches-known-10": {1: known(record, 0.1, 0.6, 0.5)},
    }
    one = Experiment("e", {}, {40: repairs}, {})
    assert collect(one, 40) == pytest.approx(
        {("auto", 0.1): 48.0, ("auto", 1.0): 90.0, ("auto-detected-patches", 0.1): 30.0}
    )
    figure = draw_known(one)
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"48.0", "90.0", "30.0", "not run"} <= texts


def test_one_known_share_is_no_map(record: UnlearningResults) -> None:
    one = Experiment("e", {}, {40: {"auto": {1: known(record, 1.0, 1.0, 0.9)}}}, {})
    assert draw_known(one) is None


def test_rows_that_were_removed_have_no_right_label_to_be_healed_to(record: UnlearningResults) -> None:
    assert healed_utility(record.model_copy(update={"corrected_accuracy_after": None})) is None
    assert json.dumps(healed_utility(known(record, 1.0, 0.5, 0.5))) == "0.25"
