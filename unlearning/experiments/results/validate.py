"""Checking experiment folders: are the files whole, do they belong where they stand, and do they agree with each other?

Nothing is changed and no model is loaded. Weights and arrays that are not there are counted, not missed: version
control does not keep them.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.results.places import names, room
from unlearning.experiments.results.reader import read_folders
from unlearning.experiments.results.reading import Files, is_left_over, reason
from unlearning.experiments.results.tree import own_kind
from unlearning.experiments.results.whole import check_log, check_picture, diagnose_archive
from unlearning.files import file_sha256, is_plain
from unlearning.links import real_path
from unlearning.records import (
    KINDS,
    MEMORISATION,
    DetectConfig,
    DetectionResults,
    FeatureResults,
    MemorisationResults,
    PoisonConfig,
    Record,
    RepairResults,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
    config_hash,
    read_rows,
)
from unlearning.records.contradictions import contradictions
from unlearning.records.reference import ReferenceResults, ReferenceTraining, is_reference
from unlearning.records.validation import ValidationReport

_BESIDE = (".csv", ".keras", ".png", ".npz", ".html", ".json", ".tflite")
"""Endings of what stands beside the record of a user's own model."""
_CONFIGS: tuple[type[BaseModel], ...] = (TrainConfig, PoisonConfig, UnlearnConfig)


def validate_folders(folders: Sequence[Path]) -> ValidationReport:
    """Checks every file below folders.

    Passes on an `InputError` if a folder is missing.

    Args:
        folders: Folders of any level: several experiments, one, a cell, or a method. Configurations above them are
            looked up where hashes cover them.

    Returns:
        The report.
    """
    tree = read_folders(folders)
    check = _Check(tree.read)
    for path, root in tree.files:
        check.file(path, root)
    return check.report()


