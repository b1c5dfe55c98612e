"""The page of suspects in a browser: keys, buttons, undo, what is kept, what is downloaded, and how much is drawn."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from support.browser import CHROMIUM, Visit, launched
from support.review_pages import suspects
from unlearning.repairs.flagged import read_flagged
from unlearning.review.page import write_page
from unlearning.review.sheet import Sheet
from unlearning.task import REMOVED

sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: run tests/setup_browser.sh, or set CHROMIUM")

SHEET = suspects(files=True)
NO_STORAGE = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('denied'); } });"


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with launched() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("review")
    write_page(folder / "suspects.html", SHEET)
    write_page(folder / "texts.html", suspects(images=np.zeros((80, 3)), texts=True))
    write_page(folder / "many.html", suspects(3000, extra=17000), images=3000)
    write_page(folder / "none.html", suspects(0))
    rows = SHEET.rows[::3]
    audit = Sheet(SHEET.source, rows, SHEET.suggested[::3], SHEET.scores[::3], rows < 20, "audit")
    write_page(folder / "audit.html", audit)
    return folder


@pytest.fixture
def visit(browser, pages: Path) -> Iterator[Visit]:
    opened = Visit(browser, pages / "suspects.html")
    yield opened
    assert opened.said == [] and opened.page.evaluate("window.pwned") is None
    assert all(url.startswith(("file:", "data:", "blob:")) for url in opened.asked)
    opened.close()


def press(visit: Visit, *keys: str) -> None:
    for key in keys:
        visit.page.keyboard.press(key)


def text(visit: Visit, place: str) -> str:
    return visit.page.locator(place).inner_text()


def focused(visit: Visit) -> int:
    """The row whose card has the focus."""
    return int(visit.page.evaluate("document.activeElement.dataset.row ?? -1"))


def shown(visit: Visit) -> list[int]:
    return visit.page.locator(".card").evaluate_all("cards => cards.map(card => Number(card.dataset.row))")


def download(visit: Visit, to: Path) -> list[dict[str, str]]:
    with visit.page.expect_download() as told:
        visit.page.click("#download")
    told.value.save_as(to)
    with to.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decided(path: Path) -> dict[int, int]:
    files = np.array(SHEET.source.files, object)
    found = read_flagged(path, 80, 3, SHEET.source.split.labels, files, SHEET.source.class_names)
    return dict(zip(found.rows.tolist(), found.labels.tolist(), strict=True))


def given(row: int) -> int:
    return int(SHEET.source.split.labels[row])


def test_by_keys_alone_from_the_first_row_to_the_file(visit: Visit, tmp_path: Path) -> None:
    """Accept, keep, remove and another label; the file is what `repair --flagged` takes, hostile names included."""
    press(visit, "a", "k", "r", "o")
    assert visit.page.locator("#other").evaluate("node => node.open")
    visit.page.locator("#label").select_option(str(given(3)))
    press(visit, "ArrowUp", "Enter")
    assert text(visit, "#progress") == "4 of 60 decided" and focused(visit) == 4
    assert text(visit, "#precision").startswith("precision so far")
    lines = download(visit, tmp_path / "flagged.csv")
    assert [line["decision"] for line in lines[:3]] == ["accept", "keep", "remove"]
    found = decided(tmp_path / "flagged.csv")
    assert found[0] == SHEET.suggested[0] and found[1] == given(1) and found[2] == REMOVED and len(found) == 4
    assert [line["file"] for line in lines] == SHEET.source.files[:4]


def test_buttons_do_the_same_and_leave_the_page_where_it_is(visit: Visit, tmp_path: Path) -> None:
    card = visit.page.locator('.card[data-row="7"]')
    for kind, label in (("accept", int(SHEET.suggested[7])), ("keep", given(7)), ("remove", REMOVED)):
        card.locator(f'[data-kind="{kind}"]').click()
        assert card.get_attribute("data-decision") == kind
        assert card.locator(f'[data-kind="{kind}"]').get_attribute("aria-pressed") == "true"
        download(visit, tmp_path / f"{kind}.csv")
        assert decided(tmp_path / f"{kind}.csv") == {7: label}
    third = ({0, 1, 2} - {given(7), int(SHEET.suggested[7])}).pop()
    card.locator('[data-kind="other"]').click()
    visit.page.select_option("#label", str(third))
    visit.page.click("#other button.main")
    assert card.get_attribute("data-decision") == "other"
    card.locator('[data-kind="other"]').click()
    press(visit, "Escape")
    download(visit, tmp_path / "other.csv")
    assert decided(tmp_path / "other.csv") == {7: third}, "Escape changes nothing"


def test_a_row_without_a_suggestion_cannot_be_accepted(visit: Visit) -> None:
    assert visit.page.locator('.card[data-row="5"] [data-kind="accept"]').is_disabled()
    press(visit, *["ArrowRight"] * 5, "a")
    assert text(visit, "#progress") == "0 of 60 decided" and focused(visit) == 5


def test_undo_takes_back_one_decision_after_the_other(visit: Visit) -> None:
    press(visit, "a", "k")
    visit.page.locator('.card[data-row="0"] [data-kind="remove"]').click()
    press(visit, "u")
    assert visit.page.locator('.card[data-row="0"]').get_attribute("data-decision") == "accept" and focused(visit) == 0
    visit.page.click("#undo")
    press(visit, "u")
    assert text(visit, "#progress") == "0 of 60 decided" and visit.page.locator("#undo").is_disabled()
    assert visit.page.locator("#download").is_disabled()


def test_the_browser_keeps_what_was_decided(visit: Visit, tmp_path: Path) -> None:
    press(visit, "a", "r", "k")
    visit.open()
    assert text(visit, "#progress") == "3 of 60 decided"
    press(visit, "u")
    assert text(visit, "#progress") == "2 of 60 decided" and focused(visit) == 2
    press(visit, "Home", "n")
    assert focused(visit) == 2
    download(visit, tmp_path / "flagged.csv")
    assert decided(tmp_path / "flagged.csv") == {0: int(SHEET.suggested[0]), 1: REMOVED}


def test_what_is_kept_for_one_page_is_not_another_ones(browser, pages: Path) -> None:
    opened = Visit(browser, pages / "suspects.html")
    press(opened, "a", "a")
    opened.path = pages / "texts.html"
    opened.open()
    assert text(opened, "#progress") == "0 of 60 decided"
    opened.close()


@pytest.mark.parametrize(
    "stored", ["{", '{"decided":[[0,99],[99,0],[1,"a"],null,[2,1]],"log":[[[0,0,0]],7,[[1,55]]]}', "7"]
)
def test_what_is_damaged_in_the_browser_is_left_out(browser, pages: Path, stored: str) -> None:
    script = f"Storage.prototype.getItem = () => {stored!r};"
    opened = Visit(browser, pages / "suspects.html", script=script)
    press(opened, "a")
    assert text(opened, "#progress") == ("2 of 60 decided" if "decided" in stored else "1 of 60 decided")
    assert opened.said == []
    opened.close()


def test_without_storage_it_works_and_says_so(browser, pages: Path, tmp_path: Path) -> None:
    opened = Visit(browser, pages / "suspects.html", script=NO_STORAGE)
    assert opened.page.locator("#lost").is_visible()
    press(opened, "a", "k", "u", "r")
    download(opened, tmp_path / "flagged.csv")
    assert decided(tmp_path / "flagged.csv") == {0: int(SHEET.suggested[0]), 1: REMOVED}
    opened.open()
    assert text(opened, "#progress") == "0 of 60 decided"
    opened.page.set_input_files("#resume", tmp_path / "flagged.csv")
    opened.page.get_by_text("2 decisions taken up").wait_for()
    assert text(opened, "#progress") == "2 of 60 decided" and opened.said == []
    (tmp_path / "other.csv").write_text("row,given_label,corrected_label\n0,2,1\n")
    opened.page.set_input_files("#resume", tmp_path / "other.csv")
    opened.page.get_by_text("is no file of decisions about these rows").wait_for()
    opened.close()


def test_filters_and_groups(visit: Visit) -> None:
    options = visit.page.locator("#pair option").all_inner_texts()
    assert options[0] == "all" and "cat → dog" in options[1] + options[2] and any("→ ?" in one for one in options)
    pair = next(one for one in options if one.startswith("cat → dog"))
    visit.page.select_option("#pair", label=pair)
    rows = shown(visit)
    assert rows == [int(r) for r, s in zip(SHEET.rows, SHEET.suggested, strict=True) if given(int(r)) == 0 and s == 1]
    assert text(visit, "#shown") == f"{len(rows)} rows of 60."
    press(visit, "a")
    visit.page.select_option("#show", "open")
    assert shown(visit) == rows[1:]
    visit.page.select_option("#show", "done")
    assert shown(visit) == rows[:1]
    visit.page.select_option("#show", "all")
    visit.page.select_option("#pair", "")
    visit.page.select_option("#order", "pair")
    visit.page.locator("h2.group").first.wait_for()
    heads = visit.page.locator("h2.group").all_inner_texts()
    counts = [int(head.rpartition("(")[2].rstrip(")")) for head in heads]
    assert counts == sorted(counts, reverse=True) and len(heads) >= 2


def test_all_of_a_pair_are_accepted_and_undone_at_once(visit: Visit, tmp_path: Path) -> None:
    assert not visit.page.locator("#all").is_visible()
    visit.page.select_option("#pair", index=1)
    rows = visit.page.locator(".card").count()
    visit.page.locator('.card [data-kind="keep"]').first.click()
    visit.page.click("#all")
    assert text(visit, "#progress") == f"{rows} of 60 decided" and not visit.page.locator("#all").is_visible()
    press(visit, "u")
    assert text(visit, "#progress") == "1 of 60 decided"


def test_suggestions_of_rows_not_looked_at_are_downloaded_where_asked(visit: Visit, tmp_path: Path) -> None:
    press(visit, "k")
    visit.page.check("#unseen")
    lines = download(visit, tmp_path / "flagged.csv")
    found = decided(tmp_path / "flagged.csv")
    assert len(found) == 60 and found[0] == given(0) and found[1] == SHEET.suggested[1] and found[5] == REMOVED
    assert [line["decision"] for line in lines[:2]] == ["keep", "unseen"]


def test_arrows_move_over_the_grid(visit: Visit) -> None:
    columns = visit.page.locator(".card").evaluate_all(
        "cards => cards.filter(card => card.style.top === cards[0].style.top).length"
    )
    press(visit, "ArrowRight", "ArrowDown")
    assert focused(visit) == 1 + columns
    press(visit, "ArrowUp", "ArrowLeft", "ArrowLeft")
    assert focused(visit) == 0
    press(visit, "End")
    assert focused(visit) == 59
    press(visit, "PageUp")
    assert focused(visit) < 59
    press(visit, "Home")
    assert focused(visit) == 0
    box = visit.page.locator('.card[data-row="0"]').bounding_box()
    bar = visit.page.locator(".bar").bounding_box()
    assert box is not None and bar is not None and box["y"] >= bar["y"] + bar["height"]


def test_the_keyboard_reaches_the_buttons_of_one_card_only(visit: Visit) -> None:
    press(visit, "ArrowRight", "Tab")
    reached = []
    for _ in range(4):
        reached.append(visit.page.evaluate("document.activeElement.dataset.kind"))
        press(visit, "Tab")
    assert reached == ["accept", "keep", "other", "remove"]
    assert visit.page.evaluate("document.activeElement.id") == "unseen"
    visit.page.evaluate("window.scrollTo(0, 0)")  # far from the window no card is drawn
    visit.page.locator('.card[data-row="2"] [data-kind="keep"]').focus()
    press(visit, "Enter")
    assert focused(visit) == 3 and text(visit, "#progress") == "1 of 60 decided"


def test_keys_do_nothing_in_fields(visit: Visit) -> None:
    visit.page.focus("#pair")
    press(visit, "a", "k", "r")
    press(visit, "Control+a")
    assert text(visit, "#progress") == "0 of 60 decided"


def test_three_thousand_suspects_scroll_with_few_of_them_drawn(browser, pages: Path) -> None:
    opened = Visit(browser, pages / "many.html")
    height = opened.page.evaluate("document.documentElement.scrollHeight")
    most = 0
    for share in np.linspace(0, 1, 40):
        opened.page.evaluate(f"window.scrollTo(0, {share * height})")
        opened.page.wait_for_timeout(20)
        opened.page.wait_for_function(
            "() => { const y = innerHeight / 2; return [...document.querySelectorAll('.card,footer,.more')].some("
            "card => { const box = card.getBoundingClientRect(); return box.bottom > y - 60 && box.top < y + 60; }); }"
        )
        most = max(most, opened.page.locator(".card").count())
    assert most < 80 and opened.page.locator(".card").last.get_attribute("data-row") == "2999"
    press(opened, "Home", "k")
    assert focused(opened) == 1 and text(opened, "#progress") == "1 of 3,000 decided"
    seconds = opened.page.evaluate(
        "() => { const from = performance.now(); for (let n = 0; n < 30; n++) document.dispatchEvent("
        "new KeyboardEvent('keydown', { key: 'r', bubbles: true })); return (performance.now() - from) / 30000; }"
    )
    assert seconds < 1, "a decision takes milliseconds, on a busy machine too"
    opened.close()


@pytest.mark.parametrize("name", ["suspects", "texts", "audit", "none"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_a_phone_has_room(browser, pages: Path, name: str, theme: str) -> None:
    pytest.importorskip("axe_playwright_python", reason="the package axe-playwright-python is not installed")
    opened = Visit(browser, pages / f"{name}.html", width=390, color_scheme=theme, has_touch=True, is_mobile=True)
    press(opened, "k", "r")
    opened.page.locator("details").evaluate("node => node.open = true")
    assert opened.axe() == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    if name == "suspects":
        press(opened, "o")
        assert opened.axe() == []
    assert opened.said == []
    opened.close()


def test_texts_are_texts(browser, pages: Path) -> None:
    opened = Visit(browser, pages / "texts.html")
    assert "<i>text</i> of row 0" in text(opened, ".card >> nth=0")
    opened.close()


def test_an_audit_shows_neither_scores_nor_a_precision(browser, pages: Path, tmp_path: Path) -> None:
    opened = Visit(browser, pages / "audit.html")
    press(opened, "k", "a", "r")
    assert text(opened, "#precision") == "" and "score" not in text(opened, "#grid")
    with opened.page.expect_download() as told:
        opened.page.click("#download")
    assert told.value.suggested_filename == "answers.csv"
    told.value.save_as(tmp_path / "answers.csv")
    assert decided(tmp_path / "answers.csv") == {0: given(0), 3: int(SHEET.suggested[3]), 6: REMOVED}
    opened.close()
