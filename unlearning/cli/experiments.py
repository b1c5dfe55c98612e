"""Commands that measure: whole grids, single repairs in a cell, and their configurations."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unlearning import methods
from unlearning.cli.detecting import detect_options, take_detection
from unlearning.cli.group import (
    assignments,
    data_dir_option,
    json_option,
    labels_file_option,
    main,
    own_data_option,
    prepare,
    print_json,
    quiet_option,
    set_option,
    tensorboard_option,
)
from unlearning.cli.options import options_of, together
from unlearning.errors import InputError
from unlearning.experiments.cell.settings import MethodChoice, RunSettings
from unlearning.training import recipes

if TYPE_CHECKING:
    from unlearning.experiments.cell.setup import Setup
    from unlearning.experiments.grid.sweep import SweepOptions, SweepReport

_GRID = set(RunSettings.model_fields) - {"validation", "tensorboard"}
_grid_options = together(
    click.option(
        "--recipe",
        type=click.Choice(list(recipes.RECIPES)),
        default="default",
        show_default=True,
        help="Training options that belong together, for those not given: preact-sgd is published for noisy CIFAR.",
    ),
    options_of(RunSettings, _GRID),
)
_method_options = together(
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
        callback=assignments,
        metavar="METHOD.FIELD=VALUE",
        help="Change a hyperparameter; repeatable.",
    ),
    click.option("--variant", default="", help="Text added to the method's folder name."),
    options_of(RunSettings, {"validation"}),
)
_sweep_options = together(
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


@main.command()
@_grid_options
@_method_options
@detect_options
@_sweep_options
@tensorboard_option
@json_option
@quiet_option
def run(as_json: bool, quiet: bool, **options: Any) -> None:
    """Train, poison, repair and score: every budget, seed and method.

    A seed has one clean model, trained on true labels, and one poisoned model a budget.
    What is already there is found again and not recomputed; an interrupted run continues. A cell (one budget and seed)
    that fails leaves a failure.json, the others go on, and the exit code is 1.
    """
    setup, report = _sweep(options, quiet, as_json)
    if as_json:
        print_json(list(report.results))
    else:
        from unlearning.reporting.tables import format_results, terminal_width

        click.echo(format_results(report.results, width=terminal_width()))
        click.echo(f"\nFiles: {setup.folder}")
    _exit_with_failures(report)


@main.command()
@_grid_options
@_sweep_options
@tensorboard_option
@json_option
@quiet_option
def train(as_json: bool, quiet: bool, **options: Any) -> None:
    """Train the clean model of every seed and the poisoned ones, without repairing them."""
    from unlearning.cli.results import show_training

    no_methods = {"method_names": "", "overrides": {}, "variant": "", "validation": "noisy"}
    setup, report = _sweep({**options, **no_methods}, quiet, as_json)
    show_training(setup.folder, as_json)
    _exit_with_failures(report)


@main.command()
@click.argument("name", required=False)
@click.option("--list", "as_list", is_flag=True, help="List the published tables.")
@click.option("--dry-run", is_flag=True, help="Say what is run, and what of it is there; compute nothing.")
@click.option("--only-missing", is_flag=True, help="Keep results that are there, and compute the others.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results [default: under models/].")
@data_dir_option
@click.option("--workers", default=1, show_default=True, help="Processes that run cells side by side.")
@json_option
@quiet_option
def reproduce(name: str | None, as_list: bool, out: Path | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Make the published table NAME again, and set its numbers beside the published ones.

    NAME is one of `reproduce --list`, or a .toml file like those in configs/. What differs by more than the published
    seeds do is said.
    """
    from unlearning.experiments.grid.signals import Stopped, stopping_on_signals
    from unlearning.experiments.grid.sweep import SweepOptions
    from unlearning.experiments.published import config, reproducing
    from unlearning.reporting import tables

    if as_list or name is None:
        found = {path.stem: config.read_config(path) for path in config.config_files()}
        listed = [{"name": key, "title": table.title, **table.hardware.config()} for key, table in found.items()]
        print_json(listed) if as_json else click.echo(tables.format_tables(found))
        return
    table = config.read_config(config.config_path(name))
    steps = reproducing.steps(table, out, options["data_dir"])
    if options["dry_run"]:
        there = [{str(folder): done for folder, done in step.repairs.items()} for step in steps]
        print_json(there) if as_json else click.echo(tables.format_steps(table, steps))
        return
    how = SweepOptions(workers=options["workers"])
    _share_gpus(how)
    reproducing.check_missing(steps, only_missing=options["only_missing"])
    try:
        with stopping_on_signals():
            prepare(quiet, how.threads)
            report = reproducing.reproduce(steps, how)
    except Stopped as stopped:
        click.echo(str(stopped), err=True)
        sys.exit(stopped.exit_code)
    folder = out or reproducing.default_folder(table)
    compared = reproducing.compare(table, folder)
    if as_json:
        print_json(tables.describe_comparison(compared))
    else:
        click.echo(tables.format_comparison_with_published(compared, tables.terminal_width()))
        click.echo(f"\nFiles: {folder}")
    _exit_with_failures(report)


