"""The report page in a browser: table, charts, drawer; both themes, a phone, paper; no errors and no requests."""

from __future__ import annotations

import io
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import support.browser
from support.browser import CHROMIUM, launched
from support.report_trees import FAILURE, HOSTILE, METHODS, add_detection, fail, make_tree
from unlearning.reporting.page import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: run tests/setup_browser.sh, or set CHROMIUM")


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with launched() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A page with everything on it, and hostile texts in it."""
    folder = tmp_path_factory.mktemp("browser")
    names = [HOSTILE, *"bcdefghi", "<b>bold</b>"]
    tree = make_tree(folder / "grid", (1000, 4000), (42, 43), METHODS, names)
    cell = tree / "budget-1000" / "seed-42"
    add_detection(cell, [(row, 2, 3) for row in range(40)])
    fail(cell, "ssd", FAILURE)
    write_report([tree], folder / "report.html", images=0)
    return folder / "report.html"


class Visit(support.browser.Visit):
    """A visit of the report page."""

    def tidy(self) -> None:
        """Puts back what readers can change."""
        self.page.evaluate("location.hash = 'all='")
        self.page.locator("#headline tbody tr[hidden]").first.wait_for(state="detached")
        self.page.mouse.move(0, 0)

    @property
    def state(self) -> str:
        return urllib.parse.unquote(self.page.evaluate("location.hash"))


@pytest.fixture(scope="module")
def opened(browser, report) -> Iterator[Visit]:
    """One tab for all who use the page with a mouse or a keyboard."""
    opened = Visit(browser, report)
    yield opened
    assert opened.said == []
    opened.close()


@pytest.fixture
def visit(opened: Visit) -> Iterator[Visit]:
    yield opened
    opened.tidy()


def column(visit: Visit, name: str) -> list[str]:
    cells = visit.page.locator(f"#headline tbody tr:not([hidden]) > .c-{name}")
    return cells.evaluate_all("nodes => nodes.map(node => node.dataset.v)")


def header(visit: Visit, name: str) -> sync_api.Locator:
    return visit.page.locator(f"#headline thead .c-{name} button")


def sorting(visit: Visit, name: str) -> str | None:
    return visit.page.locator(f"#headline thead .c-{name}").get_attribute("aria-sort")


def open_row(visit: Visit, name: str, budget: int = 1000) -> sync_api.Locator:
    row = f'#headline tbody tr:has([data-v="{name}"]):has(.c-budget[data-v="{budget}"]) button.name'
    visit.page.locator(row).first.click()
    return visit.page.locator("#drawer[open]")


class TestPage:
    def test_it_loads_without_errors_or_requests_and_runs_no_hostile_text(self, visit: Visit) -> None:
        open_row(visit, "second-order").wait_for()
        assert visit.said == []
        assert [url for url in visit.asked if not url.startswith(("file:", "data:", "blob:"))] == []
        assert len([url for url in visit.asked if url.startswith("file:")]) == 1
        assert visit.page.evaluate("window.pwned") is None
        assert FAILURE in visit.page.locator("main").inner_text()
        names = visit.page.locator("#drawer svg text").all_text_contents()
        assert any(name.startswith("<img src=x") for name in names)
        assert visit.page.locator("main img[src=x], #drawer img[src=x]").count() == 0

    def test_axe_finds_nothing(self, browser, report: Path) -> None:
        for theme in ("light", "dark"):
            opened = Visit(browser, report, color_scheme=theme)
            assert opened.axe() == []
            open_row(opened, "second-order")
            assert opened.axe() == []
            opened.close()

    def test_without_javascript(self, browser, report: Path) -> None:
        opened = Visit(browser, report, java_script_enabled=False)
        assert opened.page.locator("#headline tbody tr").count() == 16
        (image,) = opened.page.locator("#charts img.static").all()
        assert image.bounding_box()["height"] > 100
        assert not opened.page.locator("#filter").is_visible()
        opened.close()

    def test_it_prints_completely(self, browser, report: Path) -> None:
        """Light, opened up, with its charts drawn to the width of paper."""
        opened = Visit(browser, report, color_scheme="dark")
        assert opened.page.locator("#commands details").first.get_attribute("open") is None
        opened.page.evaluate(
            "addEventListener('beforeprint', () => { window.widest = Math.max(..."
            "[...document.querySelectorAll('#panels svg')].map(n => n.viewBox.baseVal.width)); })"
        )
        content = opened.page.pdf(format="A4")
        assert content[:5] == b"%PDF-" and len(re.findall(rb"/Type\s*/Page[^s]", content)) >= 4
        assert opened.page.evaluate("window.widest") <= 700
        opened.page.emulate_media(media="print")
        assert opened.page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"
        assert opened.page.locator("#commands pre.command").count() == 16
        hidden = "[...document.querySelectorAll('#results, #charts svg, #commands pre, #glossary dd')]"
        assert opened.page.evaluate(f"{hidden}.every(node => node.getClientRects().length)")
        opened.close()

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_both_themes(self, browser, report: Path, tmp_path: Path, theme: str) -> None:
        opened = Visit(browser, report, color_scheme=theme)
        other = _brightness(opened, tmp_path / f"{theme}.png")
        assert (other > 200) == (theme == "light")
        opened.page.locator("#theme").click()
        switched = _brightness(opened, tmp_path / f"{theme}-switched.png")
        assert (switched > 200) == (theme == "dark")
        assert opened.said == []
        opened.close()

    def test_a_phone(self, browser, report: Path, tmp_path: Path) -> None:
        opened = Visit(browser, report, width=390, has_touch=True, is_mobile=True)
        for details in opened.page.locator("details").all():
            details.evaluate("node => node.open = true")
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
        first, second = (opened.page.locator("#headline tbody tr").nth(k).bounding_box() for k in (0, 1))
        assert second["y"] > first["y"] + first["height"] and first["width"] <= 390, "cards"
        assert opened.page.locator("#sort-by").is_visible() and opened.axe() == []
        _brightness(opened, tmp_path / "phone.png")
        opened.close()


class TestTable:
    def test_sorting_by_click_and_by_keyboard(self, visit: Visit) -> None:
        header(visit, "after").click()
        values = [float(v) for v in column(visit, "after")]
        assert values == sorted(values, reverse=True) and len(set(values)) > 8
        assert sorting(visit, "after") == "descending" and "sort=-after" in visit.state
        header(visit, "after").click()
        assert [float(v) for v in column(visit, "after")] == sorted(values) and sorting(visit, "after") == "ascending"
        header(visit, "method").focus()
        visit.page.keyboard.press("Enter")
        assert column(visit, "method") == sorted(column(visit, "method"))
        assert sorting(visit, "method") == "ascending" and sorting(visit, "after") == "none"

    def test_one_choice_for_table_and_charts(self, visit: Visit) -> None:
        visit.page.fill("#filter", "second-ORDER")
        assert set(column(visit, "method")) == {name for name in METHODS if "second-order" in name}
        visit.page.select_option("#pick-b", "4000")
        assert set(column(visit, "budget")) == {"4000"}
        assert visit.page.locator("#shown").inner_text() == "4 of 16 rows"
        assert [text.split(" (")[0] for text in visit.page.locator("#panels h3").all_inner_texts()] == ["budget 4,000"]
        assert "budget 4,000" in visit.page.locator("#same").inner_text(), "what is the same stands above"
        assert not visit.page.locator("#headline thead .c-budget").is_visible()
        visit.page.fill("#filter", "nothing is called that")
        assert column(visit, "method") == [] and visit.page.locator("#shown").inner_text() == "0 of 16 rows"

    def test_an_address_says_what_was_chosen(self, visit: Visit) -> None:
        visit.page.select_option("#pick-b", "1000")
        header(visit, "cpu").click()
        open_row(visit, "first-order")
        visit.page.select_option("#drawer-seed", "43")
        address = visit.page.url
        again = Visit(visit.page.context.browser, visit.path)
        again.page.goto(address)
        again.page.wait_for_selector("#drawer[open]")
        again.page.reload()
        again.page.wait_for_selector("#drawer[open]")
        assert again.page.locator("#drawer-title").inner_text() == "first-order"
        assert again.page.locator("#drawer-seed").input_value() == "43"
        assert set(column(again, "budget")) == {"1000"} and sorting(again, "cpu") == "descending"
        assert again.said == []
        again.close()

    def test_columns_are_chosen(self, visit: Visit) -> None:
        assert not visit.page.locator("#headline thead .c-gain").is_visible()
        visit.page.locator("summary", has_text="Columns").click()
        visit.page.check("#columns input[value=gain]")
        visit.page.uncheck("#columns input[value=cpu]")
        assert visit.page.locator("#headline thead .c-gain").is_visible()
        assert not visit.page.locator("#headline thead .c-cpu").is_visible() and "gain" in visit.state

    @pytest.mark.parametrize(
        ("kind", "beginning"),
        [("Markdown", "| method | after % |"), ("LaTeX", "\\begin{tabular}{lr"), ("CSV", "method,")],
    )
    def test_copying(self, visit: Visit, kind: str, beginning: str) -> None:
        visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        visit.page.fill("#filter", "lissa")
        visit.page.locator("summary", has_text="Copy").click()
        visit.page.locator(f"[data-copy={kind}]").click()
        visit.page.locator("#shown", has_text=f"{kind} copied").wait_for()
        text = visit.page.evaluate("navigator.clipboard.readText()")
        assert (
            text.startswith(beginning) and text.count("second-order-lissa") == 2 and "±" in text.replace("$\\pm$", "±")
        )


class TestCharts:
    def test_a_tooltip_names_the_method(self, visit: Visit) -> None:
        visit.page.locator("#panels .pair svg .mark").first.hover(force=True)
        visit.page.locator("#tip").wait_for()
        assert any(name in visit.page.locator("#tip").inner_text() for name in METHODS)

    def test_names_do_not_overlap_and_every_axis_has_two_ticks(self, visit: Visit) -> None:
        found = visit.page.locator("#panels figure").evaluate_all(
            """nodes => {
              const box = node => { const b = node.getBoundingClientRect(); return [b.x, b.y, b.right, b.bottom]; };
              return nodes.map(node => ({
                boxes: [...node.querySelectorAll("text:not(.title)")].map(box),
                names: [...node.querySelectorAll("text:not(.tick):not(.title)")].map(text => text.textContent),
                frame: box(node.querySelector("svg")),
                ticks: [...node.querySelectorAll("text.tick")].length,
              }));
            }"""
        )
        assert len(found) == 5, "two for each of two budgets, and accuracy over budget"
        for figure in found:
            boxes = figure["boxes"]
            crossing = [
                (a, b)
                for k, a in enumerate(boxes)
                for b in boxes[:k]
                if min(a[2], b[2]) - max(a[0], b[0]) > 1.5 and min(a[3], b[3]) - max(a[1], b[1]) > 4
            ]
            assert crossing == [] and figure["ticks"] >= 4
            left, top, right, bottom = figure["frame"]
            assert all(b[0] >= left - 1 and b[2] <= right + 1 and b[1] >= top - 1 and b[3] <= bottom + 1 for b in boxes)
            assert len([name for name in figure["names"] if any(name.startswith(m[:9]) for m in METHODS)]) >= 8


class TestDrawer:
    def test_it_shows_what_there_is_and_nothing_else(self, visit: Visit) -> None:
        drawer = open_row(visit, "second-order")
        titles = drawer.locator("h3").all_inner_texts()
        assert titles == ["Curves", "Classes", "Confusion of classes", "Solver", "Settings and command"]
        assert drawer.locator(".three svg").count() == 3, "before, after, change"
        assert "improved on validation" in drawer.locator("#drawer-body .facts").inner_text()
        visit.page.select_option("#drawer-seed", "43")  # whose matrices are pictures
        assert drawer.locator(".three svg").count() == 0 and drawer.locator("img.static").count() == 2
        visit.page.keyboard.press("Escape")
        assert visit.page.locator("#drawer[open]").count() == 0
        assert "Solver" not in open_row(visit, "sap").locator("h3").all_inner_texts()

    def test_the_residual_is_that_of_the_system_which_was_chosen(self, visit: Visit) -> None:
        (figure,) = open_row(visit, "second-order").locator("figure", has_text="Relative residual").all()
        steps = [text[:6] for text in figure.locator("text").all_text_contents() if text.startswith("step ")]
        assert "chosen" in figure.inner_text() and sorted(set(steps)) == [f"step {k}" for k in range(1, 7)]
        assert figure.locator("path.line").count() == 6

    def test_the_command_is_copied(self, visit: Visit) -> None:
        visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        drawer = open_row(visit, "first-order")
        drawer.get_by_text("Copy the command").click()
        drawer.get_by_text("Command copied").wait_for()
        assert "--seeds 42,43 --methods first-order" in visit.page.evaluate("navigator.clipboard.readText()")


def test_the_keyboard_reaches_everything(browser, report: Path) -> None:
    visit = Visit(browser, report)
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.className") == "skip"
    assert visit.page.locator(".skip").bounding_box()["y"] >= 0  # it shows when it has the focus
    visit.page.keyboard.press("Enter")
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.id") == "pick-b"
    header(visit, "after").focus()
    visit.page.keyboard.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert visit.page.evaluate("document.activeElement.tagName") == "BUTTON" and visit.page.evaluate(outline) == "solid"
    visit.page.locator("#headline button.name").first.focus()
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#drawer[open]")
    visit.close()


def _brightness(visit: Visit, path: Path) -> float:
    """Takes a screenshot of the whole page, checks that something is on it, and returns its median brightness."""
    from PIL import Image

    image = Image.open(io.BytesIO(visit.page.screenshot(path=path, full_page=True))).convert("L")
    pixels = np.asarray(image)
    assert pixels.std() > 5 and len(np.unique(pixels)) > 50
    return float(np.median(pixels))
