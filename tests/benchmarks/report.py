"""Size of the report page of a grid of 4 budgets, 3 seeds and 8 methods, and how soon a browser can be used on it.

    PYTHONPATH=.:tests python tests/benchmarks/report.py

Ready: the table sorts and filters. Charts: all that are in view are drawn. Both in milliseconds from the navigation's
start, the median of several fresh tabs; without Chromium only the size is printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from report_trees import make_tree

from unlearning.reporting.page import write_report

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree, out = make_tree(Path(folder, "grid")), Path(folder, "report.html")
        started = time.perf_counter()
        written = write_report([tree], out, images=0)
        print(f"size: {written.size / 1e6:.2f} MB, written in {time.perf_counter() - started:.1f} s")
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        if chromium is None:
            print("no Chromium: no times")
            return
        ready, charts = _measure(out, chromium, options.repeats)
    print(f"ready: {ready:.0f} ms; charts in view drawn: {charts:.0f} ms after scrolling to them")


def _measure(path: Path, chromium: str, repeats: int) -> tuple[float, float]:
    from playwright.sync_api import sync_playwright

    ready, charts = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        for _ in range(repeats):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]")
            ready.append(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"))
            started = time.perf_counter()
            page.locator("#chart-seconds").scroll_into_view_if_needed()
            for chart in ("chart-budget", "chart-seconds"):
                page.wait_for_selector(f"#{chart}[data-drawn]")
            charts.append(1000 * (time.perf_counter() - started))
            page.close()
        browser.close()
    return statistics.median(ready), statistics.median(charts)


if __name__ == "__main__":
    main()
