"""Drawing every figure of whole experiments into files.

All numbers come from the result records (and the solver logs beside them), so that figures can be drawn at any state of
a grid, without weights or data. Every experiment gets a folder of its own, every figure a name of its own; a method
looks the same in all of them (see `palette`), and equal records make equal files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.drawing import canvas
from unlearning.errors import InputError, one_line
from unlearning.experiments.results.reader import read_folders
from unlearning.files import check_outputs, write_text
from unlearning.progress import progress_bar
from unlearning.reporting.figures.accuracy import draw_accuracy
from unlearning.reporting.figures.classes import draw_classes
from unlearning.reporting.figures.experiment import Experiment, list_experiments
from unlearning.reporting.figures.known import draw_known
from unlearning.reporting.figures.parts import as_tex, caption_of, remove_caption
from unlearning.reporting.figures.seconds import draw_seconds
from unlearning.reporting.figures.shares import draw_shares
from unlearning.reporting.figures.solver import draw_solver

FORMATS = ("png", "pdf")

DRAWN: dict[str, tuple[Callable[[Experiment], Any], str]] = {
    "accuracy-over-budget": (draw_accuracy, "no repairs"),
    "restored-over-seconds": (draw_seconds, "no accuracy was lost"),
    "restored-by-method": (draw_shares, "no accuracy was lost"),
    "recall-by-class": (draw_classes, "no record has reports by class"),
    "solver-convergence": (draw_solver, "no method solved a linear system"),
}
"""How each figure is drawn (None without anything to draw), and what is lacking then."""
_WHERE_THERE_IS = {"healed-over-known": (draw_known, "")}
"""Those that few experiments have the numbers for: nobody misses them elsewhere."""
_MOST_BUDGETS, _MOST_METHODS = 40, 200
FIGURES = tuple(DRAWN)
"""Names of the figures, which are those of their files."""


@dataclasses.dataclass(frozen=True)
class StudyFigures:
    """What was drawn.

    Attributes:
        paths: The files, by experiment, figure and format.
        left_out: Figures without anything to draw, or that cannot be drawn, as `experiment/figure`, and why.
        foreign: Number of results of the published implementation, which are not drawn: some of their fields mean
            something else (see `unlearning.records.reference.NOTES`).
    """

    paths: tuple[Path, ...]
    left_out: tuple[str, ...]
    foreign: int


def draw_study(
    folders: Sequence[Path],
    out: Path,
    *,
    formats: Sequence[str] = ("png",),
    caption: bool = True,
    force: bool = False,
) -> StudyFigures:
    """Draws every figure of every experiment below folders that its records have the numbers for.

    Args:
        folders: Folders of any level; see `read_folders`.
        out: Where `<experiment>/<figure>.<format>` go, and `<figure>.tex` with the caption beside each; experiments are
            named as by `export`.
        formats: Any of `png` (300 dots an inch) and `pdf` (fonts embedded as TrueType).
        caption: Write the caption below each figure; without, it stands in the file beside it alone.
        force: Replace existing files.

    Returns:
        The files, and which figures were left out.

    Raises:
        InputError: If there is nothing to draw, a format is unknown, a file is damaged, or one to be written exists;
            nothing is written then.
        OSError: If a file cannot be written.
    """
    formats = tuple(dict.fromkeys(formats))
    if not formats or set(formats) - set(FORMATS):
        raise InputError("format", f"any of {', '.join(FORMATS)}, separated by commas", ",".join(formats))
    check_outputs((out / "figure",), force)
    tree = read_folders(folders, strict=True)
    experiments = list_experiments(tree)
    if not experiments:
        raise InputError(f"Nothing to draw: no repairs by this program below {', '.join(map(str, folders))}.")
    drawn: list[tuple[list[Path], Any]] = []
    left_out, written = [], []
    with canvas.styled(canvas.PAPER):
        for experiment in experiments:
            for name, (draw, lacking) in {**DRAWN, **_WHERE_THERE_IS}.items():
                figure, reason = _draw(draw, experiment, lacking)
                if figure is None and not reason:
                    continue
                if figure is None:
                    left_out.append(f"{experiment.name}/{name}: {reason}")
                else:
                    drawn.append(([out / experiment.name / f"{name}.{kind}" for kind in (*formats, "tex")], figure))
        if not drawn:
            raise InputError(f"Nothing to draw. {'; '.join(left_out)}.")
        for path in (path for paths, _ in drawn for path in paths):
            check_outputs((path,), force)
        for paths, figure in progress_bar(drawn, description="figures", unit="figure"):
            try:
                text = caption_of(figure)
                if not caption:
                    remove_caption(figure)
                for path in paths:
                    if path.suffix == ".tex":
                        write_text(path, f"\\caption{{{as_tex(text)}}}\n")
                    else:
                        canvas.save(figure, path, canvas.PAPER_DPI)
                    written.append(path)
            except (InputError, OSError):
                raise
            except Exception as error:  # sizes and ticks are found when a figure is saved
                left_out.append(f"{paths[0].parent.name}/{paths[0].stem}: it cannot be drawn: {one_line(error)}")
    return StudyFigures(tuple(written), tuple(left_out), tree.foreign)


def _draw(draw: Callable[[Experiment], Any], experiment: Experiment, lacking: str) -> tuple[Any, str]:
    """A figure, or why there is none; records may hold numbers that no axis has a place for."""
    if len(experiment.budgets) > _MOST_BUDGETS or len(experiment.methods) > _MOST_METHODS:
        return None, f"more than {_MOST_BUDGETS} budgets or {_MOST_METHODS} methods"
    try:
        with np.errstate(all="ignore"):
            return draw(experiment), lacking
    except (InputError, OSError):
        raise
    except Exception as error:
        return None, f"it cannot be drawn: {one_line(error)}"
