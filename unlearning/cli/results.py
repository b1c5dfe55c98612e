"""Commands that read results: tables, comparisons, figures, pages, checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unlearning.cli.group import json_option, main, prepare, print_json, quiet_option, silence_progress
from unlearning.errors import InputError

if TYPE_CHECKING:
    from unlearning.experiments.results.tree import Training


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@json_option
def show(directory: Path, as_json: bool) -> None:
    """Print the results in DIRECTORY: an experiment, a cell, or a method's folder."""
    from unlearning.experiments.results.reader import read_folders
    from unlearning.records import UnlearningResults

    tree = read_folders([directory], strict=True)
    entries, trained = tree.repairs(), tree.trainings()
    if not entries and not trained:
        raise InputError(f"{directory} holds no train_results.json and no unlearning_results.json.")
    results = [entry.results for entry in entries if isinstance(entry.results, UnlearningResults)]
    foreign = [entry for entry in entries if not isinstance(entry.results, UnlearningResults)]
    if as_json:
        from unlearning.experiments.results.export import tidy_row

        print_json([*results, *(tidy_row(entry) for entry in foreign)])
        return
    from unlearning.reporting.tables import format_entries, format_reference, terminal_width

    if trained:
        print_training(directory, trained)
        click.echo()
    if results or not foreign:
        click.echo(format_entries(entries, width=terminal_width()))
    if foreign:
        click.echo(format_reference(foreign))


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--control", default="fine-tuning", show_default=True, help="Folder name of the method to compare with.")
@json_option
def compare(directory: Path, control: str, as_json: bool) -> None:
    """Compare the methods in DIRECTORY with a control, paired by seed, with bootstrap intervals."""
    from unlearning.experiments.results.compare import compare_methods
    from unlearning.experiments.results.reader import read_folders

    comparison = compare_methods(read_folders([directory], strict=True).repairs(), control)
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
@json_option
@quiet_option
def figures(folders: tuple[Path, ...], out: Path, formats: str, force: bool, as_json: bool, quiet: bool) -> None:
    """Draw the results below FOLDERS for a paper: OUT/EXPERIMENT/FIGURE.png or .pdf.

    Accuracy over budget, restored share over seconds and by method, recall by class, and convergence of the solvers,
    with all seeds, from the records alone. A figure that the records have no numbers for is left out.
    """
    if quiet:
        silence_progress()
    from unlearning.reporting.figures import draw_study

    study = draw_study(folders, out, formats=formats.split(","), force=force)
    if as_json:
        print_json([{"files": list(map(str, study.paths)), "left_out": study.left_out, "foreign": study.foreign}])
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
    prepare(quiet=True)
    from unlearning.reporting.page import write_report

    written = write_report(folders, out, **options)
    states = ", ".join(f"{number} {state}" for state, number in written.cells.items())
    click.echo(f"{written.repairs} repairs in cells: {states}; {written.problems} files could not be read.")
    click.echo(f"{out}: {written.size / 1e6:.1f} MB")


@main.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
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
@click.argument("run_dir", metavar="RUN_DIR/METHOD", type=click.Path(path_type=Path))
@click.option("--rows", default=2000, show_default=True, help="Most rows in the t-SNE figure.")
@click.option("--format", "formats", default="png", show_default=True, help="png, pdf, or png,pdf.")
@click.option("--data", "dataset", help="The .npz file or folder, where the data set is one.")
@click.option("--data-dir", help="Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR).")
@click.option("--labels-file", help="CIFAR-10N .npz file, for human noise.")
@json_option
@quiet_option
def features(as_json: bool, quiet: bool, formats: str, **options: Any) -> None:
    """Draw where rows lie in feature space before and after a finished repair (.../seed-S/METHOD).

    Into its folder figures/ go tsne and angles (to the centroid of the given label; centroids are those of the retain
    rows before the repair), and features.json with the angles' means. Rows count as forget rows if the repair's record
    names them; without such a record the truly bad ones do.
    """
    prepare(quiet)
    from unlearning.reporting.features import draw_features

    result = draw_features(**options, formats=tuple(formats.split(",")))
    if as_json:
        print_json([result])
        return
    from unlearning.reporting.tables import format_angles

    click.echo(format_angles(result))
    click.echo(f"\nFiles: {options['run_dir'] / 'figures'}")


def show_training(directory: Path, as_json: bool = False) -> None:
    """Prints the scores of the models trained below a folder."""
    from unlearning.experiments.results.reader import read_folders

    print_training(directory, read_folders([directory], strict=True).trainings(), as_json)


def print_training(directory: Path, trained: Sequence[Training], as_json: bool = False) -> None:
    """Prints the scores of trained models; they are named by their folders below `directory`."""
    from unlearning.reporting.tables import format_training

    found = []
    for model in trained:
        folder, results = model.layout.folder, model.results
        assert results is not None
        name = str(folder.relative_to(directory)) if folder != directory else folder.name
        found.append((name, results))
    if as_json:
        print_json([{"model": name, **result.model_dump(mode="json", by_alias=True)} for name, result in found])
        return
    click.echo(format_training(found))
