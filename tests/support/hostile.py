"""Helpers of tests with damaged and malicious input: one clear line, nothing written, bounded memory."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, settings

import cli
from unlearning.errors import InputError

MEGABYTE = 2**20
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def bounded(megabytes: int) -> Iterator[None]:
    """Fails where Python and NumPy held more memory at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()


@contextmanager
def nested(folder: Path, count: int) -> Iterator[None]:
    """Puts folders into folders, deeper than paths reach; they go again, since not even `shutil.rmtree` can do it."""
    here = os.getcwd()
    os.chdir(folder)
    for _ in range(count):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(here)
    try:
        yield
    finally:
        os.chdir(folder)
        for _ in range(count):
            os.chdir("d")
        for _ in range(count):
            os.chdir("..")
            os.rmdir("d")
        os.chdir(here)


def refused(call: Callable[[], object], match: str = "") -> str:
    """Returns the message of an `InputError`, which is short and on one line once the command line prints it."""
    with pytest.raises(InputError, match=match or None) as caught:
        call()
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def refused_command(arguments: list[object], folder: Path, match: str = "") -> None:
    """Runs a command and requires one line, exit code 2, and an unchanged folder."""
    before = {p: p.stat().st_size for p in sorted(folder.rglob("*"))}
    done = CliRunner().invoke(cli.main, [str(argument) for argument in arguments])
    assert done.exit_code == 2, (done.exit_code, done.output, done.exception)
    assert match in done.output and "Traceback" not in done.output, done.output
    assert len([line for line in done.output.splitlines() if line.startswith("Error:")]) == 1, done.output
    assert {p: p.stat().st_size for p in sorted(folder.rglob("*"))} == before


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path
