"""Solver logs: read once for figures and page, and refused with the name of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlearning.errors import InputError
from unlearning.reporting.solves import read_solves


def test_stages_steps_and_several_systems(tmp_path: Path) -> None:
    path = tmp_path / "log_solver.csv"
    lines = [
        "stage,step,iteration,relative_residual,relative_residual_most_damped",
        "a,1,0,1.0,1.0",
        "a,1,1,inf,0.25",
        "b,1,0,0.5,",
    ]
    path.write_text("\n".join(lines))
    found = [(s.name, s.step, s.damped, s.iterations, s.values) for s in read_solves(path)]
    assert found == [
        ("a step 1", 1, False, [0], [1.0]),
        ("a step 1", 1, True, [0, 1], [1.0, 0.25]),
        ("b step 1", 1, False, [0], [0.5]),
    ]
    assert {s.measure for s in read_solves(path)} == {"relative_residual"}
    assert read_solves(tmp_path / "none.csv") == []


@pytest.mark.parametrize("text", ["step,iteration\n1,1\n", "step,iteration,update_norm\n1,x,0.5\n", "a,a\n1,2\n"])
def test_other_tables_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(InputError, match=r"log\.csv"):
        read_solves(tmp_path / "log.csv")
