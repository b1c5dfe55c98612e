"""The report page: what is on it, that nothing in it can run, and what it does with unfinished and damaged folders."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
import shlex
import socket
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import cli
from support.report_trees import CELL, FAILURE, HOSTILE, METHODS, MODELS, SOURCE, add_detection, change, fail, make_tree
from unlearning.drawing.palette import look
from unlearning.errors import InputError
from unlearning.experiments.cell.run import Experiment, MethodChoice, Settings
from unlearning.experiments.results.compare import mean_std
from unlearning.experiments.results.reader import read_folders
from unlearning.records import UnlearningResults
from unlearning.reporting.page import write_report
from unlearning.reporting.page.charts import DARK_SURFACE, contrast, lighten
from unlearning.reporting.page.commands import reproduce
from unlearning.reporting.page.gallery import draw_thumbnail, shrink_figure
from unlearning.reporting.page.gather import count_cells, gather, headline, is_control
from unlearning.reporting.page.render import _embed


class _Page(HTMLParser):
    """The elements of a page: tags with attributes, and the text of each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data):
        if self._inside == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = attributes, before + data
        elif self._inside != "style":
            self.text.append(data)

    def handle_endtag(self, tag):
        self._inside = None

    @property
    def data(self) -> dict:
        return json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == "data"))


def page(folders, out: Path, **options) -> tuple[str, _Page]:
    write_report([folders] if isinstance(folders, Path) else folders, out, **{"images": 0, **options})
    text = out.read_text()
    return text, _Page(text)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return make_tree(tmp_path_factory.mktemp("report") / "grid")


@pytest.fixture(scope="module")
def measured(tree, tmp_path_factory) -> tuple[str, _Page]:
    return page(tree, tmp_path_factory.mktemp("page") / "report.html")


