"""Draws the pictures of README.md from the published records and benchmarks, into docs/images/.

    PYTHONPATH=. python docs/pictures.py

Equal records make equal files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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

MEASURED = ROOT / "tests" / "benchmarks" / "results"
LINES = ("fine-tuning", "fine-tuning, middle", "fine-tuning, head", "fspmu")
"""Repairs of the second picture that were measured at several budgets: lines."""
NAMED = {
    "fine-tuning": "control: fine-tuning, all weights",
    "fine-tuning, middle": "control: fine-tuning, upper half",
    "fine-tuning, head": "control: fine-tuning, dense head",
}
"""What they are called there, where that is not their name."""


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
def draw_cost() -> None:
    """A fifth of the labels flipped in pairs: what comes back by what is known, and what it costs."""
    rows = json.loads((MEASURED / "by_cost.json").read_text())["each"]
    rows += [row for row in json.loads((MEASURED / "chosen.json").read_text())["each"] if row["repair"] == "auto"]
    figure, panels = new_figure(7, 3.9, columns=2, sharey=True)
    shown: dict[str, Any] = {}
    for axes, known in zip(panels, ("right labels", "bad rows"), strict=True):
        here = [row for row in rows if row["known"] == known]
        for name in sorted({row["repair"] for row in here}, key=lambda name: (name not in LINES, name)):
            points = by_budget([row for row in here if row["repair"] == name])
            cost, mean, spread = (np.array(values) for values in zip(*points, strict=True))
            style = look(name.partition(",")[0])
            dash = {"fine-tuning, head": ":", "fine-tuning, middle": "--"}.get(name, "-")
            drawn = {"color": style.colour, "marker": style.matplotlib_marker, "label": NAMED.get(name, name)}
            axes.errorbar(cost, mean, spread, linestyle=dash, linewidth=1.2, markersize=5, elinewidth=0.8, **drawn)
        axes.set(xscale="log", xlim=(1, 15), title=f"{known} known", xlabel="processor time, % of the training")
        axes.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
        axes.minorticks_off()
        axes.axhline(100, color="#404040", linewidth=1)
        shown |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=3, fontsize=7)
    panels[0].annotate("clean model", (1.1, 100), (0, 3), **AT)
    panels[0].set(ylim=(0, 112), ylabel="lost accuracy that came back, %")
    save(figure, IMAGES / "by-cost.png", DPI)


def by_budget(rows: list[dict[str, Any]]) -> list[tuple[float, float, float]]:
    """Returns cost, mean and standard deviation (all in %) of what came back, over seeds, by budget."""
    found = []
    for budget in sorted({row.get("budget") or 0.0 for row in rows}):
        of = [row for row in rows if (row.get("budget") or 0.0) == budget]
        back = 100 * np.array([row["restored"] for row in of])
        spread = float(back.std(ddof=1)) if len(back) > 1 else 0.0
        found.append((100 * float(np.mean([row["of training"] for row in of])), float(back.mean()), spread))
    return found


AT = {"textcoords": "offset points", "fontsize": 7.5}

if __name__ == "__main__":
    draw_half()
    draw_cost()
