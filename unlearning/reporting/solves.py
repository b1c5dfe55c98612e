"""The solver logs beside the records: how far each solve was after each iteration."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from unlearning.errors import InputError
from unlearning.files import read_table

MEASURES = ("relative_residual", "update_norm")
"""Columns of a log that say how far a solve is; the first that is there counts."""
_DAMPED = "_most_damped"  # ends the name of the same measure's column for the most damped of several systems


@dataclasses.dataclass(frozen=True)
class Solve:
    """One solve in a log.

    Attributes:
        name: Its step, with its stage in a chain.
        step: Its step.
        measure: One of `MEASURES`.
        damped: Whether it is the most damped of several systems solved together; the plain one is the least damped.
        iterations: Iteration numbers.
        values: The measure at these iterations; all are finite.
    """

    name: str
    step: int
    measure: str
    damped: bool
    iterations: list[int] = dataclasses.field(default_factory=list)
    values: list[float] = dataclasses.field(default_factory=list)


def whole(text: str) -> int:
    """Reads a number as this program writes it into tables.

    Args:
        text: Digits, with a sign where it is negative.

    Returns:
        The number.

    Raises:
        ValueError: If it is written in another way, or has more than 64 bits.
    """
    number = int(text) if len(text) <= 20 else 2**63
    if str(number) != text or not -(2**63) <= number < 2**63:
        raise ValueError(f"{text[:40]!r} is no whole number")
    return number


def read_solves(path: Path) -> list[Solve]:
    """Reads a `log_solver.csv`.

    Args:
        path: The file.

    Returns:
        Its solves, in order; none where there is no such file.

    Raises:
        InputError: If it is damaged, or no such log.
    """
    rows = read_table(path)
    solves: dict[tuple[str, bool], Solve] = {}
    try:
        for row in rows:
            measure = next(name for name in MEASURES if name in row)
            name, step = " ".join(filter(None, (row.get("stage"), f"step {row['step']}"))), whole(row["step"])
            for column in (measure, measure + _DAMPED):
                value = float(row.get(column) or "nan")  # a column that another stage of a chain does not have
                if math.isfinite(value):
                    damped = column != measure
                    solve = solves.setdefault((name, damped), Solve(name, step, measure, damped))
                    solve.iterations.append(whole(row["iteration"]))
                    solve.values.append(value)
    except (KeyError, StopIteration, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a solver log: {error}") from error
    return list(solves.values())
