"""Filling an experiment folder: clean model, poisoned models, repairs. A stage is done once and then found again.

A stage is finished when its results file validates and carries the hash of the configuration asked for. Results are
written last, so that whatever an interruption leaves behind is recomputed (a training resumes from its backup). A
folder whose configuration differs from the one asked for is refused, never overwritten.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from unlearning import detection, methods
from unlearning.errors import InputError, invalid, printable
from unlearning.experiments.cell import folder as layout
from unlearning.records import (
    DataConfig,
    DetectConfig,
    DetectionResults,
    Environment,
    PoisonConfig,
    Record,
    Solve,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
    Work,
    config_hash,
    differing_keys,
    file_sha256,
    finite,
    read_json,
    write_json,
    write_text,
)
from unlearning.startup import pool_size

if TYPE_CHECKING:
    import keras

    from unlearning.data import ImageData
    from unlearning.evaluation import ScoredRows
    from unlearning.methods.base import Method
    from unlearning.methods.detected import Detected
    from unlearning.noise import Corruption
    from unlearning.task import Corrections, Split, UnlearningOutcome, UnlearningTask
    from unlearning.training import TrainSettings

logger = logging.getLogger(__name__)

_VALIDATION_SEED = 10_000  # added to a cell's seed, so that validation noise is drawn apart from training noise
_HELD_OUT_SEED = 20_000  # the same for the test rows that the membership test corrupts
_MOST_COUNTED_CLASSES = 100  # beyond, the counts of a confusion matrix would be most of a record
_RETRAINED = ("retraining", "retraining-unflagged")  # whose models the repaired ones are compared with


@dataclasses.dataclass(frozen=True)
class MethodChoice:
    """One repair to make in every cell.

    Attributes:
        name: Registered name.
        overrides: Hyperparameters to change, as `(field, value)` pairs.
        variant: Text added to the folder name.
    """

    name: str
    overrides: tuple[tuple[str, Any], ...] = ()
    variant: str = ""


@dataclasses.dataclass(frozen=True)
class DetectChoice:
    """Flagged rows by detection instead of knowledge; see `unlearning.methods.detected.Detected`.

    Attributes:
        detector: Registered detector.
        options: Options to change, as `(field, value)` pairs.
        suspects: `relabel` or `remove`.
        rounds: Detections and repairs.
    """

    detector: str
    options: tuple[tuple[str, Any], ...] = ()
    suspects: Literal["relabel", "remove"] = "relabel"
    rounds: int = 1

    def apply(self, method: Method) -> Detected:
        """Returns the method with its flagged rows from the detector."""
        from unlearning.methods.detected import Detected

        return Detected(method, self.detector, dict(self.options), self.suspects, self.rounds)


@dataclasses.dataclass(frozen=True)
class _Scored:
    """A poisoned model's scores, for all its repairs.

    Attributes:
        key: The cell, and the hashes of the poisoned and the retrained weights.
        reference: Name of the retraining that repairs are compared with.
        rows: What is scored on.
        scores: See `evaluation.score_model`.
    """

    key: tuple[Path, str, str | None]
    reference: str | None
    rows: ScoredRows
    scores: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `run` is asked for; the fields are its options.

    Attributes:
        dataset: See `unlearning.data.load_data`.
        model: See `unlearning.architectures.build`.
        noise: See `unlearning.noise.corrupt`.
        budgets: Numbers of rows to corrupt, or None.
        rates: Shares of rows to corrupt, or None.
        seeds: Seeds of noise, poisoned model and method.
        methods: Repairs.
        detect: How flagged rows are found; None: they are known.
        data_dir: Where tensorflow-datasets keeps prepared sets.
        data_seed: Seed of the splits and of the clean model.
        train_rows: Size of the training subset, or None.
        image_size: For image folders.
        labels_file: For human and recorded noise.
        labels_key: For human noise.
        labels_sha256: For recorded noise without its file: the hash of the labels of a finished cell.
        epochs: Passes over the data.
        batch_size: Rows a step.
        learning_rate: Peak learning rate.
        optimizer: `adam` or `sgd`.
        schedule: `constant`, `cosine` or `step`.
        weight_decay: Decoupled weight decay.
        augment: Random shifts and mirroring.
        mixed_precision: float16 arithmetic.
        objective: What training minimises; see `unlearning.training.objectives`.
        objective_options: Its options, as `(name, value)` pairs.
        milestones: Epochs after which the learning rate drops (`step`).
        decay: What it is multiplied with there.
        nesterov: Whether the momentum of `sgd` looks ahead.
        validation: `noisy` or `clean` labels on the validation split.
        deterministic: Force deterministic kernels.
        output: Experiment folder; None for the default.
        tensorboard: Folder of event files, or None; it changes no result, and is recorded nowhere.
    """

    dataset: str = "digits"
    model: str = "cnn_small"
    noise: str = "flip-pairs"
    budgets: tuple[int, ...] | None = None
    rates: tuple[float, ...] | None = None
    seeds: tuple[int, ...] = (42,)
    methods: tuple[MethodChoice, ...] = ()
    detect: DetectChoice | None = None
    data_dir: str | None = None
    data_seed: int = 42
    train_rows: int | None = None
    image_size: int | None = None
    labels_file: str | None = None
    labels_key: str = "worse_label"
    labels_sha256: str | None = None
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    schedule: Literal["constant", "cosine", "step"] = "constant"
    weight_decay: float = 0.0
    augment: bool = False
    mixed_precision: bool = False
    objective: str = "cross-entropy"
    objective_options: tuple[tuple[str, float], ...] = ()
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    nesterov: bool = True
    validation: Literal["noisy", "clean"] = "noisy"
    deterministic: bool = False
    output: Path | None = None
    tensorboard: Path | None = None

    def __post_init__(self) -> None:
        if self.budgets and self.rates:
            raise InputError("Give budgets or rates, not both.")
        for rate in self.rates or ():
            if not 0 < rate < 1:
                raise invalid("rates", "floats in (0, 1)", rate)
        for budget in self.budgets or ():
            if budget < 1:
                raise invalid("budgets", "positive integers", budget)
        if not self.seeds or min(self.seeds) < 0 or max(self.seeds) >= 2**31:
            raise invalid("seeds", "integers in 0..2147483647", list(self.seeds))
        if len(set(self.seeds)) != len(self.seeds):
            raise invalid("seeds", "distinct integers", list(self.seeds))
        folders = [(choice.name, choice.variant) for choice in self.methods]
        if len(set(folders)) != len(folders):
            raise invalid("methods", "distinct methods", ", ".join(name for name, _ in folders))
        if self.noise == "human" and self.budgets:
            raise invalid("budgets", "none with human noise (the labels file decides)", list(self.budgets))
        if self.noise == "recorded" and (self.budgets or self.rates):
            raise invalid("budgets", "none with recorded noise (the labels file decides)", self.budgets or self.rates)
        if self.tensorboard is not None:
            from unlearning.drawing.boards import check_tensorboard

            check_tensorboard(self.tensorboard)


