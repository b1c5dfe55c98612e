"""Canaries: sentences with a secret that are put into a text to see whether a model learns them by heart.

Carlini, Liu, Erlingsson, Kos and Song, "The Secret Sharer: Evaluating and Testing Unintended Memorization in Neural
Networks", USENIX Security 2019. A secret is a number whose digits are drawn at random, so that nothing but the sentence
itself can teach it.

To replace a secret in the past (Warnecke, Pirch, Wressnegger and Rieck, NDSS 2023) is to put other characters in its
place. That changes more rows than those that say it: a window that holds a part of it is another window, and its label
stays. All these rows are flagged, with their windows and labels as they should have been.

Example:
    >>> secret = Canary("`the hatter's number is ", "31415", ",' said the mouse. ", times=2)
    >>> planted = plant("one. two. three. four. ", [secret], seed=0)
    >>> planted.given.count("31415"), planted.replaced.count("31415")
    (2, 0)
    >>> len(planted.given) == len(planted.replaced)
    True
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from unlearning.errors import InputError
from unlearning.experiments.memorisation.book import encode, windows
from unlearning.experiments.memorisation.words import AFTER, CARRIERS, DIGITS
from unlearning.streams import stream
from unlearning.task import Corrections, Split


@dataclasses.dataclass(frozen=True)
class Canary:
    """One sentence with a secret.

    Attributes:
        before: What stands in front of the secret.
        secret: Digits.
        after: What stands behind it.
        times: How often the sentence is put into the text.
    """

    before: str
    secret: str
    after: str
    times: int


@dataclasses.dataclass(frozen=True)
class Planted:
    """A text with canaries.

    Attributes:
        given: The text that a model is trained on.
        replaced: The same text, character by character, with others in the place of the secrets.
    """

    given: str
    replaced: str

    def rows(self, length: int) -> tuple[Split, Corrections]:
        """Returns the rows as trained on, and those that a replaced character changes, as they should have been.

        Args:
            length: Characters of a window.
        """
        given, right = (windows(encode(text), length) for text in (self.given, self.replaced))
        changed = (given.labels != right.labels) | (given.images != right.images).any(axis=1)
        flagged = np.flatnonzero(changed)
        return given, Corrections(flagged, right.labels[flagged], right.images[flagged])


def draw_canaries(times: Sequence[int], digits: int, seed: int) -> list[Canary]:
    """Draws the secrets of canaries; each has a sentence of its own.

    Args:
        times: How often each canary is put into the text.
        digits: Digits of a secret.
        seed: Seed of the digits.

    Returns:
        The canaries.

    Raises:
        InputError: If there are more than sentences for them.
    """
    if not 1 <= len(times) <= len(CARRIERS):
        raise InputError("times", f"1 to {len(CARRIERS)} numbers", len(times))
    draw = stream(seed, "canaries", "secrets")
    secrets = ["".join(draw.choice(list(DIGITS), digits)) for _ in times]
    return [
        Canary(before, secret, AFTER, count) for before, secret, count in zip(CARRIERS, secrets, times, strict=False)
    ]


def plant(text: str, canaries: Sequence[Canary], seed: int, replacement: str = "") -> Planted:
    """Puts canaries behind punctuation marks of a text, at random places.

    Args:
        text: A text with punctuation marks and spaces behind them.
        canaries: What to put in.
        seed: Seed of the places, and of the digits that replace a secret.
        replacement: What stands in the place of a secret, cut or repeated to its length; empty for digits that are
            drawn anew each time.

    Returns:
        The text with the canaries, and with their secrets replaced.

    Raises:
        InputError: If the text has too few of them.
    """
    ends = [found.end() for found in re.finditer(r"[.!?;:,]'? ", text)]
    sown = [canary for canary in canaries for _ in range(canary.times)]
    if len(ends) < len(sown):
        raise InputError("times", f"at most {len(ends)} canaries, as many as the text has punctuation marks", len(sown))
    draw = stream(seed, "canaries", "places")
    places = np.sort(draw.choice(ends, len(sown), replace=False))
    given: list[str] = []
    replaced: list[str] = []
    start = 0
    for place, number in zip(places, draw.permutation(len(sown)), strict=True):
        canary = sown[number]
        instead = _instead(canary.secret, replacement, draw)
        for parts, middle in ((given, canary.secret), (replaced, instead)):
            parts += [text[start:place], canary.before, middle, canary.after]
        start = place
    return Planted("".join([*given, text[start:]]), "".join([*replaced, text[start:]]))


def _instead(secret: str, replacement: str, draw: np.random.Generator) -> str:
    if replacement:
        return (replacement * len(secret))[: len(secret)]
    while (drawn := "".join(draw.choice(list(DIGITS), len(secret)))) == secret:
        pass
    return drawn
