"""Draws the pictures of README.md from the published records, into docs/images/.

    PYTHONPATH=. python docs/pictures.py

Equal records make equal files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unlearning.drawing.canvas import PAPER, new_figure, save, styled
from unlearning.drawing.palette import look
from unlearning.experiments.results.reader import read_folders
from unlearning.records import UnlearningResults

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "models" / "published"
IMAGES = ROOT / "docs" / "images"
DPI = 220

HALF = (
    ("retraining-unflagged", "retraining without the bad rows", "bad rows known"),
    ("fspmu-short", "fspmu", "bad rows known"),
    ("fine-tuning-unflagged-4-epochs", "control: fine-tuning, constant rate", "bad rows known"),
    ("fspmu-short-detected-patches", "detector patches, then fspmu", "nothing known"),
    ("sap", "sap", "nothing known"),
)
"""Rows of the first picture: folder, name, and what the repair was told."""

PAIRS = {
    "first-order": ("first-order", (6, -3)),
    "second-order-single": ("second-order-single", (6, -3)),
    "second-order": ("second-order", (-6, 7)),
    "first-order-reference": ("first-order-reference", (6, -3)),
    "second-order-lissa": ("second-order-lissa", (6, -3)),
    "second-order-detected-patches": ("detector patches, then second-order", (-8, 8)),
    "sap": ("sap", (6, -3)),
    "sap-head-3000": ("sap, dense layers", (6, -3)),
    "sap+second-order-head": ("sap, then second-order", (6, -8)),
    "fine-tuning-equal-time": ("control: fine-tuning, one constant rate", (-6, 7)),
    "fine-tuning": ("control: fine-tuning, three constant rates", (-8, 5)),
}
"""Points of the second picture: folder, name, and where the name stands (points from the marker)."""


def results(experiment: str, budget: int) -> dict[str, list[UnlearningResults]]:
    """Returns the records of a budget by the folder of the method, a record a seed."""
    found: dict[str, list[UnlearningResults]] = {}
    for cell in read_folders([PUBLISHED / experiment], strict=True).experiments[0].cells:
        for repair in cell.repairs if cell.budget == budget else ():
            assert repair.ours is not None
            found.setdefault(repair.name, []).append(repair.ours)
    return found


def share_of_training(record: UnlearningResults) -> float:
    """Returns the repair's processor time in per cent of that of the poisoned model's training."""
    return 100 * record.unlearning_cpu_s / record.training_cpu_s


@styled(PAPER)
def draw_half() -> None:
    """Half of the labels wrong: accuracy before and after, by what was known."""
    found = results("cifar10-20000-cnn_small-symmetric", 10000)
    figure, axes = new_figure(7, 2.7)
    clean = 100 * np.mean([record.acc_clean for record in found["sap"]])
    axes.axvline(clean, color="#404040", linewidth=1)
    axes.annotate(f"clean model {clean:.1f}", (clean, 1), (-4, 3), xycoords=("data", "axes fraction"), ha="right", **AT)
    for row, (name, text, told) in enumerate(HALF):
        before, after = (
            100 * np.array([getattr(record, field) for record in found[name]])
            for field in ("acc_before_fix", "acc_after_fix")
        )
        cost = np.mean([share_of_training(record) for record in found[name]])
        style = look(name)
        axes.plot([before.mean(), after.mean()], [row, row], color=style.colour, linewidth=5, solid_capstyle="butt")
        axes.plot(after, [row] * len(after), "o", color="white", markeredgecolor=style.colour, markersize=4.5)
        outcome = f"{after.mean():.1f} ± {after.std(ddof=1):.1f}\nat {cost:.1f} % of a training"
        axes.annotate(outcome, (clean, row), (8, 0), va="center", **AT)
        axes.annotate(f"{text}\n({told})", (before.mean(), row), (-7, 0), ha="right", va="center", **AT)
    before = 100 * np.mean([record.acc_before_fix for record in found["sap"]])
    axes.annotate(f"poisoned model {before:.1f}", (before, 1), (0, 3), xycoords=("data", "axes fraction"), **AT)
    axes.spines["left"].set_visible(False)
    axes.set(xlim=(20, 84), ylim=(len(HALF) - 0.4, -0.6), yticks=[], xlabel="test accuracy, % (three seeds)")
    axes.set_xticks([40, 50, 60, 70])
    axes.grid(axis="y", visible=False)
    save(figure, IMAGES / "half-wrong.png", DPI)


@styled(PAPER)
def draw_pairs() -> None:
    """A fifth of the labels flipped in pairs: what comes back, and what it costs."""
    found = results("cifar10-20000-cnn_small-flip-pairs", 4000)
    figure, axes = new_figure(7, 3.6)
    for name, (text, offset) in PAIRS.items():
        (record,) = found[name]
        style = look(name)
        assert record.acc_perc_restored is not None
        point = share_of_training(record), 100 * record.acc_perc_restored
        axes.plot(*point, style.matplotlib_marker, color=style.colour, markersize=7)
        axes.annotate(text, point, offset, ha="left" if offset[0] > 0 else "right", **AT)
    axes.axhline(100, color="#404040", linewidth=1)
    axes.annotate("clean model", (2, 100), (0, 3), **AT)
    axes.set(xscale="log", xlim=(1.8, 60), ylim=(0, 112))
    axes.set_xticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.set(xlabel="processor time, % of the training", ylabel="lost accuracy that came back, %")
    save(figure, IMAGES / "flip-pairs.png", DPI)


AT = {"textcoords": "offset points", "fontsize": 7.5}

if __name__ == "__main__":
    draw_half()
    draw_pairs()