class Experiment:
    """One experiment folder and the settings it is filled with.

    Args:
        settings: What is asked for.

    Attributes:
        folder: The experiment folder.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        name = _name(settings.dataset)
        self.folder = settings.output or layout.default_experiment(
            name, settings.model, settings.noise, settings.train_rows
        )
        self._data_config = DataConfig(
            dataset=name,
            data_seed=settings.data_seed,
            train_rows=settings.train_rows,
            image_size=settings.image_size,
        )
        if settings.tensorboard is not None and self._board(self.folder).is_relative_to(self.folder.resolve()):
            raise invalid("tensorboard", "a folder that is not among the results", str(settings.tensorboard))
        self._corruptions: dict[tuple[int, int], Corruption] = {}
        self._scored: _Scored | None = None
        self._methods = {choice: self._build(choice) for choice in settings.methods}

    def cells(self) -> list[tuple[int, int]]:
        """Returns the grid as `(budget, seed)` pairs, in order."""
        return [(budget, seed) for budget in self.budgets() for seed in self.settings.seeds]

    def run(self) -> list[UnlearningResults]:
        """Runs what is missing and returns the results of every cell and method, in order."""
        self.check_grid()
        results = []
        for budget in self.budgets():
            for seed in self.settings.seeds:
                self.ensure_poisoned(budget, seed)
                done = {choice: self.ensure_repaired(budget, seed, choice) for choice in self.order()}
                results += [done[choice] for choice in self._methods]
        return results

    def order(self) -> list[MethodChoice]:
        """The repairs with retraining first: the others are compared with it."""
        return sorted(self._methods, key=lambda choice: choice.name not in _RETRAINED)

    def train(self) -> list[TrainResults]:
        """Trains the clean model and the poisoned ones where they are missing."""
        self.check_grid()
        results = [self.ensure_clean()]
        for budget in self.budgets():
            results += [self.ensure_poisoned(budget, seed) for seed in self.settings.seeds]
        return results

    def write_configs(self) -> list[Path]:
        """Writes the configuration files of the whole grid without computing anything else."""
        self.check_grid()
        written = [self._claim(layout.clean_files(self.folder).config, self._train_config(self.settings.data_seed))]
        for budget in self.budgets():
            for seed in self.settings.seeds:
                files = layout.cell_files(self.folder, budget, seed)
                written.append(self._claim(files.config, self._train_config(seed)))
                written.append(self._claim(files.poison_config, self._poison_config(budget, seed)))
                for choice in self._methods:
                    config = self.unlearn_config(choice, seed)
                    written.append(self._claim(self._method_files(files.folder, choice).config, config))
        return written

    def check_grid(self) -> None:
        """Finds every mistake that can be found before the first file is written or the first epoch trained."""
        from unlearning.architectures import check_known

        check_known(self.settings.model)
        _train_settings(self._train_config(self.settings.data_seed))
        for budget in self.budgets():
            for seed in self.settings.seeds:
                cell = layout.cell_files(self.folder, budget, seed)
                before: set[Path] = set()
                for choice in self.order():
                    for name in self._methods[choice].waits_for():
                        if self._awaited(cell.folder, name).results not in before:
                            self._duration(cell.folder, name)
                    before.add(self._method_files(cell.folder, choice).results)
                if not cell.results.is_file():
                    self._corruption(budget, seed)
        check_writable(self.folder)

    def budgets(self) -> tuple[int, ...]:
        """Returns the numbers of rows to corrupt; rates need the number of training rows, labels in a file the rows."""
        settings = self.settings
        if settings.noise == "human":
            return (self._human_budget(),)
        if settings.noise == "recorded":
            return (self._recorded_budget(),)
        if settings.budgets:
            return settings.budgets
        rows = self._training_rows()
        return tuple(max(1, round(rate * rows)) for rate in settings.rates or (0.2,))

    def ensure_clean(self) -> TrainResults:
        """Trains the clean model unless it is there."""
        files = layout.clean_files(self.folder)
        config = self._train_config(self.settings.data_seed)
        found = self.find_clean()
        self._claim(files.config, config)
        return self._train(files, config, config_hash(config), corruption=None) if found is None else found

    def find_clean(self) -> TrainResults | None:
        """Returns the clean model's results, or None where it is not trained; writes nothing.

        Raises:
            InputError: As `find_poisoned`, or if the user's data file is not the one that was trained on.
        """
        files = layout.clean_files(self.folder)
        config = self._train_config(self.settings.data_seed)
        _agrees(files.config, config)
        found = _finished(files.results, TrainResults, config_hash(config))
        if found is not None and _is_path(self.settings.dataset):
            self._check_data(found)
        return found

    def find_poisoned(self, budget: int, seed: int) -> TrainResults | None:
        """Returns the results of a cell's poisoned model, or None where it is not trained; writes nothing.

        Raises:
            InputError: If the cell holds another configuration, or a damaged file.
        """
        files = layout.cell_files(self.folder, budget, seed)
        config, poison = self._train_config(seed), self._poison_config(budget, seed)
        _agrees(files.config, config)
        _agrees(files.poison_config, poison)
        return _finished(files.results, TrainResults, config_hash(config, poison))

    def find_repaired(self, budget: int, seed: int, choice: MethodChoice) -> UnlearningResults | None:
        """Returns the results of a repair, or None where it is not made; writes nothing, raises as `find_poisoned`."""
        files = self._method_files(layout.cell_files(self.folder, budget, seed).folder, choice)
        _agrees(files.config, self.unlearn_config(choice, seed))
        return _finished(files.results, UnlearningResults, self._repair_hash(budget, seed, choice))

    def method_folder(self, budget: int, seed: int, choice: MethodChoice) -> Path:
        """Returns where a repair stands."""
        return self._method_files(layout.cell_files(self.folder, budget, seed).folder, choice).folder

    def _repair_hash(self, budget: int, seed: int, choice: MethodChoice) -> str:
        clean, train = self._train_config(self.settings.data_seed), self._train_config(seed)
        return config_hash(clean, train, self._poison_config(budget, seed), self.unlearn_config(choice, seed))

    def ensure_poisoned(self, budget: int, seed: int, need_model: bool = False) -> TrainResults:
        """Trains a poisoned model unless its results are there (and its weights, where they are needed)."""
        self.ensure_clean()
        files = layout.cell_files(self.folder, budget, seed)
        config, poison = self._train_config(seed), self._poison_config(budget, seed)
        self._claim(files.config, config)
        self._claim(files.poison_config, poison)
        wanted = config_hash(config, poison)
        found = _finished(files.results, TrainResults, wanted)
        if found is not None and (not need_model or _is_intact(files, found)):
            return found
        corruption = self._corruption(budget, seed)
        corruption.save(files.corruption)
        return self._train(files, config, wanted, corruption)

    def ensure_repaired(self, budget: int, seed: int, choice: MethodChoice) -> UnlearningResults:
        """Repairs a poisoned model by one method unless the results are there."""
        from unlearning.interop import set_determinism

        cell = layout.cell_files(self.folder, budget, seed)
        files = self._method_files(cell.folder, choice)
        config = self.unlearn_config(choice, seed)
        self._claim(files.config, config)
        wanted = self._repair_hash(budget, seed, choice)
        found = _finished(files.results, UnlearningResults, wanted)
        if found is not None:
            return found
        method = self._method(choice)
        method = method.resolve({name: self._duration(cell.folder, name) for name in method.waits_for()})

        from unlearning.drawing import figures
        from unlearning.evaluation import name_scores, score_model
        from unlearning.interop import load_model, save_model
        from unlearning.task import UnlearningTask

        clean, poisoned = self.ensure_clean(), self.ensure_poisoned(budget, seed, need_model=True)
        set_determinism(seed, self.settings.deterministic)
        self._check_data(poisoned)
        data, corruption = self.data, self._corruption(budget, seed)
        model = load_model(cell.model)
        given = corruption.apply(data.train)
        task = UnlearningTask(
            train=given,
            corrections=corruption.corrections(data.train),
            validation=self._noisy_validation(corruption, seed)
            if self.settings.validation == "noisy"
            else data.validation,
            num_classes=data.num_classes,
            seed=seed,
        )
        logger.info("%s: budget %d, seed %d", choice.name, budget, seed)
        suspected = self._suspects(budget, seed, model, given, corruption)
        cpu = time.process_time()
        outcome = self._unlearn(method, model, task, suspected)
        cpu = time.process_time() - cpu - outcome.preparation_cpu_s
        if suspected is not None:
            cpu += suspected[0].detection_cpu_s or 0.0
        scored = self._scored_before(cell, poisoned, model, corruption, given, seed)
        scores = name_scores(scored.scores, score_model(outcome.model, scored.rows))
        save_model(outcome.model, files.model)
        _write_csv(files.step_log, outcome.history)
        if outcome.solver_log:
            _write_csv(files.solver_log, outcome.solver_log)
        if self.settings.tensorboard is not None:
            from unlearning.drawing.boards import write_repair

            write_repair(self._board(files.folder), outcome.history, outcome.solver_log)
        confusions = scores.pop("confusions")
        figures.draw_confusions(files.figures, confusions, data.class_names)
        small = data.num_classes <= _MOST_COUNTED_CLASSES
        figures.draw_steps(files.figures / "steps.png", outcome.history)
        projection = outcome.details.get("sap", outcome.details)
        if "layers" in projection:
            figures.draw_projection(files.figures / "projection.png", projection, outcome.history)
        results = UnlearningResults(
            method=choice.name,
            variant=self._variant(choice),
            config=config,
            config_hash=wanted,
            budget=budget,
            rate=corruption.rate,
            seed=seed,
            num_classes=data.num_classes,
            acc_clean=clean.accuracy,
            acc_perc_restored=_restored(scores["acc_before_fix"], scores["acc_after_fix"], clean.accuracy),
            **scores,
            disagreement_reference=scored.reference,
            class_names=[printable(name) for name in data.class_names] if small else None,
            confusion_before=confusions["before"].tolist() if small else None,
            confusion_after=confusions["after"].tolist() if small else None,
            diverged=_diverged(outcome),
            **outcome_fields(outcome),
            n_gradients=outcome.work.gradient_rows,
            unlearning_cpu_s=cpu,
            training_time_s=poisoned.time,
            training_cpu_s=poisoned.cpu_time_s,
            num_params=poisoned.num_params,
            model_sha256=file_sha256(files.model),
            environment=describe_environment(),
        )
        write_json(files.results, results)
        return results

    def _unlearn(
        self,
        method: Method,
        model: keras.Model,
        task: UnlearningTask,
        found: tuple[DetectionResults, Corrections] | None,
    ) -> UnlearningOutcome:
        """Repairs by known rows, or by detected ones; then the detection's own seconds are part of the duration."""
        if found is None:
            return method.unlearn(model, task)
        results, suspected = found
        return with_detection(method.unlearn(model, task, suspected), results)  # type: ignore[call-arg]

    def _suspects(
        self, budget: int, seed: int, model: keras.Model, given: Split, corruption: Corruption
    ) -> tuple[DetectionResults, Corrections] | None:
        """Detects once in a cell; every method finds the suspects there again. None where rows are known."""
        choice = self.settings.detect
        if choice is None:
            return None
        from unlearning.repair.detect import draw_scores, examine, write_suspects
        from unlearning.repair.own import read_flagged
        from unlearning.task import Corrections

        detector = detection.get(choice.detector, dict(choice.options))
        config = DetectConfig(detector=choice.detector, options=detector.config())
        wanted = config_hash(self._train_config(seed), self._poison_config(budget, seed), config)
        cell = layout.cell_files(self.folder, budget, seed)
        files = layout.detection_files(cell.folder, choice.detector, _detect_variant(choice))
        results = _finished(files.results, DetectionResults, wanted)
        if results is None or (results.suspects and not files.suspects.is_file()):
            logger.info("detecting by %s: budget %d, seed %d", choice.detector, budget, seed)
            found, results = examine(
                detector,
                choice.detector,
                model,
                given,
                self.data.num_classes,
                seed=seed,
                bad_rows=corruption.rows,
                config_hash=wanted,
            )
            write_suspects(files.suspects, given, found)
            draw_scores(files.figure, found, choice.detector, corruption.rows)
            write_json(files.results, results)
        if not results.suspects:
            return results, Corrections.none()
        return results, read_flagged(files.suspects, len(given), self.data.num_classes)

    def open_poisoned(self, budget: int, seed: int) -> tuple[keras.Model, Split, Corruption]:
        """Opens a finished poisoned model with the rows it was trained on; nothing is trained.

        Args:
            budget: The cell's budget.
            seed: The cell's seed.

        Returns:
            The model, its training rows with their given labels, and the corruption.

        Raises:
            InputError: If the cell is unfinished, its weights are not those recorded, or the data are other ones.
        """
        from unlearning.interop import load_model

        files = layout.cell_files(self.folder, budget, seed)
        wanted = config_hash(self._train_config(seed), self._poison_config(budget, seed))
        found = _finished(files.results, TrainResults, wanted)
        if found is None:
            raise invalid("run_dir", "a cell whose poisoned model is trained (see the commands run and train)", "none")
        if not files.model.is_file() or file_sha256(files.model) != found.model_sha256:
            raise invalid("run_dir", f"the weights whose hash {files.results} records", str(files.model))
        self._check_data(found)
        corruption = self._corruption(budget, seed)
        return load_model(files.model), corruption.apply(self.data.train), corruption

    def corruption(self, budget: int, seed: int) -> Corruption:
        """Returns what is, or would be, wrong with the training rows of a cell; nothing is trained or written."""
        cell = layout.cell_files(self.folder, budget, seed)
        _check_same(cell.poison_config, self._poison_config(budget, seed))
        return self._corruption(budget, seed)

    @functools.cached_property
    def data(self) -> ImageData:
        """The image set, loaded when first needed."""
        from unlearning.data import load_data

        settings = self.settings
        return load_data(
            settings.dataset,
            data_dir=settings.data_dir,
            data_seed=settings.data_seed,
            train_rows=settings.train_rows,
            image_size=settings.image_size,
        )

    @functools.cached_property
    def _data_sha256(self) -> str:
        return self.data.fingerprint()

    def _check_data(self, results: TrainResults) -> None:
        """Raises `InputError` unless the data are those of a finished training; configurations know only the name."""
        if self._data_sha256 != results.data_sha256:
            raise InputError(
                f"The data in {self.settings.dataset} are not those that {self.folder} was made with. "
                "Choose another --output, or remove the folder."
            )

    def _training_rows(self) -> int:
        found = _finished(
            layout.clean_files(self.folder).results,
            TrainResults,
            config_hash(self._train_config(self.settings.data_seed)),
        )
        return len(self.data.train) if found is None else found.rows

    def _human_budget(self) -> int:
        """The number of rows people mislabelled; from an earlier run where there is one, since loading takes long."""
        known = sorted(self.folder.glob("budget-*"))
        if len(known) == 1 and known[0].name.removeprefix("budget-").isdigit():
            return int(known[0].name.removeprefix("budget-"))
        return self._corruption(0, self.settings.seeds[0]).budget

    def _recorded_budget(self) -> int:
        """The number of rows whose recorded label is wrong; from a cell with the same labels where there is one."""
        for path in sorted(self.folder.glob("budget-*/seed-*/poison_config.json")):
            there = read_json(path, PoisonConfig)
            if there.labels_sha256 == self._labels_sha256:
                return there.budget
        return self._corruption(0, self.settings.seeds[0]).budget

    @functools.cached_property
    def _labels_sha256(self) -> str | None:
        """The hash of recorded labels; None for other noise."""
        if self.settings.noise != "recorded":
            return None
        if self.settings.labels_file is None and self.settings.labels_sha256 is not None:
            return self.settings.labels_sha256
        from unlearning.noise.recorded import labels_sha256, read_labels

        return labels_sha256(read_labels(self.settings.labels_file))

    def _train_config(self, seed: int) -> TrainConfig:
        settings = self.settings
        return TrainConfig(
            data=self._data_config,
            model=settings.model,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            optimizer=settings.optimizer,
            schedule=settings.schedule,
            weight_decay=settings.weight_decay,
            augment=settings.augment,
            mixed_precision=settings.mixed_precision,
            deterministic=settings.deterministic,
            seed=seed,
            objective=settings.objective,
            objective_options=dict(settings.objective_options),
            milestones=settings.milestones,
            decay=settings.decay,
            nesterov=settings.nesterov,
        )

    def _poison_config(self, budget: int, seed: int) -> PoisonConfig:
        human = self.settings.noise == "human"
        return PoisonConfig(
            noise=self.settings.noise,
            budget=budget,
            seed=seed,
            labels_key=self.settings.labels_key if human else None,
            labels_sha256=self._labels_sha256,
        )

    def unlearn_config(self, choice: MethodChoice, seed: int) -> UnlearnConfig:
        """Returns a repair's configuration, with what it leaves open filled in; writes nothing."""
        return UnlearnConfig(
            method=choice.name,
            variant=self._variant(choice),
            hyperparameters=self._method(choice).config(),
            validation=self.settings.validation,
            seed=seed,
        )

    def _build(self, choice: MethodChoice) -> Method:
        method = methods.get(choice.name, dict(choice.overrides))
        return method if self.settings.detect is None else self.settings.detect.apply(method)

    def _method(self, choice: MethodChoice) -> Method:
        """The method, with the recipe of this experiment where it follows one."""
        return self._methods[choice].adapt(_train_settings(self._train_config(self.settings.data_seed)))

    def _variant(self, choice: MethodChoice) -> str:
        """Known and detected rows, and the two validation protocols, live side by side."""
        protocol = "clean-validation" if self.settings.validation == "clean" else ""
        return "-".join(part for part in (choice.variant, self._detect_name(), protocol) if part)

    def _detect_name(self) -> str:
        choice = self.settings.detect
        if choice is None:
            return ""
        suspects = "removed" if choice.suspects == "remove" else ""
        rounds = f"{choice.rounds}-rounds" if choice.rounds > 1 else ""
        parts = ("detected", choice.detector, _detect_variant(choice), suspects, rounds)
        return "-".join(part for part in parts if part)

    def _method_files(self, cell: Path, choice: MethodChoice) -> layout.MethodFiles:
        return layout.method_files(cell, choice.name, self._variant(choice))

    def _board(self, folder: Path) -> Path:
        """Where TensorBoard's files for a folder of results go: under the same names."""
        assert self.settings.tensorboard is not None
        inside = folder.resolve().relative_to(self.folder.resolve().parent)
        return self.settings.tensorboard.resolve() / inside

    def _awaited(self, cell: Path, name: str) -> layout.MethodFiles:
        """The files of another result in the same cell, made by the same validation protocol."""
        return layout.method_files(cell, name, self._variant(MethodChoice(name)))

    def _duration(self, cell: Path, name: str) -> float:
        """The seconds that another method took in the same cell."""
        files = self._awaited(cell, name)
        if not files.results.is_file():
            raise invalid("seconds", f"like:NAME with a finished result in {cell} (name that method first)", name)
        return read_json(files.results, UnlearningResults).unlearning_duration_s

    def _claim(self, path: Path, config: Record) -> Path:
        """Writes a configuration, or makes sure that the one already there is the same."""
        if not _agrees(path, config):
            write_json(path, config)
        return path

    def _corruption(self, budget: int, seed: int) -> Corruption:
        from unlearning.noise import FROM_FILE, Corruption, corrupt

        if (budget, seed) in self._corruptions:
            return self._corruptions[budget, seed]
        settings, data = self.settings, self.data
        cell = layout.cell_files(self.folder, budget, seed)
        if cell.results.is_file() and cell.corruption.is_file():  # what the finished model was really trained on
            self._corruptions[budget, seed] = Corruption.load(cell.corruption)
            return self._corruptions[budget, seed]
        corruption = corrupt(
            settings.noise,
            data.train,
            budget=None if settings.noise in FROM_FILE else budget,
            seed=seed,
            num_classes=data.num_classes,
            data_name=data.name,
            ids=data.train_ids,
            labels_file=settings.labels_file,
            labels_key=settings.labels_key,
            pixel_max=data.pixel_max,
            fine_labels=None if data.fine_labels is None else data.fine_labels["train"],
        )
        self._corruptions[budget, seed] = corruption
        return corruption

    def _noisy_validation(self, corruption: Corruption, seed: int) -> Split:
        """The validation rows as the user would have them: wrong in the same way as the training rows."""
        return self._alike(corruption, "validation", seed + _VALIDATION_SEED).apply(self.data.validation)

    def _alike(self, corruption: Corruption, part: Literal["validation", "test"], seed: int) -> Corruption:
        """The same noise on another part of the data."""
        from unlearning.noise import corrupt_alike
        from unlearning.noise.labels import moved_subclasses

        data, moved, fine = self.data, None, None
        if corruption.kind == "subclass-dominant" and data.fine_labels is not None:
            fine = data.fine_labels[part]
            # Rows this few may lack a subclass: those that the training rows show are the ones mistaken.
            moved = moved_subclasses(data.train.labels, data.fine_labels["train"], data.num_classes)
        return corrupt_alike(
            corruption,
            getattr(data, part),
            num_classes=data.num_classes,
            seed=seed,
            data_name=data.name,
            label_map=moved,
            fine_labels=fine,
        )

    def _scored_before(
        self,
        cell: layout.TrainedFiles,
        poisoned: TrainResults,
        model: keras.Model,
        corruption: Corruption,
        given: Split,
        seed: int,
    ) -> _Scored:
        """Scores a cell's poisoned model, once for all its repairs."""
        import numpy as np

        from unlearning.evaluation import ScoredRows, predict, score_model
        from unlearning.interop import load_model

        name = next((name for name in _RETRAINED if _is_retrained(self._awaited(cell.folder, name))), None)
        retrained = None if name is None else self._awaited(cell.folder, name)
        weights = None if retrained is None else read_json(retrained.results, UnlearningResults).model_sha256
        key = (cell.folder, poisoned.model_sha256, weights)
        if self._scored is not None and self._scored.key == key:
            return self._scored
        test, bad = self.data.test, corruption.rows
        try:
            alike = self._alike(corruption, "test", seed + _HELD_OUT_SEED)
            held_out = alike.apply(test).subset(alike.rows)
        except InputError as error:  # too few test rows of the classes that were corrupted
            logger.info("no membership test: %s", error)
            held_out = test.subset(np.empty(0, np.int64))
        classes = None if retrained is None else predict(load_model(retrained.model), test.images).argmax(axis=-1)
        rows = ScoredRows(
            test, given.subset(bad), corruption.true_labels[bad], held_out, classes, self.data.num_classes
        )
        self._scored = _Scored(key, name, rows, score_model(model, rows))
        return self._scored

    def _train(
        self, files: layout.TrainedFiles, config: TrainConfig, wanted: str, corruption: Corruption | None
    ) -> TrainResults:
        from unlearning.architectures import build
        from unlearning.evaluation import accuracy, report
        from unlearning.interop import set_determinism
        from unlearning.training import ShuffledBatches, building_context, train

        data = self.data
        given = data.train if corruption is None else corruption.apply(data.train)
        set_determinism(config.seed, config.deterministic)
        with building_context(config.mixed_precision, config.objective):
            model = build(
                config.model,
                input_shape=data.input_shape,
                num_classes=data.num_classes,
                pixel_max=data.pixel_max,
                seed=config.seed,
            )
        logger.info("training %s", files.folder)
        callbacks = []
        if self.settings.tensorboard is not None:
            from unlearning.drawing.training_board import TrainingBoard

            callbacks.append(TrainingBoard(self._board(files.folder), files.backup / "log.csv"))
        model, trained = train(
            model,
            ShuffledBatches(
                given.images, given.labels, batch_size=config.batch_size, seed=config.seed, augment=config.augment
            ),
            settings=_train_settings(config),
            checkpoint=files.model,
            log=files.log,
            backup_dir=files.backup,
            seed=config.seed,
            callbacks=callbacks,
        )
        table = report(model, data.test)
        noisy = None if corruption is None else accuracy(model, self._noisy_validation(corruption, config.seed))
        results = TrainResults.model_validate(
            {
                **finite(table | {"test_loss": table.pop("loss")}),
                "config_hash": wanted,
                "train_loss": trained.train_loss,
                "epochs_for_min": trained.epochs_for_min,
                "time": trained.time,
                "cpu_time_s": trained.cpu_time_s,
                "rows": len(data.train),
                "corrupted_rows": 0 if corruption is None else corruption.budget,
                "validation_accuracy_clean": accuracy(model, data.validation),
                "validation_accuracy_noisy": noisy,
                "num_params": sum(int(v.numpy().size) for v in model.trainable_variables),
                "model_sha256": file_sha256(files.model),
                "data_sha256": self._data_sha256,
                "environment": describe_environment(),
            }
        )
        write_json(files.results, results)
        return results


