"""The canvas that all figures are drawn on: one style for screens, one for paper, and one way to make a file.

A figure stands on a canvas of its own: no display, no state shared with others, nothing to close. Its texts come from
files and command lines, so that none is typeset: a `$` in a name is a `$`. Equal figures make equal files.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unlearning.errors import InputError, one_line, printable
from unlearning.files import writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

SCREEN_DPI, PAPER_DPI = 110, 300
PAPER_WIDTH = 7.0
"""Inches of a figure across a page."""

PAPER: Mapping[str, Any] = {
    **{"font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 8.5, "axes.labelsize": 8.5},
    **{"legend.fontsize": 7.5, "legend.frameon": False, "legend.handlelength": 2.6, "legend.labelspacing": 0.55},
    **{"xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "axes.spines.top": False, "axes.spines.right": False},
    **{"axes.edgecolor": "#606060", "axes.linewidth": 0.7, "xtick.major.width": 0.7, "ytick.major.width": 0.7},
    **{"axes.grid": True, "axes.axisbelow": True, "grid.color": "#D9D9D9", "grid.linewidth": 0.5},
    **{"lines.linewidth": 1.4, "lines.markersize": 5, "axes.titlelocation": "left"},
}
"""The style of figures for a paper; `styled` takes it."""
SCREEN: Mapping[str, Any] = {
    **PAPER,
    **{"font.size": 9.5, "axes.titlesize": 10, "axes.labelsize": 9.5, "legend.fontsize": 8.5, "lines.markersize": 6},
    **{"xtick.labelsize": 8.5, "ytick.labelsize": 8.5},
}
"""The same for screens, where letters need more room."""

_ALWAYS = {
    "text.parse_math": False,
    "pdf.fonttype": 42,  # letters stay letters (TrueType)
    **{"svg.fonttype": "none", "svg.hashsalt": "report"},  # the same in SVG, and no random identifiers
}
_LONGEST_NAME = 60
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@contextlib.contextmanager
def styled(style: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Gives what is drawn inside, or by the function that this decorates, a style.

    Args:
        style: Matplotlib's parameters, such as `PAPER`; None for `SCREEN`.
    """
    import matplotlib

    with matplotlib.rc_context(cast(Any, {**(SCREEN if style is None else style), **_ALWAYS})):
        yield


@contextlib.contextmanager
def optional(what: str) -> Iterator[None]:
    """Lets drawing fail with a warning: a picture is worth less than the record that it stands beside.

    A full disk and a mistake of the user end the work, as everywhere.

    Args:
        what: What is drawn inside, for the warning.

    Raises:
        InputError: As what is inside raises it.
        OSError: The same.
    """
    try:
        yield
    except (OSError, InputError):
        raise
    except Exception as error:  # Matplotlib meets absurd names and numbers in many ways
        logger.warning("%s could not be drawn: %s", what, one_line(error))


def name_text(name: str) -> str:
    r"""Returns a name from a file as it can be drawn.

    Args:
        name: Any text.

    Returns:
        The name on one line, of a length that leaves room for the figure. Matplotlib leaves names out of legends that
        begin with an underscore; a space stands in front of these.

    Example:
        >>> name_text("_a\nb")
        ' _a\\nb'
    """
    text = printable(name)
    text = text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
    return f" {text}" if text.startswith("_") else text


def new_figure(width: float, height: float, *, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Makes an empty figure.

    Args:
        width: Inches.
        height: Inches.
        rows: Axes from top to bottom.
        columns: Axes from left to right.
        **options: For `Figure.subplots`.

    Returns:
        The figure, and its axes: alone, or as an array.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **options)


def save(figure: Figure, path: Path, dpi: int = SCREEN_DPI) -> None:
    """Writes a figure, so that `path` holds either what it held before or the whole new file.

    Args:
        figure: The figure.
        path: A `.png` or `.pdf` file.
        dpi: Dots an inch.
    """
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}  # neither dates nor versions
    with styled(), writing(path) as aside:
        _lay_out(figure, dpi)
        figure.savefig(aside, dpi=dpi, metadata=metadata)


def _lay_out(figure: Figure, dpi: int = SCREEN_DPI) -> None:
    """Finds the place of everything once: left to itself, Matplotlib does so twice for each file.

    Letters are measured as they are drawn: fewer dots make them narrower, so that long names would be cut off.
    """
    if figure.get_layout_engine() is not None:
        figure.set_dpi(dpi)
        figure.draw_without_rendering()
        figure.set_layout_engine(None)


def as_svg(figure: Figure) -> bytes:
    """Returns a figure as an SVG file."""
    buffer = io.BytesIO()
    with styled():
        _lay_out(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def label_powers(*axes: Any) -> None:
    """Labels logarithmic axes with texts such as 10³: Matplotlib's own would be typeset.

    Args:
        *axes: Each an `Axes.xaxis` or `Axes.yaxis`, logarithmic already.
    """
    from matplotlib.ticker import LogFormatterSciNotation

    class Powers(LogFormatterSciNotation):
        def __call__(self, x: float, pos: int | None = None) -> str:
            text = re.sub(r"\^\{(.*?)\}", lambda found: found[1].translate(_RAISED), super().__call__(x, pos))
            return text.replace(r"$\mathdefault{", "").replace("}$", "").replace(r"\times", "×")

    for axis in axes:
        axis.set_major_formatter(Powers())
        axis.set_minor_formatter(Powers())
