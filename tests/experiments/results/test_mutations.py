"""Damaged files of every kind, a few of the ways of `tests/benchmarks/hostile_files.py`: problems, never tracebacks."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from support.hostile_inputs import FILES, make_experiment
from support.mutations import mutate
from unlearning.errors import InputError
from unlearning.experiments.results.reader import read_folders
from unlearning.experiments.results.validate import validate_folders
from unlearning.reporting.page.gather import gather
from unlearning.reporting.tables import format_entries, format_validation


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_experiment(tmp_path_factory.mktemp("whole") / "experiment")


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_hides_no_other(whole: Path, tmp_path: Path, name: str) -> None:
    usual = len(validate_folders([whole]).problems)
    for number in range(1000, 1003):
        copy = shutil.copytree(whole, tmp_path / f"{number}")
        mutate(copy / name, number)
        report = validate_folders([copy])
        assert len(format_validation(report)) and len(report.problems) <= usual + 20
        found = gather([copy])
        assert sum(len(cell.repairs) for shown in found.experiments for cell in shown.cells) >= 3
        assert all("\n" not in line and len(line) < 1000 for line in found.problems)
        with contextlib.suppress(InputError):
            format_entries(read_folders([copy], strict=True).repairs())
        shutil.rmtree(copy)
