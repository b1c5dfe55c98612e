"""A method looks the same everywhere, and no two published methods look alike."""

from __future__ import annotations

import re

from matplotlib.markers import MarkerStyle

from support.paths import ROOT
from unlearning import methods
from unlearning.drawing import palette
from unlearning.drawing.palette import look, sort_methods


def test_every_registered_method_has_a_look_of_its_own() -> None:
    looks = [look(name) for name in methods.available()]
    assert len(set(looks)) == len(looks)


def test_a_method_of_strangers_is_neutral() -> None:
    assert look("magic").colour == look("sapling").colour == palette.GREY and look("magic") != look("sharding")
    assert look("sap-of-my-own").colour == look("sap").colour == look("sap+magic").colour


def test_a_family_shares_its_hue() -> None:
    assert look("second-order").colour == look("second-order-lissa").colour != look("first-order").colour
    assert look("second-order") != look("second-order+fine-tuning")
    assert look("second-order").dash == "solid" and look("a-method-of-my-own").colour.startswith("#")


def test_the_page_has_a_shape_for_every_marker() -> None:
    script = (ROOT / "unlearning/reporting/page/assets/charts.js").read_text()
    shapes = script.partition("const SHAPES = {")[2].partition("};")[0]
    known = {name.strip('" ') for name in re.findall(r'([a-z]+|"[a-z-]+"): "M', shapes)}
    assert known == set(palette._MARKERS)


def test_matplotlib_knows_the_markers_and_dashes() -> None:
    for name in methods.available():
        MarkerStyle(look(name).matplotlib_marker)
        assert look(name).matplotlib_dash in ("-", "--", ":", "-.")


def test_families_stay_together_in_legends() -> None:
    names = ["my-own", "sap-head", "sap+second-order", "second-order", "sap", "retraining-unflagged", "retraining"]
    expected = ["retraining", "retraining-unflagged", "second-order", "sap", "sap+second-order", "sap-head", "my-own"]
    assert sort_methods(names) == sort_methods(names[::-1]) == expected


def test_no_two_that_are_shown_together_look_alike() -> None:
    names = [*methods.available(), *(f"sap-variant-{number}" for number in range(18))]
    shown = palette.looks(names)
    assert len({(own.colour, own.marker, own.filled) for own in shown.values()}) == len(names)
    assert shown["sap"] == look("sap") and shown == palette.looks(names[::-1])
