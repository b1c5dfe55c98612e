"""Checking experiment folders: are the files whole, do they belong where they stand, and do they agree with each other?

Nothing is changed and no model is loaded. Weights and arrays that are not there are counted, not missed: version
control does not keep them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from unlearning.errors import InputError, printable
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.results.places import find_files, known_names, walk_files
from unlearning.experiments.results.reader import describe_problem, read_folders
from unlearning.experiments.results.tree import Tree
from unlearning.experiments.results.whole import check_figure, check_log, find_damage
from unlearning.files import PARTIAL, file_sha256
from unlearning.records import (
    KINDS,
    SCHEMA_VERSION,
    DetectConfig,
    DetectionResults,
    PoisonConfig,
    Record,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
    config_hash,
)
from unlearning.records.reference import ReferenceConfig, ReferenceResults, ReferenceTraining


class Problem(Record):
    """One thing that is wrong.

    Attributes:
        path: The file or folder, as reached from the folder given.
        kind: `record` (not what its name says), `hash` (made with other configurations), `disagreement` (with the files
            beside it, or with its own numbers), `path`, `weights`, `log`, `figure`, `foreign`, or `left over`.
        message: What is wrong.
    """

    path: str
    kind: Literal["record", "hash", "disagreement", "path", "weights", "log", "figure", "foreign", "left over"]
    message: str


class ValidationReport(Record):
    """What `validate` found.

    Attributes:
        schema_version: Version of this schema.
        files: Files looked at.
        records: JSON records that are valid by themselves.
        reference_records: Among them, results of the published implementation; nothing else is checked of those.
        logs: CSV files that can be read.
        weights_checked: Weight files whose SHA-256 is the recorded one.
        weights_not_kept: Recorded weight files that are not there.
        unfinished: Configurations without results.
        problems: What is wrong, by path.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    files: int
    records: int
    reference_records: int
    logs: int
    weights_checked: int
    weights_not_kept: int
    unfinished: int
    problems: list[Problem]


def validate_folders(folders: Sequence[Path]) -> ValidationReport:
    """Checks every file below folders.

    Args:
        folders: Folders of any level: several experiments, one, a cell, or a method. Configurations above them are
            looked up where hashes cover them.

    Returns:
        The report.

    Raises:
        InputError: If a folder is missing.
    """
    check = _Check(read_folders(folders))
    seen: set[Path] = set()
    for root in folders:
        for path in walk_files(root, hidden=True):
            there = path.parent.resolve() / path.name
            if there not in seen:
                seen.add(there)
                check.file(path, there, root)
    return check.report()


