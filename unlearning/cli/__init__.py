"""The command line: each command parses its options, calls one library function, and prints a table.

TensorFlow is imported only when a command computes, so that `--help` and finished results are instant.
"""

from unlearning.cli import experiments, models, results  # noqa: F401
from unlearning.cli.group import main

__all__ = ["main"]