def reopen(
    run_dir: Path,
    method: str | None,
    overrides: Mapping[str, Any],
    *,
    variant: str = "",
    validation: Literal["noisy", "clean"] = "noisy",
    detect: DetectChoice | None = None,
    dataset: str | None = None,
    data_dir: str | None = None,
    labels_file: str | None = None,
    tensorboard: Path | None = None,
) -> tuple[Experiment, int, int]:
    """Rebuilds the experiment of an existing cell from its configuration files.

    Args:
        run_dir: The cell's folder, `.../budget-<B>/seed-<S>`.
        method: The method to run there, or None.
        overrides: Its changed hyperparameters.
        variant: Text added to the method's folder name.
        validation: Labels of the validation rows.
        detect: How flagged rows are found; None: they are known.
        dataset: Path of the data, where it is a file or folder (paths are not recorded).
        data_dir: Folder of prepared tensorflow-datasets sets.
        labels_file: For human and recorded noise; not needed where the cell is finished and its arrays are there.
        tensorboard: Folder of event files, or None.

    Returns:
        The experiment, the budget and the seed.

    Raises:
        InputError: If the folder is no cell, or its configuration is missing or damaged.
    """
    from unlearning.noise import FROM_FILE

    folder, budget, seed = layout.parse_cell(run_dir)
    files = layout.cell_files(folder, budget, seed)
    if not files.poison_config.is_file():
        raise invalid("run_dir", "a cell with poison_config.json (made by run, train or configs)", str(run_dir))
    poison, config = read_json(files.poison_config, PoisonConfig), read_json(files.config, TrainConfig)
    if dataset is not None and _name(dataset) != config.data.dataset:
        raise invalid("data", f"the data set {config.data.dataset!r} of this cell", dataset)
    _check_recorded(config)
    recorded = config.model_dump(exclude={"schema_version", "data", "seed"})
    recorded["objective_options"] = tuple(recorded.get("objective_options", {}).items())
    settings = Settings(
        **recorded,
        **config.data.model_dump(exclude={"dataset"}),
        dataset=dataset or config.data.dataset,
        noise=poison.noise,
        budgets=None if poison.noise in FROM_FILE else (budget,),
        seeds=(seed,),
        methods=() if method is None else (MethodChoice(method, tuple(overrides.items()), variant),),
        validation=validation,
        detect=detect,
        data_dir=data_dir,
        labels_file=labels_file,
        labels_key=poison.labels_key or "worse_label",
        labels_sha256=poison.labels_sha256,
        output=folder,
        tensorboard=tensorboard,
    )
    return Experiment(settings), budget, seed


