"""What a terminal shows, at the widths that terminals have."""

from __future__ import annotations

import pytest

from support.command import cli
from support.own_models import detection, write_own
from support.paths import FIXTURES, PUBLISHED
from unlearning.errors import InputError
from unlearning.experiments.results.compare import compare_methods
from unlearning.experiments.results.reader import read_folders
from unlearning.experiments.results.validate import validate_folders
from unlearning.records import UnlearningResults
from unlearning.reporting import tables
from unlearning.reporting.tables.text import BEST, prose, set_apart, terminal_width

EXPERIMENT = FIXTURES / "cifar10-20000-cnn_small-symmetric"
every_width = pytest.mark.parametrize("width", [60, 80, 100, 140])


@pytest.fixture(scope="module")
def entries():
    return read_folders([EXPERIMENT], strict=True).repairs()


@pytest.fixture(scope="module")
def pairs() -> list[UnlearningResults]:
    found = read_folders([PUBLISHED / "cifar10-20000-cnn_small-flip-pairs"], strict=True).repairs()
    return [entry.results for entry in found if isinstance(entry.results, UnlearningResults)]


def rows_of(text: str) -> list[str]:
    """The lines of the first table, without its header."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if "method" in line.split())
    return lines[start + 1 : lines.index("", start)]


class TestWidths:
    @every_width
    def test_nothing_is_wider(self, width: int, entries, pairs, tmp_path) -> None:
        own = write_own(tmp_path / "own")
        for text in (
            tables.format_entries(entries, width=width),
            tables.format_results(pairs, width=width),
            tables.format_comparison(compare_methods(entries, "second-order"), width),
            tables.format_validation(validate_folders([own]), width),
            tables.format_detection(detection(), width),
            tables.format_own(read_folders([own]).own(), width),
        ):
            wide = [line for line in text.splitlines() if len(line) > width]
            assert not wide, wide

    def test_a_wide_terminal_shows_more(self, pairs) -> None:
        narrow, wide = (tables.format_results(pairs, width=width) for width in (60, 140))
        assert "after" in narrow and "grads" not in narrow and "grads" in wide

    def test_prose_breaks_at_words(self) -> None:
        assert prose("one two-three four", 9, "- ") == ["- one", "  two-three", "  four"]
        assert max(map(len, prose("word " * 100, 300))) <= 100, "longer lines are hard to read"

    @pytest.mark.parametrize(("columns", "width"), [("50", 60), ("80", 80), ("140", 140), (None, 100)])
    def test_the_terminal_is_asked(self, columns: str | None, width: int, monkeypatch) -> None:
        monkeypatch.delenv("COLUMNS", raising=False)
        if columns:
            monkeypatch.setenv("COLUMNS", columns)
        else:
            monkeypatch.setattr("os.get_terminal_size", lambda *_: (_ for _ in ()).throw(OSError))
        assert terminal_width() == width


class TestResults:
    def test_what_is_the_same_stands_above(self, pairs) -> None:
        above, header = tables.format_results(pairs, width=100).splitlines()[:2]
        assert above.startswith("budget 4000, seed 42, clean ") and "budget" not in header

    def test_one_row_says_all_itself(self, pairs) -> None:
        assert "budget" in tables.format_results(pairs[:1]).splitlines()[0]

    def test_best_first_and_marked_but_no_control(self) -> None:
        found = read_folders([PUBLISHED / "cifar10-20000-cnn_small-symmetric"]).repairs()
        text = tables.format_entries([entry for entry in found if entry.budget == 10000], width=140)
        rows = [line for line in text.splitlines() if "±" in line and "seeds" not in line]
        after = [float(row.split(" ± ")[0].split()[-1]) for row in rows]
        assert after == sorted(after, reverse=True) and rows[0].split()[0] == "retraining-unflagged"
        marked = [row for row in rows if f" {BEST} " in row]
        assert [row.split()[0] for row in marked] == ["fspmu-short-detected-patches", "fspmu-gmm-short"]

    def test_nothing_is_best_that_did_not_help_or_has_no_rival(self, pairs) -> None:
        worse = [r.model_copy(update={"acc_after_fix": r.acc_before_fix}) for r in pairs]
        assert BEST not in tables.format_results(worse) and BEST not in tables.format_results(pairs[:1])

    def test_says_which_difference_means_nothing(self, pairs) -> None:
        counted = [r.model_copy(update={"acc_after_fix": 0.9, "confusion_after": [[243, 27], [0, 0]]}) for r in pairs]
        assert "270 test rows: differences under 3.6 points mean nothing." in tables.format_results(counted)
        assert "mean nothing" not in tables.format_results(
            [r.model_copy(update={"confusion_after": None, "class_report_after": None}) for r in pairs]
        )

    def test_unknown_and_different_values_stay(self) -> None:
        import pandas as pd

        frame = pd.DataFrame({"a": ["1", "1"], "b": ["-", "-"], "c": ["1", "2"]})
        rest, above = set_apart(frame, {"a": "%", "b": "", "c": ""})
        assert list(rest) == ["b", "c"] and above == "a 1 %"


class TestComparison:
    def test_one_table_of_what_can_be_compared_and_a_line_of_the_rest(self, entries) -> None:
        seeds = {entry.seed for entry in entries if entry.label == "second-order"}
        lonely = next(entry for entry in entries if entry.label != "second-order")
        alone = [entry for entry in entries if entry.label != lonely.label]
        import dataclasses

        class Elsewhere(type(lonely)):
            @property
            def results(self):
                return lonely.results

        moved = Elsewhere(
            **{f.name: getattr(lonely, f.name) for f in dataclasses.fields(lonely)} | {"seed": max(seeds) + 1}
        )
        text = tables.format_comparison(compare_methods([*alone, moved], "second-order"))
        assert sum({"method", "after", "difference"} <= set(line.split()) for line in text.splitlines()) == 1
        (line,) = [line for line in text.splitlines() if line.startswith("No seed in common with second-order")]
        assert lonely.label in line and not any(lonely.label in row for row in rows_of(text.replace(line, "\n")))


class TestErrors:
    def test_did_you_mean(self) -> None:
        message = str(InputError("method", received="Fspmuu", known=["sap", "fspmu"]))
        assert message.index("Did you mean fspmu?") < message.index("one of sap, fspmu")
        assert "Did you mean" not in str(InputError("method", received="x", known=["sap", "fspmu"]))

    @pytest.mark.parametrize("words", [("unlearn", "fspmo", "."), ("detect", "m.keras", "--detect", "patchs")])
    def test_names_on_the_command_line(self, words: tuple[str, ...], tmp_path) -> None:
        done = cli(*words, cwd=tmp_path)
        assert done.returncode == 2 and "Did you mean" in done.stderr and "xpected one of" in done.stderr

    def test_wraps_on_a_terminal_and_nowhere_else(self, monkeypatch) -> None:
        from unlearning.cli import group

        text = "Error: " + "word " * 40
        assert group._wrapped(text) == [text]
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
        assert len(group._wrapped(text)) > 2 and max(map(len, group._wrapped(text))) <= 60
