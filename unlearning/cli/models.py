"""Commands for a model of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from unlearning import detection, methods
from unlearning.cli.detecting import detect_options, take_detection
from unlearning.cli.group import (
    DATA_HELP,
    data_dir_option,
    json_option,
    labels_file_option,
    main,
    prepare,
    print_json,
    quiet_option,
    set_option,
    tensorboard_option,
)

_data_seed_option = click.option(
    "--data-seed", default=42, show_default=True, help="Seed of the splits; row numbers depend on it."
)
_image_size_option = click.option("--image-size", type=int, help="Side in pixels to which image files are resized.")


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", "dataset", required=True, help=DATA_HELP)
@click.option(
    "--flagged",
    type=click.Path(path_type=Path),
    help="CSV with the columns row,corrected_label; an empty label removes the row. Not needed by sap.",
)
@detect_options
@click.option("--method", default="second-order", show_default=True, help=f"One of {', '.join(methods.available())}.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The repaired model (.keras).")
@click.option("--trainable-from", help="First layer to update, or 'all' [default: the dense head].")
@set_option
@data_dir_option
@_data_seed_option
@_image_size_option
@click.option("--seed", default=0, show_default=True, help="Seed of what the method draws.")
@click.option("--force", is_flag=True, help="Replace an existing output.")
@tensorboard_option
@json_option
@quiet_option
def repair(as_json: bool, quiet: bool, **options: Any) -> None:
    """Correct your own MODEL.keras: bad rows are given (--flagged), found (--detect), or not needed (sap).

    Rows count from 0 within the training split of the data. Next to the repaired model stands a JSON file with scores,
    hyperparameters and work.
    """
    detect_by = take_detection(options)
    prepare(quiet)
    from unlearning.repairs.paths import repair_file

    result = repair_file(detect_by=detect_by, **options)
    if as_json:
        print_json([result])
        return
    from unlearning.reporting.tables import format_repair

    click.echo(format_repair(result))
    out = options["out"]
    click.echo(f"\nFiles: {out}, {out.with_suffix('.json')}")


@main.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--data", "dataset", help=f"What a MODEL.keras was trained on: {DATA_HELP}")
@click.option(
    "--detector",
    default="patches",
    show_default=True,
    help=f"One of {', '.join(detection.available())}; see below.",
)
@set_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The suspects (.csv).")
@click.option("--all-rows", is_flag=True, help="Write rows that are not suspect, too, with their given labels.")
@data_dir_option
@_data_seed_option
@_image_size_option
@labels_file_option
@click.option("--seed", default=0, show_default=True, help="Seed of what the detector draws.")
@click.option("--force", is_flag=True, help="Replace existing output.")
@json_option
@quiet_option
def detect(as_json: bool, quiet: bool, **options: Any) -> None:
    """Find rows of TARGET's training data whose labels look wrong.

    TARGET is a MODEL.keras, with --data, or a RUN_DIR (.../budget-B/seed-S), where the bad rows are known and the
    detection is scored. The CSV file is what `repair --flagged` takes; look through its column corrected_label first.
    Next to it stand a JSON file with all numbers and a PNG of the scores.
    """
    prepare(quiet)
    from unlearning.experiments.cell.examining import detect_rows

    result = detect_rows(**options)
    if as_json:
        print_json([result])
        return
    from unlearning.reporting.tables import format_detection

    click.echo(format_detection(result))
    out = options["out"]
    click.echo(f"\nFiles: {out}, {out.with_suffix('.json')}, {out.with_suffix('.png')}")


detect.epilog = "\b\n" + "\n".join(f"{name}: {line}" for name, line in detection.summaries().items())
