"""Figures of whole experiments, for a paper: one file a figure.

To add one, write a function from an `Experiment` to a Matplotlib figure (or None, where there is nothing to draw) in a
file of its own, and one line in `study.DRAWN`.
"""

from unlearning.reporting.figures.study import FIGURES, FORMATS, StudyFigures, draw_study

__all__ = ["FIGURES", "FORMATS", "StudyFigures", "draw_study"]
