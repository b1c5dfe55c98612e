"""Pages in a real browser: what they say, what they ask the network for, and what axe finds in them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.command import PATIENCE_S

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextlib.contextmanager
def launched() -> Iterator[Any]:
    """A running browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS), timeout=1000 * PATIENCE_S)
        yield browser
        browser.close()


class Visit:
    """A page in a tab of its own, with all that it said and asked for.

    Args:
        browser: A running browser.
        path: The page's file.
        width: Pixels of the window.
        script: Runs before the page's own scripts.
        **options: For the browser's context.
    """

    def __init__(self, browser: Any, path: Path, width: int = 1280, script: str = "", **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.context.set_default_timeout(1000 * PATIENCE_S)
        self.page = self.context.new_page()
        self.page.add_init_script(script)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.path, self._answers = path, options.get("java_script_enabled", True)
        self.open()

    def open(self) -> None:
        """Opens the page, or opens it anew."""
        self.page.goto(self.path.as_uri())
        if self._answers:
            self.page.wait_for_selector("html[data-ready]")

    def axe(self) -> list[str]:
        """Returns what axe finds wrong, one line each."""
        import axe_playwright_python

        code = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
        # In a world of its own: the page's policy runs the page's own script and no other.
        session = self.context.new_cdp_session(self.page)
        frame = session.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
        world = session.send("Page.createIsolatedWorld", {"frameId": frame, "worldName": "axe"})["executionContextId"]
        session.send("Runtime.evaluate", {"expression": code, "contextId": world})
        told = session.send(
            "Runtime.evaluate",
            {
                "expression": "axe.run().then(found => found.violations.flatMap(one => one.nodes.map("
                "node => `${one.id}: ${node.target.join(' ')}: ${node.failureSummary}`)))",
                "contextId": world,
                "awaitPromise": True,
                "returnByValue": True,
            },
        )
        assert "exceptionDetails" not in told, told
        return told["result"]["value"]

    def close(self) -> None:
        """Closes the tab."""
        self.context.close()
