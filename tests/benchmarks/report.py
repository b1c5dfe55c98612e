"""Size of the report page, and how soon a browser can be used on it.

Of one grid of 4 budgets, 3 seeds and 8 methods, and of 30 experiments of 5 seeds and the same methods.

    PYTHONPATH=.:tests python tests/benchmarks/report.py

Ready: the table sorts and filters. Charts: all are drawn. Both in milliseconds from the navigation's start, the median
of several fresh tabs, with the processor time of the tab's process until then, which a busy machine distorts less.
Without Chromium only the size is printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from support.benchmarks import save
from support.report_trees import make_tree
from unlearning.reporting.page import write_report

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


_DRAWN = """async () => {
  while (document.querySelectorAll("#panels svg").length < 2) await new Promise((next) => setTimeout(next, 5));
  return performance.now();
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        print("no Chromium: no times")
    rows = []
    for name, count, grid in (
        ("1 grid", 1, {}),
        ("30 experiments", 30, {"budgets": (4000,), "seeds": (42, 43, 44, 45, 46)}),
    ):
        with tempfile.TemporaryDirectory() as folder:
            trees = [make_tree(Path(folder, f"experiment-{number + 1}"), **grid) for number in range(count)]
            out, cpu = Path(folder, "report.html"), time.process_time()
            written = write_report(trees, out, images=0)
            row = {
                "page": name,
                "repairs": written.repairs,
                "megabytes": written.size / 1e6,
                "written_in_processor_s": time.process_time() - cpu,
            }
            if chromium is not None:
                ready, charts, processor = _measure(out, chromium, options.repeats)
                row |= {"ready_ms": ready, "charts_drawn_ms": charts, "processor_ms": processor}
        print(row, flush=True)
        rows.append(row)
    save("report", rows)


def _measure(path: Path, chromium: str, repeats: int) -> tuple[float, float, float]:
    from playwright.sync_api import sync_playwright

    ready, charts, processor = [], [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        for _ in range(repeats):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]")
            ready.append(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"))
            charts.append(page.evaluate(_DRAWN))
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
            processor.append(1000 * metrics["ProcessTime"])
            page.close()
        browser.close()
    return statistics.median(ready), statistics.median(charts), statistics.median(processor)


if __name__ == "__main__":
    main()
