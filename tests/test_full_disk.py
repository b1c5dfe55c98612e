"""A full disk, a real one: every writer leaves the old file whole and nothing half-written, and says what it was."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import cli
from support.paths import ROOT
from support.small import small_model
from unlearning import files
from unlearning.drawing import canvas
from unlearning.interop import save_model
from unlearning.noise import Corruption
from unlearning.records.rows import write_rows
from unlearning.training import TrainSettings
from unlearning.training.backup import Keeper, write_log

PUBLISHED = ROOT / "models/published/digits-cnn_small-flip-pairs"
RNG = np.random.default_rng(0)
NUMBERS = RNG.integers(0, 2**62, 200_000)


@pytest.fixture(scope="module")
def mounted(tmp_path_factory) -> Iterator[Path]:
    """A file system of 1 MB."""
    disk = tmp_path_factory.mktemp("disk")
    try:
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mount.returncode:
        pytest.skip("this process may not mount a file system")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture
def disk(mounted: Path) -> Iterator[Path]:
    yield mounted
    gc.collect()  # h5py closes files that it could not write, and says so
    for path in mounted.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def fill(disk: Path, left: int) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass
    os.truncate(disk / "filler", (disk / "filler").stat().st_size - left)


def _draw(path: Path) -> None:
    figure, axes = canvas.new_figure(6, 4)
    axes.imshow(RNG.random((400, 600, 3)))
    canvas.save(figure, path)


def _back_up(path: Path) -> None:
    keeper = Keeper(path.parent, TrainSettings(epochs=9), 0, None)
    keeper.set_model(small_model(hidden=4096))
    keeper.rows = [{"epoch": 1, "loss": 1.0}]
    keeper._write(path.parent, 1)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.txt": lambda path: files.write_text(path, "text" * 100_000),
    "a.csv": lambda path: files.write_table(path, [{"number": int(n)} for n in NUMBERS[:20_000]]),
    "log.csv": lambda path: write_log(path, [{"epoch": float(n), "loss": 1.0} for n in NUMBERS[:20_000]]),
    "corruption.npz": lambda path: Corruption("pair", 1, NUMBERS, NUMBERS + 1).save(path),
    "rows.npz": lambda path: write_rows(path, {"rows": NUMBERS}),
    "model.keras": lambda path: save_model(small_model(hidden=8192), path),
    "figure.png": _draw,
    "best-000001.weights.h5": _back_up,
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("left", [0, 40_000])
@pytest.mark.parametrize("name", WRITERS)
def test_the_old_file_stays(name: str, left: int, disk: Path) -> None:
    path = disk / name
    path.write_bytes(b"old")
    fill(disk, left)
    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device: '.*'$") as caught:
        WRITERS[name](path)
    said = Path(caught.value.filename)
    assert said.parent == disk and (said == path or name.startswith("best-")) and not said.name.startswith(".")
    assert path.read_bytes() == b"old" and set(os.listdir(disk)) - {"log.csv"} == {"filler", name} - {"log.csv"}


@pytest.mark.parametrize(
    "arguments", [["export", "--out", "table.csv"], ["report", "--out", "page.html"], ["figures", "--out", "."]]
)
def test_a_command_ends_in_one_line(arguments: list[str], disk: Path) -> None:
    command, option, name = arguments
    out = disk / name
    if out != disk:
        out.write_bytes(b"old")
    fill(disk, 0)
    force = ["--force"] if command != "figures" else []
    done = CliRunner().invoke(cli.main, [command, str(PUBLISHED), option, str(out), *force])
    assert done.exit_code == 2 and "Error: [Errno 28] No space left on device: " in done.output, done.output
    assert "Traceback" not in done.output and len(done.output.splitlines()) == 1
    assert out == disk or out.read_bytes() == b"old"
    assert not any(path.name.startswith(files.PARTIAL) for path in disk.iterdir())
