"""The text that language models here learn, as numbers.

It is "Alice's Adventures in Wonderland" by Lewis Carroll (1865), Project Gutenberg's Millennium Fulcrum Edition 2.9, as
the file `alice29.txt` of the Canterbury corpus (152,089 bytes, SHA-256 below), taken from the test data of
github.com/google/snappy. Its copyright has expired: it is in the public domain, as the licence file there says, too. It
stands in `assets/`, compressed by bzip2, so that nothing has to be downloaded.

A row is a window of characters, and its label is the character that follows: ordinary classification.

Example:
    >>> rows = windows(encode("alice was beginning"), length=8)
    >>> decode(rows.images[0]), decode(rows.labels[:3])
    ('alice wa', 's b')
"""

from __future__ import annotations

import bz2
import hashlib
import importlib.resources

import numpy as np

from unlearning.errors import InputError
from unlearning.experiments.memorisation.words import ALPHABET
from unlearning.task import Split

_SHA256 = "7467306ee0feed4971260f3c87421154a05be571d944e9cb021a5713700c38f0"
_NUMBERS = {character: number for number, character in enumerate(ALPHABET)}


def read_book() -> str:
    """Returns the book in small letters, with one space wherever there is any: 142,428 characters.

    Raises:
        InputError: If the file of the package is not the book.
    """
    packed = importlib.resources.files(__package__).joinpath("assets", "alice29.txt.bz2").read_bytes()
    content = bz2.decompress(packed)
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise InputError("The book of this package is damaged (assets/alice29.txt.bz2). Install the package again.")
    return " ".join(content.decode("ascii").replace("\x1a", "").lower().split())


def encode(text: str) -> np.ndarray:
    """Returns the numbers of characters, int32 `(characters,)`.

    Args:
        text: Text.

    Raises:
        InputError: If a character is not in `ALPHABET`.
    """
    unknown = sorted(set(text) - set(ALPHABET))
    if unknown:
        raise InputError("text", f"characters among {ALPHABET!r}", "".join(unknown))
    return np.array([_NUMBERS[character] for character in text], np.int32)


def decode(numbers: np.ndarray) -> str:
    """Returns the text of characters' numbers.

    Args:
        numbers: Integer array `(characters,)`.
    """
    return "".join(ALPHABET[number] for number in numbers)


def windows(numbers: np.ndarray, length: int) -> Split:
    """Returns a row for each character that has so many before it.

    Args:
        numbers: int32 array `(characters,)`.
        length: Characters of a window.

    Returns:
        Windows, int32 `(characters - length, length)`, and the characters that follow them.

    Raises:
        InputError: If there are not more characters than a window has.
    """
    if len(numbers) <= length:
        raise InputError("text", f"more than {length} characters", len(numbers))
    return Split(np.lib.stride_tricks.sliding_window_view(numbers[:-1], length).copy(), numbers[length:])
