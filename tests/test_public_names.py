"""The names at the top level load on first use, and yet mypy, jedi and pydoc see what they are."""

from __future__ import annotations

import ast
import pydoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import jedi
import pytest

import unlearning

STUBS = sorted(Path(unlearning.__file__).parent.rglob("__init__.pyi"))
NAMES = [alias.asname for node in ast.parse(STUBS[0].read_text()).body for alias in getattr(node, "names", ())]
PLAIN: Any = vars(pydoc)["plaintext"]  # which the stubs of mypy do not know
CALLBACKS = ("FeatureSpaceUnlearning", "ScaledActivationProjection")

if TYPE_CHECKING:
    # mypy, which `.ci/run` runs on this file, refuses these where the names are Any.
    def check_types(model: Any, data: Any) -> None:
        """States what the public functions return."""
        assert_type(unlearning.repair(model, data, flagged={1: 2}), unlearning.Repair)
        assert_type(unlearning.detect(model, data, detector="patches"), unlearning.Found)
        assert_type(unlearning.load_data("digits"), unlearning.ImageData)
        assert_type(unlearning.FeatureSpaceUnlearning(data, data, data), unlearning.FeatureSpaceUnlearning)
        assert_type(unlearning.ScaledActivationProjection(data, data), unlearning.ScaledActivationProjection)


@pytest.mark.parametrize("stub", STUBS, ids=lambda path: path.parent.name)
def test_every_name_of_a_stub_is_there_and_listed(stub: Path) -> None:
    package = pydoc.locate(".".join(stub.parent.relative_to(STUBS[0].parents[1]).parts))
    names = [alias.asname for node in ast.parse(stub.read_text()).body for alias in getattr(node, "names", ())]
    assert names and set(names) <= set(dir(package)) and set(names) == set(package.__all__)  # type: ignore[attr-defined]
    assert all(getattr(package, name) is not None for name in names)


def test_the_front_door() -> None:
    assert {"repair", "detect", "Split", "Corrections", "load_data", "load_model", *CALLBACKS} <= set(NAMES)
    assert (STUBS[0].parent / "py.typed").is_file()


def test_pydoc_shows_pages() -> None:
    page = pydoc.render_doc(unlearning, renderer=PLAIN)
    assert "repair(" in page and "detect(" in page and "flagged:" in page
    for name in NAMES:
        assert f" {name}" in page, name
    assert "Attributes:" in pydoc.render_doc(unlearning.Repair, renderer=PLAIN)


@pytest.mark.parametrize("name", ["repair", "detect", "load_data", "corrupt", *CALLBACKS])
def test_jedi_shows_signatures(name: str) -> None:
    project = jedi.Project(STUBS[0].parents[1])
    (found, *_) = jedi.Script(f"import unlearning\nunlearning.{name}(", project=project).get_signatures()
    assert found.name == name and len(found.params) > 1 and found.docstring(raw=True)
