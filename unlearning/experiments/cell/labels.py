"""Writing the given labels of a cell as a list that other programs read; see `unlearning.noise.recorded`."""

from __future__ import annotations

from pathlib import Path

from unlearning.errors import InputError
from unlearning.experiments.cell.reopening import recorded_corruption, reopen
from unlearning.files import check_outputs
from unlearning.noise.recorded import in_published_order, write_labels


def write_given_labels(
    *,
    run_dir: Path,
    out: Path,
    dataset: str | None = None,
    data_dir: str | None = None,
    labels_file: str | None = None,
    force: bool = False,
) -> tuple[int, int]:
    """Writes what the training rows of a cell are labelled as.

    Args:
        run_dir: The cell's folder, `.../budget-<B>/seed-<S>`; its configuration is enough, no model need be trained.
        out: The JSON file.
        dataset: Path of the data, where it is a file or folder.
        data_dir: Folder of prepared tensorflow-datasets sets.
        labels_file: For unfinished cells with human or recorded noise.
        force: Replace an existing file.

    Returns:
        The number of rows, and how many of their labels are wrong.

    Raises:
        InputError: If the folder is no cell, its data are other ones or its noise changed images, or the file exists.
    """
    if out.suffix != ".json":
        raise InputError("out", "a path ending in .json", str(out))
    check_outputs((out,), force)
    cell = reopen(run_dir, dataset=dataset, data_dir=data_dir, labels_file=labels_file)
    corruption, data = recorded_corruption(cell), cell.setup.data
    if corruption.patch is not None:
        raise InputError("This noise changed images, too, which a list of labels cannot carry.")
    given = corruption.apply(data.train).labels
    write_labels(out, in_published_order(given, data.train_ids), force=force)
    return len(given), corruption.budget
