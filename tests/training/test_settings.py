"""How to train: what makes no sense is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.paths import ROOT
from unlearning.errors import InputError
from unlearning.training import (
    TrainSettings,
)


@pytest.mark.parametrize("options", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"weight_decay": -1.0}])
def test_bad_settings(options: dict) -> None:
    with pytest.raises(InputError):
        TrainSettings(**{"epochs": 1, **options})


def test_bad_settings_name_the_argument() -> None:
    for options, name in (
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"objective": "adaboost"}, "objective"),
        ({"objective": "mixup", "objective_options": {"alpha": -1}}, "mixup.alpha"),
        ({"objective": "mixup", "objective_options": {"alpha": float("nan")}}, "objective_options.alpha"),
        ({"objective": "mixup", "objective_options": {"rho": 1}}, "mixup.rho"),
        ({"speed": 1}, "speed"),
    ):
        with pytest.raises(InputError, match=f"`{name}`"):
            TrainSettings(**options)


def test_what_was_recorded_comes_back() -> None:
    settings = TrainSettings(
        epochs=4, schedule="step", milestones=[2, 3], optimizer="sgd", nesterov=False, objective="mixup"
    )
    recorded = json.loads(json.dumps(settings.config()))
    assert recorded["milestones"] == [2, 3] and recorded["monitor"] == "loss" and recorded["objective_options"] == {}
    assert TrainSettings(**recorded) == settings
    assert settings.changed(epochs=5) == TrainSettings(**{**recorded, "epochs": 5}) != settings


def test_fields_added_later_are_recorded_where_they_are_used() -> None:
    later = {"milestones", "decay", "nesterov", "objective", "objective_options"}
    assert set(TrainSettings.model_fields) - set(TrainSettings().config()) == later


def test_settings_and_recipes_import_no_keras() -> None:
    code = (
        "import sys; from unlearning.training import TrainSettings, recipes; TrainSettings(); recipes.RECIPES\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_an_objective_is_recorded_with_its_options() -> None:
    assert {"objective", "objective_options"} <= set(TrainSettings(objective="mixup").config())
