"""Commands that measure: whole grids, single repairs in a cell, and their configurations."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unlearning import methods
from unlearning.cli.choices import methods_option, overrides_option, take_choices, variant_option
from unlearning.cli.detecting import detect_options, take_detection
from unlearning.cli.group import (
    data_dir_option,
    json_option,
    labels_file_option,
    main,
    own_data_option,
    prepare,
    print_json,
    quiet_option,
    say,
    set_option,
    tensorboard_option,
)
from unlearning.cli.looks import option, together
from unlearning.cli.options import options_of
from unlearning.data.settings import DataSettings
from unlearning.experiments.cell.settings import GridSettings, RunSettings
from unlearning.noise.settings import NoiseSettings
from unlearning.training import recipes
from unlearning.training.settings import ModelRecipe

if TYPE_CHECKING:
    from unlearning.experiments.cell.setup import Setup
    from unlearning.experiments.grid.sweep import SweepOptions, SweepReport

_grid_options = together(
    options_of(GridSettings, heading="Grid"),
    options_of(DataSettings, heading="Data"),
    options_of(NoiseSettings, heading="Noise"),
    together(
        options_of(ModelRecipe, {"model"}),
        option(
            "--recipe",
            type=click.Choice(list(recipes.RECIPES)),
            default="default",
            show_default=True,
            help="Training options that belong together, for those not given: preact-sgd is published for noisy CIFAR.",
        ),
        options_of(ModelRecipe, set(ModelRecipe.model_fields) - {"model"}),
        heading="Model and training",
    ),
)
_method_options = together(
    methods_option("first-order,second-order", "Any of `list methods`; chains such as sap+second-order; or 'all'."),
    overrides_option(
        "Change a setting of a method, or of the detector; repeatable. `list methods NAME` and `list detectors "
        "NAME` show them."
    ),
    variant_option,
    options_of(RunSettings, {"validation", "known_share"}),
    heading="Repairs",
)
_sweep_options = together(
    option(
        "--until",
        type=click.Choice(["configs", "training", "repairs"]),
        default="repairs",
        show_default=True,
        help="Where to stop: with configuration files, trained models, or repairs.",
    ),
    option("--dry-run", is_flag=True, help="List the cells with estimates of time and memory; write nothing."),
    option("--workers", default=1, show_default=True, metavar="N", help="Processes that run cells side by side."),
    option(
        "--threads",
        type=int,
        metavar="N",
        help="Size of TensorFlow's thread pools in every process [default: processor cores].",
    ),
    option("--shard", default="1/1", metavar="I/N", help="Only every N-th cell, from the I-th."),
    option("--wait", is_flag=True, help="Wait for another run in the same folder."),
    option("--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True),
    option("--address", metavar="HOST", help="A running Ray cluster [default: one on this machine]."),
    heading="Running",
)


@main.command(
    examples=(
        "run",
        "run --rates 0.1,0.2 --seeds 1,2,3 --methods second-order,fine-tuning",
        "run --data cifar10 --noise symmetric --methods sap --set sap.rounds=2",
        "run --methods second-order --detect patches",
        "run --workers 2 --dry-run",
    )
)
@_grid_options
@_method_options
@detect_options
@_sweep_options
@together(options_of(RunSettings, {"output"}), tensorboard_option, json_option, quiet_option, heading="Output")
def run(as_json: bool, quiet: bool, until: str, **options: Any) -> None:
    """Train, poison, repair and score: every budget, seed and method.

    A seed has one clean model, trained on true labels, and one poisoned model a budget. What is already there is found
    again and not recomputed; an interrupted run continues. A cell (one budget and seed) that fails leaves a
    failure.json, the others go on, and the exit code is 1.
    """
    if until == "configs" and not options["dry_run"]:
        _write_configs(options)
        return
    if until == "training":
        options |= {"method_names": "", "overrides": {}, "variant": "", "detector": None, "eyes": None}
        options |= {"suspects": "relabel", "rounds": 1, "detector_options": {}}
    setup, report = _sweep(options, quiet, as_json)
    if until == "training":
        from unlearning.cli.results import show_training

        show_training(setup.folder, as_json)
    elif as_json:
        print_json(list(report.results))
    else:
        from unlearning.reporting.tables import format_results, terminal_width

        say(format_results(report.results, width=terminal_width()))
        say(f"\nFiles: {setup.folder}")
    _exit_with_failures(report)


@main.command(
    examples=(
        "reproduce --list",
        "reproduce digits --dry-run",
        "reproduce digits --out models/digits-again",
    )
)
@click.argument("name", required=False)
@together(
    option("--list", "as_list", is_flag=True, help="List the published tables."),
    option("--dry-run", is_flag=True, help="Say what is run, and what of it is there; compute nothing."),
    option("--only-missing", is_flag=True, help="Keep results that are there, and compute the others."),
    option("--workers", default=1, show_default=True, metavar="N", help="Processes that run cells side by side."),
    heading="Running",
)
@together(data_dir_option, heading="Data")
@together(
    option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder of the results [default: under models/].",
    ),
    json_option,
    quiet_option,
    heading="Output",
)
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
        print_json(listed) if as_json else say(tables.format_tables(found))
        return
    table = config.read_config(config.config_path(name))
    steps = reproducing.steps(table, out, options["data_dir"])
    if options["dry_run"]:
        there = [{str(folder): done for folder, done in step.repairs.items()} for step in steps]
        print_json(there) if as_json else say(tables.format_steps(table, steps))
        return
    how = SweepOptions(workers=options["workers"])
    _share_gpus(how)
    reproducing.check_missing(steps, only_missing=options["only_missing"])
    try:
        with stopping_on_signals():
            prepare(quiet, how.threads)
            report = reproducing.reproduce(steps, how)
    except Stopped as stopped:
        say(str(stopped), err=True)
        sys.exit(stopped.exit_code)
    folder = out or reproducing.default_folder(table)
    compared = reproducing.compare(table, folder)
    if as_json:
        print_json(tables.describe_comparison(compared))
    else:
        say(tables.format_comparison_with_published(compared, tables.terminal_width()))
        say(f"\nFiles: {folder}")
    _exit_with_failures(report)


@main.command(
    examples=(
        "unlearn sap models/EXPERIMENT/budget-251/seed-42",
        "unlearn second-order RUN_DIR --set steps=3 --variant three-steps",
        "unlearn second-order RUN_DIR --detect patches --set patches.filters=128",
    )
)
@click.argument("method", metavar="METHOD")
@click.argument("run_dir", type=click.Path(path_type=Path))
@together(set_option, variant_option, options_of(RunSettings, {"validation", "known_share"}), heading="Repair")
@detect_options
@together(own_data_option, data_dir_option, labels_file_option, heading="Data")
@together(tensorboard_option, json_option, quiet_option, heading="Output")
def unlearn(method: str, run_dir: Path, as_json: bool, quiet: bool, **options: Any) -> None:
    """Repair the poisoned model in RUN_DIR (.../budget-B/seed-S) by METHOD."""
    detect = take_detection(options)
    overrides = options.pop("overrides")
    methods.get(method, overrides)
    prepare(quiet)
    from unlearning.experiments.cell.reopening import reopen
    from unlearning.experiments.grid.cells import run_repair
    from unlearning.reporting.tables import format_results

    result = run_repair(reopen(run_dir, method, overrides, detect=detect, **options))
    if as_json:
        print_json([result])
    else:
        say(format_results([result]))


def _write_configs(options: dict[str, Any]) -> None:
    """Writes the configuration files of a grid, to be filled by `run` with the same options."""
    settings = _settings(options)
    prepare(quiet=True)
    from unlearning.experiments.cell.line import write_configs
    from unlearning.experiments.cell.setup import Setup

    for path in write_configs(Setup(settings)):
        say(path)


def _sweep(options: dict[str, Any], quiet: bool, as_json: bool) -> tuple[Setup, SweepReport]:
    """Runs the grid that a command's options describe, or lists it; returns the experiment and the report."""
    prepare(quiet, options["threads"])
    from unlearning.experiments.cell.setup import Setup
    from unlearning.experiments.grid.signals import Stopped, stopping_on_signals
    from unlearning.experiments.grid.sweep import SweepOptions, parse_shard, plan, sweep

    names = ("workers", "threads", "executor", "address", "shard", "wait")
    chosen = {name: options[name] for name in names}
    how = SweepOptions(**{**chosen, "shard": parse_shard(chosen["shard"])})
    _share_gpus(how)
    try:
        with stopping_on_signals():
            setup = Setup(_settings(options))
            if not options["dry_run"]:
                return setup, sweep(setup, how)
            found = plan(setup, how)
            if as_json:
                print_json([found.describe()])
            else:
                from unlearning.reporting.tables import format_plan

                say(format_plan(found, how.workers))
    except Stopped as stopped:
        say(str(stopped), err=True)
        sys.exit(stopped.exit_code)
    sys.exit(0)


def _share_gpus(how: SweepOptions) -> None:
    if how.workers > 1:
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # or the first process takes a GPU's whole memory


def _exit_with_failures(report: SweepReport) -> None:
    """Names the cells that failed, and exits with code 1 if there are any."""
    from unlearning.experiments.grid.sweep import summarise

    for failure in report.failed:
        say(f"Failed: budget {failure.budget}, seed {failure.seed}: {summarise(failure)}", err=True)
    if report.left:
        say(f"Not tried: {len(report.left)} cells.", err=True)
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
    fields = set(RunSettings.model_fields)  # the other options say how to go through the grid
    given = {name: value for name, value in options.items() if name in fields and value is not None}
    return RunSettings(methods=take_choices(chosen, overrides, variant), detect=detect, **given)
