"""The command line: each command parses its options, calls one library function, and prints a table.

To add one, write it in the section it belongs to (`models`, `experiments`, `results`, `listing`), with its options
under headings and with examples (`looks`), and name it in `group`. A section is imported when one of its commands is
asked for, TensorFlow only when a command computes, so that `--help`, mistakes and finished results are instant.
"""

from unlearning.cli.group import main

__all__ = ["main"]
