"""Makes one page of the committed results of all benchmarks.

    PYTHONPATH=.:tests python tests/benchmarks/page.py

A test asserts that `docs/results/benchmarks.md` is what this makes.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "results" / "benchmarks.md"
_TOP = """# Benchmarks

Made by `python tests/benchmarks/page.py` of the files in `tests/benchmarks/results`; every script writes its own, with
what it was measured with. On a busy machine wall-clock seconds mean little: compare shares and processor seconds.
"""


def make_page() -> str:
    """Returns the page as Markdown."""
    parts = [_TOP]
    for path in sorted((HERE / "results").glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        # A script writes results of its own name, with more behind it where it has several.
        script = max((s for s in HERE.glob("*.py") if path.stem.startswith(s.stem)), key=lambda s: len(s.stem))
        parts += [f"## {path.stem.replace('_', ' ').capitalize()}\n", *_describe(script), _table(_rows(content))]
        where = content["environment"]
        facts = {k: v for k, v in content.items() if isinstance(v, int | float | str) and k != "command"}
        told = [f"{k.replace('_', ' ')} {v}" for k, v in {**facts, **where}.items()]
        parts.append(f"Measured with {', '.join(told)}.\n")
        if "command" in content:
            parts.append(f"```bash\nPYTHONPATH=.:tests {content['command']}\n```\n")
    return "\n".join(parts)


def _rows(content: dict[str, Any]) -> list[dict[str, Any]]:
    return content["rows"] if "rows" in content else content["summary"]


def _describe(script: Path) -> list[str]:
    """Returns what a script says of itself, less how to call it."""
    said = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    return [part + "\n" for part in said.split("\n\n") if not part.startswith("    ")]


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [[column.replace("_", " ") for column in columns], ["---"] * len(columns)]
    lines += [[_show(row.get(column)) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _show(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int | float) else str(value)


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(make_page(), encoding="utf-8")
    print(PAGE)
