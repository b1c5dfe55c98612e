"""What the repairs, and the published schedules of LiSSA and SAP, return for twelve broken inputs.

    PYTHONPATH=.:tests python tests/benchmarks/fails_safely.py

A small network learns three classes of images with 30 % wrong labels; one thing is broken at a time. `second-order`,
`fine-tuning` and `sap` are called as a user does (`unlearning.repair`). Beside them stand the published updates,
written out here without a guard: `LiSSA published`, ten steps of the recursion of Agarwal et al. (JMLR 2017) with scale
2e5, damping 1e-4 and patience 20 on the last six tensors, and `SAP published`, the best of alpha 1e4 to 1e6 on
validation for all dense kernels. Accuracies are of test rows with true labels, in `returned` stands what came back:
`refused` with the message, `kept` (the given model, with the reason), `applied`, or `not a number`, where the returned
weights are none. No input was changed by any repair: the script stops if one is.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from support.benchmarks import save
from support.small import blobs, fitted
from unlearning import repair
from unlearning.task import Split

ROWS, FLIPS, CLASSES = 360, 110, 3


@dataclasses.dataclass
class Case:
    """One call: a model, its rows with their given labels, and what is said of them."""

    model: keras.Model
    images: np.ndarray
    labels: np.ndarray
    flagged: dict[Any, Any]
    validation: Any
    test: Split


def build(shape: tuple[int, ...] = (6, 6, 1), classes: int = CLASSES) -> keras.Model:
    """A network of three dense layers."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inner = [layers.Flatten(), layers.Dense(32, activation="relu"), layers.Dense(16, activation="relu")]
    return keras.Sequential([keras.Input(shape), *inner, layers.Dense(classes)])


def sound(model: keras.Model | None = None, *, epochs: int = 40, scale: float = 1.0) -> Case:
    """Nothing is broken yet."""
    train, validation, test = (blobs(rows, CLASSES, seed=seed) for seed, rows in enumerate((ROWS, 240, 480)))
    given = train.labels.copy()
    given[:FLIPS] = (given[:FLIPS] + 1) % CLASSES
    held = validation.labels.copy()
    held[:70] = (held[:70] + 1) % CLASSES
    images, others, unseen = (split.images * np.float32(scale) for split in (train, validation, test))
    model = model or build()
    if epochs:
        fitted(model, Split(images, given), epochs=epochs)
    flagged = dict(zip(range(FLIPS), train.labels[:FLIPS].tolist(), strict=True))
    return Case(model, images, given, flagged, Split(others, held), Split(unseen, test.labels))


def _nan_weights() -> Case:
    case = sound()
    weights = case.model.get_weights()
    weights[2][0, 0] = np.nan
    case.model.set_weights(weights)
    return case


def _all_flagged() -> Case:
    case = sound()
    case.flagged = {row: int(label + 1) % CLASSES for row, label in enumerate(case.labels)}
    return case


def _one_class() -> Case:
    case = sound(epochs=0)
    case.labels = np.zeros_like(case.labels)
    fitted(case.model, Split(case.images, case.labels), epochs=10)
    case.flagged = dict.fromkeys(range(FLIPS), 1)
    return case


def _constant() -> Case:
    case = sound(epochs=0)
    case.images = np.full_like(case.images, 0.5)
    fitted(case.model, Split(case.images, case.labels), epochs=10)
    return case


def _one_flagged() -> Case:
    case = sound()
    case.flagged = dict(list(case.flagged.items())[:1])
    return case


def _float_labels() -> Case:
    case = sound()
    case.labels = case.labels + 0.5
    return case


def _duplicates() -> Case:
    case = sound()
    case.flagged = (np.zeros(FLIPS, int), np.array(list(case.flagged.values())))  # type: ignore[assignment]
    return case


def _saturated() -> Case:
    case = sound()
    case.model.set_weights([*case.model.get_weights()[:-2], *(1e6 * w for w in case.model.get_weights()[-2:])])
    return case


def _empty_class() -> Case:
    case = sound(build(classes=CLASSES + 1))
    case.flagged = dict.fromkeys(case.flagged, CLASSES)
    return case


def _wrong_classes() -> Case:
    return dataclasses.replace(sound(), model=fitted(build(classes=2), blobs(ROWS, 2)))


CASES: dict[str, Callable[[], Case]] = {
    "nothing broken": sound,
    "NaN weights": _nan_weights,
    "all rows flagged": _all_flagged,
    "one class": _one_class,
    "untrained model": lambda: sound(epochs=0),
    "huge pixels": lambda: sound(scale=1e12),
    "constant images": _constant,
    "one row flagged": _one_flagged,
    "float labels": _float_labels,
    "one row flagged 110 times": _duplicates,
    "saturated model": _saturated,
    "corrections to an empty class": _empty_class,
    "fewer outputs than classes": _wrong_classes,
}


