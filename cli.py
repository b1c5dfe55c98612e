"""The command line: each command parses its options, calls one library function, and prints a table.

TensorFlow is imported only when a command computes, so that `--help` and finished runs are instant.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from unlearning import detection, methods
from unlearning.errors import InputError, printable
from unlearning.training import recipes

_DATA_HELP = (
    "digits, a tensorflow-datasets name, cifar100-superclasses, a .npz file, a folder with one subfolder a class, "
    "or clothing1m:DIR, webvision:DIR, mini-webvision:DIR."
)
_LABELS_HELP = "The labels of human noise (a CIFAR-10N .npz file) or recorded noise (a JSON list of integers)."


class _Group(click.Group):
    """Turns mistakes of the user into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            message = " ".join(str(error).split())
        except OSError as error:
            message = " ".join(str(error).split())
        click.echo(f"Error: {printable(message)}", err=True)
        ctx.exit(2)


def _numbers(kind: type) -> Callable[[click.Context, click.Parameter, str | None], tuple | None]:
    """Returns a parser of comma-separated numbers."""

    def parse(_: click.Context, parameter: click.Parameter, text: str | None) -> tuple | None:
        if text is None:
            return None
        try:
            return tuple(kind(part) for part in text.split(","))
        except ValueError as error:
            raise click.BadParameter(f"expected numbers separated by commas, received {text!r}") from error

    return parse