class _Check:
    """The state of one validation."""

    def __init__(self, read: Files) -> None:
        self.read = read
        self.problem = read.problem
        self.counts: Counter[str] = Counter()

    def report(self) -> ValidationReport:
        counted = [name for name in ValidationReport.model_fields if name not in ("schema_version", "problems")]
        return ValidationReport(**{name: self.counts[name] for name in counted}, problems=self.read.problems)

    def file(self, path: Path, root: Path) -> None:
        """Checks one file by its name and the room it stands in."""
        self.counts["files"] += 1
        if is_left_over(path):
            self.problem(path, "left over", "an interrupted write left it behind; it can be removed")
            return
        if "backup" in path.relative_to(root).parts[:-1]:
            return  # the state of a training that was interrupted
        if is_plain(path.with_name(MEMORISATION)):
            self.memorised(path)
            return
        here = room(path)
        if path.suffix == ".json":
            self.json(path, here)
        elif here is not None and path.name in names(here):
            self.known(path, here)
        elif path.parent.name == "figures" and path.suffix == ".png":
            self.figure(path)
        elif not self.belongs_to_record(path):
            self.problem(path, "foreign", "no file of an experiment has this name here")

    def memorised(self, path: Path) -> None:
        """Checks a file that `memorise` has written."""
        record = self.read.record(path.with_name(MEMORISATION), MemorisationResults)
        if path.name == MEMORISATION and record is not None:
            self.counts["records"] += 1
            self.weights(path.with_name("model.keras"), record.model_sha256)
        elif path.suffix == ".csv":
            self.log(path)
        elif path.name not in (MEMORISATION, "model.keras"):
            self.problem(path, "foreign", "`memorise` writes no file of this name")

    def known(self, path: Path, here: layout.Files) -> None:
        """Checks a file, no record, that the folder may hold."""
        if path.suffix == ".csv":
            self.log(path)
        elif path.suffix == ".png":
            self.figure(path)
        elif isinstance(here, layout.TrainedFiles) and path == here.corruption:
            self.corruption(here)
        elif not isinstance(here, layout.DetectionFiles) and path == here.model and not here.results.is_file():
            self.archive(path)

    def json(self, path: Path, here: layout.Files | None) -> None:
        content = self.read.raw(path)
        if content is None:
            return  # the reader has noted why
        kind = KINDS.get(path.stem)
        if kind is None:
            self.own_record(path, content)
            return
        if kind is FeatureResults and path.parent.name == "figures":
            here = None
        record = self.parsed(path, content, kind)
        if record is None or here is None or path.name not in names(here):
            return
        if isinstance(here, layout.DetectionFiles):
            if isinstance(record, DetectionResults):
                self.detection(path, record, here)
            return
        if path == here.config and not here.results.is_file():
            self.counts["unfinished"] += 1
        if isinstance(here, layout.MethodFiles):
            self.method(path, record, here)
        else:
            self.training(path, record, here)

    def parsed(self, path: Path, content: Any, kind: type[BaseModel]) -> BaseModel | None:
        """The record in a file, counted; None where it is damaged or a foreign configuration."""
        if kind in _CONFIGS and isinstance(content, dict) and "_filename" in content:
            self.counts["reference_records"] += 1  # a configuration of the published implementation
            return None
        if is_reference(content):
            kind = ReferenceResults if kind is UnlearningResults else ReferenceTraining
            self.counts["reference_records"] += 1
        record = self.read.record(path, kind)
        if record is not None:
            self.counts["records"] += 1
            for message in contradictions(record):
                self.problem(path, "disagreement", message)
        return record

    def own_record(self, path: Path, content: Any) -> None:
        """Checks the record of `repair` or `detect`, which stands beside the file it belongs to."""
        kind = own_kind(content)
        if kind is None and self.belongs_to_record(path):
            return
        if kind is None:
            self.problem(path, "foreign", "no record has this name, and its content is none of repair or detect")
            return
        record = self.parsed(path, content, kind)
        if isinstance(record, RepairResults):
            self.rows(path.with_name(f"{path.stem}-rows.npz"), record)
        for suffix, checked in ((".csv", self.log), (".keras", self.archive), (".png", self.figure)):
            if is_plain(path.with_suffix(suffix)):
                checked(path.with_suffix(suffix))

    def belongs_to_record(self, path: Path) -> bool:
        """Whether a record of `repair` or `detect` beside a file has its name, or what stands before a hyphen in it."""
        stem = path.stem
        owners = [path.with_name(f"{stem[:end]}.json") for end in range(1, len(stem) + 1) if stem[end : end + 1] in "-"]
        return path.suffix in _BESIDE and any(
            owner != path and owner.stem not in KINDS and is_plain(owner) and own_kind(self.read.raw(owner)) is not None
            for owner in owners
        )

    def training(self, path: Path, record: BaseModel, files: layout.TrainedFiles) -> None:
        """Checks a file of a clean or a poisoned model against its path, its configurations and its weights."""
        folder = real_path(files.folder)
        clean = files.model_name == layout.clean_files(folder, None).model_name
        if not clean:
            _, budget, seed = layout.parse_cell(folder)
            if isinstance(record, PoisonConfig) and (record.budget, record.seed) != (budget, seed):
                self.problem(path, "path", f"it is of budget {record.budget}, seed {record.seed}")
            if isinstance(record, TrainConfig) and record.seed != seed:
                self.problem(path, "path", f"it is of seed {record.seed}")
        elif isinstance(record, TrainConfig):
            self.clean_seed(path, record, folder)
        if not isinstance(record, TrainResults):
            return
        configs = [(files.config, TrainConfig)] + ([] if clean else [(files.poison_config, PoisonConfig)])
        self.hash(path, record.config_hash, [self.read.record(file, kind) for file, kind in configs])
        self.weights(files.model, record.model_sha256)
        if clean and record.corrupted_rows:
            self.problem(path, "disagreement", f"a clean model with {record.corrupted_rows} corrupted rows")

    def clean_seed(self, path: Path, config: TrainConfig, folder: Path) -> None:
        """Checks the seed of a clean model: that of its folder or, where all seeds share it, that of the data."""
        seed = layout.parse_clean(folder)
        if seed is None and config.seed != config.data.data_seed:
            self.problem(path, "disagreement", "a clean model of all seeds has the seed of its data")
        if seed is not None and config.seed != seed:
            self.problem(path, "path", f"it is of seed {config.seed}")
        if seed is not None and layout.has_one_clean(folder.parent.parent):
            self.problem(path, "path", "it is of one seed, and the folder above holds a clean model of all seeds")

    def detection(self, path: Path, record: DetectionResults, files: layout.DetectionFiles) -> None:
        """Checks the detection of a cell against the model it looked at and its own options."""
        _, budget, seed = layout.parse_cell(real_path(files.folder).parent)
        cell = layout.cell_files(files.folder.parent.parent.parent, budget, seed)
        configs = [self.read.record(cell.config, TrainConfig), self.read.record(cell.poison_config, PoisonConfig)]
        made_by = DetectConfig(detector=record.detector, options=record.options)
        self.hash(path, record.config_hash or "", [*configs, made_by])

    def method(self, path: Path, record: BaseModel, files: layout.MethodFiles) -> None:
        """Checks a file of a repair against its path, its configurations, the models it started from, its weights."""
        cell_folder = real_path(files.folder).parent
        experiment, budget, seed = layout.parse_cell(cell_folder)
        if isinstance(record, UnlearnConfig | UnlearningResults):
            named = f"{record.method}-{record.variant}" if record.variant else record.method
            if named != real_path(files.folder).name:
                self.problem(path, "path", f"it is of the method folder {named[:100]!r}")
            if record.seed != seed:
                self.problem(path, "path", f"it is of seed {record.seed}")
        if not isinstance(record, UnlearningResults):
            return
        if record.budget != budget:
            self.problem(path, "path", f"it is of budget {record.budget}")
        cell, clean = layout.cell_files(experiment, budget, seed), layout.clean_of(experiment, seed)
        config = self.read.record(files.config, UnlearnConfig)
        if config is not None and config != record.config:
            self.problem(path, "disagreement", f"its config is not that of {files.config.name}")
        configs = [
            self.read.record(clean.config, TrainConfig),
            self.read.record(cell.config, TrainConfig),
            self.read.record(cell.poison_config, PoisonConfig),
            config,
        ]
        self.hash(path, record.config_hash, configs)
        self.weights(files.model, record.model_sha256)
        self.rows(files.rows, record)
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
        for trained, fields in pairs:
            results = self.read.record(trained.results, TrainResults)
            for ours, theirs in fields:
                if results is not None and abs(getattr(record, ours) - getattr(results, theirs)) > 1e-6:
                    message = f"{ours} is not the {theirs} of {trained.results.relative_to(experiment)}"
                    self.problem(path, "disagreement", message)

    def hash(self, path: Path, recorded: str, configs: Sequence[Record | None]) -> None:
        known = [config for config in configs if config is not None]
        if len(known) < len(configs):
            self.problem(path, "hash", "cannot be checked: a configuration that it covers is missing or damaged")
        elif config_hash(*known) != recorded:
            self.problem(path, "hash", "config_hash is not that of the configurations beside it")

    def weights(self, path: Path, recorded: str) -> None:
        if not is_plain(path):
            self.counts["weights_not_kept"] += 1
        elif file_sha256(path) == recorded:
            self.counts["weights_checked"] += 1
        else:
            self.problem(
                path, "weights", f"{diagnose_archive(path) or 'whole, but another file'}: not the recorded SHA-256"
            )

    def archive(self, path: Path) -> None:
        if damage := diagnose_archive(path):
            self.problem(path, "weights", damage)

    def corruption(self, files: layout.TrainedFiles) -> None:
        from unlearning.noise.corruption import Corruption

        try:
            corruption = Corruption.load(files.corruption)
        except InputError as error:
            self.problem(files.corruption, "weights", reason(error, files.corruption))
            return
        config = self.read.record(files.poison_config, PoisonConfig)
        results = self.read.record(files.results, TrainResults)
        if config is not None and (corruption.kind, corruption.seed) != (config.noise, config.draw_seed("train")):
            self.problem(
                files.corruption, "disagreement", f"its noise or seed is not that of {files.poison_config.name}"
            )
        if results is None:
            return
        if (corruption.budget, len(corruption.true_labels)) != (results.corrupted_rows, results.rows):
            self.problem(files.corruption, "disagreement", f"its rows are not those counted in {files.results.name}")
        elif results.corruption_sha256 not in (None, corruption.sha256()):
            message = f"not the corruption whose hash {files.results.name} records"
            self.problem(files.corruption, "disagreement", message)

    def rows(self, path: Path, record: UnlearningResults | RepairResults) -> None:
        """Checks the row lists of a repair against its record."""
        if record.rows and not is_plain(path):
            self.counts["weights_not_kept"] += 1
            return
        try:
            read_rows(path, record)
        except InputError as error:
            self.problem(path, "rows", reason(error, path))

    def log(self, path: Path) -> None:
        if self.whole(path, "log", check_log):
            self.counts["logs"] += 1

    def figure(self, path: Path) -> None:
        self.whole(path, "figure", check_picture)

    def whole(self, path: Path, kind: str, check: Callable[[Path], None]) -> bool:
        try:
            check(path)
        except (ValueError, OSError, csv.Error) as error:
            self.problem(path, kind, reason(error, path))
            return False
        return True
