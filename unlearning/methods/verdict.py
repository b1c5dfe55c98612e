"""What decides about a proposal: where the model as it was and the proposed one are right, asked of both alike.

Below the first layer that a proposal has changed the two are one network. So it is run over the rows once, and what
lies above it twice: with the proposal's weights, and with those of the model as it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning import acceptance
from unlearning.errors import InputError
from unlearning.methods import FLAGGED, RIGHT_LABELS
from unlearning.profiling import spending
from unlearning.task import REMOVED, UnlearningTask

if TYPE_CHECKING:
    import keras

Say = Callable[[Any], np.ndarray]
"""From rows of a question, as `_Asked` holds them, to the classes that a model says."""


class Answers:
    """Where a model is right: on the validation rows, and on the flagged rows as it was trained on them.

    Args:
        said: Classes by question, `"validation"` and perhaps `"flagged"`.
        task: The task.
        told: What the method was told of bad rows.

    Attributes:
        rows: Rows it was asked about.
        accuracy: On all validation rows.
        choosing: On those that choose.
    """

    def __init__(self, said: dict[str, np.ndarray], task: UnlearningTask, told: frozenset[str]) -> None:
        right = said["validation"] == task.validation.labels
        self.rows = sum(len(classes) for classes in said.values())
        self.accuracy = float(np.mean(right))
        self._right, self._deciding_rows = right, task.deciding_rows
        self.choosing = float(np.mean(np.delete(right, task.deciding_rows)))
        self._flagged: np.ndarray | None = None
        if "flagged" in said:
            given, wanted = _wanted(task, told)
            self._flagged = np.where(wanted == REMOVED, said["flagged"] != given, said["flagged"] == wanted)

    compare: Callable[..., acceptance.Paired] = staticmethod(acceptance.compare)
    """Compares two models row by row."""

    def judge(self, proposed: Answers) -> acceptance.Acceptance:
        """Returns whether another model's answers are an improvement."""
        flagged = None
        if self._flagged is not None and proposed._flagged is not None:
            flagged = self.compare(self._flagged, proposed._flagged)
        chosen = self._deciding_rows
        return acceptance.judge(
            self.compare(self._right[chosen], proposed._right[chosen]),
            self.compare(self._right, proposed._right),
            flagged,
        )


class Likelihoods(Answers):
    """How likely a model finds what is right: of flagged rows the corrected label, of the row as it should have been.

    Of a row that is removed, or of which no more is told than that it is bad, anything but the given label is right.

    Args:
        probabilities: By question.
        task: The task.
        told: What the method was told of bad rows.
    """

    compare = staticmethod(acceptance.compare_losses)

    def __init__(self, probabilities: dict[str, np.ndarray], task: UnlearningTask, told: frozenset[str]) -> None:
        from unlearning.evaluation import label_loss

        super().__init__({"validation": probabilities["validation"].argmax(axis=-1)}, task, told)
        self.rows = sum(len(rows) for rows in probabilities.values())
        self._right = label_loss(probabilities["validation"], task.validation.labels)
        self.choosing = float(np.exp(-np.mean(np.delete(self._right, task.deciding_rows))))
        if "flagged" in probabilities:
            given, wanted = _wanted(task, told)
            found, rows = probabilities["flagged"], np.arange(len(given))
            right = np.where(wanted == REMOVED, 1 - found[rows, given], found[rows, wanted])
            self._flagged = -np.log(np.maximum(right, np.finfo(np.float64).tiny))


def _wanted(task: UnlearningTask, told: frozenset[str]) -> tuple[np.ndarray, np.ndarray]:
    """The given and the corrected labels of the flagged rows, as far as a method was told of these."""
    flagged = task.corrections
    wanted = flagged.labels if told >= RIGHT_LABELS else np.full(len(flagged), REMOVED)
    return task.train.labels[flagged.rows], wanted


@spending("the verdict")
def ask(
    model: keras.Model, proposal: keras.Model | None, task: UnlearningTask, told: frozenset[str]
) -> tuple[Answers, Answers | None]:
    """Asks the model as it was, and a proposal.

    Args:
        model: The input model.
        proposal: A model of the same classes, or None.
        task: The task; of a stage, nothing is asked about flagged rows.
        told: What the method was told of bad rows, in the words of an entry's `needs`.

    Returns:
        The answers of both.
    """
    from unlearning.evaluation import predict, predict_probabilities

    questions = {"validation": task.validation.images}
    if told >= FLAGGED and len(task.corrections) and not task.is_stage:
        questions["flagged"] = task.train.subset(task.corrections.rows).images

    def answers(network: keras.Model, asked: dict[str, Any]) -> Answers:
        said = {name: predict(network, rows).argmax(axis=-1) for name, rows in asked.items()}
        return Answers(said, task, told)

    if task.measure == "likelihood":
        if "flagged" in questions and task.corrections.images is not None and told >= RIGHT_LABELS:
            questions["flagged"] = task.corrections.images
        asked_both = [
            Likelihoods({name: predict_probabilities(one, rows) for name, rows in questions.items()}, task, told)
            for one in (model, proposal)
            if one is not None
        ]
        return asked_both[0], asked_both[1] if proposal is not None else None

    shared = None if proposal is None else _upper(model, proposal)
    if proposal is None:
        return answers(model, questions), None
    if shared is None:
        return answers(model, questions), answers(proposal, questions)
    asked = {name: shared.activations(rows) for name, rows in questions.items()}
    after = answers(shared.model, asked)
    with _wearing(proposal, model):
        return answers(shared.model, asked), after


def _upper(model: keras.Model, proposal: keras.Model) -> Any:
    """The part of a proposal from the first weight on that is not the model's; None where it cannot be cut there."""
    from unlearning.activations import upper_part
    from unlearning.interop import has_graph

    if [v.shape for v in model.weights] != [v.shape for v in proposal.weights] or not has_graph(proposal):
        return None
    pairs = zip(model.weights, proposal.weights, strict=True)
    changed = {id(new) for old, new in pairs if not np.array_equal(np.asarray(old), np.asarray(new))}
    first = next((layer for layer in proposal.layers if changed & {id(v) for v in layer.weights}), None)
    if first is None:
        return None
    try:
        part = upper_part(proposal, first.name, dtype="float32")
    except InputError:
        return None
    if part is None or not changed <= {id(v) for v in part.model.weights}:
        return None
    return part


@contextlib.contextmanager
def _wearing(model: keras.Model, other: keras.Model) -> Iterator[None]:
    """Gives a model the weights of another one of the same shapes for as long as the context lasts."""
    own = [np.array(weight) for weight in model.weights]
    try:
        for mine, theirs in zip(model.weights, other.weights, strict=True):
            mine.assign(theirs)
        yield
    finally:
        for mine, value in zip(model.weights, own, strict=True):
            mine.assign(value)
