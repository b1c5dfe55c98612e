"""Registries: lookup, strangers, and the same promises in every room."""

from __future__ import annotations

import importlib.metadata

import pytest

from unlearning.errors import InputError
from unlearning.registry import Entry, Registry, Role


@pytest.fixture
def colours() -> Registry:
    return Registry("colour", "test.colours", (Entry("red", "builtins:str", "as blood", family="warm"),))


def test_lookup(colours: Registry) -> None:
    assert colours.names() == ("red",) and "red" in colours and list(colours) == ["red"]
    assert colours.load("red") is str and colours.entry("red").role is Role.RECOMMENDED
    with pytest.raises(InputError, match=r"Received: 'blue'\. Expected one of red\."):
        colours.entry("blue")


def test_registering(colours: Registry) -> None:
    class Blue:
        """As the sky."""

    colours.register("blue", Blue, role=Role.CONTROL, needs={"sky"})
    assert colours.entry("blue").summary == "As the sky" and colours.load("blue") is Blue
    assert colours.entry("blue").family == "blue" and colours.entry("blue").needs == {"sky"}
    with pytest.raises(InputError, match="not registered yet"):
        colours.register("blue", Blue)
    for name in ("", "a b", "../x", "ä"):
        with pytest.raises(InputError, match="name"):
            colours.register(name, Blue)
    colours.remove("blue")
    assert "blue" not in colours


def test_entry_points_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("green", "collections:OrderedDict", "test.colours")
    wanted = []

    def entry_points(group: str):
        wanted.append(group)
        return [point]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    colours = Registry("colour", "test.colours", (Entry("red", "builtins:str"),))
    assert colours.names() == ("red", "green") and wanted == ["test.colours"]
    assert colours.load("green").__name__ == "OrderedDict" and "collections" in colours.entry("green").summary


ROOMS = {
    "unlearning.methods": "METHODS",
    "unlearning.detection": "DETECTORS",
    "unlearning.noise": "NOISES",
    "unlearning.data": "SOURCES",
    "unlearning.architectures": "ARCHITECTURES",
    "unlearning.training.objectives": "OBJECTIVES",
}


@pytest.mark.parametrize("room", ROOMS)
def test_every_entry_of_every_room_loads_and_says_what_it_is(room: str) -> None:
    module = importlib.import_module(room)
    registry: Registry = getattr(module, ROOMS[room])
    assert registry.group.startswith("unlearning.") and len(registry.names()) > 2
    for entry in registry.entries():
        assert entry.load() is not None
        assert entry.summary and not entry.summary.endswith("."), entry.name
        assert entry.role in Role and isinstance(entry.needs, frozenset)
