"""How flagged rows are found where nobody knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from unlearning import detection
from unlearning.settings import Positive, Settings

if TYPE_CHECKING:
    from unlearning.detection.base import Detector
    from unlearning.methods.base import Method
    from unlearning.methods.detected import Detected


class DetectSettings(Settings):
    """Flagged rows by detection instead of knowledge; see `unlearning.methods.detected.Detected`."""

    detector: str
    """Let this detector find the flagged rows."""
    options: dict[str, Any] = {}
    """Options of the detector to change."""
    suspects: Literal["relabel", "remove"] = "relabel"
    """Give what is detected its suggested label, or take it out."""
    rounds: Positive = 1
    """Detect again with the repaired model, and repair the original one anew."""

    def build(self) -> Detector:
        """Returns the detector, and raises `InputError` if there is none of that name or with such options."""
        return detection.get(self.detector, self.options)

    def apply(self, method: Method) -> Detected:
        """Returns the method with its flagged rows from the detector."""
        from unlearning.methods.detected import Detected

        return Detected(
            method=method, detector=self.detector, options=self.options, suspects=self.suspects, rounds=self.rounds
        )
