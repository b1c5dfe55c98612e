"""Standard streams: someone who stops reading, and streams that are closed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from support.command import PATIENCE_S
from support.paths import ROOT
from unlearning import startup

SHOWN = str(ROOT / "models/published/digits-cnn_small-flip-pairs")


def start(command: str) -> subprocess.CompletedProcess:
    """Runs a line of the shell in which `$CLI` is the command line."""
    environment = {**os.environ, "CLI": f"{sys.executable} {ROOT / 'cli.py'}"}
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=PATIENCE_S, env=environment)


def test_nothing_is_said_to_who_stopped_reading() -> None:
    done = start(f"$CLI show {SHOWN} | true; $CLI export --help | true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("arguments", [["show", SHOWN], ["show", SHOWN, "--json"], ["validate", SHOWN], ["schema"]])
def test_every_command_that_prints(arguments: list[str], monkeypatch) -> None:
    def gone(*_, err: bool = False, **__) -> None:
        if not err:
            raise BrokenPipeError(32, "Broken pipe")

    with monkeypatch.context() as patch:
        patch.setattr("click.echo", gone)
        done = CliRunner().invoke(cli.main, arguments)
    assert done.exit_code == 1 and not done.output


def test_closed_streams() -> None:
    done = start(f"$CLI show {SHOWN} 2>&- && $CLI list methods >&- 2>&- && $CLI list methods <&- >&-")
    assert done.returncode == 0 and "second-order" in done.stdout and not done.stderr
    assert start("$CLI show nothing 2>&-").returncode == 2


def test_a_closed_stream_is_not_replaced_by_the_next_file(tmp_path: Path) -> None:
    """What TensorFlow prints would be in it."""
    code = (
        f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); from unlearning import startup\n"
        "startup.open_standard_streams()\n"
        f"file = open({str(tmp_path / 'result')!r}, 'w')\n"
        "assert file.fileno() > 2, file.fileno()\n"
        "os.write(2, b'a message'); print('another', file=sys.stderr); print('more')\n"
        "os.system('echo and of children >&2')\n"
    )
    done = start(f'{sys.executable} -c "$CODE" <&- >&- 2>&-'.replace("$CODE", code.replace('"', '\\"')))
    assert done.returncode == 0 and (tmp_path / "result").read_text() == ""


def test_open_streams_stay() -> None:
    before = [os.fstat(number).st_ino for number in range(3)], sys.stdin, sys.stdout, sys.stderr
    startup.open_standard_streams()
    assert ([os.fstat(number).st_ino for number in range(3)], sys.stdin, sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("seed", ["-1", "2147483648", "9" * 40, "1.5"])
def test_seeds_have_a_range(seed: str, tmp_path: Path) -> None:
    for command in ("repair", "detect"):
        out = tmp_path / "x"
        done = CliRunner().invoke(cli.main, [command, "m.keras", "--data", "digits", "--out", str(out), "--seed", seed])
        assert done.exit_code == 2 and "--seed" in done.output and "Traceback" not in done.output
