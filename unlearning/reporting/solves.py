"""The solver logs beside the records: how far each solve was after each iteration."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from unlearning.errors import InputError
from unlearning.files import read_table
from unlearning.records import UnlearningResults
from unlearning.records.repairs import Solve as SolveRecord

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


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The system of a step whose solution the repair took, of several dampings that were solved for at once.

    Attributes:
        step: Number of the step, from 1; in a chain within its stage.
        damping: Its damping.
        iterations: Iterations made.
        residual: Its relative residual in the end.
        curve: Which curve of the log is its own: `plain` (the least damped), `damped` (the most damped), or empty:
            only the ends of the scale are logged.
    """

    step: int
    damping: float
    iterations: int
    residual: float
    curve: str


def find_chosen(results: UnlearningResults) -> list[Chosen]:
    """Returns the system that each step took, by step; none where the record does not tell them apart."""
    steps = [row for row in results.history if row.get("step") and row.get("damping") is not None]
    if len({row.get("stage") for row in steps}) > 1:
        return []
    # Of systems that are solved together the first carries the products of all.
    groups: list[list[SolveRecord]] = []
    for solve in results.solves:
        if solve.matvecs > 1 or not groups or any(solve.damping == other.damping for other in groups[-1]):
            groups.append([])
        groups[-1].append(solve)
    found = []
    for number, (row, group) in enumerate(zip(steps, groups, strict=False), 1):
        dampings = [solve.damping for solve in group]
        for solve in group:
            if solve.relative_residual is None or not math.isclose(solve.damping, float(row["damping"] or 0.0)):
                continue
            curve = "plain" if solve.damping == min(dampings) else "damped" if solve.damping == max(dampings) else ""
            found.append(Chosen(number, solve.damping, solve.iterations, solve.relative_residual, curve))
            break
    return found


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