def _check_recorded(config: TrainConfig) -> None:
    """Refuses configurations that this program does not write, before a file or a folder is touched for them."""
    from unlearning.architectures import check_known

    check_known(config.model)
    _train_settings(config)
    name = config.data.dataset
    # Records hold names of data sets, never paths, so that one from a stranger cannot point anywhere.
    if name.endswith(".npz") or name.startswith(("/", "~")) or "\\" in name or ".." in name.split("/"):
        raise invalid("dataset", "the name of a data set in train_config.json, not a path", name)


def _check_same(path: Path, config: Record) -> None:
    """Raises `InputError` unless a configuration file holds this configuration."""
    there = read_json(path, type(config))
    if there != config:
        differences = "; ".join(differing_keys(there, config))
        raise InputError(
            f"{path.parent} holds another configuration: {differences}. Choose another --output, or remove the folder."
        )


def _train_settings(config: TrainConfig) -> TrainSettings:
    from unlearning.training import TrainSettings

    recipe = config.model_dump(exclude={"schema_version", "data", "model", "deterministic", "seed"})
    # The losses of other objectives cannot be compared across epochs (burn-in, blends, no lower bound).
    return TrainSettings(**recipe, monitor="loss" if config.objective == "cross-entropy" else "last")


def check_writable(folder: Path) -> None:
    """Raises `InputError` if a folder cannot be made or written to; leaves nothing behind."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f"Cannot write to {folder}: {existing} is not a writable folder.")


def check_outputs(paths: Sequence[Path], force: bool) -> None:
    """Raises `InputError` if files of one folder exist (unless `force`) or cannot be written; leaves nothing behind."""
    for path in paths:
        if path.exists() and not force:
            raise InputError(f"{path} exists. Pass --force to replace it.")
    check_writable(paths[0].parent)


def describe_environment() -> Environment:
    """Returns versions, device and thread count of this process."""
    import keras
    import numpy as np
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return Environment(
        python=platform.python_version(),
        tensorflow=tf.__version__,
        keras=keras.__version__,
        numpy=np.__version__,
        device=", ".join(names) if names else f"CPU ({platform.machine()})",
        threads=pool_size(),
    )


def with_detection(outcome: UnlearningOutcome, found: DetectionResults) -> UnlearningOutcome:
    """Returns an outcome whose duration includes the detection that went before it, which its details describe."""
    return dataclasses.replace(
        outcome,
        duration_s=outcome.duration_s + found.detection_duration_s,
        details={
            **outcome.details,
            "detection": found.model_dump(include={"status", "metrics", "detection_duration_s", "detection_cpu_s"}),
        },
    )


def outcome_fields(outcome: UnlearningOutcome) -> dict[str, Any]:
    """Returns the fields that repair records share, from a method's outcome."""
    return {
        "applied": outcome.applied,
        "status": str(outcome.status),
        "validation_accuracy_before": outcome.validation_accuracy_before,
        "validation_accuracy_after": outcome.validation_accuracy_after,
        "work": Work(**dataclasses.asdict(outcome.work)),
        "unlearning_duration_s": outcome.duration_s,
        "solves": [Solve(**finite(dataclasses.asdict(report))) for report in outcome.solves],
        "history": [finite(dict(row)) for row in outcome.history],
        "details": finite(dict(outcome.details)),
    }


