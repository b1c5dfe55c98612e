"""The rows of a seed: the book with its canaries, divided into training, validation and test."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from unlearning.experiments.memorisation.book import encode, read_book, windows
from unlearning.experiments.memorisation.canaries import Canary, draw_canaries, plant
from unlearning.records.memorisation import MemorisationConfig
from unlearning.streams import stream_seed
from unlearning.task import Corrections, Split

_TRAIN, _VALIDATION = 0.85, 0.925  # where these parts of the text end


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """What a model of a seed learns and is asked.

    Attributes:
        canaries: The sentences with their secrets.
        train: The rows of the text with the canaries.
        flagged: The rows that the replaced secrets change, as they should have been.
        validation: Rows of the next part of the book, with the canaries' sentences and other digits in them: what the
            model should say there.
        test: Rows of the last part, without canaries.
    """

    canaries: Sequence[Canary]
    train: Split
    flagged: Corrections
    validation: Split
    test: Split


def prepare(config: MemorisationConfig) -> Material:
    """Makes the rows of a seed.

    Passes on an `InputError` if the text is too short for the canaries.

    Args:
        config: What a model depends on.

    Returns:
        The rows.
    """
    text = read_book()[: config.characters]
    first, second = (round(share * len(text)) for share in (_TRAIN, _VALIDATION))
    canaries = draw_canaries(config.times, config.digits, config.seed)
    planted = plant(text[:first], canaries, config.seed, config.replacement)
    train, flagged = planted.rows(config.window)
    others = [dataclasses.replace(canary, times=config.validation_times) for canary in canaries]
    seed = stream_seed(config.seed, "canaries", "validation")
    right = plant(text[first:second], others, seed, config.replacement).replaced
    validation, test = (windows(encode(part), config.window) for part in (right, text[second:]))
    return Material(canaries, train, flagged, validation, test)
