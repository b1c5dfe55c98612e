"""The report page: nothing in it can run."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

import pytest

from support.report_pages import write_page
from support.report_trees import FAILURE, HOSTILE, change, fail, make_tree
from unlearning.reporting.page.render import _embed


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
        _, parsed = write_page(tree, tmp_path / "report.html")
        assert [attributes.get("type") for attributes, _ in parsed.scripts] == ["application/json", None]
        assert not any(tag in ("i", "b") or "onerror" in a or "onclick" in a for tag, a in parsed.tags)
        assert parsed.data["experiments"][0]["classes"] == [HOSTILE] * 10
        assert FAILURE in "".join(parsed.text)

    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / os.fsdecode(b"odd-\xff\x1b"), (1000,), (42,), ("sap",))
        (tree / "budget-1000/seed-42/sap/unlearning_results.json").write_text("{")
        text, parsed = write_page(tree, tmp_path / "report.html")
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
