"""Commands for a model of your own."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from unlearning import methods
from unlearning.cli.detecting import DETECTORS, detect_options, eyes_option, take_detection
from unlearning.cli.group import (
    assignments,
    data_dir_option,
    force_option,
    import_option,
    json_option,
    labels_file_option,
    main,
    prepare,
    print_json,
    quiet_option,
    say,
    set_option,
    tensorboard_option,
)
from unlearning.cli.looks import given_words, option, together
from unlearning.cli.options import options_of
from unlearning.data.settings import DataSettings, ImageReading
from unlearning.detection import WITH_EYES
from unlearning.errors import InputError
from unlearning.progress import stages
from unlearning.repairs.settings import with_eyes
from unlearning.review.settings import ReviewSettings
from unlearning.settings import LARGEST_SEED

_DATA = DataSettings.model_fields["dataset"].description
_SEED = click.IntRange(0, LARGEST_SEED)

_divided = together(
    data_dir_option,
    option(
        "--data-seed", default=42, show_default=True, metavar="N", help="Seed of the splits; row numbers depend on it."
    ),
    option(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="Side to which image files are resized [default: height and width of the model's input].",
    ),
    options_of(ImageReading),
    heading="Data",
)
_SHOWN = ("images", "texts")
_of_own = together(import_option, heading="Model")
_printed = together(force_option, json_option, quiet_option, heading="Output")


@main.command(
    examples=(
        "repair model.keras --data data.npz --out repaired.keras",
        "repair model.keras --data data.npz --flagged flagged.csv --out repaired.keras",
        "repair model.keras --data data.npz --method sap --out repaired.keras",
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@together(
    option("--data", "dataset", required=True, metavar="DATA", help=f"What the model was trained on: {_DATA}"),
    option(
        "--flagged",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="CSV with the columns row,corrected_label; an empty label removes the row. For a folder, the column file "
        "(a path within it) may stand for row. Also cleanlab's table of label issues, and what Label Studio, CVAT and "
        "FiftyOne export. Without it bad rows are detected. With --detect they teach the detector, and what it finds "
        "besides is added.",
    ),
    heading="Data",
)
@_of_own
@_divided
@detect_options
@together(
    option(
        "--method",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="One of `list methods`, or a chain a+b. auto chooses by what is known and by the time there is.",
    ),
    option(
        "--time-budget",
        metavar="TIME",
        help="For auto: seconds such as 90 (detection included), or passes over the data such as '3 passes' [default: "
        "2 passes, and what a detection takes].",
    ),
    set_option,
    option("--trainable-from", metavar="LAYER", help="First layer to update, or 'all' [default: as the method says]."),
    option("--profile", is_flag=True, help="Say what the processor time was spent on."),
    option("--seed", type=_SEED, default=0, show_default=True, metavar="N", help="Seed of what the method draws."),
    heading="Repair",
)
@option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The repaired model (.keras).")
@options_of(ReviewSettings, _SHOWN, heading="Output")
@option(
    "--export-litert",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Make a LiteRT file (.tflite) of the repaired model, too, checked on the validation rows; needs "
    "ai-edge-litert.",
)
@tensorboard_option
@_printed
def repair(as_json: bool, quiet: bool, **options: Any) -> None:
    """Correct your own MODEL.keras.

    Its bad rows are given (--flagged) or found: by --detect, by --eyes, or, where nothing is said, by what the rows
    themselves tell. Rows count from 0 within the training split of the data. Next to the repaired model stands a JSON
    file with scores, hyperparameters and work.
    """
    command = given_words()
    detect_by = take_detection(options)
    prepare(quiet)
    _import_own(options)
    from unlearning.repairs.paths import repair_file

    shown, reading = _take_review(options, _SHOWN), _take_reading(options)
    finds = detect_by is not None or (options["flagged"] is None and methods.get(options["method"]).finds_rows)
    with stages(4 if finds else 3):
        result = repair_file(detect_by=detect_by, reading=reading, shown=shown, command=command, **options)
    if as_json:
        print_json([result])
        return
    from unlearning.reporting.tables import format_repair

    say(format_repair(result))
    out = options["out"]
    files = [out, out.with_suffix(".json"), *([options["export_litert"]] if options["export_litert"] else [])]
    say(f"\nFiles: {', '.join(map(str, files))}")


@main.command(
    examples=(
        "detect model.keras --data data.npz --out suspects.csv",
        "detect model.keras --data data.npz --eyes efficientnet.keras --out suspects.csv",
        "detect model.keras --data data.npz --out suspects.csv --answers answers.csv",
        "detect models/EXPERIMENT/budget-251/seed-42 --detect neighbours",
    )
)
@click.argument("target", type=click.Path(path_type=Path))
@together(
    option("--data", "dataset", metavar="DATA", help=f"What a MODEL.keras was trained on: {_DATA}"),
    option(
        "--flagged",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="CSV of rows that are known already, as `repair` takes it; rows that are right have their given label. "
        "They teach the detector, and are no suspects.",
    ),
    heading="Data",
)
@_of_own
@_divided
@together(labels_file_option, heading="Data")
@together(
    option(
        "--detect",
        "detector",
        type=DETECTORS,
        metavar="DETECTOR",
        old=("--detector",),
        help=f"One of {', '.join(DETECTORS.names)}. `list detectors` says what they do [default: patches].",
    ),
    eyes_option,
    option(
        "--set",
        "overrides",
        multiple=True,
        callback=assignments,
        metavar="FIELD=VALUE",
        help="Change a setting of the detector; repeatable. `list detectors NAME` shows them.",
    ),
    option(
        "--seed", type=_SEED, metavar="N", help="Seed of what the detector draws [default: 0; in a RUN_DIR its own]."
    ),
    heading="Detection",
)
@option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The suspects (.csv) [default for a RUN_DIR: RUN_DIR/detect-DETECTOR/suspects.csv].",
)
@together(
    option("--all-rows", is_flag=True, help="Write rows that are not suspect, too, with their given labels."),
    heading="Output",
)
@options_of(ReviewSettings, heading="A person's eyes")
@_printed
def detect(target: Path, as_json: bool, quiet: bool, **options: Any) -> None:
    """Find rows of TARGET's training data whose labels look wrong.

    TARGET is a MODEL.keras, with --data and --out, or a RUN_DIR (.../budget-B/seed-S), where the bad rows are known and
    the detection is scored. The CSV file is what `repair --flagged` takes. Look through it first: next to it stands a
    page (.html) that shows the suspects and writes what you decide. There are also a JSON file with all numbers and a
    PNG of the scores.
    """
    command = given_words()
    prepare(quiet)
    _import_own(options)
    from unlearning.experiments.cell.examining import detect_beside, detect_rows
    from unlearning.experiments.cell.folder import parse_cell
    from unlearning.experiments.grid.locks import lock_cell
    from unlearning.repairs.reviewing import audited_paths, review_paths

    options["reading"], options["asked"] = _take_reading(options), _take_review(options)
    options["detector"] = options["detector"] or (None if options["eyes"] else "patches")
    own = f"{options['detector'] or WITH_EYES}."
    told = {key.removeprefix(own): value for key, value in options["overrides"].items()}
    options["detector"], options["overrides"] = with_eyes(options["detector"], told, options.pop("eyes"))
    out = options["out"]
    if out is None and target.is_dir():
        with lock_cell(*parse_cell(target), timeout=0), stages(2):
            result, files = detect_beside(target, **options)
    else:
        with stages(2):
            result = detect_rows(target=target, command=command, **options)
        asked = options["asked"]
        beside = [out.with_suffix(".json"), out.with_suffix(".png"), *review_paths(out, asked)]
        files = [out, *beside] if asked.answers is None else audited_paths(out)
    if as_json:
        print_json([result])
        return
    from unlearning.reporting.tables import format_detection, terminal_width

    say(format_detection(result, terminal_width()))
    if result.audit is not None:
        say("\n" + "\n".join(result.audit.lines()))
    say(f"\nFiles: {', '.join(map(str, files))}")
    page = next((path for path in files if path.suffix == ".html"), None)
    if page is not None:
        say(f"Next: open {page} in a browser, decide, and give the flagged.csv that it writes to `repair --flagged`.")


@main.command(
    examples=(
        "convert old.h5 new.keras",
        "convert saved_model_folder new.keras",
        "convert old.h5 new.keras --import my_layers",
    )
)
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@_of_own
@_printed
def convert(old: Path, new: Path, force: bool, as_json: bool, quiet: bool, **options: Any) -> None:
    """Make a .keras file of an OLD model.

    OLD is an HDF5 file (.h5, .hdf5), a .keras file of Keras 2, or the folder of a SavedModel of Keras 2. Nothing in it
    is run: Lambda layers and classes that are neither Keras's nor registered (--import) are refused before anything is
    loaded. NEW is kept only if it predicts the same as what was loaded.
    """
    prepare(quiet)
    from unlearning.files import check_outputs
    from unlearning.startup import import_tensorflow

    if not old.exists():
        raise InputError("old", "an existing file or folder", str(old))
    if new.suffix != ".keras":
        raise InputError("new", "a path ending in .keras", str(new))
    check_outputs((new,), force)
    import_tensorflow()
    _import_own(options)
    from unlearning.interop.legacy import convert_model

    done = convert_model(old, new)
    parameters = int(done.model.count_params())
    if as_json:
        print_json({"file": str(new), "form": done.form, "parameters": parameters, "renamed_layers": done.renamed})
        return
    say(f"{old}: {done.form}, {parameters:,} parameters. A copy read from {new} predicts the same.")
    if done.renamed:
        layers = "1 layer has" if done.renamed == 1 else f"{done.renamed} layers have"
        say(f"{layers} another name, since Keras 3 has no names with a slash, and none twice.")


def _import_own(options: dict[str, Any]) -> None:
    """Takes the module of the user's own layers out of a command's options, and imports it where one is named."""
    module = options.pop("own_code")
    if module is not None:
        from unlearning.startup import import_own

        import_own(module)


def _take_reading(options: dict[str, Any]) -> ImageReading:
    """Takes how images are read out of a command's options."""
    return ImageReading(**{name: options.pop(name) for name in ImageReading.model_fields})


def _take_review(options: dict[str, Any], only: Collection[str] | None = None) -> ReviewSettings:
    """Takes how suspects are shown to a person out of a command's options."""
    names = ReviewSettings.model_fields if only is None else only
    return ReviewSettings(**{name: options.pop(name) for name in names})
