"""The options of detection, which several commands share."""

from __future__ import annotations

from typing import Any

import click

from unlearning.cli.group import assignments
from unlearning.cli.looks import Names, option, together
from unlearning.errors import InputError
from unlearning.repairs.settings import DetectSettings, with_eyes

DETECTORS = Names("unlearning.detection:DETECTORS")

eyes_option = option(
    "--eyes",
    metavar="NAME_OR_FILE",
    help="Let a pretrained network look at the images: a .keras or .tflite file, a name of keras.applications such as "
    "MobileNetV2 (Keras downloads its weights), hub: and a preset of keras-hub, or own (the model's penultimate "
    "layer). Implies --detect pretrained.",
)

detect_options = together(
    option(
        "--detect",
        "detector",
        type=DETECTORS,
        metavar="DETECTOR",
        help=f"Let a detector find the flagged rows. One of {', '.join(DETECTORS.names)}. Its settings are changed by "
        "--set DETECTOR.FIELD=VALUE.",
    ),
    eyes_option,
    click.option("--detect-set", "detector_options", multiple=True, callback=assignments, hidden=True),
    option(
        "--suspects",
        type=click.Choice(["relabel", "remove"]),
        default="relabel",
        show_default=True,
        help="Give what is detected its suggested label, or take it out.",
    ),
    option(
        "--rounds",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="Detect again with the repaired model, and repair the original one anew.",
    ),
    heading="Detection",
)


def take_detection(options: dict[str, Any]) -> DetectSettings | None:
    """Takes the options of detection out of a command's options, those of the detector out of `overrides`, too.

    Returns:
        How rows are detected; None where they are not to be.

    Raises:
        InputError: If there is no such option of the detector, or an option says how to detect and none says that.
    """
    detector, changed = options.pop("detector", None), options.pop("detector_options", {})
    eyes = options.pop("eyes", None)
    detector, changed = with_eyes(detector, changed, eyes)
    suspects, rounds = options.pop("suspects", "relabel"), options.pop("rounds", 1)
    if detector is None:
        if changed or suspects != "relabel" or rounds > 1:
            raise InputError("--suspects and --rounds need --detect.")
        return None
    own = f"{detector}."
    overrides = options.get("overrides", {})
    told = {key.removeprefix(own): value for key, value in overrides.items() if key.startswith(own)}
    if told:
        options["overrides"] = {key: value for key, value in overrides.items() if not key.startswith(own)}
    chosen = DetectSettings(detector=detector, options={**changed, **told}, suspects=suspects, rounds=rounds)
    chosen.build()  # finds a wrong option before anything else is done
    return chosen
