"""The one exception for mistakes a user can mend.

Every check of an argument, a file or a data set in this library raises `InputError`. It is a `ValueError`, so library
users need not know it; the command line turns it into one line on standard error and exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """An argument, file or data set is not what the caller must supply.

    With one argument that is the whole message. With three it is the house wording, which names the argument, what was
    expected and what was received. Of a name that nothing has it says which one comes nearest, and then all there are.

    Args:
        argument: The message, or the name of the argument, option or file at fault.
        expected: What a correct value looks like, as the end of the sentence "Expected ...".
        received: The offending value; long values are shortened.
        known: All names that there are, where `received` is none of them; `expected` is made of them.

    Example:
        >>> raise InputError("rate", "a float in [0, 1)", 1.5)
        Traceback (most recent call last):
        ...
        unlearning.errors.InputError: Invalid value for argument `rate`. Expected a float in [0, 1). Received: 1.5
        >>> print(InputError("method", received="fspmuu", known=["sap", "fspmu"]))
        Invalid value for argument `method`. Received: 'fspmuu'. Did you mean fspmu? Expected one of sap, fspmu.
    """

    def __init__(
        self, argument: str, expected: str = "", received: object = None, *, known: Iterable[str] = ()
    ) -> None:
        text = repr(received) if isinstance(received, str) else str(received)
        if len(text) > 200:
            text = text[:197] + "..."
        if names := list(known):
            expected = f"one of {', '.join(names)}"
            hint = _nearest(received, names)
            argument = f"Invalid value for argument `{argument}`. Received: {text}.{hint} Expected {expected}."
        elif expected:
            argument = f"Invalid value for argument `{argument}`. Expected {expected}. Received: {text}"
        super().__init__(argument)


def _nearest(name: object, names: Sequence[str]) -> str:
    """The question whether a known name was meant; empty where none comes near."""
    small = [one.lower() for one in names]
    near = difflib.get_close_matches(str(name).lower(), small, 1)
    return f" Did you mean {names[small.index(near[0])]}?" if near else ""


def printable(text: str) -> str:
    r"""Returns text that any terminal and any file can take.

    Args:
        text: Text that may come from a file name or a file.

    Returns:
        The same with control characters, lone surrogates and marks that turn the direction of writing escaped; line
        ends stay only with `printable_lines`.

    Example:
        >>> printable("a\x1b[2J")
        'a\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(error: BaseException, most: int = 200) -> str:
    """Returns what an error says, on one line of at most so many characters; its type where it says nothing."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def first_line(error: BaseException) -> str:
    """Returns the first line of what an error says, for libraries that go on for pages; its type where that is none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def printable_lines(text: str) -> str:
    """Returns text of several lines that any terminal can take; see `printable`."""
    return "\n".join(map(printable, text.split("\n")))
