"""The command, on a model that a second trains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from support.command import assert_refused, cli, tree
from unlearning.experiments.cell.settings import MethodChoice
from unlearning.experiments.memorisation import running
from unlearning.experiments.memorisation.canaries import draw_canaries
from unlearning.experiments.memorisation.settings import MemorisationSettings
from unlearning.interop import load_model
from unlearning.records import MemorisationResults, read_json

# Five windows of eight characters are a carrier's end and nothing else: this learns a secret in seconds.
TINY = (
    *("memorise", "--characters", "4000", "--times", "60", "--validation-times", "3", "--digits", "2"),
    *("--window", "6", "--units", "24", "--epochs", "6", "--learning-rate", "0.02", "--batch-size", "64"),
    *("--methods", "fine-tuning", "--set", "fine-tuning.cpu_seconds=null", "--set", "fine-tuning.epochs=3"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, str]:
    """A finished experiment, and what its command said."""
    folder = tmp_path_factory.mktemp("memorise")
    done = cli(*TINY, "--out", "e", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def read(folder: Path, name: str = "") -> MemorisationResults:
    return read_json(folder / "e" / "seed-42" / name / "memorisation_results.json", MemorisationResults)


def test_a_secret_that_stands_often_is_learned_and_a_repair_makes_it_less_likely(made) -> None:
    before, after = read(made[0]), read(made[0], "fine-tuning")
    assert before.canaries[0].rank == 1
    assert after.outcome is not None and after.outcome.applied
    assert after.canaries[0].log_perplexity > before.canaries[0].log_perplexity + 1
    assert after.test_perplexity < 1.1 * before.test_perplexity
    assert 60 * 6 < before.flagged_rows <= 60 * (2 + 6)  # fewer where a drawn digit is the secret's


def test_the_table_has_a_row_a_model(made) -> None:
    rows = made[1].splitlines()
    assert max(map(len, rows)) <= 100
    assert any("(as trained)" in row for row in rows) and any(" fine-tuning" in row for row in rows)


def test_what_is_there_is_found_again(made) -> None:
    folder, said = made
    before = tree(folder)
    again = cli(*TINY, "--out", "e", cwd=folder)
    assert (again.returncode, again.stdout) == (0, said)
    assert tree(folder) == before
    listed = cli(*TINY, "--out", "e", "--seeds", "42,43", "--dry-run", cwd=folder).stdout.splitlines()
    assert [line.rpartition(": ")[2] for line in listed] == ["there"] * 2 + ["to be made"] * 2
    assert tree(folder) == before


def test_it_is_shown_and_checked_like_other_results(made, tmp_path: Path) -> None:
    folder, said = made
    shown = cli("show", "e", cwd=folder)
    assert shown.returncode == 0 and shown.stdout.rstrip() in said
    assert cli("validate", "e", cwd=folder).returncode == 0
    shutil.copytree(folder / "e", tmp_path / "e")
    (tmp_path / "e" / "seed-42" / "fine-tuning" / "model.keras").write_bytes(b"")
    checked = cli("validate", "e", cwd=tmp_path)
    assert checked.returncode == 1 and "not the recorded SHA-256" in checked.stdout


def test_each_seed_is_repaired_on_its_own_text_though_another_was_found(monkeypatch, tmp_path) -> None:
    """Trainings that are there are not made, and the text of the first seed is not that of the second one."""
    settings = MemorisationSettings(
        characters=4000, times=(2,), seeds=(1, 2), methods=(MethodChoice(name="sap"),), output=tmp_path
    )
    monkeypatch.setattr(running.Stage, "find", lambda one: "found" if one.repair is None else None)
    monkeypatch.setattr(running, "_repair", lambda one, method, material: material.canaries)
    expected = [draw_canaries((2,), 5, seed) for seed in (1, 2)]
    assert list(running.run(settings)) == ["found", expected[0], "found", expected[1]]


def test_another_configuration_is_refused_and_touches_nothing(made) -> None:
    before = tree(made[0])
    assert_refused(cli(*TINY, "--digits", "3", "--out", "e", cwd=made[0]), "another configuration")
    assert tree(made[0]) == before


def test_records_are_those_that_json_prints(made) -> None:
    printed = json.loads(cli(*TINY, "--out", "e", "--json", cwd=made[0]).stdout)
    stored = [read(made[0], name).model_dump(mode="json", by_alias=True) for name in ("", "fine-tuning")]
    assert printed == stored


def test_weights_are_beside_their_record(made) -> None:
    assert load_model(made[0] / "e" / "seed-42" / "fine-tuning" / "model.keras").output_shape == (None, 53)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--methods", "nothing"), "nothing"),
        (("--methods", "fine-tuning"), "like:NAME"),
        (("--methods", "second-order", "--set", "sap.rounds=1"), "sap.rounds"),
        (("--characters", "2000", "--times", "5000"), "times"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(words, match, tmp_path) -> None:
    assert_refused(cli("memorise", *words, "--out", "e", cwd=tmp_path), match)
    assert not (tmp_path / "e").exists()