def published_lissa(case: Case) -> keras.Model:
    """Ten published steps, as they are: `u <- v + (1 - damping) u - H u / scale`, and `theta <- theta - u / scale`."""
    model, scale, damping, batch = keras.models.clone_model(case.model), 2e5, 1e-4, min(1024, len(case.labels))
    model.set_weights(case.model.get_weights())
    variables = [variable.value for variable in model.trainable_weights[-6:]]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    corrected = case.labels.copy()
    flagged = case.flagged
    rows, labels = flagged if isinstance(flagged, tuple) else (list(flagged), list(flagged.values()))
    corrected[rows] = labels
    rng = np.random.default_rng(0)

    def gradient(images: np.ndarray, labels: np.ndarray) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            value = loss(labels, model(images))
        return tape.gradient(value, variables)

    @tf.function
    def curvature(images: tf.Tensor, labels: tf.Tensor, along: list[tf.Tensor]) -> list[tf.Tensor]:
        with tf.autodiff.ForwardAccumulator(variables, along) as forward:
            parts = gradient(images, labels)
        return [forward.jvp(part) for part in parts]

    for _ in range(10):
        wrong = np.flatnonzero(model.predict(case.images, verbose=0).argmax(-1) != corrected)
        wrong = rng.permutation(wrong)[:1024]
        if not len(wrong):
            break
        said = model.predict(case.images[wrong], verbose=0).argmax(-1)
        pair = (gradient(case.images[wrong], labels) for labels in (corrected[wrong], said))
        v = [a - b for a, b in zip(*pair, strict=True)]
        u, best = list(v), np.inf
        for i in range(100 * -(-len(corrected) // batch)):
            some = rng.permutation(len(corrected))[:batch]
            product = curvature(tf.constant(case.images[some]), tf.constant(corrected[some]), u)
            new = [a + (1 - damping) * b - c / scale for a, b, c in zip(v, u, product, strict=True)]
            norm = sum(float(tf.reduce_sum(abs(a - b))) for a, b in zip(new, u, strict=True))
            u = new
            if not np.isfinite(norm) or (norm > best and i >= 20):
                break
            best = min(best, norm)
        for variable, part in zip(variables, u, strict=True):
            variable.assign_sub(part / scale)
    return model


def published_sap(case: Case) -> keras.Model:
    """Every dense kernel by `(alpha - 1) P + I`, the best alpha on validation, if better than none."""
    best, kept = accuracy(case.model, case.validation), case.model.get_weights()
    logits = case.model.predict(case.images, verbose=0)
    losses = keras.ops.sparse_categorical_crossentropy(case.labels, logits, from_logits=True)
    trusted = case.images[np.argsort(np.asarray(losses))[:1000]]
    proposal = keras.models.clone_model(case.model)
    for alpha in (1e4, 3e4, 1e5, 3e5, 1e6):
        proposal.set_weights(case.model.get_weights())
        inputs = trusted.astype(np.float64)
        for layer, old in zip(proposal.layers, case.model.layers, strict=True):
            if isinstance(layer, keras.layers.Dense):
                gram = inputs.T @ inputs
                part = gram / np.trace(gram)
                kernel, *others = old.get_weights()
                solved = alpha * np.linalg.solve((alpha - 1) * part + np.eye(len(part)), part @ kernel)
                layer.set_weights([solved, *others])
            inputs = np.asarray(old(inputs.astype(np.float32)), np.float64)
        found = accuracy(proposal, case.validation)
        if found > best:
            best, kept = found, proposal.get_weights()
    proposal.set_weights(kept)
    return proposal


def accuracy(model: keras.Model, split: Split) -> float:
    """Share of rows that a model predicts as labelled."""
    return float(np.mean(model.predict(split.images, verbose=0).argmax(-1) == split.labels))


def ours(name: str) -> Callable[[Case], tuple[keras.Model, str, str]]:
    """A repair as a user calls it."""

    def call(case: Case) -> tuple[keras.Model, str, str]:
        told = {} if name == "sap" else {"flagged": case.flagged}
        done = repair(case.model, (case.images, case.labels), method=name, validation=case.validation, **told)
        outcome = done.outcome
        return done.model, "applied" if outcome.applied else "kept", "" if outcome.applied else str(outcome.status)

    return call


def alone(update: Callable[[Case], keras.Model]) -> Callable[[Case], tuple[keras.Model, str, str]]:
    """A published update, which always returns weights."""
    return lambda case: (update(case), "applied", "")


REPAIRS = {
    **{name: ours(name) for name in ("second-order", "fine-tuning", "sap")},
    "LiSSA published": alone(published_lissa),
    "SAP published": alone(published_sap),
}


def try_one(call: Callable[[Case], tuple[keras.Model, str, str]], case: Case) -> dict[str, Any]:
    """Calls a repair, and says what it returned."""
    before = [weight.copy() for weight in case.model.get_weights()]
    line: dict[str, Any] = {"accuracy_before": accuracy(case.model, case.test), "accuracy_after": None}
    try:
        model, returned, message = call(case)
        line["accuracy_after"] = accuracy(model, case.test)
        weights = model.get_weights()
        if all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, weights, strict=True)):
            returned, message = "kept", message or "no change"
        elif not all(np.isfinite(weight).all() for weight in weights):
            returned, message = "not a number", "weights are NaN or infinite"
    except Exception as error:
        text = " ".join(str(error).split())
        returned, message = "refused", f"{type(error).__name__}: {text[:140]}{'...' if len(text) > 140 else ''}"
    line |= {"returned": returned, "message": message.replace("|", "/")}
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, case.model.get_weights(), strict=True)):
        raise SystemExit("the given model was changed")
    return line


def main() -> None:
    """Tries all repairs on all cases."""
    rows = []
    for label, make in CASES.items():
        for name, call in REPAIRS.items():
            rows.append({"input": label, "repair": name, **try_one(call, make())})
            print(rows[-1], flush=True)
    save("fails_safely", rows)


if __name__ == "__main__":
    main()
