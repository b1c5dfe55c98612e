"""One look for each method, the same in every figure and on every page.

Eight colours that people with any common colour blindness can tell apart (Okabe & Ito, 2008), and a marker and a dash
for what shares a colour: methods of one family (a method, its variants, the chains that begin with it) share the hue.
Which family a method is of, its registry says; what that does not know is grey.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable

from unlearning import methods
from unlearning.errors import InputError
from unlearning.registry import Entry

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73"),
    *("#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
)
GREY = "#7F7F7F"
WINE, TEAL = "#882255", "#44AA99"
"""Two more (Tol, 2021), for the method that chooses among the others, and for the last layer alone."""

# What is no method, the same in every figure, too.
GOOD, BAD = BLUE, ORANGE
"""Rows with right and wrong labels, or rows that a repair kept and took for wrong."""
THRESHOLD = VERMILION
CLEAN, POISONED = "#404040", GREY
"""The models that all repairs lie between."""

_COLOURS = {  # by family, in the order of a legend
    **{"retraining": BLACK, "sharding": GREY, "fine-tuning": ORANGE, "first-order": SKY, "second-order": BLUE},
    **{"auto": WINE, "last-layer": TEAL},
    **{"sap": GREEN, "fspmu": VERMILION, "scrub": PURPLE, "ssd": YELLOW},
}
_DASHES = ("solid", "dash", "dot", "dashdot")
_MARKERS = {  # our name: Matplotlib's
    **{"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v", "triangle-left": "<"},
    **{"triangle-right": ">", "pentagon": "p", "hexagon": "h", "cross": "P", "x": "X", "star": "*"},
}


@dataclasses.dataclass(frozen=True)
class Look:
    """How one method is drawn.

    Attributes:
        colour: `#RRGGBB`.
        marker: One of `circle`, `square` and so on; `matplotlib_marker` translates it.
        dash: One of `solid`, `dash`, `dot` and `dashdot`; `matplotlib_dash` translates it.
        filled: Whether its markers are filled; `looks` empties them where a family has more methods than markers.
    """

    colour: str
    marker: str
    dash: str
    filled: bool = True

    @property
    def face(self) -> str:
        """The colour inside its marker."""
        return self.colour if self.filled else "white"

    @property
    def edge(self) -> str:
        """The colour around its marker."""
        return "white" if self.filled else self.colour

    @property
    def matplotlib_marker(self) -> str:
        """The same marker in Matplotlib's alphabet."""
        return _MARKERS[self.marker]

    @property
    def matplotlib_dash(self) -> str:
        """The same dash in Matplotlib's alphabet."""
        return {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}[self.dash]


def marker_style(style: Look) -> dict[str, object]:
    """Returns a look's marker as Matplotlib's `plot` takes it: an empty one shows what lies behind it in no place."""
    return {"marker": style.matplotlib_marker, "markerfacecolor": style.face, "markeredgecolor": style.edge}


def look(method: str) -> Look:
    """The look of a method, from its name alone, so that no other method's presence changes it.

    Args:
        method: Name of a method, variant or chain, such as `second-order`, `fspmu-gmm` or `sap+second-order`.

    Returns:
        Its colour, marker and dash. The family's plain method is drawn solid with circles.
    """
    family = _family(method)
    if method == family:
        return Look(_COLOURS[family], "circle", _DASHES[0])
    # A digest, since Python's own `hash` of a text differs from process to process.
    number = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4], "big")
    markers, dashes = list(_MARKERS)[1:], _DASHES[1:]
    dash = dashes[number // len(markers) % len(dashes)]
    return Look(_COLOURS.get(family, GREY), markers[number % len(markers)], dash)


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Returns the looks of methods that are shown together: no two have the same colour and marker.

    Args:
        names: The methods. Each keeps its own look, unless one before it in a legend has that already.

    Returns:
        A look by name, in the order of a legend.

    Example:
        >>> found = looks(f"sap-{number}" for number in range(20))
        >>> len({(look.colour, look.marker, look.filled) for look in found.values()})
        20
    """
    found: dict[str, Look] = {}
    taken: set[tuple[str, str, bool]] = set()
    for name in sort_methods(set(names)):
        own = look(name)
        first = list(_MARKERS).index(own.marker)
        order = [*list(_MARKERS)[first:], *list(_MARKERS)[:first]]
        free = ((marker, filled) for filled in (True, False) for marker in order)
        marker, filled = next((one for one in free if (own.colour, *one) not in taken), (own.marker, own.filled))
        taken.add((own.colour, marker, filled))
        found[name] = dataclasses.replace(own, marker=marker, filled=filled)
    return found


def sort_methods(names: Iterable[str]) -> list[str]:
    """Sorts names of methods for a legend: families stay together, each begins with its plain method.

    Returns:
        The names in order.

    Example:
        >>> sort_methods(["sap-head", "second-order", "sap", "retraining"])
        ['retraining', 'second-order', 'sap', 'sap-head']
    """
    families = [*_COLOURS, ""]
    return sorted(names, key=lambda name: (families.index(_family(name)), name))


def _family(method: str) -> str:
    """The family whose colour a method has: that of a chain's first stage; empty without a colour."""
    found = _entry(method.partition("+")[0])
    return found.family if found is not None and found.family in _COLOURS else ""


def _entry(method: str) -> Entry | None:
    """What the registry knows of a method, whatever variant stands behind its name, or values in brackets."""
    method = method.partition(" (")[0]
    while method:
        try:
            return methods.entry(method)
        except InputError:
            method = method.rpartition("-")[0]
    return None
