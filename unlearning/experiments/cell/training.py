"""The clean model of a seed and the poisoned model of a cell, trained where they are missing."""

from __future__ import annotations

from unlearning import data as sources
from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.setup import Setup, train_settings
from unlearning.experiments.cell.stages import agrees, claim, finished, is_intact, keep_inside, set_aside
from unlearning.files import file_sha256
from unlearning.records import TrainConfig, TrainResults, config_hash, finite, read_json, write_json
from unlearning.repairs.environment import describe_environment


def find_clean(setup: Setup, seed: int) -> TrainResults | None:
    """Returns the results of the clean model that cells of a seed are compared with; writes nothing.

    Passes on an `InputError` if its folder holds another configuration or if the user's data file is not the one
    that was trained on.

    Args:
        setup: The experiment.
        seed: The cells' seed.

    Returns:
        The results, or None where the model is not trained.
    """
    files, config = layout.clean_of(setup.folder, seed), setup.clean_config(seed)
    keep_inside(setup.folder, files)
    agrees(files.config, config)
    found = finished(files.results, TrainResults, config_hash(config))
    if found is not None and sources.is_users_own(setup.settings.dataset):
        setup.check_data(found)
    return found


def ensure_clean(setup: Setup, seed: int) -> TrainResults:
    """Trains the clean model of a seed unless it is there; see `find_clean`."""
    found = find_clean(setup, seed)
    if found is not None:
        return found
    check_clean(setup)
    files, config = layout.clean_of(setup.folder, seed), setup.clean_config(seed)
    claim(files.config, config)
    return _train(setup, files, config, config_hash(config), cell=None)


def check_clean(setup: Setup) -> None:
    """Raises `InputError` unless all clean models of the folder are trained as those asked for: seeds share a recipe.

    A cell of a new seed has a folder of its own, where nothing would say that the others were made in another way.
    """
    if layout.has_one_clean(setup.folder):
        find_clean(setup, setup.settings.seeds[0])
        return
    for folder in sorted(layout.clean_files(setup.folder, None).folder.glob("*/")):
        if (seed := layout.parse_clean(folder)) is not None:
            find_clean(setup, seed)


def find_poisoned(cell: Cell) -> TrainResults | None:
    """Returns the results of a cell's poisoned model, or None where it is not trained; writes nothing.

    Passes on an `InputError` if the cell holds another configuration.
    """
    keep_inside(cell.setup.folder, cell.files)
    agrees(cell.files.config, cell.train_config)
    agrees(cell.files.poison_config, cell.poison_config)
    return finished(cell.files.results, TrainResults, config_hash(cell.train_config, cell.poison_config))


def ensure_poisoned(cell: Cell, need_model: bool = False) -> TrainResults:
    """Trains a poisoned model unless its results are there (and its weights, where they are needed)."""
    keep_inside(cell.setup.folder, cell.files)
    claim(cell.files.config, cell.train_config)
    claim(cell.files.poison_config, cell.poison_config)
    found = find_poisoned(cell)
    if found is not None and (not need_model or is_intact(cell.files, found)):
        return found
    cell.corruption.save(cell.files.corruption)
    wanted = config_hash(cell.train_config, cell.poison_config)
    return _train(cell.setup, cell.files, cell.train_config, wanted, cell)


def check_trained(cell: Cell) -> TrainResults:
    """Returns the results of a finished poisoned model whose weights and data are those recorded.

    Raises:
        InputError: If the cell is unfinished, its weights are not those recorded, or the data are other ones.
    """
    found = find_poisoned(cell)
    if found is None and cell.files.results.is_file():
        found = read_json(cell.files.results, TrainResults)  # damaged: named, as nothing is made again here
    if found is None:
        raise InputError("run_dir", "a cell whose poisoned model is trained (see `run`)", "none")
    if not cell.files.model.is_file():
        raise InputError(
            f"The weights {cell.files.model} are missing: version control holds records only. Any repair that is not "
            f"there yet trains the model again: python cli.py unlearn annealing {cell.files.folder} --variant again"
        )
    if file_sha256(cell.files.model) != found.model_sha256:
        raise InputError("run_dir", f"the weights whose hash {cell.files.results} records", str(cell.files.model))
    cell.setup.check_data(found)
    return found


def _train(
    setup: Setup, files: layout.TrainedFiles, config: TrainConfig, wanted: str, cell: Cell | None
) -> TrainResults:
    from unlearning.architectures import build
    from unlearning.evaluation import accuracy, report
    from unlearning.interop import set_determinism
    from unlearning.training import ShuffledBatches, building_context, train

    data = setup.data
    given = data.train if cell is None else cell.given
    set_determinism(config.seed, config.deterministic)
    with building_context(config.mixed_precision, config.objective):
        model = build(
            config.model,
            input_shape=data.input_shape,
            num_classes=data.num_classes,
            pixel_max=data.pixel_max,
            seed=config.seed,
        )
    set_aside(files.results, TrainResults)
    callbacks = []
    if setup.settings.tensorboard is not None:
        from unlearning.drawing.training_board import TrainingBoard

        callbacks.append(TrainingBoard(setup.board(files.folder), files.backup / "log.csv"))
    model, trained = train(
        model,
        ShuffledBatches(
            given.images, given.labels, batch_size=config.batch_size, seed=config.seed, augment=config.augment
        ),
        settings=train_settings(config),
        checkpoint=files.model,
        log=files.log,
        backup_dir=files.backup,
        seed=config.seed,
        callbacks=callbacks,
    )
    table = report(model, data.test)
    results = TrainResults.model_validate(
        {
            **finite(table | {"test_loss": table.pop("loss")}),
            "config_hash": wanted,
            "train_loss": trained.train_loss,
            "epochs_for_min": trained.epochs_for_min,
            "time": trained.time,
            "cpu_time_s": trained.cpu_time_s,
            "rows": len(data.train),
            "corrupted_rows": 0 if cell is None else cell.corruption.budget,
            "validation_accuracy_clean": accuracy(model, data.validation),
            "validation_accuracy_noisy": None if cell is None else accuracy(model, cell.noisy_validation),
            "num_params": sum(int(v.numpy().size) for v in model.trainable_variables),
            "model_sha256": file_sha256(files.model),
            "data_sha256": setup.data_sha256,
            "corruption_sha256": None if cell is None else cell.corruption.sha256(),
            "environment": describe_environment(),
        }
    )
    write_json(files.results, results)
    return results
