"""Checking experiment folders: are the files whole, do they belong where they stand, and do they agree with each other?

Nothing is changed and no model is loaded. Weights and arrays that are not there are counted, not missed: version
control does not keep them.
"""

from __future__ import annotations

import csv
import math
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from unlearning.archives import check_members
from unlearning.errors import InputError, printable
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.results.walk import walk_files
from unlearning.files import file_sha256
from unlearning.records import (
    KINDS,
    DetectConfig,
    DetectionResults,
    FeatureResults,
    PoisonConfig,
    Record,
    RepairResults,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
    config_hash,
    parse_record,
    read_json,
    read_raw,
)
from unlearning.records.reference import ReferenceResults, ReferenceTraining, is_reference
from unlearning.records.validation import Problem, ValidationReport

_LONGEST_CSV = 64 * 2**20
_TOLERANCE = 1e-9
_SHARES = ("acc_", "validation_accuracy_", "test_accuracy_", "corrected_accuracy_", "bad_label_agreement_")

R = TypeVar("R", bound=BaseModel)


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
    for root in folders:
        if not root.is_dir():
            raise InputError(f"There is no folder {root}.")
    check = _Check()
    seen: set[Path] = set()
    for root in folders:
        for path in walk_files(root, check.skipped):
            place = path.parent.resolve() / path.name
            if place not in seen:
                seen.add(place)
                check.file(path, root)
    return check.report()


def _names(files: layout.Files) -> set[str]:
    """The names of all paths that a layout class knows, so that a file added there is known here."""
    cls = type(files)
    return {getattr(files, name).name for name, value in vars(cls).items() if isinstance(value, property)}