def _diverged(outcome: UnlearningOutcome) -> bool:
    """Whether a method met non-finite numbers or a diverging solve."""
    from unlearning.task import OutcomeStatus, SolveStatus

    bad = {SolveStatus.DIVERGED, SolveStatus.NON_FINITE}
    return outcome.status is OutcomeStatus.NON_FINITE or any(solve.status in bad for solve in outcome.solves)


def _is_retrained(files: layout.MethodFiles) -> bool:
    """Whether a finished retraining was kept and its weights are there, byte for byte."""
    if not files.results.is_file() or not files.model.is_file():
        return False
    found = read_json(files.results, UnlearningResults)
    return found.applied and file_sha256(files.model) == found.model_sha256


def _restored(before: float, after: float, clean: float) -> float | None:
    from unlearning.evaluation import restored_share

    return restored_share(before, after, clean)


def _agrees(path: Path, config: Record) -> bool:
    """Whether a configuration is there already; raises `InputError` if another one is."""
    if path.is_file():
        _check_same(path, config)
        return True
    return False


def _detect_variant(choice: DetectChoice) -> str:
    """Some digits of the options' hash where they are not the detector's own, so that sets of options never mix."""
    changed = detection.get(choice.detector, dict(choice.options)).config()
    if changed == detection.get(choice.detector).config():
        return ""
    return config_hash(DetectConfig(detector=choice.detector, options=changed))[:6]


