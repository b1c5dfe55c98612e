"""What made the page: the program's version and commit."""

from __future__ import annotations

import functools
import importlib.metadata
import subprocess
import tomllib
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]


@functools.cache
def describe_program() -> str:
    """Returns version and commit, as `0.1.0, commit 942123a`; without the commit where it is not known."""
    version, commit = _version(), _commit()
    return f"{version}, commit {commit}" if commit else version


def _version() -> str:
    """That of the checkout which runs, or of the installed package."""
    try:
        content = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        return str(content["project"]["version"])
    except (OSError, KeyError, ValueError):
        pass
    try:
        return importlib.metadata.version("keras-unlearning")
    except importlib.metadata.PackageNotFoundError:
        return "unknown version"


def _commit() -> str:
    """That of the checkout; a package that lies below somebody else's repository has none."""
    if not (_ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(_ROOT), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