class _Check:
    """The state of one validation."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: dict[tuple[str, str, str], Problem] = {}
        self.read: dict[Path, BaseModel | None] = {}

    def report(self) -> ValidationReport:
        names = [name for name in ValidationReport.model_fields if name not in ("schema_version", "problems")]
        problems = [self.problems[key] for key in sorted(self.problems)]
        return ValidationReport.model_validate({name: self.counts[name] for name in names} | {"problems": problems})

    def problem(self, path: Path, kind: str, message: str) -> None:
        found = Problem.model_validate(
            {"path": printable(path.as_posix()), "kind": kind, "message": printable(message)}
        )
        self.problems[found.path, found.kind, found.message] = found

    def file(self, path: Path, root: Path) -> None:
        """Checks one file by its name and the room it stands in."""
        self.counts["files"] += 1
        if path.name.startswith(".partial-"):
            self.problem(path, "left over", "an interrupted write left it behind; it can be removed")
            return
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            self.problem(path, "path", "a link that leaves the folder; it is not followed")
            return
        if not path.is_file():
            self.problem(path, "foreign", "neither a file nor a folder")
            return
        room = _room(path)
        if {"backup", ".locks"} & set(path.relative_to(root).parts[:-1]):
            return  # the state of a training that was interrupted, or of a run that goes on
        if path.suffix == ".json":
            self.json(path, room)
        elif room is not None and path.name in _names(room):
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

    def json(self, path: Path, room: layout.Files | None) -> None:
        try:
            content = read_raw(path)
        except InputError as error:
            self.problem(path, "record", _reason(error, path))
            return
        kind = KINDS.get(path.stem)
        if kind is FeatureResults and path.parent.name == "figures":
            room = None
        elif kind is not None and (room is None or path.name not in _names(room)):
            self.problem(path, "path", "its folder is not clean/, budget-<B>/seed-<S>/ or a method's folder in a cell")
        if kind is None:
            if room is not None and path.name in _names(room):
                self.counts["records"] += 1  # JSON whose definition is not among the records
            else:
                self.own_record(path, content)
            return
        if kind in (TrainConfig, PoisonConfig, UnlearnConfig) and "_filename" in content:
            self.counts["reference_records"] += 1  # a configuration of the published implementation
            return
        if is_reference(content):
            kind = ReferenceResults if kind is UnlearningResults else ReferenceTraining
            self.counts["reference_records"] += 1
        try:
            record = parse_record(path, content, kind)
        except InputError as error:
            self.problem(path, "record", _reason(error, path))
            return
        self.counts["records"] += 1
        for message in _impossible(record):
            self.problem(path, "disagreement", message)
        if room is None:
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

    def own_record(self, path: Path, content: object) -> None:
        """Checks the record of `repair` or `detect`, which stands beside the file it belongs to."""
        keys = set(content) if isinstance(content, dict) else set()
        kind = DetectionResults if "detector" in keys else RepairResults if "flagged_rows" in keys else None
        if kind is None:
            self.problem(path, "foreign", "no record has this name, and its content is none of repair or detect")
            return
        try:
            parse_record(path, content, kind)
            self.counts["records"] += 1
        except InputError as error:
            self.problem(path, "record", _reason(error, path))
        for suffix, checked in ((".csv", self.log), (".keras", self.archive), (".png", self.figure)):
            if path.with_suffix(suffix).is_file():
                checked(path.with_suffix(suffix))

    def belongs_to_record(self, path: Path) -> bool:
        """Whether a file is the output of `repair` or `detect`: their record has its name and says so."""
        owner = path.with_name(path.stem.removesuffix("-suspects") + ".json")  # `repair --detect` writes such a list
        if path.suffix not in (".csv", ".keras", ".png") or owner.stem in KINDS:
            return False
        try:
            content = read_raw(owner)
        except InputError:
            return False
        return isinstance(content, dict) and bool({"detector", "flagged_rows"} & set(content))

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
        self.hash(path, record.config_hash, [self.beside(file, kind) for file, kind in configs])
        self.weights(files.model, record.model_sha256)
        if clean and record.corrupted_rows:
            self.problem(path, "disagreement", f"a clean model with {record.corrupted_rows} corrupted rows")

    def detection(self, path: Path, record: DetectionResults, files: layout.DetectionFiles) -> None:
        """Checks the detection of a cell against the model it looked at and its own options."""
        _, budget, seed = layout.parse_cell(files.folder.resolve().parent)
        cell = layout.cell_files(files.folder.parent.parent.parent, budget, seed)
        configs = [self.beside(cell.config, TrainConfig), self.beside(cell.poison_config, PoisonConfig)]
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
        config = self.beside(files.config, UnlearnConfig)
        if config is not None and config != record.config:
            self.problem(path, "disagreement", f"its config is not that of {files.config.name}")
        configs = [
            self.beside(clean.config, TrainConfig),
            self.beside(cell.config, TrainConfig),
            self.beside(cell.poison_config, PoisonConfig),
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
            results = self.beside(trained.results, TrainResults)
            for ours, theirs in names:
                if results is not None and abs(getattr(record, ours) - getattr(results, theirs)) > 1e-6:
                    message = f"{ours} is not the {theirs} of {trained.folder.name}/{trained.results.name}"
                    self.problem(path, "disagreement", message)

    def beside(self, path: Path, kind: type[R]) -> R | None:
        """Reads a file that another one depends on; None where it is missing or damaged (its own problem then)."""
        key = path.resolve()
        if key not in self.read:
            try:
                self.read[key] = read_json(path, kind)
            except InputError:
                self.read[key] = None
        found = self.read[key]
        return found if isinstance(found, kind) else None

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
            self.problem(path, "weights", f"{_diagnose(path) or 'whole, but another file'}: not the recorded SHA-256")

    def archive(self, path: Path) -> None:
        if damage := _diagnose(path):
            self.problem(path, "weights", damage)

    def corruption(self, files: layout.TrainedFiles) -> None:
        from unlearning.noise.corruption import Corruption

        try:
            corruption = Corruption.load(files.corruption)
        except InputError as error:
            self.problem(files.corruption, "weights", _reason(error, files.corruption))
            return
        config, results = self.beside(files.poison_config, PoisonConfig), self.beside(files.results, TrainResults)
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
            _read_log(path)
            self.counts["logs"] += 1
        except (ValueError, OSError, csv.Error) as error:
            self.problem(path, "log", _reason(error, path))

    def figure(self, path: Path) -> None:
        from PIL import Image

        try:
            with Image.open(path, formats=("PNG",)) as image:
                image.verify()
        except Exception as error:  # Pillow's readers fail in many ways on damaged files
            self.problem(path, "figure", _reason(error, path) or type(error).__name__)


def _room(path: Path) -> layout.Files | None:
    """The layout of the folder that a file stands in, or None where it is no folder of an experiment."""
    folder = path.parent.resolve()
    if folder.name == "clean":
        return layout.TrainedFiles(path.parent, "best_model.keras")
    for cell, files in (
        (folder, layout.TrainedFiles(path.parent, "poisoned_model.keras")),
        (
            folder.parent,
            layout.DetectionFiles(path.parent)
            if folder.name.startswith("detect-")
            else layout.MethodFiles(path.parent),
        ),
    ):
        try:
            layout.parse_cell(cell)
        except InputError:
            continue
        return None if folder.name in ("backup", "figures") else files
    return None


def _impossible(record: BaseModel) -> Iterator[str]:
    """Yields what no run can have written."""
    if isinstance(record, ReferenceResults | ReferenceTraining):
        return  # its percentages mix splits, and -1 stands for divergence
    for name in type(record).model_fields:
        value = getattr(record, name)
        if (
            isinstance(value, float)
            and name.startswith(_SHARES)
            and name != "acc_perc_restored"
            and not 0 <= value <= 1
        ):
            yield f"{name} is {value}, no fraction"
        if isinstance(value, int | float) and name.endswith("_s") and value < 0:
            yield f"{name} is {value}, no duration"
    if isinstance(record, UnlearningResults):
        lost, gained = record.acc_clean - record.acc_before_fix, record.acc_after_fix - record.acc_before_fix
        expected = gained / lost if lost > 0 else None
        found = record.acc_perc_restored
        if (expected is None) != (found is None) or (
            expected is not None and found is not None and not math.isclose(expected, found, abs_tol=_TOLERANCE)
        ):
            yield f"acc_perc_restored is {found}, but its three accuracies give {expected}"
        if record.n_gradients != record.work.gradient_rows:
            yield "n_gradients is not work.gradient_rows"
        if not record.applied and record.acc_after_fix != record.acc_before_fix:
            yield "nothing was applied, but the accuracy changed"
    if isinstance(record, UnlearningResults | RepairResults):
        worse = record.validation_accuracy_after < record.validation_accuracy_before
        yield from ["worse on the validation rows than before"] * worse
    if isinstance(record, TrainResults):
        if not 0 <= record.accuracy <= 1:
            yield f"accuracy is {record.accuracy}, no fraction"
        if not 0 <= record.corrupted_rows <= record.rows:
            yield f"{record.corrupted_rows} of {record.rows} rows are corrupted"


def _diagnose(path: Path) -> str:
    """Says how a `.keras` archive is damaged; empty where it is whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            missing = {"config.json", "metadata.json"} - set(archive.namelist())
            if missing:
                return f"no {' and no '.join(sorted(missing))} in it"
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        # The list of members stands at the end of the file, so that a truncated archive has lost it.
        with path.open("rb") as file:
            started = file.read(4) == b"PK\x03\x04"
        return (
            f"truncated ({path.stat().st_size} bytes)" if started and "not a zip" in str(error) else f"damaged: {error}"
        )
    except Exception as error:  # zipfile raises what zlib and struct raise
        return f"damaged: {' '.join(str(error).split())[:150] or type(error).__name__}"
    return "" if damaged is None else f"damaged: flipped bits in its member {damaged[:80]!r}"


def _read_log(path: Path) -> None:
    if path.stat().st_size > _LONGEST_CSV:
        raise InputError(f"longer than {_LONGEST_CSV} bytes")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, None)
        if not header or not all(header) or len(set(header)) < len(header):
            raise InputError("its first line does not name every column once")
        for row in reader:
            if len(row) != len(header):
                raise InputError(f"line {reader.line_num} has {len(row)} values for {len(header)} columns")
            if any("\0" in value for value in row):
                raise InputError(f"line {reader.line_num} holds a null character")


def _reason(error: Exception, path: Path) -> str:
    """The message without the path, which stands beside it."""
    text = " ".join(str(error).split()).replace(f"{path} ", "").replace(str(path), path.name)
    return text if len(text) <= 300 else f"{text[:297]}..."
