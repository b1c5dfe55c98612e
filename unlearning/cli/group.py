"""The group of commands, what several of them share, and how they speak."""

from __future__ import annotations

import importlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import click

from unlearning.errors import InputError, printable
from unlearning.startup import choose_threads

DATA_HELP = (
    "digits, a tensorflow-datasets name, cifar100-superclasses, a .npz file, a folder with one subfolder a class, "
    "or clothing1m:DIR, webvision:DIR, mini-webvision:DIR."
)


def assignments(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Parses `name=value` options."""
    parsed = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise click.BadParameter(f"expected name=value, received {text!r}")
        parsed[name] = value
    return parsed


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
_SECTIONS = {
    "unlearning.cli.models": ("repair", "detect"),
    "unlearning.cli.experiments": ("run", "train", "configs", "unlearn", "labels"),
    "unlearning.cli.results": ("show", "compare", "export", "figures", "features", "report", "validate", "schema"),
}
"""The commands by the module that defines them, which is imported when one of them is asked for."""


class Group(click.Group):
    """Finds commands in their sections, and turns mistakes of the user into one line and exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of all commands."""
        return sorted(name for names in _SECTIONS.values() for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns a command, once its section is imported."""
        for module, names in _SECTIONS.items():
            if cmd_name in names:
                importlib.import_module(module)
        return super().get_command(ctx, cmd_name)

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


def prepare(quiet: bool, threads: int | None = None) -> None:
    """Sets up logging and threads for a command that may compute; TensorFlow is imported by what computes."""
    if quiet:
        silence_progress()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    library = logging.getLogger("unlearning")
    library.handlers = [handler]
    library.setLevel(logging.WARNING if quiet else logging.INFO)
    library.propagate = False  # TensorFlow gives the root logger a handler of its own
    choose_threads(threads)


def silence_progress() -> None:
    """Turns all progress bars off."""
    os.environ["TQDM_DISABLE"] = "1"


def print_json(results: list) -> None:
    """Prints records, or mappings, as a JSON list."""
    content = [r if isinstance(r, dict) else r.model_dump(mode="json", by_alias=True) for r in results]
    click.echo(json.dumps(content, indent=1))
