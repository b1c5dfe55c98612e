"""The search of `auto`: policies on the cheapest level, levels from cheap to dear, and the clock over it all."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.evaluation import probabilities
from unlearning.interop import ALL, HEAD, MIDDLE, as_logit_model, choose_boundary, gives_probabilities
from unlearning.methods.choosing.course import Course
from unlearning.methods.choosing.lessons import GUESSED, Lesson, Policy, as_given, combine_guesses, write_lesson
from unlearning.methods.choosing.levels import Level
from unlearning.streams import stream, stream_seed
from unlearning.task import REMOVED, UnlearningTask, WorkCount

if TYPE_CHECKING:
    import keras

    from unlearning.methods.choosing.auto import Auto

_WARM, _TIMED = 512, 1536
_FORWARDS_A_STEP = 3  # a gradient step costs about three forward passes
_ASKED = 1000  # flagged rows of which it is asked whether they are put right
_LEAST_EPOCHS = 0.25  # less at a level is not worth it
_FOR_THE_HEAD = 0.5  # share of the time that policies and annealing may take
_COMPILING_S = 1.5  # of a level's training step
_FEWEST_ROWS = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A model that was trained.

    Attributes:
        level: From where on it moved.
        parameters: How many parameters that are.
        policy: What it was taught.
        right: On the rows that choose, bool `(rows,)`.
        flagged_right: Share of the flagged rows (or some of them) that are put right.
        weights: Of the working copy.
        training_s: Seconds that the training took.
    """

    level: str
    parameters: int
    policy: Policy
    right: np.ndarray
    flagged_right: float
    weights: list[np.ndarray]
    training_s: float

    @property
    def accuracy(self) -> float:
        """On the rows that choose."""
        return float(np.mean(self.right))


