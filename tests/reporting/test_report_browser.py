"""The report page in a browser: no errors and no requests, sorting, filtering, hovering, both themes, a phone."""

from __future__ import annotations

import io
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

COLUMNS = ("method", "told", "budget", "clean", "before", "after", "restored", "seconds", "seeds")


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
    """A visit of the report page, which draws its charts when they are looked at."""

    def draw(self, *charts: str) -> None:
        for chart in charts:
            self.page.locator(f"#{chart}").scroll_into_view_if_needed()
            self.page.wait_for_selector(f"#{chart}[data-drawn]")

    def tidy(self) -> None:
        """Puts back what readers can change."""
        self.page.fill("#filter", "")
        self.page.select_option("#filter-budget", "")
        for button in self.page.locator("#legend button[aria-pressed=false]").all():
            button.click()
        self.page.mouse.move(0, 0)


@pytest.fixture(scope="module")
def opened(browser, report) -> Iterator[Visit]:
    """One tab for all who use the page with a mouse or a keyboard: reading Plotly takes seconds."""
    opened = Visit(browser, report)
    yield opened
    assert opened.said == []
    opened.close()


@pytest.fixture
def visit(opened: Visit) -> Iterator[Visit]:
    yield opened
    opened.tidy()


def column(visit: Visit, name: str) -> list[str]:
    number = COLUMNS.index(name) + 1
    cells = visit.page.locator(f"#headline tbody tr:not([hidden]) > :nth-child({number})")
    return cells.evaluate_all("nodes => nodes.map(node => node.dataset.v)")


def sorting(visit: Visit, name: str) -> str | None:
    return visit.page.locator("#headline thead th").nth(COLUMNS.index(name)).get_attribute("aria-sort")


def header(visit: Visit, name: str) -> sync_api.Locator:
    return visit.page.locator("#headline thead button").nth(COLUMNS.index(name))