class TestContent:
    def test_the_table_shows_the_means_over_seeds(self, tree: Path) -> None:
        (shown,) = gather([tree]).experiments
        rows = {(row["budget"], row["name"]): row for row in headline(shown)}
        assert len(rows) == 4 * len(METHODS)
        entries = [e for e in read_folders([tree], strict=True).entries() if (e.budget, e.name) == (2000, "sap")]
        assert rows[2000, "sap"]["after"] == mean_std([e.results.acc_after_fix for e in entries])
        assert rows[2000, "sap"]["seconds"] == mean_std([e.results.unlearning_duration_s for e in entries])
        assert rows[2000, "sap"]["seeds"] == 3

    def test_the_best_is_no_control(self, tree: Path) -> None:
        (shown,) = gather([tree]).experiments
        for budget in (1000, 2000, 4000, 8000):
            rows = [row for row in headline(shown) if row["budget"] == budget]
            top = max((row for row in rows if not row["control"]), key=lambda row: row["after"][0])
            assert max(rows, key=lambda row: row["after"][0])["name"] == "fine-tuning"  # it would win otherwise
            assert [row["name"] for row in rows if row["best"]] == [top["name"]]
        assert is_control("retraining-unflagged") and is_control("sharding") and not is_control("sap")

    def test_numbers_stand_in_the_html_without_any_script(self, measured) -> None:
        text, _ = measured
        values = [
            e.results.acc_after_fix
            for e in read_folders([CELL], strict=True).entries()
            if e.name == "second-order" and isinstance(e.results, UnlearningResults)
        ]
        mean = values[0] - 0.04 + 0.005  # the third budget's, over seeds 0, 1, 2: see `make_tree`
        (row,) = re.findall(r'<tr data-e="0" data-b="4000" data-t="grid second-order".*?</tr>', text, re.DOTALL)
        assert f">{100 * mean:.1f}<" in row and "± 0.5" in row

    def test_charts_have_data_and_static_forms(self, measured) -> None:
        text, parsed = measured
        data = parsed.data
        assert len(data["rows"]) == 32 and len(data["repairs"]) == 96
        assert data["looks"]["sap"]["light"] == look("sap").colour
        for name in METHODS:
            assert contrast(data["looks"][name]["dark"], DARK_SURFACE) >= 4.5
        static = re.search(r"<noscript>\s*<div class=\"pair\">.*?</noscript>", text, re.DOTALL)
        images = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", static[0])
        assert len(images) == 2
        for image in images:
            drawing = ET.fromstring(base64.b64decode(image))
            texts = {node.text for node in drawing.iter() if node.tag.endswith("text")}
            assert set(METHODS) <= texts

    def test_each_repair_has_classes_matrices_and_solver(self, measured) -> None:
        data = measured[1].data
        assert data["experiments"][0]["classes"][3] == "cat" and len(data["experiments"][0]["clean"]) == 10
        found = {(r["b"], r["s"], r["m"]): r for r in data["repairs"]}
        counted, drawn = found[1000, 42, "second-order"], found[1000, 43, "second-order"]
        assert counted["confusion"][0][2][2] == 400 and counted["figures"] == {}
        assert drawn["confusion"] == [None, None]
        assert data["images"][drawn["figures"]["after"]].startswith("data:image/png;base64,")
        before = {found[1000, 43, name]["figures"].get("before") for name in ("first-order", "second-order")}
        assert len(before) == 1  # the same file, once
        assert counted["recall"][1][0] == pytest.approx(0.55)
        assert counted["measure"] == "relative_residual"
        assert [(c["k"], c["d"]) for c in counted["curves"]][:3] == [
            ("step 1", False),
            ("step 1", True),
            ("step 2", False),
        ]
        with (CELL / "second-order/log_solver.csv").open() as file:
            residuals = [float(row["relative_residual"]) for row in csv.DictReader(file) if row["step"] == "1"]
        assert counted["curves"][0]["y"] == pytest.approx(residuals, rel=6e-3)
        assert found[1000, 42, "second-order-lissa"]["measure"] == "update_norm"
        assert max(len(c["x"]) for r in data["repairs"] for c in r["curves"]) <= 100
        assert found[1000, 42, "sap"]["curves"] == [] and found[1000, 43, "sap"]["figures"] == {}

    def test_configs_commands_and_environment(self, measured) -> None:
        text, parsed = measured
        visible = "".join(parsed.text)
        assert text.count('<pre class="command"') == 96
        assert "python cli.py run --dataset cifar10" in visible and '"method": "second-order-lissa"' in visible
        assert "2.21.0" in visible and str(MODELS.parent) not in text

    def test_it_is_one_file(self, measured) -> None:
        text, parsed = measured
        for tag, attributes in parsed.tags:
            assert tag not in ("link", "iframe", "object", "embed", "base")
            for name in ("src", "href", "srcset", "action"):
                assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
        assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text

    def test_size_of_a_grid_of_96(self, measured) -> None:
        assert len(measured[0].encode()) <= 8e6

    def test_the_same_folder_gives_the_same_page(self, tree: Path, measured, tmp_path: Path) -> None:
        assert page(tree, tmp_path / "again.html")[0] == measured[0]

    def test_several_experiments(self, tmp_path: Path) -> None:
        text, parsed = page(MODELS / "digits-symmetric-objectives", tmp_path / "report.html")
        labels = [e["label"] for e in parsed.data["experiments"]]
        assert len(labels) == 7 and "mixup" in labels and "Experiment <select" in text
        assert "--output digits-symmetric-objectives/mixup" in text
        for row in parsed.data["rows"]:
            assert f'data-e="{row["e"]}"' in text

    def test_two_folders_of_one_name_stay_apart(self, tmp_path: Path) -> None:
        trees = [make_tree(tmp_path / parent / "e", (1000,), (42,), ("sap",)) for parent in "ab"]
        assert [e.label for e in gather(trees).experiments] == ["e", "e (2)"]


