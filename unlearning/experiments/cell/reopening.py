"""An existing cell from its configuration files, for whoever adds to it or looks into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from unlearning import data as sources
from unlearning.architectures import check_known
from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.settings import MethodChoice, RunSettings
from unlearning.experiments.cell.setup import Setup, train_settings
from unlearning.experiments.cell.stages import agrees, keep_inside
from unlearning.experiments.cell.training import check_trained
from unlearning.noise import Corruption
from unlearning.records import PoisonConfig, TrainConfig, read_json
from unlearning.repairs.settings import DetectSettings
from unlearning.startup import import_tensorflow
from unlearning.task import Split


def reopen(
    run_dir: Path,
    method: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    variant: str = "",
    validation: Literal["noisy", "clean"] = "noisy",
    known_share: float = 1.0,
    detect: DetectSettings | None = None,
    dataset: str | None = None,
    data_dir: str | None = None,
    labels_file: str | None = None,
    tensorboard: Path | None = None,
) -> Cell:
    """Rebuilds a cell from its configuration files.

    Args:
        run_dir: The cell's folder, `.../budget-<B>/seed-<S>`.
        method: The method to run there, or None.
        overrides: Its changed hyperparameters.
        variant: Text added to the method's folder name.
        validation: Labels of the validation rows.
        known_share: Share of the bad rows that is flagged.
        detect: How flagged rows are found; None: they are known.
        dataset: Path of the data, where it is a file or folder (paths are not recorded).
        data_dir: Folder of prepared tensorflow-datasets sets.
        labels_file: For human and recorded noise; not needed where the cell is finished and its arrays are there.
        tensorboard: Folder of event files, or None.

    Returns:
        The cell; its setup has the one repair that was asked for.

    Raises:
        InputError: If the folder is no cell, or its configuration is missing or damaged.
    """
    folder, budget, seed = layout.parse_cell(run_dir)
    files = layout.cell_files(folder, budget, seed)
    keep_inside(folder, files)
    if not files.poison_config.is_file():
        raise InputError("run_dir", "a cell with poison_config.json (made by `run`)", str(run_dir))
    poison, config = read_json(files.poison_config, PoisonConfig), read_json(files.config, TrainConfig)
    if dataset is not None and sources.recorded_name(dataset) != config.data.dataset:
        raise InputError("data", f"the data set {config.data.dataset!r} of this cell", dataset)
    check_recorded(config)
    settings = recorded_settings(config, poison)
    choices = [] if method is None else [MethodChoice(name=method, overrides=dict(overrides or {}), variant=variant)]
    changed: dict[str, Any] = {
        "dataset": dataset or config.data.dataset,
        "data_dir": data_dir,
        "labels_file": labels_file,
        "methods": tuple(choices),
        "validation": validation,
        "known_share": known_share,
        "detect": detect,
        "output": folder,
        "tensorboard": tensorboard,
    }
    return Cell(Setup(settings.changed(**changed), config.data), budget, seed)


def recorded_settings(config: TrainConfig, poison: PoisonConfig) -> RunSettings:
    """Returns the settings that configurations were made of; paths are not among them.

    Args:
        config: How the model of a cell was trained.
        poison: How its labels were corrupted.
    """
    fields = RunSettings.model_fields
    recorded: dict[str, Any] = {}
    for record in (config, config.data, poison):
        recorded |= {name: getattr(record, name) for name in type(record).model_fields if name in fields}
    recorded |= {"noise_options": dict(poison.options), "seeds": (config.seed,)}
    recorded["interpolation"] = config.data.interpolation or "pillow"  # only folders are asked; old ones say nothing
    settings = RunSettings(**{name: value for name, value in recorded.items() if value is not None})
    return settings.changed(budgets=(poison.budget,)) if settings.takes_budget else settings


def check_recorded(config: TrainConfig) -> None:
    """Refuses configurations that this program does not write, before a file or a folder is touched for them.

    Raises:
        InputError: If the architecture or a setting is unknown, or the data set is a path.
    """
    check_known(config.model)
    train_settings(config)
    name = config.data.dataset
    # Records hold names of data sets, never paths, so that one from a stranger cannot point anywhere.
    parts = name.split("/")
    if name.endswith(".npz") or name.startswith(("/", "~")) or "\\" in name or not {".", ".."}.isdisjoint(parts):
        raise InputError("dataset", "the name of a data set in train_config.json, not a path", name)


def open_poisoned(cell: Cell) -> tuple[Any, Split, Corruption]:
    """Opens a finished poisoned model with the rows it was trained on; nothing is trained.

    Passes on an `InputError` if the cell is unfinished, its weights are not those recorded, or the data are other ones.

    Returns:
        The model, its training rows with their given labels, and the corruption.
    """
    from unlearning.interop import load_model

    check_trained(cell)
    import_tensorflow()
    return load_model(cell.files.model), cell.given, cell.corruption


def recorded_corruption(cell: Cell) -> Corruption:
    """Returns what is, or would be, wrong with the training rows of a cell; nothing is trained or written.

    Raises:
        InputError: If the cell holds another configuration.
    """
    if not agrees(cell.files.poison_config, cell.poison_config):
        raise InputError("run_dir", "a cell with poison_config.json", str(cell.files.folder))
    return cell.corruption