class _Check:
    """The state of one validation."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.counts: Counter[str] = Counter()
        self.problems: dict[tuple[str, str, str], Problem] = {}
        below = set(tree.paths.values())
        self.damaged = {found.path for found in tree.problems if found.kind == "record"}
        for found in tree.problems:
            if found.path in below:
                self.problem(found.path, found.kind, found.message)

    def report(self) -> ValidationReport:
        names = [name for name in ValidationReport.model_fields if name not in ("schema_version", "problems")]
        problems = [self.problems[key] for key in sorted(self.problems)]
        return ValidationReport.model_validate({name: self.counts[name] for name in names} | {"problems": problems})

    def problem(self, path: Path, kind: str, message: str) -> None:
        found = Problem.model_validate(
            {"path": printable(path.as_posix()), "kind": kind, "message": printable(message)}
        )
        self.problems[found.path, found.kind, found.message] = found

    def file(self, path: Path, there: Path, root: Path) -> None:
        """Checks one file by its name and the room it stands in."""
        self.counts["files"] += 1
        if path.name.startswith(PARTIAL):
            self.problem(path, "left over", "an interrupted write left it behind; it can be removed")
            return
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            self.problem(path, "path", "a link that leaves the folder; it is not followed")
            return
        if not path.is_file():
            self.problem(path, "foreign", "neither a file nor a folder")
            return
        if {"backup", ".locks"} & set(path.relative_to(root).parts[:-1]):
            return  # the state of a training that was interrupted, or of a run that goes on
        room = find_files(path.parent)
        if path.suffix == ".json":
            self.json(path, there, room)
        elif room is not None and path.name in known_names(room):
            if path.suffix == ".csv":
                self.log(path)
            elif isinstance(room, layout.TrainedFiles) and path == room.corruption:
                self.corruption(room)
            elif path.suffix == ".png":
                self.figure(path)
            elif not isinstance(room, layout.DetectionFiles) and path == room.model and not room.results.is_file():
                self.archive(path)
        elif path.parent.name == "figures" and path.suffix == ".png":
            self.figure(path)
        elif not self.belongs_to_record(path):
            self.problem(path, "foreign", "no file of an experiment has this name here")

    def json(self, path: Path, there: Path, room: layout.Files | None) -> None:
        record = self.tree.records.get(there)
        if there not in self.tree.paths:
            self.problem(path, "path", "a link, or in a hidden folder; it is not read")
        if path in self.tree.own:
            self.counts["records"] += 1
            for suffix, check in ((".csv", self.log), (".keras", self.archive), (".png", self.figure)):
                if path.with_suffix(suffix).is_file():
                    check(path.with_suffix(suffix))
        elif record is None:
            if there in self.tree.paths and path not in self.damaged:
                self.problem(path, "foreign", "no record has this name, and its content is none of repair or detect")
        elif isinstance(record, ReferenceConfig):
            self.counts["reference_records"] += 1
        else:
            self.counts["records"] += 1
            self.counts["reference_records"] += isinstance(record, ReferenceResults | ReferenceTraining)
            self.record(path, record, room)

    def record(self, path: Path, record: BaseModel, room: layout.Files | None) -> None:
        """Checks a record against its path and what it was made from."""
        if room is None or path.name not in known_names(room):
            return
        if isinstance(room, layout.DetectionFiles):
            if isinstance(record, DetectionResults):
                self.detection(path, record, room)
            return
        if path == room.config and not room.results.is_file():
            self.counts["unfinished"] += 1
        if isinstance(room, layout.MethodFiles):
            self.method(path, record, room)
        else:
            self.training(path, record, room)

    def belongs_to_record(self, path: Path) -> bool:
        """Whether a file is the output of `repair` or `detect`: their record has its name and says so."""
        owner = path.with_name(path.stem.removesuffix("-suspects") + ".json")  # `repair --detect` writes such a list
        if path.suffix not in (".csv", ".keras", ".png") or owner.stem in KINDS:
            return False
        return owner in self.tree.own or owner in self.damaged

    def training(self, path: Path, record: BaseModel, files: layout.TrainedFiles) -> None:
        """Checks a file of a clean or a poisoned model against its path, its configurations and its weights."""
        clean = files.model_name == "best_model.keras"
        if not clean:
            _, budget, seed = layout.parse_cell(files.folder.resolve())
            if isinstance(record, PoisonConfig) and (record.budget, record.seed) != (budget, seed):
                self.problem(path, "path", f"it is of budget {record.budget}, seed {record.seed}")
            if isinstance(record, TrainConfig) and record.seed != seed:
                self.problem(path, "path", f"it is of seed {record.seed}")
        elif isinstance(record, TrainConfig) and record.seed != record.data.data_seed:
            self.problem(path, "disagreement", "a clean model has the seed of its data")
        if not isinstance(record, TrainResults):
            return
        configs = [(files.config, TrainConfig)] + ([] if clean else [(files.poison_config, PoisonConfig)])
        self.hash(path, record.config_hash, [self.tree.record(file, kind) for file, kind in configs])
        self.weights(files.model, record.model_sha256)
        if clean and record.corrupted_rows:
            self.problem(path, "disagreement", f"a clean model with {record.corrupted_rows} corrupted rows")

    def detection(self, path: Path, record: DetectionResults, files: layout.DetectionFiles) -> None:
        """Checks the detection of a cell against the model it looked at and its own options."""
        _, budget, seed = layout.parse_cell(files.folder.resolve().parent)
        cell = layout.cell_files(files.folder.parent.parent.parent, budget, seed)
        configs = [self.tree.record(cell.config, TrainConfig), self.tree.record(cell.poison_config, PoisonConfig)]
        made_by = DetectConfig(detector=record.detector, options=record.options)
        self.hash(path, record.config_hash or "", [*configs, made_by])

    def method(self, path: Path, record: BaseModel, files: layout.MethodFiles) -> None:
        """Checks a file of a repair against its path, its configurations, the models it started from, its weights."""
        cell_folder = files.folder.resolve().parent
        experiment, budget, seed = layout.parse_cell(cell_folder)
        if isinstance(record, UnlearnConfig | UnlearningResults):
            named = f"{record.method}-{record.variant}" if record.variant else record.method
            if named != files.folder.resolve().name:
                self.problem(path, "path", f"it is of the method folder {named[:100]!r}")
            if record.seed != seed:
                self.problem(path, "path", f"it is of seed {record.seed}")
        if not isinstance(record, UnlearningResults):
            return
        if record.budget != budget:
            self.problem(path, "path", f"it is of budget {record.budget}")
        cell, clean = layout.cell_files(experiment, budget, seed), layout.clean_files(experiment)
        config = self.tree.record(files.config, UnlearnConfig)
        if config is not None and config != record.config:
            self.problem(path, "disagreement", f"its config is not that of {files.config.name}")
        configs = [
            self.tree.record(clean.config, TrainConfig),
            self.tree.record(cell.config, TrainConfig),
            self.tree.record(cell.poison_config, PoisonConfig),
            config,
        ]
        self.hash(path, record.config_hash, configs)
        self.weights(files.model, record.model_sha256)
        pairs: tuple[tuple[layout.TrainedFiles, tuple[tuple[str, str], ...]], ...] = (
            (clean, (("acc_clean", "accuracy"),)),
            (
                cell,
                (
                    ("acc_before_fix", "accuracy"),
                    ("training_time_s", "time"),
                    ("training_cpu_s", "cpu_time_s"),
                    ("num_params", "num_params"),
                ),
            ),
        )
        for trained, names in pairs:
            results = self.tree.record(trained.results, TrainResults)
            for ours, theirs in names:
                if results is not None and abs(getattr(record, ours) - getattr(results, theirs)) > 1e-6:
                    message = f"{ours} is not the {theirs} of {trained.folder.name}/{trained.results.name}"
                    self.problem(path, "disagreement", message)

    def hash(self, path: Path, recorded: str, configs: Sequence[Record | None]) -> None:
        known = [config for config in configs if config is not None]
        if len(known) < len(configs):
            self.problem(path, "hash", "cannot be checked: a configuration that it covers is missing or damaged")
        elif config_hash(*known) != recorded:
            self.problem(path, "hash", "config_hash is not that of the configurations beside it")

    def weights(self, path: Path, recorded: str) -> None:
        if not path.is_file():
            self.counts["weights_not_kept"] += 1
        elif file_sha256(path) == recorded:
            self.counts["weights_checked"] += 1
        else:
            damage = find_damage(path) or "whole, but another file"
            self.problem(path, "weights", f"{damage}: not the recorded SHA-256")

    def archive(self, path: Path) -> None:
        if damage := find_damage(path):
            self.problem(path, "weights", damage)

    def corruption(self, files: layout.TrainedFiles) -> None:
        from unlearning.noise.corruption import Corruption

        try:
            corruption = Corruption.load(files.corruption)
        except InputError as error:
            self.problem(files.corruption, "weights", describe_problem(error, files.corruption))
            return
        config, results = (
            self.tree.record(files.poison_config, PoisonConfig),
            self.tree.record(files.results, TrainResults),
        )
        if config is not None and (corruption.kind, corruption.seed) != (config.noise, config.seed):
            self.problem(
                files.corruption, "disagreement", f"its noise or seed is not that of {files.poison_config.name}"
            )
        if results is not None and (corruption.budget, len(corruption.true_labels)) != (
            results.corrupted_rows,
            results.rows,
        ):
            self.problem(files.corruption, "disagreement", f"its rows are not those counted in {files.results.name}")

    def log(self, path: Path) -> None:
        try:
            check_log(path)
            self.counts["logs"] += 1
        except (InputError, OSError) as error:
            self.problem(path, "log", describe_problem(error, path))

    def figure(self, path: Path) -> None:
        try:
            check_figure(path)
        except InputError as error:
            self.problem(path, "figure", describe_problem(error, path))