class TestEscaping:
    @pytest.mark.parametrize("text", [HOSTILE, FAILURE, "<!--<script>", "\u2028", "é\ud800", "]]>"])
    def test_json_cannot_end_its_element(self, text: str) -> None:
        embedded = str(_embed({"name": text, text: [1.0, float("nan"), None]}))
        assert not set("<>&") & set(embedded) and embedded.isascii()
        assert json.loads(embedded) == {"name": text, text: [1.0, None, None]}

    def test_hostile_texts_stay_texts(self, tmp_path: Path) -> None:
        tree = make_tree(
            tmp_path / "<b onclick=alert(1)>&amp;", (1000,), (42,), ("sap", "second-order"), [HOSTILE] * 10
        )
        fail(tree / "budget-1000" / "seed-42", "<i>stage</i>", FAILURE)
        change(tree / "budget-1000/seed-42/sap/unlearning_results.json", status=HOSTILE)
        _, parsed = page(tree, tmp_path / "report.html")
        assert [attributes.get("type") for attributes, _ in parsed.scripts] == ["application/json", "text/plain", None]
        assert not any(tag in ("i", "b") or "onerror" in a or "onclick" in a for tag, a in parsed.tags)
        assert parsed.data["experiments"][0]["classes"] == [HOSTILE] * 10
        assert FAILURE in "".join(parsed.text)

    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / os.fsdecode(b"odd-\xff\x1b"), (1000,), (42,), ("sap",))
        (tree / "budget-1000/seed-42/sap/unlearning_results.json").write_text("{")
        text, parsed = page(tree, tmp_path / "report.html")
        assert parsed.data["experiments"][0]["label"] == "odd-\\udcff\\x1b"
        assert "odd-\\udcff\\x1b/budget-1000/seed-42/sap/unlearning_results.json" in text

    def test_the_policy_names_the_scripts_that_are_there(self, measured) -> None:
        parsed = measured[1]
        policy = next(a["content"] for tag, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
        for attributes, script in parsed.scripts:
            if attributes.get("type") != "application/json":
                digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
                assert f"'sha256-{digest}'" in policy
        assert "unsafe-eval" not in policy and "script-src 'unsafe-inline'" not in policy


class TestUnfinished:
    def test_a_running_sweep(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "grid", (1000, 2000), (42, 43), ("sap", "second-order"))
        (tree / "budget-1000/seed-43/second-order/unlearning_results.json").unlink()  # configured, not computed
        fail(tree / "budget-2000/seed-43", "second-order", "out of memory")
        (tree / "budget-2000/seed-43/second-order/unlearning_results.json").unlink()
        locks = tree / ".locks"
        locks.mkdir()
        owner = {"pid": 1, "host": "elsewhere", "since": "2026-01-02 03:04:05 UTC"}
        (locks / "sweep.lock").write_text(json.dumps(owner))
        (locks / "budget-2000-seed-42.lock").write_text(json.dumps(owner))
        gathered = gather([tree])
        assert count_cells(gathered) == {"done": 1, "failed": 1, "running": 1, "missing": 1}
        visible = "".join(page(tree, tmp_path / "report.html")[1].text)
        assert "out of memory" in visible and "since 2026-01-02 03:04:05 UTC" in visible
        assert sorted(p.name for p in locks.iterdir()) == ["budget-2000-seed-42.lock", "sweep.lock"]  # untouched

    def test_a_lock_left_behind_on_this_machine_runs_nothing(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "grid", (1000,), (42,), ("sap",))
        (tree / ".locks").mkdir()
        owner = {"pid": 2**22 + 1, "host": socket.gethostname(), "since": "long ago"}  # above the largest process id
        (tree / ".locks/budget-1000-seed-42.lock").write_text(json.dumps(owner))
        assert count_cells(gather([tree]))["done"] == 1

    def test_cells_that_the_grid_lets_expect(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "grid", (1000,), (42, 43), ("sap",))
        make = make_tree(tmp_path / "other", (2000,), (42,), ("sap",))
        (make / "budget-2000").rename(tree / "budget-2000")
        cells = {(c.budget, c.seed): c.state for c in gather([tree]).experiments[0].cells}
        assert cells == {(1000, 42): "done", (1000, 43): "done", (2000, 42): "done", (2000, 43): "missing"}

    def test_only_configurations(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "grid", (1000,), (42,), ("sap",))
        for path in tree.rglob("*_results.json"):
            path.unlink()
        text, parsed = page(tree, tmp_path / "report.html")
        assert "No repair is finished yet." in text and parsed.data["repairs"] == []
        assert "python cli.py run" in text  # what will be run is known

    def test_one_damaged_file_hides_no_other(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "grid", (1000,), (42,), ("sap", "first-order"))
        (tree / "budget-1000/seed-42/sap/unlearning_results.json").write_text('{"method": NaN')
        (tree / "budget-1000/seed-42/first-order/log_solver.csv").write_bytes(b"step,iteration\n\xff")
        (tree / "budget-1000/seed-42/first-order/figures/confusion_after.png").write_bytes(b"no picture")
        change(tree / "budget-1000/seed-42/first-order/unlearning_results.json", confusion_after=None)
        gathered = gather([tree])
        log, record = gathered.problems
        assert log.startswith("Cannot read grid/budget-1000/seed-42/first-order/log_solver.csv")
        assert record.startswith("grid/budget-1000/seed-42/sap/unlearning_results.json is not valid JSON")
        text, parsed = page(tree, tmp_path / "report.html")
        assert "2 files could not be read" in text and [r["m"] for r in parsed.data["repairs"]] == ["first-order"]
        assert parsed.data["repairs"][0]["figures"]["after"] is None

    def test_nothing_is_written_next_to_the_results(self, tree: Path, tmp_path: Path) -> None:
        before = sorted(str(p) for p in tree.rglob("*"))
        page(tree, tmp_path / "report.html", images=4)
        assert sorted(str(p) for p in tree.rglob("*")) == before


class TestPictures:
    def digits(self, folder: Path) -> tuple[Path, Experiment, list[int]]:
        """A cell of the digits as far as its corruption, with a detection of four bad rows."""
        experiment = Experiment(Settings(budgets=(60,), seeds=(1,), output=folder))
        experiment.write_configs()
        cell = folder / "budget-60" / "seed-1"
        corruption = experiment.corruption(60, 1)
        rows = [int(row) for row in corruption.rows[:4]]
        add_detection(cell, [(r, int(corruption.given_labels[r]), int(corruption.true_labels[r])) for r in rows])
        return cell, experiment, rows

    def test_thumbnails_and_labels(self, tmp_path: Path) -> None:
        from io import BytesIO

        from PIL import Image

        _, experiment, rows = self.digits(tmp_path / "e")
        (tmp_path / "e/clean").mkdir(exist_ok=True)
        data = page(tmp_path / "e", tmp_path / "report.html", images=3)[1].data
        (gallery,) = data["galleries"]
        assert [item["row"] for item in gallery["items"]] == rows[:3]
        corruption, train = experiment.corruption(60, 1), experiment.data.train
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
        given = experiment.corruption(60, 1).given_labels
        add_detection(cell, [(rows[0], int(given[rows[0]]), 1)], "self-influence")
        galleries = page(tmp_path / "e", tmp_path / "report.html", images=3)[1].data["galleries"]
        assert {g["d"]: g["influence"] for g in galleries} == {"detect-patches": False, "detect-self-influence": True}

    def test_lists_of_other_data_are_refused(self, tmp_path: Path) -> None:
        cell, _, _ = self.digits(tmp_path / "e")
        add_detection(cell, [(10**6, 1, 2)], "neighbours")
        text, parsed = page(tmp_path / "e", tmp_path / "report.html", images=3)
        assert [g["d"] for g in parsed.data["galleries"]] == ["detect-patches"]
        assert "No pictures for budget 60, seed 1, detect-neighbours: the list of suspects is of other data" in text

    def test_reasons_for_no_pictures(self, tree: Path, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "empty"))
        cell = make_tree(tmp_path / "e", (1000,), (42,), ("sap",)) / "budget-1000/seed-42"
        assert "no detection was run" in page(cell, tmp_path / "1.html", images=3)[0]
        add_detection(cell, [(1, 2, 3)])
        text, _ = page(cell, tmp_path / "2.html", images=3)
        assert "the data set cannot be loaded" in text and "cifar10" in text
        assert "No pictures were asked for" in page(cell, tmp_path / "3.html", images=0)[0]

    def test_histogram_of_scores(self, tmp_path: Path) -> None:
        cell = make_tree(tmp_path / "e", (1000,), (42,), ("sap",)) / "budget-1000/seed-42"
        add_detection(cell, [(row, 2, 3) for row in range(50)])
        (found,) = page(cell, tmp_path / "1.html")[1].data["detections"]
        assert sum(found["counts"]) == 50 and found["edges"][0] == 5.1 and found["edges"][-1] == 10.0

    def test_drawing(self) -> None:
        image = np.linspace(0, 1, 200 * 100 * 3).reshape(200, 100, 3)
        assert draw_thumbnail(image, 1.0)[:8] == b"\x89PNG\r\n\x1a\n"
        figure = (CELL / "first-order/figures/confusion_after.png").read_bytes()
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