def _assignments(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Parses `name=value` options."""
    parsed = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise click.BadParameter(f"expected name=value, received {text!r}")
        parsed[name] = value
    return parsed


def _constants(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, float], ...]:
    """Parses `name=number` options."""
    try:
        return tuple((name, float(value)) for name, value in _assignments(context, parameter, texts).items())
    except ValueError as error:
        raise click.BadParameter(f"expected name=number: {error}") from error


def _options(*options: Callable) -> Callable:
    """Applies several click options in the order written."""
    return lambda command: functools.reduce(lambda done, option: option(done), reversed(options), command)


_data_options = _options(
    click.option("--dataset", default="digits", show_default=True, help=_DATA_HELP),
    click.option("--data-dir", help="Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR)."),
    click.option("--data-seed", default=42, show_default=True, help="Seed of the splits and of the clean model."),
    click.option("--train-rows", type=int, help="Use a random subset of this many training rows."),
    click.option("--image-size", type=int, help="Side in pixels to which image files are resized."),
)
_training_options = _options(
    click.option(
        "--recipe",
        type=click.Choice(list(recipes.RECIPES)),
        default="default",
        show_default=True,
        help="Training options that belong together, for those not given: preact-sgd is published for noisy CIFAR.",
    ),
    click.option(
        "--model",
        default="cnn_small",
        show_default=True,
        help="cnn, cnn_small, preact_resnet18, resnet18, vgg11_bn or vit.",
    ),
    click.option("--epochs", default=30, show_default=True, help="Passes over the training rows."),
    click.option("--batch-size", default=128, show_default=True, help="Rows a training step."),
    click.option("--learning-rate", default=1e-3, show_default=True, help="Peak learning rate."),
    click.option("--optimizer", type=click.Choice(["adam", "sgd"]), default="adam", show_default=True),
    click.option("--nesterov/--no-nesterov", default=True, show_default=True, help="Kind of momentum of sgd."),
    click.option(
        "--schedule", type=click.Choice(["constant", "cosine", "step"]), default="constant", show_default=True
    ),
    click.option(
        "--milestones", callback=_numbers(int), help="Epochs after which the rate drops, such as 100,150, for step."
    ),
    click.option("--decay", default=0.1, show_default=True, help="Factor of the learning rate at a milestone."),
    click.option("--weight-decay", default=0.0, show_default=True, help="Decoupled weight decay."),
    click.option(
        "--objective",
        default="cross-entropy",
        show_default=True,
        help="cross-entropy, mixup, sam, logit-clip, mentornet, mentormix or label-smoothing.",
    ),
    click.option(
        "--objective-option",
        "objective_options",
        multiple=True,
        callback=_constants,
        metavar="NAME=NUMBER",
        help="Change a constant of the objective, such as alpha=0.4; repeatable.",
    ),
    click.option(
        "--augment/--no-augment", default=False, show_default=True, help="Random shifts and mirroring while training."
    ),
    click.option("--mixed-precision", is_flag=True, help="Compute in float16 while training."),
    click.option("--deterministic", is_flag=True, help="Force deterministic kernels."),
)
_noise_options = _options(
    click.option("--noise", default="flip-pairs", show_default=True, help="Kind of corruption; see the README."),
    click.option(
        "--budgets",
        callback=_numbers(int),
        help="Numbers of rows to corrupt, such as 2500,10000; not with human or recorded.",
    ),
    click.option(
        "--rates", callback=_numbers(float), help="Shares of rows to corrupt, such as 0.1,0.2 [default: 0.2]."
    ),
    click.option("--seeds", callback=_numbers(int), default="42", show_default=True, help="Seeds of the cells."),
    click.option("--labels-file", help=_LABELS_HELP),
    click.option("--labels-key", default="worse_label", show_default=True, help="Which labels of a CIFAR-10N file."),
    click.option("--output", type=click.Path(path_type=Path), help="Experiment folder [default: under models/]."),
)
_method_options = _options(
    click.option(
        "--methods",
        "method_names",
        default="first-order,second-order",
        show_default=True,
        help=f"Any of {', '.join(methods.available())}; chains such as sap+second-order; or 'all'.",
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        callback=_assignments,
        metavar="METHOD.FIELD=VALUE",
        help="Change a hyperparameter; repeatable.",
    ),
    click.option("--variant", default="", help="Text added to the method's folder name."),
    click.option(
        "--validation",
        type=click.Choice(["noisy", "clean"]),
        default="noisy",
        show_default=True,
        help="Labels of the validation rows: wrong like the training rows', or true.",
    ),
)
_sweep_options = _options(
    click.option("--workers", default=1, show_default=True, help="Processes that run cells side by side."),
    click.option(
        "--threads", type=int, help="Size of TensorFlow's thread pools in every process [default: processor cores]."
    ),
    click.option("--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True),
    click.option("--address", help="A running Ray cluster, for --executor ray [default: one on this machine]."),
    click.option("--shard", default="1/1", metavar="I/N", help="Only every N-th cell, from the I-th."),
    click.option("--wait", is_flag=True, help="Wait for another run in the same folder."),
    click.option("--dry-run", is_flag=True, help="List the cells with estimates of time and memory; write nothing."),
)
_detect_options = _options(
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
        callback=_assignments,
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
_tensorboard_option = click.option(
    "--tensorboard",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write event files for TensorBoard of what is computed now; needs the package tensorboard.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
_quiet_option = click.option("--quiet", is_flag=True, help="No progress on standard error.")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Correct a Keras image classifier that has learned from wrong labels.

    Start with `run`: it trains a clean and a poisoned model on scikit-learn's digits, repairs the poisoned one, and
    prints how much of the lost accuracy came back. `repair` does it for a model and data of your own.
    """


@main.command()
@_data_options
@_noise_options
@_training_options
@_method_options
@_detect_options
@_sweep_options
@_tensorboard_option
@_json_option
@_quiet_option
def run(as_json: bool, quiet: bool, **options: Any) -> None:
    """Train, poison, repair and score: every budget, seed and method.

    What is already there is found again and not recomputed; an interrupted run continues. A cell (one budget and seed)
    that fails leaves a failure.json, the others go on, and the exit code is 1.
    """
    experiment, report = _sweep(options, quiet, as_json)
    if as_json:
        _print_json(list(report.results))
    else:
        from unlearning.reporting.tables import format_results

        click.echo(format_results(report.results))
        click.echo(f"\nFiles: {experiment.folder}")
    _exit_with_failures(report)


@main.command()
@_data_options
@_noise_options
@_training_options
@_sweep_options
@_tensorboard_option
@_json_option
@_quiet_option
def train(as_json: bool, quiet: bool, **options: Any) -> None:
    """Train the clean model and the poisoned ones, without repairing them."""
    no_methods = {"method_names": "", "overrides": {}, "variant": "", "validation": "noisy"}
    experiment, report = _sweep({**options, **no_methods}, quiet, as_json)
    from unlearning.experiments.results.reader import read_folders

    _show_training(read_folders([experiment.folder], strict=True).trainings(experiment.folder), as_json)
    _exit_with_failures(report)


@main.command()
@_data_options
@_noise_options
@_training_options
@_method_options
@_detect_options
def configs(**options: Any) -> None:
    """Write the configuration files of a grid, to be filled by `run` with the same options."""
    _prepare(quiet=True)
    for path in _experiment(options).write_configs():
        click.echo(path)


@main.command()
@click.argument("method", metavar="METHOD")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, callback=_assignments, metavar="FIELD=VALUE", help="Repeatable.")
@click.option("--variant", default="", help="Text added to the method's folder name.")
@click.option("--validation", type=click.Choice(["noisy", "clean"]), default="noisy", show_default=True)
@click.option("--data-dir", help="Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR).")
@click.option("--data", "dataset", help="The .npz file or folder, where the data set is one.")
@click.option("--labels-file", help=_LABELS_HELP)
@_detect_options
@_tensorboard_option
@_json_option
@_quiet_option
def unlearn(method: str, run_dir: Path, as_json: bool, quiet: bool, overrides: dict[str, str], **options: Any) -> None:
    """Repair the poisoned model in RUN_DIR (.../budget-B/seed-S) by METHOD."""
    _prepare(quiet)
    methods.get(method, overrides)
    from unlearning.experiments.cell.run import reopen

    experiment, budget, seed = reopen(run_dir, method, overrides, detect=_detect_choice(options), **options)
    from unlearning.experiments.grid.locks import lock_cell

    with lock_cell(experiment.folder, budget, seed, timeout=0):
        result = experiment.ensure_repaired(budget, seed, experiment.settings.methods[0])
    if as_json:
        _print_json([result])
        return
    from unlearning.reporting.tables import format_results

    click.echo(format_results([result]))


