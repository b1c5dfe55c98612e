"""The one exception for mistakes a user can mend.

Every check of an argument, a file or a data set in this library raises `InputError`. It is a `ValueError`, so library
users need not know it; the command line turns it into one line on standard error and exit code 2.
"""

from __future__ import annotations


class InputError(ValueError):
    """An argument, file or data set is not what the caller must supply.

    The message names the argument, what was expected and what was received.
    """


def invalid(argument: str, expected: str, received: object) -> InputError:
    """Builds an `InputError` in the house wording.

    Args:
        argument: Name of the argument, option or file at fault.
        expected: What a correct value looks like, as the end of the sentence "Expected ...".
        received: The offending value; long values are shortened.

    Returns:
        The exception, to be raised by the caller.

    Example:
        >>> str(invalid("rate", "a float in [0, 1)", 1.5))
        'Invalid value for argument `rate`. Expected a float in [0, 1). Received: 1.5'
    """
    text = repr(received) if isinstance(received, str) else str(received)
    if len(text) > 200:
        text = text[:197] + "..."
    return InputError(f"Invalid value for argument `{argument}`. Expected {expected}. Received: {text}")


def printable(text: str) -> str:
    r"""Returns text that any terminal and any file can take.

    Args:
        text: Text that may come from a file name or a file.

    Returns:
        The same with control characters and lone surrogates escaped.

    Example:
        >>> printable("a\x1b[2J")
        'a\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