def _recorded() -> list[tuple[Path, UnlearningResults]]:
    """One repair of each method and variant among the measured ones."""
    found = {(e.experiment, e.name): e for e in read_folders([MODELS], strict=True).entries()}
    return [(e.folder, e.results) for e in found.values() if isinstance(e.results, UnlearningResults)]


def _without_sweep(parameters: dict) -> dict:
    """The options of `run` that describe an experiment."""
    apart = {"workers", "threads", "executor", "address", "shard", "wait", "dry_run", "as_json", "quiet"}
    return {name: value for name, value in parameters.items() if name not in apart}


class TestCommands:
    def test_they_are_what_made_the_recorded_results(self) -> None:
        """Read back as the command line reads it, every command asks for the configuration on record."""
        from unlearning.records import PoisonConfig, TrainConfig, TrainResults, config_hash, read_json

        recorded = _recorded()
        assert len(recorded) > 40
        for folder, results in recorded:
            cell = folder.parent
            train, poison = (
                read_json(cell / "train_config.json", TrainConfig),
                read_json(cell / "poison_config.json", PoisonConfig),
            )
            words = shlex.split(reproduce("e", train, poison, results.config))
            assert words[:3] == ["python", "cli.py", "run"]
            with cli.run.make_context("run", words[3:]) as context:
                experiment = cli._experiment(_without_sweep(context.params))
            (choice,) = experiment.settings.methods
            assert experiment.unlearn_config(choice, results.seed) == results.config, folder
            assert experiment.settings.seeds == (results.seed,)
            if experiment.settings.labels_file is None:
                assert experiment._repair_hash(results.budget, results.seed, choice) == results.config_hash, folder
                trained = read_json(cell / "train_results.json", TrainResults)
                assert config_hash(train, poison) == trained.config_hash

    def test_detected_rows(self, tmp_path: Path) -> None:
        from unlearning.experiments.cell.run import DetectChoice

        choice = MethodChoice("second-order", (("steps", 2),), "mine")
        detect = DetectChoice("neighbours", (("share", 0.3),), "remove", 2)
        settings = Settings(budgets=(60,), seeds=(3,), methods=(choice,), detect=detect, validation="clean")
        config = Experiment(settings).unlearn_config(choice, 3)
        experiment = Experiment(settings)
        line = reproduce("e", experiment._train_config(3), experiment._poison_config(60, 3), config)
        with cli.run.make_context("run", shlex.split(line)[3:]) as context:
            again = cli._experiment(_without_sweep(context.params))
        assert again.unlearn_config(again.settings.methods[0], 3) == config

    def test_unknown_methods_have_a_reason(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "e", (1000,), (42,), ("sap",))
        path = tree / "budget-1000/seed-42/sap/unlearn_config.json"
        change(path, method="magic")
        assert "No command: Invalid value for argument `method`" in page(tree, tmp_path / "1.html")[0].replace(
            "&#39;", "'"
        )


