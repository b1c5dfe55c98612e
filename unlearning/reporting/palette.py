"""One look for each method, the same in every figure and on every page.

Eight colours that people with any common colour blindness can tell apart (Okabe & Ito, 2008), and a marker and a dash
for what shares a colour: methods of one family (a method, its variants, the chains that begin with it) share the hue.
"""

from __future__ import annotations

import dataclasses
import hashlib

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73"),
    *("#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
)
_GREY = "#7F7F7F"

# The first name that a method begins with is its family.
_FAMILIES = {
    **{"retraining": BLACK, "sharding": _GREY, "fine-tuning": ORANGE, "first-order": SKY, "second-order": BLUE},
    **{"sap": GREEN, "fspmu": VERMILION, "scrub": PURPLE, "ssd": YELLOW},
}
_DASHES = ("solid", "dash", "dot", "dashdot")
_MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")


@dataclasses.dataclass(frozen=True)
class Look:
    """How one method is drawn.

    Attributes:
        colour: `#RRGGBB`.
        marker: One of Plotly's symbol names; `matplotlib_marker` translates it.
        dash: One of Plotly's dash names; `matplotlib_dash` translates it.
    """

    colour: str
    marker: str
    dash: str

    @property
    def matplotlib_marker(self) -> str:
        """The same marker in Matplotlib's alphabet."""
        return dict(zip(_MARKERS, "osD^PX*", strict=True))[self.marker]

    @property
    def matplotlib_dash(self) -> str:
        """The same dash in Matplotlib's alphabet."""
        return {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}[self.dash]


def look(method: str) -> Look:
    """The look of a method, from its name alone, so that no other method's presence changes it.

    Args:
        method: Name of a method, variant or chain, such as `second-order`, `fspmu-gmm` or `sap+second-order`.

    Returns:
        Its colour, marker and dash. The family's plain method is drawn solid with circles.
    """
    family = next((name for name in _FAMILIES if method.startswith(name)), None)
    colour = _FAMILIES[family] if family else _GREY
    if method == family:
        return Look(colour, _MARKERS[0], _DASHES[0])
    # A digest, since Python's own `hash` of a text differs from process to process.
    number = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4], "big")
    return Look(colour, _MARKERS[1 + number % (len(_MARKERS) - 1)], _DASHES[1 + number // 7 % (len(_DASHES) - 1)])
