"""The pictures and colours of the report page."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from support.report_pages import write_page
from support.report_trees import add_detection, draw_matrix, make_tree
from unlearning.experiments.cell.line import write_configs
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.settings import RunSettings
from unlearning.experiments.cell.setup import Setup
from unlearning.reporting.page.charts import DARK_SURFACE, contrast, lighten
from unlearning.reporting.page.gallery import draw_thumbnail, shrink_figure


class TestPictures:
    def digits(self, folder: Path) -> tuple[Path, Setup, list[int]]:
        """A cell of the digits as far as its corruption, with a detection of four bad rows."""
        experiment = Setup(RunSettings(budgets=(60,), seeds=(1,), output=folder))
        write_configs(experiment)
        cell = folder / "budget-60" / "seed-1"
        corruption = Cell(experiment, 60, 1).corruption
        rows = [int(row) for row in corruption.rows[:4]]
        add_detection(cell, [(r, int(corruption.given_labels[r]), int(corruption.true_labels[r])) for r in rows])
        return cell, experiment, rows

    def test_thumbnails_and_labels(self, tmp_path: Path) -> None:
        from io import BytesIO

        from PIL import Image

        _, experiment, rows = self.digits(tmp_path / "e")
        (tmp_path / "e/clean").mkdir(exist_ok=True)
        data = write_page(tmp_path / "e", tmp_path / "report.html", images=3)[1].data
        (gallery,) = data["galleries"]
        assert [item["row"] for item in gallery["items"]] == rows[:3]
        corruption, train = Cell(experiment, 60, 1).corruption, experiment.data.train
        for item in gallery["items"]:
            assert item["given"] == corruption.given_labels[item["row"]] != item["true"]
            assert item["true"] == item["corrected"] == train.labels[item["row"]]
            assert item["before"] is None  # no weights are there
            png = base64.b64decode(data["images"][item["i"]].split(",")[1])
            pixels = np.asarray(Image.open(BytesIO(png)))
            np.testing.assert_array_equal(pixels, train.images[item["row"], ..., 0])
        assert data["experiments"][0]["classes"] == [str(k) for k in range(10)]

    def test_influence_is_told_from_suspicion(self, tmp_path: Path) -> None:
        cell, experiment, rows = self.digits(tmp_path / "e")
        given = Cell(experiment, 60, 1).corruption.given_labels
        add_detection(cell, [(rows[0], int(given[rows[0]]), 1)], "self-influence")
        galleries = write_page(tmp_path / "e", tmp_path / "report.html", images=3)[1].data["galleries"]
        assert {g["d"]: g["influence"] for g in galleries} == {"detect-patches": False, "detect-self-influence": True}

    def test_lists_of_other_data_are_refused(self, tmp_path: Path) -> None:
        cell, _, _ = self.digits(tmp_path / "e")
        add_detection(cell, [(10**6, 1, 2)], "neighbours")
        text, parsed = write_page(tmp_path / "e", tmp_path / "report.html", images=3)
        assert [g["d"] for g in parsed.data["galleries"]] == ["detect-patches"]
        assert "No pictures for budget 60, seed 1, detect-neighbours: the list of suspects is of other data" in text

    def test_reasons_for_no_pictures(self, tree: Path, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "empty"))
        cell = make_tree(tmp_path / "e", (1000,), (42,), ("sap",)) / "budget-1000/seed-42"
        assert "Detection of wrong labels" not in write_page(cell, tmp_path / "1.html", images=3)[0], "an empty part"
        add_detection(cell, [(1, 2, 3)])
        text, _ = write_page(cell, tmp_path / "2.html", images=3)
        assert "the data set cannot be loaded" in text and "cifar10" in text
        assert "No pictures were asked for" in write_page(cell, tmp_path / "3.html", images=0)[0]

    def test_histogram_of_scores(self, tmp_path: Path) -> None:
        cell = make_tree(tmp_path / "e", (1000,), (42,), ("sap",)) / "budget-1000/seed-42"
        add_detection(cell, [(row, 2, 3) for row in range(50)])
        (found,) = write_page(cell, tmp_path / "1.html")[1].data["detections"]
        assert sum(found["counts"]) == 50 and found["edges"][0] == 5.1 and found["edges"][-1] == 10.0

    def test_drawing(self) -> None:
        image = np.linspace(0, 1, 200 * 100 * 3).reshape(200, 100, 3)
        assert draw_thumbnail(image, 0.0, 1.0)[:8] == b"\x89PNG\r\n\x1a\n"
        figure = draw_matrix("after", 0)
        small = shrink_figure(figure)
        assert small is not None and len(small) < len(figure) / 2
        assert shrink_figure(b"not a picture") is None and shrink_figure(figure[:500]) is None


class TestColours:
    def test_contrast_closed_form(self) -> None:
        assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
        assert contrast("#777777", "#FFFFFF") == pytest.approx(4.478, abs=1e-3)

    def test_lighten(self) -> None:
        assert lighten("#FFFFFF") == "#FFFFFF" and lighten("#E69F00") == "#E69F00"
        assert contrast(lighten("#000000"), DARK_SURFACE) == pytest.approx(4.5, abs=0.15)
