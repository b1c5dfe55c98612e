"""Commands that read results: tables, comparisons, figures, pages, checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unlearning.cli.group import (
    data_dir_option,
    force_option,
    json_option,
    labels_file_option,
    main,
    own_data_option,
    prepare,
    print_json,
    quiet_option,
    say,
    silence_progress,
)
from unlearning.cli.looks import option, together
from unlearning.errors import InputError

if TYPE_CHECKING:
    from unlearning.experiments.results.tree import Repair, Training

_data_options = together(own_data_option, data_dir_option, labels_file_option, heading="Data")


@main.command(examples=("show models/EXPERIMENT", "show models/published", "show models/EXPERIMENT --compare"))
@click.argument("directory", type=click.Path(path_type=Path))
@together(
    option("--compare", is_flag=True, help="Compare methods with a control, paired by seed, with bootstrap intervals."),
    option("--control", default="fine-tuning", show_default=True, metavar="METHOD", help="Folder name of the control."),
    heading="Comparison",
)
@together(json_option, heading="Output")
def show(directory: Path, compare: bool, control: str, as_json: bool) -> None:
    """Print the results in DIRECTORY: an experiment, a cell, a method's folder, or what `repair` and `detect` wrote."""
    from unlearning.experiments.results.reader import read_folders
    from unlearning.records import UnlearningResults

    tree = read_folders([directory], strict=True)
    entries, trained, own, remembered = tree.repairs(), tree.trainings(), tree.own(), tree.memorisations()
    if compare:
        if own and not entries:
            raise InputError(f"{directory} holds repairs of your own models, which have no control to compare with.")
        _compare(entries, control, as_json)
        return
    if not entries and not trained and not own and not remembered:
        raise InputError(f"{directory} holds no results of run, unlearn, repair, detect or memorise.")
    results = [entry.results for entry in entries if isinstance(entry.results, UnlearningResults)]
    foreign = [entry for entry in entries if not isinstance(entry.results, UnlearningResults)]
    if as_json:
        from unlearning.experiments.results.export import tidy_row

        print_json([*results, *(tidy_row(entry) for entry in foreign), *(one.results for one in own), *remembered])
        return
    from unlearning.reporting.tables import format_entries, format_own, format_reference, terminal_width

    if remembered:
        from unlearning.reporting.tables.memorisation import format_memorisation

        say(format_memorisation(remembered, terminal_width()))
    if trained:
        print_training(directory, trained)
        say()
    if own:
        say(format_own(own, width=terminal_width()))
    if results or (trained and not foreign):
        say(format_entries(entries, width=terminal_width()))
    if foreign:
        say(format_reference(foreign, width=terminal_width()))


def _compare(entries: Sequence[Repair], control: str, as_json: bool) -> None:
    from unlearning.experiments.results.compare import compare_methods
    from unlearning.reporting.tables import format_comparison, terminal_width

    comparison = compare_methods(entries, control)
    print_json(comparison) if as_json else say(format_comparison(comparison, terminal_width()))


@main.command(
    examples=(
        "export models/published --out results.csv",
        "export models/EXPERIMENT/budget-251/seed-42 --format labels --out labels.json",
    )
)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@together(
    option("--out", type=click.Path(path_type=Path), metavar="FILE", help="The table (.csv), or the list (.json)."),
    option(
        "--format",
        "form",
        type=click.Choice(["tidy", "reference", "labels"]),
        default="tidy",
        show_default=True,
        help="A row a repair and a column a number; the columns of the published implementation; or the labels that "
        "the model in a RUN_DIR (.../budget-B/seed-S) was given.",
    ),
    force_option,
    heading="Output",
)
@_data_options
def export(folders: tuple[Path, ...], out: Path | None, form: Any, force: bool, **data: Any) -> None:
    """Write the results below FOLDERS to one file for other programs.

    Labels are one integer a training row, as `run --noise recorded --labels-file` reads them. A whole
    tensorflow-datasets set is listed in the order of its example ids, anything else in the order of the training rows.
    """
    if out is None:  # before version 0.2 it stood behind the folders
        *folders, out = folders  # type: ignore[assignment]
        if not folders:
            raise InputError("Say with --out which file to write.")
    if form == "labels":
        _export_labels(folders, out, force, data)
        return
    from unlearning.experiments.results.export import export_results
    from unlearning.records.reference import NOTES, ReferenceResults

    entries = export_results(folders, out, form=form, force=force)
    say(f"{len(entries)} rows: {out}")
    if any(isinstance(entry.results, ReferenceResults) for entry in entries):
        say("Of the published implementation's results:\n- " + "\n- ".join(NOTES), err=True)


def _export_labels(folders: Sequence[Path], out: Path, force: bool, data: dict[str, Any]) -> None:
    if len(folders) != 1:
        raise InputError("folders", "one folder .../budget-<B>/seed-<S>", " ".join(map(str, folders)))
    prepare(quiet=True)
    from unlearning.experiments.cell.labels import write_given_labels

    rows, bad = write_given_labels(run_dir=folders[0], out=out, force=force, **data)
    say(f"{rows} labels, {bad} of them wrong: {out}")


