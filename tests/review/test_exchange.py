"""Other people's tools: what goes out is as they document it, and what a person decided there comes back."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from unlearning.detection.base import Detection, DetectionStatus
from unlearning.errors import InputError
from unlearning.repairs.flagged import read_flagged
from unlearning.review.exchange import TOOLS, export, read_decisions
from unlearning.review.sheet import Rows, Sheet
from unlearning.task import REMOVED, Split

NAMES = ("cat", "dog", "<b>&amp;")
FILES = ("cat/1.png", "cat/two words.jpg", "dog/é&1.png", "dog/4.png", "x/y/5.png", "x/6.jpeg")
GIVEN = np.array([0, 0, 1, 1, 2, 2])
SUGGESTED = np.array([1, 2, 0, 1, 0, 1])  # row 3 has no other suggestion


def sheet(*, files: bool = False, images: np.ndarray | None = None, texts: tuple[str, ...] | None = None) -> Sheet:
    if images is None:
        images = np.random.default_rng(0).integers(0, 256, (6, 5, 7, 3)).astype(np.uint8)
    found = Detection(np.array([6.0, 5, 4, 3, 2, 1]), np.arange(5), SUGGESTED, 1.5, DetectionStatus.OK)
    return Sheet.of_suspects(Rows(Split(images, GIVEN), 3, NAMES, FILES if files else None, texts), found)


def read(path: Path, files: bool = False) -> dict[int, int]:
    named = np.array(FILES, object) if files else None
    found = read_flagged(path, 6, 3, GIVEN, named, NAMES)
    return dict(zip(found.rows.tolist(), found.labels.tolist(), strict=True))


def annotate(path: Path, decisions: dict[int, str]) -> None:
    """Does in a file of Label Studio what a person does there: the tasks get annotations."""
    tasks = json.loads(path.read_text())
    for task in tasks:
        label = decisions.get(task["data"]["row"])
        if label is not None:
            value = {"choices": [label]}
            result = {"from_name": "corrected_label", "to_name": "image", "type": "choices", "value": value}
            task["annotations"] = [{"id": 1, "was_cancelled": False, "result": [result]}]
    path.write_text(json.dumps(tasks))


@pytest.mark.parametrize("files", [False, True])
class TestLabelStudio:
    def test_round_trip(self, tmp_path: Path, files: bool) -> None:
        tasks, interface = export(tmp_path / "s.csv", "label-studio", sheet(files=files))
        assert (tasks.name, interface.name) == ("s-label-studio.json", "s-label-studio.xml")
        annotate(tasks, {0: "dog", 1: "cat", 2: "<b>&amp;", 4: "[remove]"})
        assert read(tasks, files) == {0: 1, 1: 0, 2: 2, 4: REMOVED}

    def test_as_documented(self, tmp_path: Path, files: bool) -> None:
        tasks, interface = export(tmp_path / "s.csv", "label-studio", sheet(files=files))
        content = json.loads(tasks.read_text())
        assert [task["data"]["row"] for task in content] == [0, 1, 2, 3, 4]
        first = content[0]["predictions"][0]["result"][0]
        assert first["type"] == "choices" and first["value"] == {"choices": ["dog"]}
        assert "predictions" not in content[3]
        view = ElementTree.fromstring(interface.read_text())
        choices, image = view.find("Choices"), view.find("Image")
        assert choices is not None and image is not None
        assert (choices.get("name"), choices.get("toName")) == (first["from_name"], first["to_name"])
        assert image.get("name") == first["to_name"] and image.get("value") == "$image"
        assert [one.get("value") for one in choices] == [*NAMES, "[remove]"]
        shown = [task["data"]["image"] for task in content]
        if files:
            assert shown[1] == "/data/local-files/?d=cat/two%20words.jpg" and content[1]["data"]["file"] == FILES[1]
        else:
            assert all(one.startswith("data:image/png;base64,") for one in shown)


class TestLabelStudioAnnotations:
    def test_what_nobody_decided_is_left_out(self, tmp_path: Path) -> None:
        path = export(tmp_path / "s.csv", "label-studio", sheet())[0]
        annotate(path, {0: "dog", 1: "dog"})
        tasks = json.loads(path.read_text())
        tasks[1]["annotations"][0]["was_cancelled"] = True
        again = {**tasks[0]["annotations"][0], "updated_at": "2026-01-01T00:00:00Z"}
        again["result"] = [{**again["result"][0], "value": {"choices": ["cat"]}}]
        tasks[0]["annotations"].insert(0, again)  # the last one counts, wherever it stands
        path.write_text(json.dumps(tasks))
        assert read(path) == {0: 0}

    def test_of_other_data(self, tmp_path: Path) -> None:
        path = export(tmp_path / "s.csv", "label-studio", sheet())[0]
        annotate(path, {0: "dog"})
        path.write_text(path.read_text().replace('"given_label": "cat"', '"given_label": "dog"', 1))
        with pytest.raises(InputError, match="other data"):
            read(path)

    def test_texts(self, tmp_path: Path) -> None:
        rows = sheet(images=np.zeros((6, 4)), texts=("a", "b", "c", "d", "e", "f"))
        tasks, interface = export(tmp_path / "s.csv", "label-studio", rows)
        assert json.loads(tasks.read_text())[1]["data"]["text"] == "b"
        assert '<Text name="text" value="$text"' in interface.read_text() and 'toName="text"' in interface.read_text()
        for tool in ("cvat", "fiftyone"):
            with pytest.raises(InputError, match="no images"):
                export(tmp_path / "s.csv", tool, rows)


@pytest.mark.parametrize("files", [False, True])
class TestCvat:
    def test_round_trip(self, tmp_path: Path, files: bool) -> None:
        (path,) = export(tmp_path / "s.csv", "cvat", sheet(files=files))
        assert read(path, files) == {0: 1, 1: 2, 2: 0, 4: 0}  # suggestions that were left alone
        with zipfile.ZipFile(path) as archive:
            root = ElementTree.fromstring(archive.read("annotations.xml"))
        images = root.findall("image")
        images[0].find("tag").set("label", "cat")
        images[1].find("tag").set("label", "[remove]")
        images[2].remove(images[2].find("tag"))
        ElementTree.SubElement(images[3], "tag", label="<b>&amp;", source="manual")
        (tmp_path / "a.xml").write_bytes(ElementTree.tostring(root))
        assert read(tmp_path / "a.xml", files) == {0: 0, 1: REMOVED, 3: 2, 4: 0}

    def test_as_documented(self, tmp_path: Path, files: bool) -> None:
        (path,) = export(tmp_path / "s.csv", "cvat", sheet(files=files))
        with zipfile.ZipFile(path) as archive:
            root = ElementTree.fromstring(archive.read("annotations.xml"))
            names = archive.namelist()
            if not files:
                picture = Image.open(io.BytesIO(archive.read("images/row-0000004.png")))
                assert picture.size == (7, 5)
                assert np.array_equal(np.asarray(picture), sheet().source.split.images[4])
        assert root.findtext("version") == "1.1" and root.findtext("meta/task/mode") == "annotation"
        assert [one.findtext("name") for one in root.iter("label")] == [*NAMES, "[remove]"]
        first = root.find("image")
        assert first is not None and (first.get("width"), first.get("height")) == ("7", "5")
        assert first.get("name") == (FILES[0] if files else "row-0000000.png")
        assert len(names) == (1 if files else 6)


@pytest.mark.parametrize("files", [False, True])
class TestFiftyOne:
    def test_round_trip(self, tmp_path: Path, files: bool) -> None:
        (path,) = export(tmp_path / "s.csv", "fiftyone", sheet(files=files))
        assert read(path, files) == {0: 1, 1: 2, 2: 0, 4: 0}
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read("labels.json"))
        keys = list(content["labels"])
        content["labels"] |= {keys[0]: 0, keys[1]: "[remove]", keys[2]: None, keys[3]: {"label": "<b>&amp;"}}
        (tmp_path / "labels.json").write_text(json.dumps(content))
        assert read(tmp_path / "labels.json", files) == {0: 0, 1: REMOVED, 3: 2, 4: 0}

    def test_as_documented(self, tmp_path: Path, files: bool) -> None:
        (path,) = export(tmp_path / "s.csv", "fiftyone", sheet(files=files))
        with zipfile.ZipFile(path) as archive:
            content, names = json.loads(archive.read("labels.json")), archive.namelist()
        assert content["classes"] == [*NAMES, "[remove]"]
        stems = [name.rpartition(".")[0] for name in FILES[:5]] if files else [f"row-{i:07}" for i in range(5)]
        assert content["labels"] == dict(zip(stems, [1, 2, 0, None, 0], strict=True))
        assert names == [*([] if files else [f"data/{stem}.png" for stem in stems]), "labels.json"]

    def test_mere_names_do_where_they_are_of_one_file(self, tmp_path: Path, files: bool) -> None:
        path = tmp_path / "labels.json"
        path.write_text(json.dumps({"labels": {"two words": "dog", "4": "cat"} if files else {"row-0000003": "cat"}}))
        assert read(path, files) == ({1: 1, 3: 0} if files else {3: 0})


class TestBadFiles:
    @pytest.mark.parametrize(
        ("name", "text", "match"),
        [
            ("a.json", "{", "not valid JSON"),
            ("a.json", "3", "neither a list of tasks"),
            ("a.json", "[3]", "task 1: expected a task of Label Studio"),
            ("a.json", '{"labels": 3}', "no labels.json"),
            ("a.json", '{"labels": {"row-0000001": 7}}', "expected one label"),
            ("a.json", '{"labels": {"row-0000001": ["cat", "dog"]}}', "expected one label"),
            ("a.json", '{"labels": {"row-0000001": "bird"}}', "name of a class"),
            ("a.json", '{"labels": {"row-0000006": "cat"}}', "expected an integer in 0..5"),
            ("a.json", '{"labels": {"elsewhere": "cat"}}', "expected an integer"),
            ("a.json", '{"labels": {}}', "flags no row"),
            ("a.xml", "<annotations>", "as XML"),
            ("a.xml", "<other/>", "no file of CVAT"),
            ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "document type"),
            (
                "a.xml",
                '<annotations><image name="row-0000001.png"><tag label="cat"/><tag label="dog"/></image></annotations>',
                "several tags",
            ),
            ("a.zip", "PK", "Cannot read"),
        ],
    )
    def test_they_are_refused_by_name(self, tmp_path: Path, name: str, text: str, match: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=match):
            read(tmp_path / name)

    def test_an_archive_of_something_else(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("readme.txt", "nothing")
        with pytest.raises(InputError, match=r"neither annotations\.xml nor labels\.json"):
            read_decisions("flagged", tmp_path / "a.zip")

    def test_no_such_tool(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=", ".join(TOOLS)):
            export(tmp_path / "s.csv", "paint", sheet())