@main.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The list (.json).")
@click.option("--data-dir", help="Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR).")
@click.option("--data", "dataset", help="The .npz file or folder, where the data set is one.")
@click.option("--labels-file", help=_LABELS_HELP)
@click.option("--force", is_flag=True, help="Replace an existing list.")
def labels(**options: Any) -> None:
    """Write the labels that the model in RUN_DIR (.../budget-B/seed-S) was given, as a JSON list.

    One integer a training row, as `--noise recorded --labels-file` and other programs read it. A whole
    tensorflow-datasets set is listed in the order of its example ids, anything else in the order of the training rows.
    """
    _prepare(quiet=True)
    from unlearning.experiments.cell.labels import write_given_labels

    rows, bad = write_given_labels(**options)
    click.echo(f"{rows} labels, {bad} of them wrong: {options['out']}")


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@_json_option
def show(directory: Path, as_json: bool) -> None:
    """Print the results in DIRECTORY: an experiment, a cell, or a method's folder."""
    from unlearning.experiments.results.reader import read_folders
    from unlearning.records import UnlearningResults

    tree = read_folders([directory], strict=True)
    entries, trained = tree.entries(), tree.trainings(directory)
    if not entries and not trained:
        raise InputError(f"{directory} holds no train_results.json and no unlearning_results.json.")
    results = [entry.results for entry in entries if isinstance(entry.results, UnlearningResults)]
    foreign = [entry for entry in entries if not isinstance(entry.results, UnlearningResults)]
    if as_json:
        from unlearning.experiments.results.export import tidy_row

        _print_json([*results, *(tidy_row(entry) for entry in foreign)])
        return
    from unlearning.reporting.tables import format_entries, format_reference

    if trained:
        _show_training(trained)
        click.echo()
    if results or not foreign:
        click.echo(format_entries(entries))
    if foreign:
        click.echo(format_reference(foreign))


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--control", default="fine-tuning", show_default=True, help="Folder name of the method to compare with.")
@_json_option
def compare(directory: Path, control: str, as_json: bool) -> None:
    """Compare the methods in DIRECTORY with a control, paired by seed, with bootstrap intervals."""
    from unlearning.experiments.results.compare import compare_methods
    from unlearning.experiments.results.reader import read_folders

    comparison = compare_methods(read_folders([directory], strict=True).entries(), control)
    if as_json:
        click.echo(comparison.model_dump_json(indent=1))
        return
    from unlearning.reporting.tables import format_comparison

    click.echo(format_comparison(comparison))


@main.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["tidy", "reference"]), default="tidy", show_default=True)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def export(folders: tuple[Path, ...], out: Path, form: Any, force: bool) -> None:
    """Write the results below FOLDERS to OUT (.csv): a row a repair, a column a number.

    `--format reference` writes the columns that the published implementation exports.
    """
    from unlearning.experiments.results.export import export_results
    from unlearning.records import UnlearningResults
    from unlearning.records.reference import NOTES

    entries = export_results(folders, out, form=form, force=force)
    click.echo(f"{len(entries)} rows: {out}")
    if not all(isinstance(entry.results, UnlearningResults) for entry in entries):
        click.echo("Of the published implementation's results:\n- " + "\n- ".join(NOTES), err=True)


