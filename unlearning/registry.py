"""Names for things that can be asked for: methods, detectors, kinds of noise, data sources, architectures, objectives.

A room that has such things holds one `Registry`, with one line an entry. An entry says what the rest of the program may
want to know of it (its role, its family, what it needs), so that nobody else tests names. What it stands for is
imported when it is asked for. Other packages add entries by `register`, or by an entry point in the registry's group:

    [project.entry-points."unlearning.methods"]
    my-method = "my_package.my_module:MyMethod"

Example:
    >>> colours = Registry("colour", "my.colours")
    >>> colours.register("none", "builtins:None", summary="no colour at all", role=Role.CONTROL)
    >>> colours.names(), colours.entry("none").summary
    (('none',), 'no colour at all')
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import importlib
import importlib.metadata
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from unlearning.errors import InputError


class Role(enum.StrEnum):
    """What an entry is for."""

    RECOMMENDED = "recommended"
    """One of our best; offered first."""
    PUBLISHED = "published"
    """A published schedule, kept faithful."""
    CONTROL = "control"
    """What others must beat."""
    GOLD = "gold"
    """What there is to reach, at any cost; others are compared with its result."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One thing by name.

    Attributes:
        name: Its name.
        target: Where it is, as `module:attribute`, or the thing itself.
        summary: One line on it, without a full stop.
        role: What it is for.
        family: Those of one family share their idea (and their colour in pictures).
        needs: What it cannot do without, in the words of its room (`flagged`, `labels_file`, `cleanlab`).
        preset: Settings that differ from the defaults of the target.
    """

    name: str
    target: Any
    summary: str = ""
    role: Role = Role.RECOMMENDED
    family: str = ""
    needs: frozenset[str] = frozenset()
    preset: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def load(self) -> Any:
        """Returns the thing itself."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


class Registry:
    """Entries by name, in the order of registration.

    Args:
        what: What an entry is, in messages: `method`.
        group: Group of entry points by which other packages add entries.
        entries: The first entries.
    """

    def __init__(self, what: str, group: str, entries: tuple[Entry, ...] = ()) -> None:
        self.what, self.group = what, group
        self._entries = {entry.name: entry for entry in entries}
        self._looked = False

    def register(
        self,
        name: str,
        target: Any,
        *,
        summary: str = "",
        role: Role = Role.RECOMMENDED,
        family: str = "",
        needs: frozenset[str] | set[str] | tuple[str, ...] = frozenset(),
        preset: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds an entry; see `Entry` for the arguments.

        Raises:
            InputError: If the name is taken, or no name.
        """
        if not name or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            raise InputError("name", "letters, digits, '-' and '_'", name)
        if name in self._all():
            raise InputError("name", f"a {self.what} that is not registered yet", name)
        summary = summary or _first_line(target)
        self._entries[name] = Entry(name, target, summary, role, family or name, frozenset(needs), preset or {})

    def remove(self, name: str) -> None:
        """Takes an entry out again, for tests and notebooks.

        Passes on an `InputError` if there is none of that name.
        """
        self.entry(name)
        del self._entries[name]

    def names(self) -> tuple[str, ...]:
        """Returns all names."""
        return tuple(self._all())

    def entries(self) -> tuple[Entry, ...]:
        """Returns all entries."""
        return tuple(self._all().values())

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def entry(self, name: str) -> Entry:
        """Returns the entry of a name.

        Raises:
            InputError: If there is none; the message lists the names.
        """
        found = self._all().get(name)
        if found is None:
            raise InputError(self.what, received=name, known=self._all())
        return found

    def load(self, name: str) -> Any:
        """Returns what a name stands for; raises as `entry`."""
        return self.entry(name).load()

    def summaries(self) -> dict[str, str]:
        """Returns one line on each entry, by name."""
        return {entry.name: entry.summary for entry in self.entries()}

    def build(self, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """Builds the settings that a name stands for.

        Passes on an `InputError` if there is none of this name, it has no such field, or a value does not fit.

        Args:
            name: A registered name.
            options: Fields that differ from the entry's preset and the defaults; see `Settings.parse`.

        Returns:
            The settings.
        """
        entry = self.entry(name)
        return entry.load().parse(name, options or {}, entry.preset)

    def _all(self) -> dict[str, Entry]:
        if not self._looked:
            self._looked = True
            for point in importlib.metadata.entry_points(group=self.group):
                if point.name not in self._entries:
                    with contextlib.suppress(InputError):
                        self.register(point.name, point.value, summary=f"from {point.value.partition(':')[0]}")
        return self._entries


def _first_line(target: Any) -> str:
    """The first line of a thing's docstring, as a summary; a thing that is not imported yet has none."""
    if isinstance(target, str):
        return ""
    return (inspect.getdoc(target) or "").partition("\n")[0].rstrip(".")
