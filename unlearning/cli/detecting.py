"""The options of detection, which several commands share."""

from __future__ import annotations

from typing import Any

import click

from unlearning import detection
from unlearning.cli.group import assignments
from unlearning.cli.options import together
from unlearning.errors import InputError
from unlearning.repairs.settings import DetectSettings

detect_options = together(
    click.option(
        "--detect",
        "detector",
        metavar="DETECTOR",
        help=f"Let a detector find the flagged rows: {', '.join(detection.available())}.",
    ),
    click.option(
        "--detect-set",
        "detector_options",
        multiple=True,
        callback=assignments,
        metavar="FIELD=VALUE",
        help="Change an option of the detector; repeatable.",
    ),
    click.option(
        "--suspects",
        type=click.Choice(["relabel", "remove"]),
        default="relabel",
        show_default=True,
        help="Give what is detected its suggested label, or take it out.",
    ),
    click.option(
        "--rounds",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Detect again with the repaired model, and repair the original one anew.",
    ),
)


def take_detection(options: dict[str, Any]) -> DetectSettings | None:
    """Takes the options of detection out of a command's options; None where rows are not to be detected."""
    detector, changed = options.pop("detector", None), options.pop("detector_options", {})
    suspects, rounds = options.pop("suspects", "relabel"), options.pop("rounds", 1)
    if detector is None:
        if changed or suspects != "relabel" or rounds > 1:
            raise InputError("--detect-set, --suspects and --rounds need --detect.")
        return None
    chosen = DetectSettings(detector=detector, options=changed, suspects=suspects, rounds=rounds)
    chosen.build()  # finds a wrong option before anything else is done
    return chosen
