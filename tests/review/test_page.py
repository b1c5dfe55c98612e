"""The page of suspects as a file: what is in it, how large it is, and that nothing in it can run."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.report_pages import Page
from support.review_pages import HOSTILE, suspects
from unlearning.errors import InputError
from unlearning.review.content import describe_rows
from unlearning.review.page import write_page


def written(tmp_path: Path, sheet, **options) -> tuple[Page, dict, dict]:
    write_page(tmp_path / "s.html", sheet, **options)
    parsed = Page((tmp_path / "s.html").read_text(encoding="utf-8"))
    scripts = {attributes.get("id"): text for attributes, text in parsed.scripts}
    return parsed, json.loads(scripts["data"]), json.loads(scripts["pictures"])


def test_pictures_are_exact_where_they_are_small(tmp_path: Path) -> None:
    sheet = suspects()
    _, data, pictures = written(tmp_path, sheet)
    assert data["rows"] == sheet.rows.tolist() and len(pictures["data"]) == len(sheet.rows)
    for row, text in zip(sheet.rows, pictures["data"], strict=True):
        shown = Image.open(io.BytesIO(base64.b64decode(text)))
        assert np.array_equal(np.asarray(shown.convert("RGB")), sheet.source.split.images[row])


def test_how_many_have_one_is_asked(tmp_path: Path) -> None:
    for images, there in ((0, 0), (7, 7), (1000, 60)):
        _, data, pictures = written(tmp_path, suspects(), images=images)
        assert len(pictures["data"]) == there and len(data["rows"]) == 60
    with pytest.raises(InputError, match="images"):
        write_page(tmp_path / "t.html", suspects(), images=-1)
    assert not (tmp_path / "t.html").exists()


def test_a_page_stays_below_20_megabytes(tmp_path: Path) -> None:
    noise = (
        np.random.default_rng(0).integers(0, 256, (1600, 64, 64, 3)).astype(np.uint8)
    )  # nothing is larger than noise
    _, data, pictures = written(tmp_path, suspects(1500, images=noise, extra=100))
    assert 1e7 < (tmp_path / "s.html").stat().st_size < 2e7
    assert len(pictures["data"]) < 1500 == len(data["rows"])


def test_nothing_in_it_can_run(tmp_path: Path) -> None:
    parsed, data, _ = written(tmp_path, suspects(files=True, texts=True))
    assert [attributes.get("type") for attributes, _ in parsed.scripts] == ["application/json"] * 2 + [None]
    assert not any(tag in ("b", "i", "img") for tag, _ in parsed.tags)
    assert data["files"][:4] == list(HOSTILE) and data["classes"][2] == "</script><b>owl</b>"
    policy = next(a["content"] for _, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'") and "script-src 'sha256-" in policy


def test_the_same_suspects_make_the_same_page_and_others_another_key(tmp_path: Path) -> None:
    keys = [
        written(tmp_path, sheet)[1]["key"] for sheet in (suspects(), suspects(), suspects(59), suspects(files=True))
    ]
    assert keys[0] == keys[1] and len(set(keys)) == 3


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (np.arange(320, dtype=np.float32).reshape(80, 4), "^0 1 2 3$"),
        (np.full((80, 20, 5), 1 / 3), r"^0\.3333 .* … \(20 × 5\)$"),
        (np.arange(400).reshape(80, 5), "^0 1 2 3 4$"),
    ],
)
def test_rows_that_are_no_images_show_their_numbers(tmp_path: Path, images: np.ndarray, match: str) -> None:
    import re

    _, data, pictures = written(tmp_path, suspects(images=images))
    assert pictures["data"] == [] and re.match(match, data["texts"][0]), data["texts"][0]


@pytest.mark.parametrize("shape", [(80, 9, 9), (80, 9, 7, 1), (80, 9, 9, 4), (80, 9, 9, 12)])
def test_images_of_any_number_of_channels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    images[0] = np.nan
    _, data, pictures = written(tmp_path, suspects(images=images))
    assert len(pictures["data"]) == 60 and data["texts"] == []


def test_texts_are_shortened(tmp_path: Path) -> None:
    texts = describe_rows(suspects(texts=True))
    assert texts[0].startswith("<i>text</i>") and max(map(len, texts)) == 601 and texts[39].endswith("…")


def test_no_suspects_make_a_page_that_says_so(tmp_path: Path) -> None:
    _, data, _ = written(tmp_path, suspects(0))
    assert data["rows"] == []