T = TypeVar("T", TrainResults, UnlearningResults, DetectionResults)


def _finished(path: Path, kind: type[T], wanted: str) -> T | None:
    """Returns the results of a finished stage, or None where there are none."""
    if not path.is_file():
        return None
    results = read_json(path, kind)
    if results.config_hash != wanted:
        raise InputError(
            f"{path} was made with another configuration than the one asked for. "
            "Choose another --output, or remove the folder."
        )
    return results


def _is_intact(files: layout.TrainedFiles, results: TrainResults) -> bool:
    """Whether the weights of a finished training are there, byte for byte."""
    if not files.model.is_file():
        logger.warning("%s is missing; training it again.", files.model)
        return False
    if file_sha256(files.model) != results.model_sha256:
        logger.warning("%s does not match its recorded SHA-256; training it again.", files.model)
        return False
    return True


def _is_path(dataset: str) -> bool:
    """Whether a data set is a file or folder of the user's, which may change under one name."""
    return dataset.endswith(".npz") or Path(dataset).is_dir() or _listed_kind(dataset) is not None


def _name(dataset: str) -> str:
    """The name under which a data set is recorded: paths stay out of records."""
    kind = _listed_kind(dataset)
    if kind is not None:
        return kind
    if _is_path(dataset):
        return Path(dataset).resolve().stem
    return dataset.replace(":", "-")


def _listed_kind(dataset: str) -> str | None:
    """The kind in `clothing1m:DIR` and its like; None for other data sets."""
    from unlearning.data.sources import LISTED

    kind, colon, _ = dataset.partition(":")
    return kind if colon and kind in LISTED else None


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import io

    import pandas as pd

    buffer = io.StringIO()
    pd.DataFrame(list(rows)).to_csv(buffer, index=False)
    write_text(path, buffer.getvalue())