@main.command()
@_grid_options
@_method_options
@detect_options
def configs(**options: Any) -> None:
    """Write the configuration files of a grid, to be filled by `run` with the same options."""
    from unlearning.experiments.cell.line import write_configs
    from unlearning.experiments.cell.setup import Setup

    settings = _settings(options)
    prepare(quiet=True)
    for path in write_configs(Setup(settings)):
        click.echo(path)


@main.command()
@click.argument("method", metavar="METHOD")
@click.argument("run_dir", type=click.Path(path_type=Path))
@set_option
@click.option("--variant", default="", help="Text added to the method's folder name.")
@click.option("--validation", type=click.Choice(["noisy", "clean"]), default="noisy", show_default=True)
@data_dir_option
@own_data_option
@labels_file_option
@detect_options
@tensorboard_option
@json_option
@quiet_option
def unlearn(method: str, run_dir: Path, as_json: bool, quiet: bool, overrides: dict[str, str], **options: Any) -> None:
    """Repair the poisoned model in RUN_DIR (.../budget-B/seed-S) by METHOD."""
    from unlearning.experiments.cell.reopening import reopen
    from unlearning.experiments.grid.cells import run_repair
    from unlearning.reporting.tables import format_results

    methods.get(method, overrides)
    detect = take_detection(options)
    prepare(quiet)
    result = run_repair(reopen(run_dir, method, overrides, detect=detect, **options))
    if as_json:
        print_json([result])
    else:
        click.echo(format_results([result]))


@main.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The list (.json).")
@data_dir_option
@own_data_option
@labels_file_option
@click.option("--force", is_flag=True, help="Replace an existing list.")
def labels(**options: Any) -> None:
    """Write the labels that the model in RUN_DIR (.../budget-B/seed-S) was given, as a JSON list.

    One integer a training row, as `--noise recorded --labels-file` and other programs read it. A whole
    tensorflow-datasets set is listed in the order of its example ids, anything else in the order of the training rows.
    """
    prepare(quiet=True)
    from unlearning.experiments.cell.labels import write_given_labels

    rows, bad = write_given_labels(**options)
    click.echo(f"{rows} labels, {bad} of them wrong: {options['out']}")


def _sweep(options: dict[str, Any], quiet: bool, as_json: bool) -> tuple[Setup, SweepReport]:
    """Runs the grid that a command's options describe, or lists it; returns the experiment and the report."""
    from unlearning.experiments.cell.setup import Setup
    from unlearning.experiments.grid.signals import Stopped, stopping_on_signals
    from unlearning.experiments.grid.sweep import SweepOptions, parse_shard, plan, sweep

    names = ("workers", "threads", "executor", "address", "shard", "wait")
    chosen = {name: options.pop(name) for name in names}
    how = SweepOptions(**{**chosen, "shard": parse_shard(chosen["shard"])})
    dry_run = options.pop("dry_run")
    _share_gpus(how)
    try:
        with stopping_on_signals():
            settings = _settings(options)
            prepare(quiet, how.threads)
            setup = Setup(settings)
            if not dry_run:
                return setup, sweep(setup, how)
            found = plan(setup, how)
            if as_json:
                print_json([found.describe()])
            else:
                from unlearning.reporting.tables import format_plan

                click.echo(format_plan(found, how.workers))
    except Stopped as stopped:
        click.echo(str(stopped), err=True)
        sys.exit(stopped.exit_code)
    sys.exit(0)


def _share_gpus(how: SweepOptions) -> None:
    if how.workers > 1:
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # or the first process takes a GPU's whole memory


def _exit_with_failures(report: SweepReport) -> None:
    """Names the cells that failed, and exits with code 1 if there are any."""
    from unlearning.experiments.grid.sweep import summarise

    for failure in report.failed:
        click.echo(f"Failed: budget {failure.budget}, seed {failure.seed}: {summarise(failure)}", err=True)
    if report.left:
        click.echo(f"Not tried: {len(report.left)} cells.", err=True)
    if report.failed or report.left:
        sys.exit(1)


def _settings(options: dict[str, Any]) -> RunSettings:
    """Returns the settings that a grid command's options describe."""
    detect = take_detection(options)
    source = click.get_current_context().get_parameter_source
    explicit = {name for name in options if source(name) is not click.core.ParameterSource.DEFAULT}
    options = recipes.fill(options.pop("recipe"), options, explicit)
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
    choices = [MethodChoice(name=name, overrides=by_method[name], variant=variant) for name in chosen]
    given = {name: value for name, value in options.items() if value is not None}
    return RunSettings(methods=tuple(choices), detect=detect, **given)