class TestBadInput:
    def test_missing_and_empty_folders(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no folder"):
            write_report([tmp_path / "nowhere"], tmp_path / "r.html")
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="folders with results"):
            write_report([tmp_path / "empty"], tmp_path / "r.html")
        assert not (tmp_path / "r.html").exists()

    @pytest.mark.parametrize(("out", "options"), [("r.pdf", {}), ("r.html", {"images": -1})])
    def test_bad_options(self, tmp_path: Path, out: str, options: dict) -> None:
        with pytest.raises(InputError):
            write_report([SOURCE], tmp_path / out, **options)

    def test_the_command(self, tmp_path: Path) -> None:
        out = tmp_path / "report.html"
        done = CliRunner().invoke(cli.main, ["report", str(SOURCE), "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert "MB" in done.output and str(out) in done.output and out.stat().st_size > 1e6
        first = out.read_bytes()
        done = CliRunner().invoke(cli.main, ["report", str(CELL), "--out", str(out)])
        assert done.exit_code == 2 and "--force" in done.output and out.read_bytes() == first
        done = CliRunner().invoke(cli.main, ["report", str(tmp_path / "nowhere"), "--out", str(out), "--force"])
        assert done.exit_code == 2 and "no folder" in done.output and out.read_bytes() == first
        other = MODELS / "digits-symmetric-objectives" / "mixup"
        done = CliRunner().invoke(cli.main, ["report", str(other), "--out", str(out), "--force"])
        assert done.exit_code == 0 and out.read_bytes() != first
        assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_records_hold_matrices_and_names(tmp_path: Path) -> None:
    """A run's own matrices: rows sum to the support of each class, and the diagonal to the accuracy."""
    methods = (MethodChoice("first-order"),)
    settings = Settings(train_rows=200, epochs=1, budgets=(40,), seeds=(1,), methods=methods, output=tmp_path / "e")
    (results,) = Experiment(settings).run()
    assert results.class_names == [str(k) for k in range(10)]
    for counts, accuracy, report in (
        (results.confusion_before, results.acc_before_fix, results.class_report_before),
        (results.confusion_after, results.acc_after_fix, results.class_report_after),
    ):
        matrix = np.array(counts)
        assert np.trace(matrix) / matrix.sum() == pytest.approx(accuracy)
        assert matrix.sum(axis=1).tolist() == [report[str(k)].support for k in range(10)]
    data = page(tmp_path / "e", tmp_path / "report.html")[1].data
    assert data["repairs"][0]["confusion"][1] == results.confusion_after
