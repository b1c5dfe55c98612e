"""The program chooses: what is known of bad rows and how much time there is decide what is trained, and where.

1. *What is taught* follows from what is known: rows whose right label is known teach it; of others it is guessed, or
   they are left out, and the features of the good rows are pulled to the centroids of their classes, so that the model
   forgets what the bad ones taught (see `lessons`). Where only a few rows are bad, the others are a sample, and the bad
   ones are shown several times: the cost follows what is wrong, and not how much data there are.
2. *Where the model moves* is tried from cheap to dear: the head on features computed once, then from the middle of the
   network on, then all of it, each for as long as it is worth it and the time lasts. Each begins with the best weights
   of the level before, and its learning rate falls to zero; the last one goes on where that helps. The half of the
   validation rows that chooses says which one is taken; where it cannot tell (within one standard error), the flagged
   rows do.
3. *What it costs* is measured before it is spent: a pass over all training rows is taken for three times as long as
   pushing them forward, which a few rows tell.
4. *Annealing*: the same steps on the given labels, head only. What they bring is owed to training on, and is told.

The other half of the validation rows decides about it all, as of every method; see `unlearning.acceptance`.

Example:
    >>> from unlearning.methods.choosing import Auto
    >>> outcome = Auto(passes=2.0).unlearn(model, task)
    >>> outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    True
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from unlearning.methods import FLAGGED, NOTHING, RIGHT_LABELS
from unlearning.methods.base import Method, conclude
from unlearning.methods.choosing.lessons import policies
from unlearning.methods.choosing.search import Search
from unlearning.methods.choosing.words import tell
from unlearning.settings import Positive, PositiveFloat
from unlearning.streams import stream_seed
from unlearning.task import REMOVED, OutcomeStatus, UnlearningOutcome, UnlearningTask, WorkCount

if TYPE_CHECKING:
    import keras


class Auto(Method):
    """Chooses by what is known, time and validation."""

    passes: PositiveFloat = 2.0
    """Time for the repair, as so many passes over the training rows by which the model was trained."""
    seconds: PositiveFloat | None = None
    """The same in wall-clock seconds, in place of passes."""
    least_seconds: PositiveFloat = 10.0
    """Passes are not taken for less than this: compiling alone takes seconds, and small models are trained in a few."""
    epochs: Positive = 4
    """Most passes over what is taught, at a level."""
    least_steps: Positive = 200
    """But at least so many steps: few rows are passed in few of them."""
    learning_rate: PositiveFloat = 1e-3
    """Of Adam; it falls to zero within each level."""
    batch_size: Positive = 128
    """Rows a step."""
    annealing: bool = True
    """Also train the head on the given labels, for comparison."""
    trainable_from: str | None = None
    """Move from this layer on (or from `"head"`, `"middle"` or `"all"`), and nowhere else; null for what is best."""

    @property
    def finds_rows(self) -> bool:
        """See `Method.finds_rows`."""
        return True

    def after(self, seconds: float) -> Auto:
        """See `Method.after`: what is left, and at least a fifth."""
        return self if self.seconds is None else self.changed(seconds=max(self.seconds - seconds, 0.2 * self.seconds))

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        import keras

        from unlearning.interop import check_classifier, copy_model

        started = time.perf_counter()
        keras.utils.set_random_seed(stream_seed(task.seed, "method"))
        check_classifier(model, task.train.images, task.num_classes)
        if not len(task.corrections):
            return conclude(model, None, task, started=started, work=WorkCount(), status=OutcomeStatus.NOTHING_FLAGGED)
        search = Search(model, task, self)
        search.try_policies(policies(task))
        search.go_down()
        search.go_on()
        best = search.best()
        proposal = None
        if best is not None:
            search.wear(best)
            proposal = copy_model(model, task.train.images)
            proposal.set_weights(search.model.get_weights())
        return conclude(
            model,
            proposal,
            task,
            started=started,
            work=search.work,
            history=search.history,
            told=_told(task),
            status=OutcomeStatus.NON_FINITE if search.broken and proposal is None else None,
            details={"auto": tell(task, search, best)},
        )


def _told(task: UnlearningTask) -> frozenset[str]:
    """What it has been told of bad rows."""
    if not len(task.corrections):
        return NOTHING
    return FLAGGED if np.all(task.corrections.labels == REMOVED) else RIGHT_LABELS