@main.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the figures.")
@click.option("--format", "formats", default="png", show_default=True, help="png, pdf, or png,pdf.")
@click.option("--force", is_flag=True, help="Replace existing figures.")
@_json_option
@_quiet_option
def figures(folders: tuple[Path, ...], out: Path, formats: str, force: bool, as_json: bool, quiet: bool) -> None:
    """Draw the results below FOLDERS for a paper: OUT/EXPERIMENT/FIGURE.png or .pdf.

    Accuracy over budget, restored share over seconds and by method, recall by class, and convergence of the solvers,
    with all seeds, from the records alone. A figure that the records have no numbers for is left out.
    """
    if quiet:
        os.environ["TQDM_DISABLE"] = "1"
    from unlearning.reporting.figures import draw_study

    study = draw_study(folders, out, formats=formats.split(","), force=force)
    if as_json:
        _print_json([{"files": list(map(str, study.paths)), "left_out": study.left_out, "foreign": study.foreign}])
        return
    for path in study.paths:
        click.echo(path)
    for reason in study.left_out:
        click.echo(f"Left out: {reason}.", err=True)
    if study.foreign:
        click.echo(f"Left out: {study.foreign} results of the published implementation.", err=True)


@main.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The page (.html).")
@click.option("--images", default=24, show_default=True, help="Most pictures of a detection's suspects; 0 for none.")
@click.option("--data", "dataset", help="The .npz file or folder, where the data set is one.")
@click.option("--data-dir", help="Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR).")
@click.option("--force", is_flag=True, help="Replace an existing page.")
def report(folders: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Write one HTML page on the experiments in FOLDERS: tables, charts, configurations and commands.

    The page needs no network and no second file. A sweep that is still running can be reported, too.
    """
    _prepare(quiet=True)
    from unlearning.reporting.page import write_report

    written = write_report(folders, out, **options)
    states = ", ".join(f"{number} {state}" for state, number in written.cells.items())
    click.echo(f"{written.repairs} repairs in cells: {states}; {written.problems} files could not be read.")
    click.echo(f"{out}: {written.size / 1e6:.1f} MB")


@main.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@_json_option
def validate(folders: tuple[Path, ...], as_json: bool) -> None:
    """Check every file below FOLDERS: names, records, hashes, weights, logs. Exit code 1 if anything is wrong."""
    from unlearning.experiments.results.validate import validate_folders

    report = validate_folders(folders)
    if as_json:
        click.echo(report.model_dump_json(indent=1))
    else:
        from unlearning.reporting.tables import format_validation

        click.echo(format_validation(report))
    if report.problems:
        click.get_current_context().exit(1)


@main.command()
@click.argument("name", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Write NAME.schema.json (or all of them) to this folder.")
def schema(name: str | None, out: Path | None) -> None:
    """Print the JSON Schema of the record NAME, such as unlearning_results; without NAME, of all records."""
    from unlearning.records.schema import kinds, schema_of, write_schemas

    if out is not None:
        for path in write_schemas(out, name):
            click.echo(path)
        return
    content = schema_of(name) if name else {known: schema_of(known) for known in kinds()}
    click.echo(json.dumps(content, indent=1))


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", "dataset", required=True, help=_DATA_HELP)
@click.option(
    "--flagged",
    type=click.Path(path_type=Path),
    help="CSV with the columns row,corrected_label; an empty label removes the row. Not needed by sap.",
)
@_detect_options
@click.option("--method", default="second-order", show_default=True, help=f"One of {', '.join(methods.available())}.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The repaired model (.keras).")
@click.option("--trainable-from", help="First layer to update, or 'all' [default: the dense head].")
@click.option("--set", "overrides", multiple=True, callback=_assignments, metavar="FIELD=VALUE", help="Repeatable.")
@click.option("--data-dir", help="Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR).")
@click.option("--data-seed", default=42, show_default=True, help="Seed of the splits; row numbers depend on it.")
@click.option("--image-size", type=int, help="Side in pixels to which image files are resized.")
@click.option("--seed", default=0, show_default=True, help="Seed of what the method draws.")
@click.option("--force", is_flag=True, help="Replace an existing output.")
@_tensorboard_option
@_json_option
@_quiet_option
def repair(as_json: bool, quiet: bool, **options: Any) -> None:
    """Correct your own MODEL.keras: bad rows are given (--flagged), found (--detect), or not needed (sap).

    Rows count from 0 within the training split of the data. Next to the repaired model stands a JSON file with scores,
    hyperparameters and work.
    """
    _prepare(quiet)
    from unlearning.repair.own import repair_model

    result = repair_model(detect=_detect_choice(options), **options)
    if as_json:
        _print_json([result])
        return
    from unlearning.reporting.tables import format_repair

    click.echo(format_repair(result))
    out = options["out"]
    click.echo(f"\nFiles: {out}, {out.with_suffix('.json')}")


@main.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--data", "dataset", help=f"What a MODEL.keras was trained on: {_DATA_HELP}")
@click.option(
    "--detector",
    default="patches",
    show_default=True,
    help=f"One of {', '.join(detection.available())}; see below.",
)
@click.option("--set", "overrides", multiple=True, callback=_assignments, metavar="FIELD=VALUE", help="Repeatable.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The suspects (.csv).")
@click.option("--all-rows", is_flag=True, help="Write rows that are not suspect, too, with their given labels.")
@click.option("--data-dir", help="Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR).")
@click.option("--data-seed", default=42, show_default=True, help="Seed of the splits; row numbers depend on it.")
@click.option("--image-size", type=int, help="Side in pixels to which image files are resized.")
@click.option("--labels-file", help=_LABELS_HELP)
@click.option("--seed", default=0, show_default=True, help="Seed of what the detector draws.")
@click.option("--force", is_flag=True, help="Replace existing output.")
@_json_option
@_quiet_option
def detect(as_json: bool, quiet: bool, **options: Any) -> None:
    """Find rows of TARGET's training data whose labels look wrong.

    TARGET is a MODEL.keras, with --data, or a RUN_DIR (.../budget-B/seed-S), where the bad rows are known and the
    detection is scored. The CSV file is what `repair --flagged` takes; look through its column corrected_label first.
    Next to it stand a JSON file with all numbers and a PNG of the scores.
    """
    _prepare(quiet)
    from unlearning.repair.detect import detect_rows

    result = detect_rows(**options)
    if as_json:
        _print_json([result])
        return
    from unlearning.reporting.tables import format_detection

    click.echo(format_detection(result))
    out = options["out"]
    click.echo(f"\nFiles: {out}, {out.with_suffix('.json')}, {out.with_suffix('.png')}")


detect.epilog = "\b\n" + "\n".join(f"{name}: {line}" for name, line in detection.summaries().items())


@main.command()
@click.argument("run_dir", metavar="RUN_DIR/METHOD", type=click.Path(path_type=Path))
@click.option("--rows", default=2000, show_default=True, help="Most rows in the t-SNE figure.")
@click.option("--format", "formats", default="png", show_default=True, help="png, pdf, or png,pdf.")
@click.option("--data", "dataset", help="The .npz file or folder, where the data set is one.")
@click.option("--data-dir", help="Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR).")
@click.option("--labels-file", help="CIFAR-10N .npz file, for human noise.")
@_json_option
@_quiet_option
def features(as_json: bool, quiet: bool, formats: str, **options: Any) -> None:
    """Draw where rows lie in feature space before and after a finished repair (.../seed-S/METHOD).

    Into its folder figures/ go tsne and angles (to the centroid of the given label; centroids are those of the retain
    rows before the repair), and features.json with the angles' means. Rows count as forget rows if the repair's record
    names them; without such a record the truly bad ones do.
    """
    _prepare(quiet)
    from unlearning.reporting.features import draw_features

    result = draw_features(**options, formats=tuple(formats.split(",")))
    if as_json:
        _print_json([result])
        return
    from unlearning.reporting.tables import format_angles

    click.echo(format_angles(result))
    click.echo(f"\nFiles: {options['run_dir'] / 'figures'}")


def _prepare(quiet: bool, threads: int | None = None) -> None:
    """Sets up logging and keeps TensorFlow's own chatter away from the table."""
    from unlearning.startup import import_tensorflow

    if quiet:
        os.environ["TQDM_DISABLE"] = "1"
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    library = logging.getLogger("unlearning")
    library.handlers = [handler]
    library.setLevel(logging.WARNING if quiet else logging.INFO)
    library.propagate = False  # TensorFlow gives the root logger a handler of its own
    import_tensorflow(threads)


def _sweep(options: dict[str, Any], quiet: bool, as_json: bool):  # type: ignore[no-untyped-def]
    """Runs the grid that a command's options describe, or lists it; returns the experiment and the report."""
    from unlearning.experiments.grid.sweep import Stopped, SweepOptions, parse_shard, plan, stopping_on_signals, sweep

    names = ("workers", "threads", "executor", "address", "shard", "wait")
    chosen = {name: options.pop(name) for name in names}
    how = SweepOptions(**{**chosen, "shard": parse_shard(chosen["shard"])})
    dry_run = options.pop("dry_run")
    if how.workers > 1:
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # or the first process takes a GPU's whole memory
    try:
        with stopping_on_signals():
            _prepare(quiet, how.threads)
            experiment = _experiment(options)
            if not dry_run:
                return experiment, sweep(experiment, how)
            found = plan(experiment, how)
            if as_json:
                _print_json([found.describe()])
            else:
                from unlearning.reporting.tables import format_plan

                click.echo(format_plan(found, how.workers))
    except Stopped as stopped:
        click.echo(str(stopped), err=True)
        sys.exit(stopped.exit_code)
    sys.exit(0)


def _exit_with_failures(report) -> None:  # type: ignore[no-untyped-def]
    """Names the cells that failed, and exits with code 1 if there are any."""
    from unlearning.experiments.grid.sweep import summarise

    for failure in report.failed:
        click.echo(f"Failed: budget {failure.budget}, seed {failure.seed}: {summarise(failure)}", err=True)
    if report.left:
        click.echo(f"Not tried: {len(report.left)} cells.", err=True)
    if report.failed or report.left:
        sys.exit(1)


def _experiment(options: dict[str, Any]):  # type: ignore[no-untyped-def]
    """Builds the experiment that a grid command's options describe."""
    from unlearning.experiments.cell.run import Experiment, MethodChoice, Settings

    source = click.get_current_context().get_parameter_source
    explicit = {name for name in options if source(name) is not click.core.ParameterSource.DEFAULT}
    options = recipes.fill(options.pop("recipe"), options, explicit)
    options["milestones"] = options["milestones"] or ()
    names, overrides, variant = (options.pop(key) for key in ("method_names", "overrides", "variant"))
    chosen = methods.available() if names == "all" else tuple(name for name in names.split(",") if name)
    by_method: dict[str, dict[str, str]] = {name: {} for name in chosen}
    for key, value in overrides.items():
        method, _, field = key.partition(".")
        if method not in by_method or not field:
            raise InputError(f"Cannot set {key!r}. Expected METHOD.FIELD with a method among {', '.join(chosen)}.")
        by_method[method][field] = value
    if len(by_method) != len(chosen):
        raise InputError(f"A method is named twice in {names!r}.")
    choices = tuple(MethodChoice(name, tuple(by_method[name].items()), variant) for name in chosen)
    return Experiment(Settings(methods=choices, detect=_detect_choice(options), **options))


def _detect_choice(options: dict[str, Any]):  # type: ignore[no-untyped-def]
    """Takes the options of detection out of a command's options; None where rows are not to be detected."""
    from unlearning.experiments.cell.run import DetectChoice

    detector, changed = options.pop("detector", None), options.pop("detector_options", {})
    suspects, rounds = options.pop("suspects", "relabel"), options.pop("rounds", 1)
    if detector is None:
        if changed or suspects != "relabel" or rounds > 1:
            raise InputError("--detect-set, --suspects and --rounds need --detect.")
        return None
    return DetectChoice(detector, tuple(changed.items()), suspects, rounds)


def _print_json(results: list) -> None:
    content = [r if isinstance(r, dict) else r.model_dump(mode="json", by_alias=True) for r in results]
    click.echo(json.dumps(content, indent=1))


def _show_training(found: list[tuple[str, Any]], as_json: bool = False) -> None:
    from unlearning.reporting.tables import format_training

    if as_json:
        _print_json([{"model": name, **result.model_dump(mode="json", by_alias=True)} for name, result in found])
        return
    click.echo(format_training(found))


if __name__ == "__main__":
    sys.exit(main())
