"""Settings: one annotated field a setting, and old files that stay good."""

from __future__ import annotations

import contextlib
import json
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearning.errors import InputError
from unlearning.settings import Positive, Settings, Share, Since, fill_older, since


class Inner(Settings):
    """What is nested."""

    depth: Positive = 2
    """How deep."""
    kind: Annotated[str, since("0.2", before="plain")] = "better"
    """Which kind."""


class Example(Settings):
    """Some settings."""

    share: Share = 1
    """A share."""
    rates: tuple[float, ...] = (1, 2.5)
    """Rates."""
    word: str | None = None
    """A word."""
    mode: Literal["a", "b"] = "a"
    """A mode."""
    later: Annotated[int, since("0.2", before=0)] = 3
    """Came later."""
    first: Annotated[str, since("0.2", before="", group="pair")] = ""
    """One of two that go together."""
    second: Annotated[int, since("0.2", before=0, group="pair")] = 0
    """The other."""
    inner: Inner = Inner()
    """More."""


class TestValues:
    @pytest.mark.parametrize(
        "wrong", [{"share": 1.5}, {"share": float("nan")}, {"mode": "c"}, {"rates": ("x",)}, {"share": None}]
    )
    def test_a_wrong_value_is_an_input_error_that_names_the_field(self, wrong: dict) -> None:
        with pytest.raises(InputError, match=next(iter(wrong))):
            Example(**wrong)

    def test_an_unknown_name_lists_the_known_ones(self) -> None:
        with pytest.raises(InputError, match=r"one of the settings .*later.*mode"):
            Example(shaer=1)

    def test_an_error_of_a_rule_across_fields_comes_as_it_is(self) -> None:
        from pydantic import model_validator

        class Ruled(Example):
            @model_validator(mode="after")
            def _rule(self) -> Ruled:
                if self.mode == "b":
                    raise InputError("mode", "a here", self.mode)
                return self

        with pytest.raises(InputError, match="Expected a here"):
            Ruled(mode="b")

    def test_changed_is_checked_and_leaves_the_original(self) -> None:
        before = Example(share=0.5)
        assert before.changed(mode="b").share == 0.5 and before.mode == "a"
        with pytest.raises(InputError, match="share"):
            before.changed(share=2)


class TestText:
    def test_json_is_read_as_json_and_other_text_as_text(self) -> None:
        read = Example.parse("x", {"share": "0.25", "rates": "[1, 2]", "word": "dense_1"})
        assert (read.share, read.rates, read.word) == (0.25, (1.0, 2.0), "dense_1")
        assert Example.parse("x", {"word": "null"}).word is None

    @pytest.mark.parametrize("text", ["nan", "true", '"0.5"', "1e999", "[0.5]", "4_2"])
    def test_text_that_is_no_number_is_refused(self, text: str) -> None:
        with pytest.raises(InputError, match=r"x\.share"):
            Example.parse("x", {"share": text})

    def test_a_preset_gives_way(self) -> None:
        assert Example.parse("x", {"share": "0.5"}, {"share": 0.1, "mode": "b"}).config()["share"] == 0.5

    @given(st.text())
    def test_no_text_breaks_it(self, text: str) -> None:
        with contextlib.suppress(InputError):
            assert 0 <= Example.parse("x", {"share": text}).share <= 1


class TestSince:
    def test_what_is_as_before_is_not_written(self) -> None:
        assert "later" not in Example(later=0).config() and Example().config()["later"] == 3

    def test_a_group_is_left_out_together(self) -> None:
        assert not {"first", "second"} & set(Example().config())
        assert Example(first="x").config()["second"] == 0

    def test_numbers_are_written_as_given(self) -> None:
        """An integer given as a default where a float may stand stays one: old hashes depend on it."""
        assert json.dumps(Example().config()["rates"]) == "[1, 2.5]"
        assert json.dumps(Example().config()["share"]) == "1"

    def test_old_files_are_filled_with_what_they_meant(self) -> None:
        filled = fill_older(Example, {"share": 0.5, "inner": {"depth": 3}})
        read = Example.model_validate(filled)
        assert read.later == 0 and read.inner.kind == "plain", "not the default of today"

    def test_nested_settings_leave_out_theirs(self) -> None:
        assert Example(inner=Inner(kind="plain")).config()["inner"] == {"depth": 2}

    def test_the_schema_says_it(self) -> None:
        properties = Example.model_json_schema()["properties"]
        assert properties["later"]["x-since"] == "0.2"
        assert properties["share"]["description"] == "A share." and properties["share"]["maximum"] == 1
        assert Since("0.2", 0).version == "0.2"
