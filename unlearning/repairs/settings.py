"""How flagged rows are found where nobody knows them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from unlearning import detection
from unlearning.errors import InputError
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


def default_detection(images: Any) -> DetectSettings:
    """Returns how rows are detected where nobody says how: by patches of images, or by neighbours of other rows.

    Args:
        images: The training rows' images, or vectors.
    """
    return DetectSettings(detector="patches" if len(images.shape) == 4 else "neighbours")


def take_time(budget: float | str) -> dict[str, float]:
    """Returns a time budget as a setting of methods that have one.

    Args:
        budget: Seconds, as a number or text such as `"90"` or `"90 s"`, or passes over the training rows, such as
            `"3 passes"`.

    Returns:
        `{"seconds": ...}` or `{"passes": ...}`.

    Raises:
        InputError: If it is neither.
    """
    text = str(budget).strip().lower()
    number, unit = text.rstrip("abcdefghijklmnopqrstuvwxyz "), text.lstrip("0123456789.eE+- ").strip()
    name = {"": "seconds", "s": "seconds", "seconds": "seconds", "pass": "passes", "passes": "passes"}.get(unit)
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if name is None or not 0 < value < float("inf"):
        raise InputError("time_budget", "seconds such as 90, or passes over the data such as '3 passes'", budget)
    return {name: value}


def with_eyes(
    detector: str | None, options: Mapping[str, Any], eyes: str | os.PathLike[str] | None
) -> tuple[str | None, dict[str, Any]]:
    """Returns a detector's name and options with the eyes that it is to look with.

    Args:
        detector: The name, or None where none is named.
        options: Its options.
        eyes: What looks at the images; see `unlearning.eyes.open_eyes`. They imply a detector. None changes nothing.

    Raises:
        InputError: If the detector does not look with eyes, or has got others.
    """
    if eyes is None:
        return detector, dict(options)
    name = detector or detection.WITH_EYES
    if "eyes" not in detection.DETECTORS.load(name).model_fields:
        raise InputError("eyes", f"a detector that looks with them, such as {detection.WITH_EYES}", name)
    if options.get("eyes", os.fspath(eyes)) != os.fspath(eyes):
        raise InputError("eyes", "one pair of eyes", f"{os.fspath(eyes)} and {options['eyes']}")
    return name, {**options, "eyes": os.fspath(eyes)}


def take_detection(detect: str | Detector | DetectSettings) -> DetectSettings:
    """Returns how flagged rows are found, from whatever says it.

    Args:
        detect: A registered name, a detector of a registered kind, or settings.

    Returns:
        The settings.

    Raises:
        InputError: If it is none of these.
    """
    if isinstance(detect, DetectSettings):
        return detect
    if isinstance(detect, str):
        return DetectSettings(detector=detect)
    if isinstance(detect, detection.Detector):
        for entry in detection.DETECTORS.entries():
            if entry.load() is type(detect):
                return DetectSettings(detector=entry.name, options=dict(detect))
    expected = f"settings, a detector of a registered kind, or one of {', '.join(detection.available())}"
    raise InputError("detect", expected, type(detect).__name__)
