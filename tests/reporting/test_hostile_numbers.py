"""Numbers that no screen has a place for: on the page, in figures and in tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import cli
from support.report_pages import write_page
from support.report_trees import change, make_tree
from unlearning.drawing import canvas
from unlearning.drawing.figures import draw_confusions, draw_mixture
from unlearning.errors import InputError
from unlearning.files import file_sha256
from unlearning.reporting.page.charts import draw_static
from unlearning.reporting.page.gather import _histogram

RESULTS = "budget-1000/seed-42/second-order/unlearning_results.json"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "e", (1000,), (42, 43), ("second-order", "sap"))


@pytest.mark.parametrize(
    "values",
    [
        {"acc_perc_restored": 1e308},
        {"acc_perc_restored": -1.7e308, "unlearning_duration_s": 1.7e308, "unlearning_cpu_s": 5e-324},
        {"class_report_after": {"²": {"precision": 1, "recall": 1, "f1-score": 1, "support": 1}}},
        {"class_names": ["$\\frac", "\u202e", "_a"] * 3 + ["x" * 10_000]},
    ],
)
def test_figures_and_tables_and_page(tree: Path, tmp_path: Path, values: dict) -> None:
    change(tree / RESULTS, **values)
    for command in (["figures", tree, "--out", tmp_path / "f"], ["show", tree]):
        done = CliRunner().invoke(cli.main, list(map(str, command)))
        assert done.exit_code == 0, (done.output, done.exception)
        assert max(map(len, done.output.splitlines())) < 400
    assert len(list((tmp_path / "f").rglob("*.png"))) >= 2
    _, page = write_page(tree, tmp_path / "r.html")
    assert len(page.data["repairs"]) == 4


def test_a_number_of_classes_that_is_none(tree: Path, tmp_path: Path) -> None:
    change(tree / RESULTS, num_classes=2**62)
    text, page = write_page(tree, tmp_path / "r.html")
    assert len(page.data["repairs"]) == 3 and "num_classes" in text
    change(tree / RESULTS, num_classes=10**6)
    _, page = write_page(tree, tmp_path / "r2.html")
    assert {repair["classes"] for repair in page.data["repairs"]} == {10}


def test_matrices_that_are_none(tree: Path, tmp_path: Path) -> None:
    change(tree / RESULTS, confusion_before=[[1, 2], [3]], confusion_after=[])
    _, page = write_page(tree, tmp_path / "r.html")
    shown = {(r["s"], r["m"]): r["confusion"] for r in page.data["repairs"]}
    assert shown[42, "second-order"] == [None, None] and None not in shown[42, "sap"]


@pytest.mark.parametrize(
    ("scores", "bins"),
    [
        ([1.0, 1.0 + 2**-52], 1),
        ([1e308, -1e308], 1),
        ([2.0, 2.0], 40),
        ([np.nan, np.inf], 0),
        ([0.0, 1.0], 40),
        ([5e-324, 0], 1),
    ],
)
def test_scores(tmp_path: Path, scores: list[float], bins: int) -> None:
    counts, edges = _histogram(np.array(scores))
    assert len(counts) == bins and counts.sum() == np.isfinite(scores).sum() and np.isfinite(edges).all()
    if bins:
        draw_mixture(tmp_path / "s.png", np.array(scores))
        assert (tmp_path / "s.png").is_file()


def test_more_cells_than_a_page_can_show(tree: Path, tmp_path: Path) -> None:
    for number in range(60):
        cell = tree / f"budget-{2000 + number}/seed-{number}"
        cell.mkdir(parents=True)
        (cell / "poison_config.json").write_text((tree / "budget-1000/seed-42/poison_config.json").read_text())
    text, _ = write_page(tree, tmp_path / "r.html")
    assert "is no grid" in text and len(text) < 20_000_000


def test_what_the_static_charts_cannot_draw_costs_no_page(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearning.reporting.page.render.draw_static", lambda rows: draw_static(None))
    text, page = write_page(tree, tmp_path / "r.html")
    assert "No charts without JavaScript" in text and len(page.data["repairs"]) == 4


class TestNames:
    def test_no_class_name_is_typeset_or_fails(self, tmp_path: Path) -> None:
        names = ["$\\frac{", "\udce9", "a\x00b", "\u202ex", "_a", "x" * 10_000, "\n", "", "$x$", "猫"]
        draw_confusions(tmp_path, {"after": np.eye(10, dtype=int)}, names)
        assert (tmp_path / "confusion_after.png").stat().st_size > 1000
        assert all(canvas.name_text(name).isprintable() and len(canvas.name_text(name)) <= 61 for name in names)

    def test_a_figure_that_fails_is_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        with canvas.optional("A figure"):
            raise ValueError("no\nplace")
        assert caplog.messages == ["A figure could not be drawn: no place"]
        for error in (OSError("full"), InputError("wrong")):
            with pytest.raises(type(error)), canvas.optional("A figure"):
                raise error


def test_weights_of_other_data_are_one_line(tmp_path: Path) -> None:
    import keras

    from unlearning.reporting.page.gallery import _predict

    for number, output in enumerate((keras.layers.Dense(3), keras.layers.Reshape((2, 2)))):
        path = tmp_path / f"{number}.keras"
        keras.Sequential([keras.Input((4,)), output]).save(path)
        for images in (np.zeros((2, 8, 8, 1), np.float32), np.zeros((2, 4), np.float32)):
            if output.name.startswith("dense") and images.ndim == 2:
                assert _predict(path, file_sha256(path), images).shape == (2,)
            else:
                with pytest.raises(InputError, match=path.name):
                    _predict(path, file_sha256(path), images)
    assert _predict(path, "0" * 64, images) is None
