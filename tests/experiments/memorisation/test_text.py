"""The book, and the canaries in it."""

from __future__ import annotations

import numpy as np
import pytest

from unlearning.errors import InputError
from unlearning.experiments.memorisation.book import decode, encode, read_book, windows
from unlearning.experiments.memorisation.canaries import draw_canaries, plant
from unlearning.experiments.memorisation.material import prepare
from unlearning.experiments.memorisation.settings import MemorisationSettings
from unlearning.experiments.memorisation.words import ALPHABET, LONGEST_WINDOW


def test_the_book_is_the_book() -> None:
    book = read_book()
    assert len(book) == 142_428
    assert book.startswith("alice's adventures in wonderland lewis carroll")
    assert book.endswith("the happy summer days. the end")
    assert set(book) <= set(ALPHABET)


def test_a_label_is_the_character_behind_its_window() -> None:
    text = read_book()[:200]
    rows = windows(encode(text), 8)
    assert len(rows) == 192
    assert [decode(row) + decode([label]) for row, label in zip(rows.images, rows.labels, strict=True)] == [
        text[start : start + 9] for start in range(192)
    ]


def test_what_is_not_in_the_alphabet_is_refused() -> None:
    with pytest.raises(InputError, match="é"):
        encode("café")


def test_flagged_rows_are_those_that_a_secret_touches_and_no_others() -> None:
    """With the corrected windows and labels in their place, the rows are those of the replaced text."""
    planted = plant(read_book()[:3000], draw_canaries((2, 3), 4, seed=1), seed=1, replacement="none")
    given, flagged = planted.rows(10)
    right = windows(encode(planted.replaced), 10)
    images, labels = given.images.copy(), given.labels.copy()
    images[flagged.rows], labels[flagged.rows] = flagged.images, flagged.labels
    np.testing.assert_array_equal(images, right.images)
    np.testing.assert_array_equal(labels, right.labels)
    # A secret is the label of four rows and stands in the window of nine more, or ten before its last digit has left.
    assert len(flagged) == 5 * (4 + 10)
    assert planted.given.count("none") < planted.replaced.count("none")


def test_replaced_secrets_differ_each_time_and_none_stays() -> None:
    canary = draw_canaries((20,), 5, seed=0)[0]
    planted = plant(read_book()[:5000], [canary], seed=0)
    assert planted.given.count(canary.before + canary.secret + canary.after) == 20
    assert canary.secret not in planted.replaced
    said = {part[:5] for part in planted.replaced.split(canary.before)[1:]}
    assert len(said) > 15


def test_a_window_in_front_of_a_secret_holds_its_sentence_alone() -> None:
    canaries = draw_canaries((1,) * 6, 3, seed=0)
    assert min(len(canary.before) for canary in canaries) == LONGEST_WINDOW
    assert len({canary.before for canary in canaries}) == 6


def test_no_canary_is_in_test_rows_and_no_secret_in_validation_rows() -> None:
    material = prepare(MemorisationSettings(characters=8000, times=(2, 2), validation_times=2).config_of(3))
    text = {part: decode(rows.labels) for part, rows in (("validation", material.validation), ("test", material.test))}
    for canary in material.canaries:
        assert canary.before in text["validation"]
        assert canary.secret not in text["validation"]
        assert canary.before not in text["test"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"characters": 100}, "characters"),
        ({"digits": 0}, "digits"),
        ({"times": (1,) * 7}, "times"),
        ({"window": 25}, "window"),
        ({"replacement": "é"}, "replacement"),
        ({"seeds": (1, 1)}, "seeds"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MemorisationSettings(**settings)


def test_more_canaries_than_places_are_refused() -> None:
    with pytest.raises(InputError, match="times"):
        prepare(MemorisationSettings(characters=2000, times=(5000,)).config_of(0))
