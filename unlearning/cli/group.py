"""The group of commands, what several of them share, and how they speak."""

from __future__ import annotations

import importlib
import json
import logging
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import click

from unlearning.cli.looks import WIDTH, Command, Context, option
from unlearning.errors import InputError, printable_lines
from unlearning.progress import MessageHandler, PrintableFormatter, Terminal, current, is_quiet, reporting
from unlearning.startup import choose_threads, open_standard_streams


def assignments(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Parses `name=value` options."""
    parsed = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise click.BadParameter(f"expected name=value, received {text!r}")
        parsed[name] = value
    return parsed


json_option = option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
quiet_option = option("--quiet", is_flag=True, help="No progress on standard error.")
force_option = option("--force", is_flag=True, help="Replace what is there.")
data_dir_option = option(
    "--data-dir", metavar="DIR", help="Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR)."
)
own_data_option = option(
    "--data", "dataset", metavar="PATH", help="The .npz file or folder, where the data set is one."
)
labels_file_option = option(
    "--labels-file",
    metavar="FILE",
    help="The labels of human noise (a CIFAR-10N .npz file) or recorded noise (a JSON list of integers).",
)
set_option = option(
    "--set",
    "overrides",
    multiple=True,
    callback=assignments,
    metavar="FIELD=VALUE",
    help="Change a setting of the method, or with DETECTOR.FIELD=VALUE of the detector; repeatable. "
    "`list methods NAME` and `list detectors NAME` show them. `repair` takes loss.label_smoothing and "
    "loss.class_weights, too: what the model was trained with.",
)
import_option = option(
    "--import",
    "own_code",
    metavar="MODULE",
    help="Python module (a name or a .py file) that registers your own layers; its code is run.",
)
tensorboard_option = option(
    "--tensorboard",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write event files for TensorBoard of what is computed now; needs the package tensorboard.",
)
_SECTIONS = {
    "Your model": ("unlearning.cli.models", ("repair", "detect", "convert")),
    "Experiments": ("unlearning.cli.experiments", ("run", "unlearn", "reproduce")),
    "Language models": ("unlearning.cli.memorising", ("memorise",)),
    "Results": ("unlearning.cli.results", ("show", "export", "figures", "report", "validate")),
    "What there is": ("unlearning.cli.listing", ("list", "schema")),
}
"""The commands by section, each with the module that defines them; it is imported when one of them is asked for."""

_OLD = {
    "train": ("run", "--until", "training"),
    "configs": ("run", "--until", "configs"),
    "labels": ("export", "--format", "labels"),
    "compare": ("show", "--compare"),
    "features": ("figures", "--features"),
}
"""Commands of version 0.1 and what they are called now; they work until version 0.3."""


class Group(click.Group):
    """Finds commands in their sections, and turns mistakes of the user into one line and exit code 2."""

    command_class = Command
    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of all commands, section by section."""
        return [name for _, names in _SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns a command, once its section is imported."""
        for module, names in _SECTIONS.values():
            if cmd_name in names:
                importlib.import_module(module)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that arguments begin with; an old name stands for its new words."""
        return super().resolve_command(ctx, [*_OLD.get(args[0], args[:1]), *args[1:]])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands, section by section."""
        widest = max(map(len, self.list_commands(ctx)))
        for heading, (_, names) in _SECTIONS.items():
            found = [(f"{name:{widest}}", self.get_command(ctx, name)) for name in names]
            with formatter.section(heading):
                formatter.write_dl([(name, one.get_short_help_str(200)) for name, one in found if one is not None])

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs the program, also where a standard stream is closed."""
        open_standard_streams()
        return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; an error of input or files ends in one line, and nothing is said to who stopped reading."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # `show | head`: click ends the program quietly
        except (InputError, OSError) as error:
            message = " ".join(str(error).split())
        say("\n".join(_wrapped(f"Error: {message}")), err=True)
        ctx.exit(2)


def _wrapped(text: str) -> list[str]:
    """A sentence on as many lines as a terminal needs; in a file or a pipe, where it may be looked for, on one."""
    if not sys.stderr.isatty():
        return [text]
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _print_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        say(f"keras-unlearning {_version()}")
        ctx.exit()


def _version() -> str:
    """The version of the installed package, or of the checkout that this file stands in."""
    import importlib.metadata

    checkout = Path(__file__).parents[2] / "pyproject.toml"
    if checkout.is_file():
        import tomllib

        return str(tomllib.loads(checkout.read_text(encoding="utf-8"))["project"]["version"])
    return importlib.metadata.version("keras-unlearning")


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print the version."
)
def main() -> None:
    """Correct a Keras image classifier that has learned from wrong labels.

    `repair` does it for a model and data of your own. `run` shows what it brings: it trains a clean and a poisoned
    model on scikit-learn's digits, repairs the poisoned one, and prints how much of the lost accuracy came back.
    """


def prepare(quiet: bool, threads: int | None = None) -> None:
    """Sets up logging and threads for a command that may compute; TensorFlow is imported by what computes."""
    if quiet:
        silence_progress()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if not is_quiet():
        click.get_current_context().with_resource(reporting(Terminal(sys.stderr))).greet("starting ...")
    handler = MessageHandler()
    handler.setFormatter(PrintableFormatter("%(message)s"))
    library = logging.getLogger("unlearning")
    library.handlers = [handler]
    library.setLevel(logging.WARNING if quiet else logging.INFO)
    library.propagate = False  # TensorFlow gives the root logger a handler of its own
    choose_threads(threads)


def say(text: object = "", *, err: bool = False) -> None:
    """Prints text; what names of files and texts in records hold beside letters cannot steer the terminal.

    Args:
        text: What to print, on one line or several.
        err: Whether to standard error.
    """
    with current().aside():
        click.echo(printable_lines(str(text)), err=err)


def silence_progress() -> None:
    """Turns all progress bars off."""
    os.environ["TQDM_DISABLE"] = "1"


def print_json(found: Any) -> None:
    """Prints a record or mapping, or a list of them, as JSON."""

    def content(one: Any) -> Any:
        return one if isinstance(one, dict) else one.model_dump(mode="json", by_alias=True)

    say(json.dumps([content(one) for one in found] if isinstance(found, list) else content(found), indent=1))