class Search:
    """Trains candidates and keeps account.

    Args:
        model: The trained model; it is not changed.
        task: The task, with at least one flagged row.
        settings: The method.

    Attributes:
        model: The working copy, with the weights of the latest training.
        before: Its accuracy as it came, on the rows that choose.
        candidates: What was trained, in order.
        annealed: The same training on the given labels; None where there was no time for it.
        history: One mapping a scored model.
        work: Evaluations so far.
        broken: Whether some weights were not finite.
        pass_s: Seconds that a pass over all training rows is taken for.
        limit_s: Seconds that there are.
        stopped_at: The first level for which there was no time; None where there was for all.
    """

    def __init__(self, model: keras.Model, task: UnlearningTask, settings: Auto) -> None:
        self._began, self._wall = time.process_time(), time.perf_counter()
        self._task, self._settings = task, settings
        self.model = as_logit_model(model, task.train.images)
        self._copying = self._spent()
        self._closed = gives_probabilities(self.model, task.train.images, task.num_classes)
        self._initial = self.model.get_weights()
        self._lesson_task = task  # with guesses, once there are any
        self._choosing = np.arange(len(task.choosing))
        order = stream(task.seed, "method", "asked rows").permutation(len(task.corrections))
        self._asked = np.sort(order[:_ASKED])
        self._levels = self._make_levels()
        self.candidates: list[Candidate] = []
        self.annealed: Candidate | None = None
        self.history: list[dict[str, Any]] = []
        self.work, self.broken = WorkCount(), False
        self.stopped_at: str | None = None
        self._most: int | None = None
        self._measure()

    def _make_levels(self) -> list[Level]:
        """The levels, from cheap to dear; several names may mean one place."""
        task = self._task
        only = self._settings.trainable_from
        wanted = (HEAD, MIDDLE, ALL) if only is None else (only,)
        names = dict.fromkeys(choose_boundary(self.model, name) for name in wanted)
        read = {"train": _training_images(task), "choosing": lambda rows: np.asarray(task.choosing.images[rows])}
        counts = {"train": len(task.train), "choosing": len(task.choosing)}
        found: list[Level] = []
        for name in reversed(names):
            below = found[-1] if found and found[-1].is_cached else None
            found.append(
                Level(
                    self.model,
                    name,
                    read,
                    counts,
                    closed=self._closed,
                    num_classes=task.num_classes,
                    below=below,
                )
            )
        return found[::-1]

    def _measure(self) -> None:
        """Scores the model as it came, and finds out what a row costs."""
        head, settings, task = self._levels[0], self._settings, self._task
        self.before = float(np.mean(self._right(head)))  # and compiles what follows
        self._note(level=None, policy=None, accuracy=self.before)
        rows = stream(task.seed, "method", "timed rows").permutation(len(task.train))[:_TIMED]
        push = head.prepare if head.is_cached else head.scores
        push("train", rows[: len(rows) // 3])  # compiles what a full batch needs
        begun, timed = self._spent(), rows[len(rows) // 3 :]
        push("train", timed)
        self._forward_s = max(self._spent() - begun, 1e-6) / len(timed)
        self.pass_s = _FORWARDS_A_STEP * self._forward_s * len(task.train)
        if settings.seconds is not None:
            self.limit_s = settings.seconds
        else:
            self.limit_s = max(settings.passes * self.pass_s, settings.least_seconds)
        asked = len(task.validation) + len(task.corrections)
        self._reserve = 2 * self._forward_s * asked + 2 * self._copying  # for the verdict, and the copy that is judged
        self._most = self._affordable(head)

    def _affordable(self, head: Level) -> int | None:
        """Most rows that can be looked at; None for all."""
        a_row = self._forward_s + self._settings.epochs * self._step_s(head)
        rows = int(_FOR_THE_HEAD * self._left() / a_row)
        return None if rows >= len(self._task.train) else max(rows, _FEWEST_ROWS)

    def try_policies(self, policies: Sequence[Policy]) -> None:
        """Trains the head by one policy after the other, and as control on the given labels.

        Args:
            policies: What to try, the likeliest first; the first one is always tried.
        """
        head, end = self._levels[0], self._spent() + _FOR_THE_HEAD * self._left()
        a_row, size = self._step_s(head), self._settings.batch_size

        def has_time(lesson: Lesson) -> bool:
            rows = max(self._settings.epochs * len(lesson.rows), self._settings.least_steps * size)
            return self._spent() + a_row * rows < end

        for policy in policies:
            lesson = write_lesson(self._task, policy, self._most)
            if not self.candidates or has_time(lesson):
                self.wear(None)
                self._train(head, policy, lesson)
        if self._guess():
            lesson = write_lesson(self._lesson_task, GUESSED, self._most)
            if has_time(lesson):
                self.wear(None)
                self._train(head, GUESSED, lesson)
        control = as_given(write_lesson(self._task, policies[0], self._most), self._task)
        if self._settings.annealing and has_time(control):
            self.wear(None)
            self.annealed = self._train(head, Policy("given labels", 2.0, False, 0.0), control, is_control=True)

    def go_down(self) -> None:
        """Trains from lower levels on, for as long as there is time, each from the best weights so far.

        Where classes are no heaps, the pull towards their centroids does harm: it is left out where it did not help.
        """
        for level in self._levels[1:]:
            best = self.best()
            if best is None:
                return
            lesson = write_lesson(self._lesson_task, best.policy, self._most)
            least_s = _LEAST_EPOCHS * self._step_s(level) * len(lesson.rows)
            if self._left() - _COMPILING_S < least_s:
                self.stopped_at = level.name
                return
            self.wear(best)
            self._train(level, best.policy, lesson)
            if best.policy.pull and self.best() is best and self._left() > least_s:
                self.wear(best)
                self._train(level, best.policy.without_pull(), lesson)

    def go_on(self) -> None:
        """Trains on where the latest training is the best one: twice as long each time, for as long as that helps.

        Small models have time for it, and large ones where the budget is large. Where all flagged rows are right, there
        is nothing left to repair.
        """
        last, times = self.best(), 1
        while last is not None and self._is_worth_more(last):
            times *= 2
            self.wear(last)
            lesson = write_lesson(self._lesson_task, last.policy, self._most)
            self._train(self._level_of(last), last.policy, lesson, times=times)
            last = self.best()

    def _is_worth_more(self, best: Candidate) -> bool:
        latest = best is self.candidates[-1]
        return latest and best.flagged_right < 1 and 2 * best.training_s < self._left()

    def _level_of(self, candidate: Candidate) -> Level:
        return next(level for level in self._levels if level.name == candidate.level)

    def _guess(self) -> bool:
        """Asks the best candidate for the labels of bad rows that have none; returns whether there are such rows."""
        flagged, best = self._task.corrections, self.best()
        unlabelled = flagged.labels == REMOVED if flagged.probabilities is None else flagged.probabilities.max(1) < 1
        if not unlabelled.any() or best is None:
            return False
        self.wear(best)
        level = self._level_of(best)
        rows = flagged.rows[unlabelled]
        said = probabilities(level.scores("train", rows), self._closed)
        self.work += WorkCount(forward_rows=len(rows))
        guessed = combine_guesses(flagged, unlabelled, said, self._task.train.labels[rows])
        self._lesson_task = dataclasses.replace(self._task, corrections=guessed)
        return True

    def best(self) -> Candidate | None:
        """Returns the best candidate on the rows that choose; None where there is none.

        Where it is better than others by no more than one standard error of their difference (the rule of Breiman,
        Friedman, Olshen and Stone, 1984), the one that puts most flagged rows right.
        """
        if not self.candidates:
            return None
        top = max(self.candidates, key=lambda one: one.accuracy)

        def is_close(one: Candidate) -> bool:
            lead = top.right.astype(float) - one.right
            return bool(lead.mean() <= lead.std() / np.sqrt(len(lead)))

        close = [one for one in self.candidates if is_close(one)]
        return max(close, key=lambda one: (one.flagged_right, one.accuracy))

    def wear(self, candidate: Candidate | None) -> None:
        """Gives the working copy the weights of a candidate; None for those that it came with."""
        self.model.set_weights(self._initial if candidate is None else candidate.weights)

    def _train(
        self, level: Level, policy: Policy, lesson: Lesson, *, times: int = 1, is_control: bool = False
    ) -> Candidate | None:
        settings, size = self._settings, self._settings.batch_size
        level.prepare("train", np.unique(lesson.rows))
        steps = times * max(settings.epochs * -(-len(lesson.rows) // size), settings.least_steps)
        begun = self._spent()
        made = level.train(
            lesson.rows,
            lambda places: self._task.loss.weigh(lesson.weights(places)),
            course=Course(steps, self._left),
            peak=settings.learning_rate,
            pull=policy.pull,
            seed=stream_seed(self._task.seed, "method", "order"),
            batch_size=size,
        )
        self.work += WorkCount(gradient_rows=made.gradient_rows)
        if not all(np.isfinite(weight).all() for weight in made.weights):
            self.broken = True
            return None
        took = self._spent() - begun
        scores = self._right(level), self._put_right(level)
        found = Candidate(level.name, level.parameters, policy, *scores, made.weights, took)
        self._note(
            level=level.name,
            policy=policy.name,
            accuracy=found.accuracy,
            flagged_right=found.flagged_right,
            epochs=made.gradient_rows / len(lesson.rows),
            training_s=took,
        )
        if not is_control:
            self.candidates.append(found)
        return found

    def _right(self, level: Level) -> np.ndarray:
        """Where the model is right, of the rows that choose."""
        self.work += WorkCount(forward_rows=len(self._choosing))
        return level.scores("choosing", self._choosing).argmax(-1) == self._task.choosing.labels

    def _put_right(self, level: Level) -> float:
        """The share of flagged rows that the model says as it should; of guesses, as far as these are right."""
        flagged = self._task.corrections.subset(self._asked)
        rows, labels = flagged.rows, flagged.labels
        said = level.scores("train", rows).argmax(-1)
        self.work += WorkCount(forward_rows=len(rows))
        if flagged.probabilities is not None:
            return float(np.mean(flagged.probabilities[np.arange(len(rows)), said]))
        return float(np.mean(np.where(labels == REMOVED, said != self._task.train.labels[rows], said == labels)))

    def _step_s(self, level: Level) -> float:
        """Seconds a row of a training step at a level."""
        rows = stream(self._task.seed, "method", "timed rows").permutation(len(self._task.train))[:_WARM]
        if level.is_cached:
            level.prepare("train", rows)
        level.scores("train", rows)  # compiles
        begun = self._spent()
        level.scores("train", rows)
        return _FORWARDS_A_STEP * (self._spent() - begun) / len(rows)

    def _spent(self) -> float:
        """Seconds so far: of the processor, or of the clock where those count."""
        if self._settings.seconds is not None:
            return time.perf_counter() - self._wall
        return time.process_time() - self._began

    def _left(self) -> float:
        return self.limit_s - self._spent() - self._reserve

    def _note(self, *, accuracy: float, **columns: Any) -> None:
        row = {"step": len(self.history), "validation_accuracy": accuracy, "seconds": time.perf_counter() - self._wall}
        self.history.append({**row, **columns})


def _training_images(task: UnlearningTask) -> Callable[[np.ndarray], np.ndarray]:
    """From row numbers to training images, corrected where they are."""
    flagged = task.corrections
    if flagged.images is None:
        return lambda rows: np.asarray(task.train.images[rows])
    corrected, order = flagged.images, np.argsort(flagged.rows)

    def read(rows: np.ndarray) -> np.ndarray:
        images = np.array(task.train.images[rows])
        place = np.minimum(np.searchsorted(flagged.rows, rows, sorter=order), len(order) - 1)
        hit = flagged.rows[order[place]] == rows
        images[hit] = corrected[order[place[hit]]]
        return images

    return read
