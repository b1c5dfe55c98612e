"""The line of the experiment: text -> training -> repair -> exposure and perplexity -> record.

<experiment>/seed-<S>/                       memorisation_results.json, model.keras, train_log.csv
<experiment>/seed-<S>/<method>[-<variant>]/  memorisation_results.json, model.keras

A stage whose record carries the hash of what is asked for is finished and found again; an interrupted training goes on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning import methods
from unlearning.errors import InputError
from unlearning.experiments.cell.stages import finished, set_aside
from unlearning.experiments.memorisation.exposure import measure_exposure
from unlearning.experiments.memorisation.material import Material, prepare
from unlearning.experiments.memorisation.settings import PRESETS, MemorisationSettings
from unlearning.experiments.memorisation.words import ALPHABET
from unlearning.files import file_sha256
from unlearning.links import real_below
from unlearning.methods.base import Method, Took
from unlearning.progress import stage, stages
from unlearning.records import config_hash, write_json
from unlearning.records.memorisation import (
    MEMORISATION,
    CanaryScore,
    MemorisationConfig,
    MemorisationOutcome,
    MemorisationRepair,
    MemorisationResults,
)
from unlearning.training.settings import TrainSettings

if TYPE_CHECKING:
    import keras

_EMBEDDING = 32


@dataclasses.dataclass(frozen=True)
class Stage:
    """A training (where there is no method) or a repair.

    Attributes:
        config: What the trained model depends on.
        folder: Where its files go.
        method: The method, before another one's time is filled in.
        repair: How it is recorded.
    """

    config: MemorisationConfig
    folder: Path
    method: Method | None = None
    repair: MemorisationRepair | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return f"seed {self.config.seed}, {'training' if self.repair is None else self.folder.name}"

    @property
    def hash(self) -> str:
        """The hash of everything that determines its numbers."""
        return config_hash(self.config, *([] if self.repair is None else [self.repair]))

    @property
    def record(self) -> Path:
        """Its record; written last."""
        return self.folder / MEMORISATION

    @property
    def model(self) -> Path:
        """Its weights."""
        return self.folder / "model.keras"

    def find(self) -> MemorisationResults | None:
        """Returns its results; None where there are none.

        Passes on an `InputError` if they were made with another configuration.
        """
        return finished(self.record, MemorisationResults, self.hash)


def plan(settings: MemorisationSettings) -> list[Stage]:
    """Returns all stages in order: for each seed the training, and the repairs.

    Args:
        settings: What is asked for.

    Raises:
        InputError: If a method does not exist, or waits for one that does not come before it.
    """
    found = []
    for seed in settings.seeds:
        config, folder = settings.config_of(seed), settings.output / f"seed-{seed}"
        found.append(Stage(config, folder))
        for choice in settings.methods:
            preset = PRESETS.get(choice.name, {})
            method = methods.get(choice.name, preset | choice.overrides).adapt(_recipe(config))
            repair = MemorisationRepair(method=choice.name, variant=choice.variant, hyperparameters=method.config())
            name = f"{choice.name}-{choice.variant}" if choice.variant else choice.name
            found.append(Stage(config, folder / name, method, repair))
            for awaited in method.waits_for():
                if not any(one.folder == folder / awaited for one in found[:-1]) and not (folder / awaited).is_dir():
                    expected = f"the name of a method that comes before {choice.name} (--methods), or is done"
                    raise InputError(f"{choice.name}.cpu_seconds", f"like:NAME with {expected}", f"like:{awaited}")
    return found


def run(settings: MemorisationSettings) -> Iterator[MemorisationResults]:
    """Trains and repairs what is not there yet.

    Passes on an `InputError` if what is asked for does not fit together, or a folder holds something else.

    Args:
        settings: What is asked for.

    Yields:
        The results of each stage, as soon as they are there.
    """
    planned = plan(settings)
    there = [one.find() for one in planned]  # what is refused is refused before anything is computed
    material: Material | None = None
    of: MemorisationConfig | None = None
    with stages(len(planned)):
        for one, found in zip(planned, there, strict=True):
            stage(one.name)
            if found is not None:
                yield found
                continue
            if material is None or of != one.config:
                material, of = prepare(one.config), one.config
            real_below(settings.output, one.folder)
            set_aside(one.record, MemorisationResults)
            yield _train(one, material) if one.method is None else _repair(one, one.method, material)


def build(window: int, units: int) -> keras.Model:
    """Returns the language model, with logits: embedding, one recurrent layer, and a dense one.

    Args:
        window: Characters that it sees.
        units: Units of the recurrent layer.
    """
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((window,), dtype="int32"),
            layers.Embedding(len(ALPHABET), _EMBEDDING, name="embedding"),
            layers.LSTM(units, name="lstm"),
            layers.Dense(len(ALPHABET), name="logits"),
        ]
    )


def score(model: keras.Model, material: Material, config: MemorisationConfig) -> dict[str, Any]:
    """Returns perplexity, accuracy and exposures, as the fields of a record.

    Args:
        model: A language model.
        material: The rows of its seed.
        config: What it was trained on.
    """
    from unlearning.evaluation import label_loss, predict_probabilities

    def predict(rows: np.ndarray) -> np.ndarray:
        return predict_probabilities(model, rows, 1024)

    said = predict(material.test.images)
    canaries = []
    for canary in material.canaries:
        found = measure_exposure(predict, canary.before, canary.secret, length=config.window, seed=config.seed)
        canaries.append(
            CanaryScore(
                times=canary.times,
                bits=found.bits,
                most_bits=found.most,
                rank=found.rank,
                how=found.how,
                log_perplexity=found.log_perplexity,
            )
        )
    return {
        "test_perplexity": float(np.exp(np.mean(label_loss(said, material.test.labels)))),
        "test_accuracy": float(np.mean(said.argmax(axis=-1) == material.test.labels)),
        "canaries": canaries,
    }


def _recipe(config: MemorisationConfig) -> TrainSettings:
    return TrainSettings(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        schedule="cosine",
        monitor="last",
    )


def _train(one: Stage, material: Material) -> MemorisationResults:
    from unlearning.interop import set_determinism
    from unlearning.training import ShuffledBatches, train

    config = one.config
    set_determinism(config.seed)
    rows = material.train
    model, trained = train(
        build(config.window, config.units),
        ShuffledBatches(rows.images, rows.labels, batch_size=config.batch_size, seed=config.seed),
        settings=_recipe(config),
        checkpoint=one.model,
        log=one.folder / "train_log.csv",
        backup_dir=one.folder / "backup",
        seed=config.seed,
    )
    return _write(one, model, material, None, trained.time, trained.cpu_time_s)


def _repair(one: Stage, method: Method, material: Material) -> MemorisationResults:
    from unlearning.interop import load_model, save_model, set_determinism
    from unlearning.repairs.core import repair
    from unlearning.repairs.outcome import outcome_fields

    method = method.resolve({name: _took(one.folder.parent / name) for name in method.waits_for()})
    set_determinism(one.config.seed)
    done = repair(
        load_model(one.folder.parent / "model.keras"),
        material.train,
        flagged=material.flagged,
        validation=material.validation,
        method=method,
        num_classes=len(ALPHABET),
        measure="likelihood",
        seed=one.config.seed,
    )
    save_model(done.model, one.model)
    outcome = MemorisationOutcome.model_validate(outcome_fields(done.outcome))
    return _write(one, done.model, material, outcome, done.outcome.duration_s, done.cpu_s)


def _took(folder: Path) -> Took:
    """How long the repair in a folder took."""
    from unlearning.records import read_json

    found = read_json(folder / MEMORISATION, MemorisationResults)
    return Took(found.duration_s, found.cpu_s)


def _write(
    one: Stage,
    model: keras.Model,
    material: Material,
    outcome: MemorisationOutcome | None,
    seconds: float,
    cpu_seconds: float,
) -> MemorisationResults:
    from unlearning.repairs.environment import describe_environment

    results = MemorisationResults(
        config=one.config,
        repair=one.repair,
        config_hash=one.hash,
        **score(model, material, one.config),
        outcome=outcome,
        duration_s=seconds,
        cpu_s=cpu_seconds,
        rows=len(material.train),
        flagged_rows=len(material.flagged),
        num_params=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        model_sha256=file_sha256(one.model),
        environment=describe_environment(),
    )
    write_json(one.record, results)
    return results
