"""The canvas: texts that are not typeset, files that are whole or not there, nothing left behind in Matplotlib."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from support.paths import ROOT
from unlearning.drawing import canvas, figures

NAMES = ["$x^2$", "$\\nonsense{$", "costs 5$"]


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_equal_figures_are_equal_files(tmp_path: Path, suffix: str) -> None:
    before = dict(matplotlib.rcParams)
    for name in "ab":
        figure, axes = canvas.new_figure(3, 2)
        axes.plot([1, 2])
        canvas.save(figure, tmp_path / "new" / (name + suffix))
    first, second = sorted((tmp_path / "new").iterdir())
    assert first.read_bytes() == second.read_bytes() and dict(matplotlib.rcParams) == before


def test_a_figure_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")
    figure, _ = canvas.new_figure(3, 2)
    monkeypatch.setattr(figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        canvas.save(figure, path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"] and path.read_text() == "old"


def test_names_are_never_typeset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    real = canvas.save
    monkeypatch.setattr(canvas, "save", lambda figure, path: (real(figure, path), drawn.append(figure)))
    figures.draw_confusions(tmp_path, {"before": np.eye(3)}, NAMES)
    figures.draw_mixture(tmp_path / "m.png", np.arange(1, 9.0), label=NAMES[1])
    layers = [{"name": name, "ranks": [1, 10, 100], "ratios": [0.5, 0.01, 1e-6]} for name in NAMES]
    history = [{"validation_accuracy": 0.5}, {"validation_accuracy": 0.6, "alpha": 100.0, "round": 1}]
    figures.draw_projection(tmp_path / "p.png", {"layers": layers}, history)
    for figure in drawn:
        texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
        assert not any(text.get_parse_math() for text in texts)
        assert not any("mathdefault" in text.get_text() for text in texts)
    assert "10⁻⁵" in {label.get_text() for label in drawn[2].axes[0].get_yticklabels()}
    assert [label.get_text() for label in drawn[0].axes[0].get_xticklabels()] == NAMES


def test_importing_the_room_imports_neither_keras_nor_matplotlib() -> None:
    rooms = "boards, canvas, features, figures, palette"
    code = f"import sys; from unlearning.drawing import {rooms}; print([n for n in sys.modules if n in sys.argv])"
    line = [sys.executable, "-c", code, "keras", "tensorflow", "matplotlib", "tensorboard"]
    assert subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "[]"