@main.command(
    examples=(
        "figures models/published --out figures --format png,pdf",
        "figures --features models/EXPERIMENT/budget-251/seed-42/fspmu",
    )
)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@together(
    option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the figures."),
    option("--format", "formats", default="png", show_default=True, metavar="NAME,...", help="png, pdf, or png,pdf."),
    option(
        "--no-caption",
        "caption",
        is_flag=True,
        flag_value=False,
        default=True,
        help="Leave the caption out of the figures; FIGURE.tex beside each has it either way.",
    ),
    force_option,
    json_option,
    quiet_option,
    heading="Output",
)
@together(
    option(
        "--features",
        "of_features",
        is_flag=True,
        help="Draw where rows lie in feature space before and after one finished repair (.../seed-S/METHOD), into its "
        "own folder.",
    ),
    option("--rows", default=2000, show_default=True, metavar="N", help="Most rows in the t-SNE figure."),
    heading="Features",
)
@_data_options
def figures(
    folders: tuple[Path, ...],
    out: Path | None,
    formats: str,
    caption: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Draw the results below FOLDERS for a paper: OUT/EXPERIMENT/FIGURE.png or .pdf, and FIGURE.tex with the caption.

    Accuracy over budget, restored share over seconds and by method, recall by class, and convergence of the solvers,
    with all seeds, from the records alone. A figure that the records have no numbers for is left out.

    With --features, tsne, angles (to the centroid of the given label; centroids are those of the retain rows before
    the repair) and features.json with the angles' means go to METHOD/figures. Rows count as forget rows if the repair's
    record names them; without such a record the truly bad ones do.
    """
    if options.pop("of_features"):
        _draw_features(folders, tuple(formats.split(",")), as_json, quiet, options)
        return
    if out is None:
        raise InputError("Say with --out which folder the figures go to.")
    if quiet:
        silence_progress()
    from unlearning.reporting.figures import draw_study

    study = draw_study(folders, out, formats=formats.split(","), caption=caption, force=force)
    if as_json:
        print_json([{"files": list(map(str, study.paths)), "left_out": study.left_out, "foreign": study.foreign}])
        return
    for path in study.paths:
        say(path)
    for reason in study.left_out:
        say(f"Left out: {reason}.", err=True)
    if study.foreign:
        say(f"Left out: {study.foreign} results of the published implementation.", err=True)


def _draw_features(
    folders: Sequence[Path], formats: tuple[str, ...], as_json: bool, quiet: bool, options: dict[str, Any]
) -> None:
    if len(folders) != 1:
        raise InputError("folders", "one folder .../budget-<B>/seed-<S>/<method>", " ".join(map(str, folders)))
    prepare(quiet)
    from unlearning.reporting.features import draw_features

    result = draw_features(folders[0], formats=formats, **options)
    if as_json:
        print_json([result])
        return
    from unlearning.reporting.tables import format_angles

    say(format_angles(result))
    say(f"\nFiles: {folders[0] / 'figures'}")


@main.command(examples=("report models/EXPERIMENT --out report.html",))
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@together(
    option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The page (.html)."),
    option(
        "--images",
        default=24,
        show_default=True,
        metavar="N",
        help="Most pictures of suspects; 0 for none.",
    ),
    force_option,
    heading="Output",
)
@together(own_data_option, data_dir_option, heading="Data")
def report(folders: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Write one HTML page on the results in FOLDERS: tables, charts, commands.

    FOLDERS are of experiments, or hold what `repair` and `detect` wrote about your own models. The page needs no
    network and no second file. A sweep that is still running can be reported, too.
    """
    prepare(quiet=True)
    from unlearning.reporting.page import write_report

    written = write_report(folders, out, **options)
    parts = [f"{written.own} repairs and detections of your own models"] if written.own else []
    if any(written.cells.values()) or not written.own:
        states = ", ".join(f"{number} {state}" for state, number in written.cells.items())
        parts.append(f"{written.repairs} repairs in cells: {states}")
    say(f"{'; '.join(parts)}; {written.problems} files could not be read.")
    say(f"{out}: {written.size / 1e6:.1f} MB")


@main.command(examples=("validate models/published",))
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@together(json_option, heading="Output")
def validate(folders: tuple[Path, ...], as_json: bool) -> None:
    """Check every file below FOLDERS: names, records, hashes, weights, logs.

    The exit code is 1 if anything is wrong.
    """
    from unlearning.experiments.results.validate import validate_folders

    report = validate_folders(folders)
    if as_json:
        print_json(report)
    else:
        from unlearning.reporting.tables import format_validation, terminal_width

        say(format_validation(report, terminal_width()))
    if report.problems:
        click.get_current_context().exit(1)


def show_training(directory: Path, as_json: bool = False) -> None:
    """Prints the scores of the models trained below a folder."""
    from unlearning.experiments.results.reader import read_folders

    print_training(directory, read_folders([directory], strict=True).trainings(), as_json)


def print_training(directory: Path, trained: Sequence[Training], as_json: bool = False) -> None:
    """Prints the scores of trained models; they are named by their folders below `directory`."""
    from unlearning.reporting.tables import format_training, terminal_width

    found = []
    for model in trained:
        folder, results = model.layout.folder, model.results
        assert results is not None
        name = str(folder.relative_to(directory)) if folder != directory else folder.name
        found.append((name, results))
    if as_json:
        print_json([{"model": name, **result.model_dump(mode="json", by_alias=True)} for name, result in found])
        return
    say(format_training(found, terminal_width()))