def test_it_loads_without_errors_or_requests_and_runs_no_hostile_text(visit: Visit) -> None:
    visit.draw("chart-budget", "chart-seconds", "chart-recall", "chart-before", "chart-after", "chart-solver")
    visit.draw("chart-scores")
    visit.page.locator("#chart-recall .ytick text").first.wait_for()
    assert visit.said == []
    assert [url for url in visit.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert len([url for url in visit.asked if url.startswith("file:")]) == 1
    assert visit.page.evaluate("window.pwned") is None
    assert FAILURE in visit.page.locator("main").inner_text()
    ticks = visit.page.locator("#chart-recall .ytick text").all_text_contents()
    assert "<b>bold</b>" in ticks and any(tick.startswith("<img src=x") for tick in ticks)
    assert visit.page.locator("main img[src=x]").count() == 0


def test_the_table_can_be_used_before_plotly_is_read(browser, report: Path) -> None:
    """Plotly's own assignment to `window.Plotly` is watched: the page has to be ready then."""
    watch = """
        let kept;
        Object.defineProperty(window, "Plotly", {
          get: () => kept,
          set: (value) => { kept = value; window.readyBefore = document.documentElement.dataset.ready === "true"; },
        });
    """
    opened = Visit(browser, report, script=watch)
    opened.draw("chart-budget")
    assert opened.page.evaluate("window.readyBefore") is True and opened.said == []
    opened.close()


def test_sorting_by_click_and_by_keyboard(visit: Visit) -> None:
    header(visit, "after").click()
    values = [float(v) for v in column(visit, "after")]
    assert values == sorted(values) and len(set(values)) > 8 and sorting(visit, "after") == "ascending"
    header(visit, "after").click()
    values = [float(v) for v in column(visit, "after")]
    assert values == sorted(values, reverse=True) and sorting(visit, "after") == "descending"
    header(visit, "method").focus()
    visit.page.keyboard.press("Enter")
    assert column(visit, "method") == sorted(column(visit, "method"))
    assert sorting(visit, "method") == "ascending" and sorting(visit, "after") == "none"
    header(visit, "budget").focus()
    visit.page.keyboard.press("Space")
    assert column(visit, "budget") == ["1000"] * 8 + ["4000"] * 8


def test_filters(visit: Visit) -> None:
    visit.page.fill("#filter", "second-ORDER")
    assert set(column(visit, "method")) == {name for name in METHODS if "second-order" in name}
    visit.page.select_option("#filter-budget", "4000")
    assert set(column(visit, "budget")) == {"4000"}
    assert visit.page.locator("#shown").inner_text() == "4 of 16 rows"
    visit.page.fill("#filter", "nothing is called that")
    assert column(visit, "method") == [] and visit.page.locator("#shown").inner_text() == "0 of 16 rows"


@pytest.mark.parametrize("chart", ["chart-budget", "chart-seconds"])
def test_a_tooltip_names_the_method(visit: Visit, chart: str) -> None:
    visit.draw(chart)
    point = visit.page.locator(f"#{chart} .scatterlayer .trace:last-child .point").first
    point.wait_for()
    point.hover(force=True)
    tooltip = visit.page.locator(f"#{chart} .hoverlayer .hovertext")
    tooltip.first.wait_for()
    assert any(name in tooltip.first.text_content() for name in METHODS)


def test_the_legend_takes_a_method_out_of_both_charts(visit: Visit) -> None:
    visit.draw("chart-budget", "chart-seconds")
    count = "id => document.getElementById(id).data.length"
    before = [visit.page.evaluate(count, chart) for chart in ("chart-budget", "chart-seconds")]
    button = visit.page.locator("#legend button", has_text="sap+second-order")
    button.focus()
    visit.page.keyboard.press("Enter")
    assert [visit.page.evaluate(count, c) for c in ("chart-budget", "chart-seconds")] == [n - 1 for n in before]
    assert button.get_attribute("aria-pressed") == "false"
    assert visit.page.evaluate("document.activeElement.dataset.m") == "sap+second-order"


def test_one_repair_is_chosen_by_selects(visit: Visit) -> None:
    visit.draw("chart-recall", "chart-before")
    visit.page.select_option("#pick-s", "43")
    visit.page.select_option("#pick-m", "first-order")
    assert visit.page.locator("#figure-after").is_visible() and not visit.page.locator("#chart-after").is_visible()
    assert "keeps no log" in visit.page.locator("#solver-note").inner_text()
    visit.page.select_option("#pick-s", "42")
    visit.page.select_option("#pick-m", "second-order")
    assert visit.page.locator("#chart-after").is_visible() and not visit.page.locator("#figure-after").is_visible()
    visit.draw("chart-solver")
    assert visit.page.evaluate("document.getElementById('chart-solver').data.length") == 12  # two for each of its steps
    assert visit.page.locator("#recall-table tbody tr").count() == 10


def test_the_keyboard_reaches_everything(browser, report: Path) -> None:
    visit = Visit(browser, report)
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.className") == "skip"
    assert visit.page.locator(".skip").bounding_box()["y"] >= 0  # it shows when it has the focus
    visit.page.keyboard.press("Enter")
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.id") == "filter"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    header(visit, "after").focus()
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.tagName") == "BUTTON" and visit.page.evaluate(outline) == "solid"
    visit.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes(browser, report: Path, tmp_path: Path, theme: str) -> None:
    opened = Visit(browser, report, color_scheme=theme)
    opened.draw("chart-budget", "chart-recall")
    other = _brightness(opened, tmp_path / f"{theme}.png")
    assert (other > 200) == (theme == "light")
    opened.page.locator("#theme").click()
    opened.page.wait_for_timeout(200)
    switched = _brightness(opened, tmp_path / f"{theme}-switched.png")
    assert (switched > 200) == (theme == "dark")
    assert opened.said == []
    opened.close()


def test_a_phone(browser, report: Path, tmp_path: Path) -> None:
    opened = Visit(browser, report, width=390, has_touch=True, is_mobile=True)
    opened.draw("chart-budget", "chart-seconds", "chart-recall", "chart-before", "chart-solver")
    for details in opened.page.locator("details").all():
        details.evaluate("node => node.open = true")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    box = opened.page.locator("#results .scroll")
    assert box.evaluate("node => node.scrollWidth > node.clientWidth")  # the table scrolls in its own box
    _brightness(opened, tmp_path / "phone.png")
    opened.close()


def test_without_javascript(browser, report: Path) -> None:
    opened = Visit(browser, report, java_script_enabled=False)
    assert opened.page.locator("#headline tbody tr").count() == 16
    images = opened.page.locator("#charts img.static")
    assert images.count() == 2 and all(image.bounding_box()["height"] > 100 for image in images.all())
    assert not opened.page.locator("#filter").is_visible()
    opened.close()


def _brightness(visit: Visit, path: Path) -> float:
    """Takes a screenshot of the whole page, checks that something is on it, and returns its median brightness."""
    from PIL import Image

    image = Image.open(io.BytesIO(visit.page.screenshot(path=path, full_page=True))).convert("L")
    pixels = np.asarray(image)
    assert pixels.std() > 5 and len(np.unique(pixels)) > 50
    return float(np.median(pixels))
