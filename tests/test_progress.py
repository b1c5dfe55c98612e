"""What is said of work that goes on: counted by a clock that only the tests move."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import threading

import pytest

from support.paths import ROOT
from unlearning import progress
from unlearning.progress import Reporter, Terminal, doing, progress_bar, pulse, reporting, stage, stages


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def shown(text: str) -> list[str]:
    """What stood on a line, one look after the other, without what it was erased by."""
    looks = [line.strip() for line in re.split(r"[\r\n]", text)]
    return [look for look in looks if look]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def work(clock: Clock, steps: int = 4, seconds: float = 3.0) -> None:
    """Two stages of many steps, in which little is silent for long."""
    with stages(2):
        stage("poisoned model")
        for _ in progress_bar(range(steps), description="training", unit="epoch"):
            for _ in progress_bar(range(2), description="rows", unit="batch"):
                clock.now += seconds / 2
        stage("sap")
        for _ in range(steps):
            clock.now += seconds
            pulse()


class TestReporter:
    def test_says_where_it_is_and_how_long_it_will_take(self, clock: Clock) -> None:
        reporter = Reporter(clock)
        with reporting(reporter), stages(4, "budget 40, seed 1"):
            stage("clean model")
            stage("poisoned model")
            clock.now = 2.0
            epochs = progress_bar(total=12, description="training", unit="epoch")
            assert reporter.line() == "[2/4] poisoned model (budget 40, seed 1): training, epoch 1 of 12  2 s"
            clock.now = 12.0
            epochs.update(3)
            expected = "[2/4] poisoned model (budget 40, seed 1): training, epoch 4 of 12  12 s of about 42 s"
            assert reporter.line() == expected
            stage("sap")
            assert reporter.line() == "[3/4] sap (budget 40, seed 1)  0 s", (
                "of a bar that nobody closed nothing is left"
            )
        assert reporter.line() == ""

    def test_steps_inside_of_steps_count_as_parts(self, clock: Clock) -> None:
        reporter = Reporter(clock)
        with reporting(reporter):
            for outer in progress_bar(range(4), description="folds", unit="fold"):
                for inner in progress_bar(range(5), description="training", unit="epoch"):
                    clock.now += 1
                    if (outer, inner) == (1, 3):  # 1 and 3 fifths of 4 are done, in 9 seconds
                        assert reporter.line() == "folds, fold 2 of 4, epoch 4 of 5  9 s of about 22 s"

    def test_hears_threads(self) -> None:
        with reporting(reporter := Reporter()):
            thread = threading.Thread(target=pulse)
            thread.start()
            thread.join()
        assert reporter.signs == 1

    def test_forgets_steps_that_are_given_up(self, clock: Clock) -> None:
        with reporting(reporter := Reporter(clock)):
            with pytest.raises(KeyError):
                for _ in progress_bar(range(3), description="rows", unit="row"):
                    raise KeyError
            assert reporter.line() == ""

    def test_stages_of_nobody_are_no_stages(self) -> None:
        with reporting(reporter := Reporter()):
            stage("scores")
        assert reporter.signs == 0


class TestTerminal:
    def test_one_line_that_changes(self, clock: Clock, monkeypatch) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        screen = Screen()
        with reporting(Terminal(screen, clock, beating=False)):
            work(clock)
        text = screen.getvalue()
        assert "[1/2] poisoned model: training, epoch 3 of 4, batch 2 of 2  8 s of about 12 s" in shown(text)
        assert "[2/2] sap  6 s" in shown(text)
        assert re.findall(r"[^\r\n]*\n", text) == ["[1/2] poisoned model  12 s\n", "[2/2] sap  12 s\n"], "what stays"
        assert text.endswith("\n") or not text.rpartition("\r")[2].strip(), "nothing stands there at the end"
        assert "\x1b" not in text, "no colour, no cursor"

    @pytest.mark.parametrize("columns", [40, 60, 80])
    def test_never_breaks_its_line(self, columns: int, clock: Clock, monkeypatch) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        screen = Screen()
        with reporting(Terminal(screen, clock, beating=False)) as reporter:
            reporter.beside = "cells: 1/9 done, 0 failed, clean models: 1/3, about 5 min left"
            work(clock)
        assert max(map(len, re.split(r"[\r\n]", screen.getvalue()))) < columns

    def test_is_drawn_ten_times_a_second_at_most(self, clock: Clock) -> None:
        screen = Screen()
        with reporting(Terminal(screen, clock, beating=False)), doing("work"):
            for _ in range(1000):
                clock.now += 0.001
                pulse()
        assert len(shown(screen.getvalue())) <= 12

    def test_runs_on_while_the_work_is_silent(self, monkeypatch) -> None:
        monkeypatch.setattr(progress, "_BEAT", 0.001)
        screen, beats = Screen(), []
        reporter = Terminal(screen)
        monkeypatch.setattr(reporter, "line", lambda: beats.append(1) or "alive")
        with reporting(reporter):
            while len(beats) < 3:
                pass
        assert "alive" in screen.getvalue()

    def test_makes_room_for_messages(self, clock: Clock, monkeypatch) -> None:
        screen = Screen()
        handler = progress.MessageHandler(screen)
        logger = logging.Logger("own")
        logger.addHandler(handler)
        with reporting(Terminal(screen, clock, beating=False)), doing("work"):
            logger.warning("look")
        before, _, _ = screen.getvalue().partition("look\n")
        assert before.endswith(f"\r{'':{len('work ...  0 s')}}\r"), "the line is erased first"

    def test_a_reader_that_is_gone_ends_nothing(self, clock: Clock) -> None:
        screen = Screen()
        with reporting(Terminal(screen, clock, beating=False)):
            screen.close()
            work(clock)


class TestPipe:
    def test_a_line_a_stage_and_one_a_minute(self, clock: Clock) -> None:
        pipe = io.StringIO()
        with reporting(Terminal(pipe, clock)):
            work(clock, steps=50)
        lines = pipe.getvalue().splitlines()
        assert lines[0] == "[1/2] poisoned model"
        assert lines[1].startswith("[1/2] poisoned model: training, epoch 21 of 50") and "of about" in lines[1]
        assert "[2/2] sap" in lines and len(lines) <= 2 + 300 / 60

    def test_what_is_found_done_is_not_mentioned(self, clock: Clock) -> None:
        pipe = io.StringIO()
        with reporting(Terminal(pipe, clock)), stages(3):
            stage("clean model")
            stage("poisoned model")
            stage("sap")
            pulse()
        assert pipe.getvalue() == "[3/3] sap\n"


class TestNobodyInCharge:
    @pytest.mark.parametrize(("variable", "heard"), [(None, True), ("1", False)])
    def test_a_terminal_is_told_unless_it_is_to_be_quiet(self, variable: str | None, heard: bool, monkeypatch) -> None:
        monkeypatch.delenv("TQDM_DISABLE", raising=False)
        if variable:
            monkeypatch.setenv("TQDM_DISABLE", variable)
        monkeypatch.setattr("sys.stderr", screen := Screen())
        with doing("work"):
            pass
        assert ("work" in screen.getvalue()) is heard

    def test_a_file_is_left_alone(self, monkeypatch) -> None:
        monkeypatch.delenv("TQDM_DISABLE", raising=False)
        monkeypatch.setattr("sys.stderr", file := io.StringIO())
        with doing("work"):
            pass
        assert file.getvalue() == ""


def test_the_first_words_come_before_anything_slow_is_imported(tmp_path) -> None:
    """Half a second is what Python itself takes; what takes longer must not have begun when they are there."""
    script = (
        "import sys, unlearning.progress as progress\n"
        "def told(reporter, text):\n"
        "    slow = {'tensorflow', 'keras', 'pandas', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "    sys.exit(f'{text} {slow or None}')\n"
        "progress.Reporter.greet = told\n"
        "import cli\n"
        "cli.main(['repair', 'no.keras', '--data', 'digits', '--method', 'sap', '--out', 'x.keras'])\n"
    )
    env = {k: v for k, v in os.environ.items() if k != "TQDM_DISABLE"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stderr.strip() == "starting ... None", done.stdout + done.stderr
