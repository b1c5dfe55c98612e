"""The group of commands, what several of them share, and how they speak."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import click

from unlearning import detection
from unlearning.cli.options import assignments, together
from unlearning.errors import InputError, printable
from unlearning.repairs.settings import DetectSettings

DATA_HELP = (
    "digits, a tensorflow-datasets name, cifar100-superclasses, a .npz file, a folder with one subfolder a class, "
    "or clothing1m:DIR, webvision:DIR, mini-webvision:DIR."
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress on standard error.")
data_dir_option = click.option(
    "--data-dir", help="Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR)."
)
own_data_option = click.option("--data", "dataset", help="The .npz file or folder, where the data set is one.")
labels_file_option = click.option(
    "--labels-file",
    help="The labels of human noise (a CIFAR-10N .npz file) or recorded noise (a JSON list of integers).",
)
set_option = click.option(
    "--set", "overrides", multiple=True, callback=assignments, metavar="FIELD=VALUE", help="Repeatable."
)
tensorboard_option = click.option(
    "--tensorboard",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write event files for TensorBoard of what is computed now; needs the package tensorboard.",
)
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


class Group(click.Group):
    """Turns mistakes of the user into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; an error of input or files ends in one line."""
        try:
            return super().invoke(ctx)
        except (InputError, OSError) as error:
            message = " ".join(str(error).split())
        click.echo(f"Error: {printable(message)}", err=True)
        ctx.exit(2)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Correct a Keras image classifier that has learned from wrong labels.

    Start with `run`: it trains a clean and a poisoned model on scikit-learn's digits, repairs the poisoned one, and
    prints how much of the lost accuracy came back. `repair` does it for a model and data of your own.
    """


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


def prepare(quiet: bool, threads: int | None = None) -> None:
    """Sets up logging and keeps TensorFlow's own chatter away from the table."""
    from unlearning.startup import import_tensorflow

    if quiet:
        silence_progress()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    library = logging.getLogger("unlearning")
    library.handlers = [handler]
    library.setLevel(logging.WARNING if quiet else logging.INFO)
    library.propagate = False  # TensorFlow gives the root logger a handler of its own
    import_tensorflow(threads)


def silence_progress() -> None:
    """Turns all progress bars off."""
    os.environ["TQDM_DISABLE"] = "1"


def print_json(results: list) -> None:
    """Prints records, or mappings, as a JSON list."""
    content = [r if isinstance(r, dict) else r.model_dump(mode="json", by_alias=True) for r in results]
    click.echo(json.dumps(content, indent=1))
