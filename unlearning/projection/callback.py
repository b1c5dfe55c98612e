"""`ScaledActivationProjection`: SAP as a Keras callback.

All statistics come from one forward pass of the network as it is; all layers are then projected at once, with one
`alpha` chosen on validation rows that carry the labels the user has. The unmodified network competes. The grid is
searched from its large end, where the projection changes almost nothing, and is left when smaller values only hurt:
far too small an alpha destroys the network.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np

from unlearning.errors import invalid
from unlearning.evaluation import accuracy
from unlearning.projection.selection import Selection, select_trusted
from unlearning.projection.sites import Site, find_sites
from unlearning.projection.solver import Projector, check_alpha, scaled_ratios
from unlearning.projection.statistics import collect, recalibrate_batch_norm
from unlearning.task import OutcomeStatus, Split, WorkCount, check_rows, check_split, replace_settings

logger = logging.getLogger(__name__)

_SPECTRUM_POINTS = 24
_CLEAR_LOSS = 0.01


@dataclasses.dataclass(frozen=True)
class ProjectionSettings:
    """Hyperparameters of the projection.

    Attributes:
        alphas: Scales to try, each greater than 1; larger ones change less.
        patience: The search ends after this many alphas in a row that lose over a point against the unmodified network.
        trusted_count: Number of trusted rows.
        selection: `"loss"`, `"curvature"` or `"random"`; see `select_trusted`.
        balanced: Trust equally many rows of every given class.
        candidates: Score only a random draw of this many training rows; null for all.
        max_rows: About how many rows (patches, tokens) of a layer enter its statistics.
        include: Patterns of layers to project, such as `["conv_*"]`.
        exclude: Patterns of layers to leave alone.
        rounds: Repetitions, each with statistics of the network projected so far.
        batch_norm_rows: Re-estimate batch normalisation from this many random training rows after projecting; 0: off.
        per_layer: After the common alpha, choose one for each layer in turn (or none), on validation.
        statistics: `"activations"`, or `"isotropic"`: the control that shrinks every kernel as much, all directions
            alike.
    """

    alphas: tuple[float, ...] = (1e6, 3e5, 1e5, 3e4, 1e4, 3e3, 1e3)
    patience: int = 2
    trusted_count: int = 1000
    selection: Selection = "loss"
    balanced: bool = True
    candidates: int | None = None
    max_rows: int = 20_000
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    rounds: int = 1
    batch_norm_rows: int = 0
    per_layer: bool = False
    statistics: Literal["activations", "isotropic"] = "activations"

    def __post_init__(self) -> None:
        if not self.alphas:
            raise invalid("alphas", "at least one number", self.alphas)
        for alpha in self.alphas:
            check_alpha(alpha)
        for name in ("patience", "trusted_count", "max_rows", "rounds"):
            if getattr(self, name) < 1:
                raise invalid(name, "a positive integer", getattr(self, name))
        if self.candidates is not None and self.candidates < self.trusted_count:
            raise invalid("candidates", f"at least trusted_count ({self.trusted_count}), or null", self.candidates)
        for name, choices in (("selection", get_args(Selection)), ("statistics", ("activations", "isotropic"))):
            if getattr(self, name) not in choices:
                raise invalid(name, f"one of {', '.join(choices)}", getattr(self, name))
        for name in ("include", "exclude"):
            if isinstance(getattr(self, name), str):
                raise invalid(name, "a list of patterns", getattr(self, name))
        if self.batch_norm_rows < 0:
            raise invalid("batch_norm_rows", "an integer of at least 0", self.batch_norm_rows)


@dataclasses.dataclass(frozen=True, eq=False)
class ProjectionReport:
    """What one projection did.

    Attributes:
        applied: Whether the network was changed.
        status: Why.
        validation_accuracy_before: Of the network as it was.
        validation_accuracy_after: Of the network as it is left; never lower.
        alphas: Chosen alpha by layer name, one mapping a round; a layer that was left alone is missing.
        history: One mapping a scored network: `step`, `round`, `alpha`, `layer` (of a per-layer search),
            `validation_accuracy`, `seconds`.
        layers: One mapping a projected layer of the first round: `name`, `rows`, `columns`, `route`, `kept` (the mean
            eigenvalue of the projection at the chosen alpha; null where none was chosen, or the layer is very wide),
            and `ranks`, `ratios`: points of its spectrum.
        skipped: Reason by name of every layer that was left alone.
        trusted_rows: int64 row numbers.
        work: Per-example evaluations.
        duration_s: Wall-clock seconds.
    """

    applied: bool
    status: OutcomeStatus
    validation_accuracy_before: float
    validation_accuracy_after: float
    alphas: Sequence[dict[str, float]]
    history: Sequence[dict[str, Any]]
    layers: Sequence[dict[str, Any]]
    skipped: dict[str, str]
    trusted_rows: np.ndarray
    work: WorkCount
    duration_s: float

    def details(self) -> dict[str, Any]:
        """Returns what the result files keep beyond the history, as JSON-ready values."""
        return {
            "alphas": list(self.alphas),
            "layers": list(self.layers),
            "skipped": self.skipped,
            "trusted_rows": self.trusted_rows.tolist(),
        }


class ScaledActivationProjection(keras.callbacks.Callback):
    """Projects the network at the end of training, or every few epochs.

    Args:
        train: Training rows with their given labels, as `(images, labels)` or `Split`; trusted rows come from here.
        validation: Held-out rows with the labels the user has; they choose `alpha`.
        settings: Hyperparameters; None for the defaults.
        every: Project after every so many epochs, too; None: only at the end.
        trusted_rows: Row numbers of `train` to trust, instead of a selection.
        seed: Seed of what is drawn.
        **overrides: Fields of `ProjectionSettings` to change.

    Attributes:
        reports: One `ProjectionReport` a projection.

    Raises:
        InputError: If data or settings make no sense.

    Example:
        >>> sap = ScaledActivationProjection((x, y), (x_val, y_val), trusted_count=500)  # doctest: +SKIP
        >>> model.fit(x, y, epochs=10, callbacks=[sap])  # doctest: +SKIP
        >>> sap.reports[-1].validation_accuracy_after  # doctest: +SKIP
    """

    def __init__(
        self,
        train: Split | tuple[np.ndarray, np.ndarray],
        validation: Split | tuple[np.ndarray, np.ndarray],
        *,
        settings: ProjectionSettings | None = None,
        every: int | None = None,
        trusted_rows: np.ndarray | None = None,
        seed: int = 0,
        **overrides: Any,
    ) -> None:
        super().__init__()
        self._train, self._validation = check_split("train", train), check_split("validation", validation)
        if every is not None and every < 1:
            raise invalid("every", "a positive number of epochs, or None", every)
        self._settings = replace_settings(settings or ProjectionSettings(), overrides)
        if trusted_rows is not None:
            trusted_rows = check_rows("trusted_rows", trusted_rows, len(self._train))
        self._given = trusted_rows
        self._every, self._seed = every, seed
        self._pending = False
        self.reports: list[ProjectionReport] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the layers to project, so that a model without any is refused before it is trained."""
        if self.model.built:
            find_sites(self.model, self._settings.include, self._settings.exclude)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Projects where `every` says so; Keras calls this."""
        self._pending = self._every is None or (epoch + 1) % self._every != 0
        if not self._pending:
            self.project()

    def on_train_end(self, logs: Any = None) -> None:
        """Projects, unless the last epoch just did; Keras calls this."""
        if self._pending:
            self.project()

    def project(self) -> ProjectionReport:
        """Projects the callback's model now.

        Returns:
            The report; it is also appended to `reports`. The model is never worse on the validation rows than before.

        Raises:
            InputError: If the model has no layer to project.
        """
        if not isinstance(self.model, keras.Model):
            raise invalid("model", "a model (pass the callback to fit, or call set_model)", self.model)
        search = _Search(self.model, self._train, self._validation, self._settings, self._seed)
        report = search.run(self._given)
        self.reports.append(report)
        if not report.applied:
            logger.info("SAP left the network as it was: %s.", report.status)
        return report


class _Search:
    """One projection: the network, the best weights so far, and the log."""

    def __init__(
        self, model: keras.Model, train: Split, validation: Split, settings: ProjectionSettings, seed: int
    ) -> None:
        self._started = time.perf_counter()
        self._model, self._train, self._validation = model, train, validation
        self._settings, self._seed = settings, seed
        self._work = WorkCount()
        self._history: list[dict[str, Any]] = []
        self._sites, self._skipped = find_sites(model, settings.include, settings.exclude)
        self._layers: list[dict[str, Any]] = []
        self._recalibration = np.random.default_rng((seed, 1)).choice(
            len(train), min(settings.batch_norm_rows, len(train)), replace=False
        )

    def run(self, given: np.ndarray | None) -> ProjectionReport:
        settings = self._settings
        before = self._best = self._score(number=0)
        self._best_weights = self._model.get_weights()
        status = OutcomeStatus.NOTHING_IMPROVED
        if given is None:
            trusted, work = select_trusted(
                self._model,
                self._train,
                count=settings.trusted_count,
                by=settings.selection,
                balanced=settings.balanced,
                num_classes=int(max(self._train.labels.max(), self._validation.labels.max())) + 1,
                candidates=settings.candidates,
                seed=self._seed,
            )
            self._work += work
        else:
            trusted = given
        alphas: list[dict[str, float]] = []
        for number in range(1, settings.rounds + 1):
            best = self._best
            chosen = self._round(number, trusted)
            if chosen is None and not alphas:
                status = OutcomeStatus.NON_FINITE
            if chosen is None or self._best <= best:
                break
            alphas.append(chosen)
            status = OutcomeStatus.IMPROVED
        self._model.set_weights(self._best_weights)
        return ProjectionReport(
            applied=bool(alphas),
            status=status,
            validation_accuracy_before=before,
            validation_accuracy_after=self._best,
            alphas=tuple(alphas),
            history=tuple(self._history),
            layers=tuple(self._layers),
            skipped=self._skipped,
            trusted_rows=trusted,
            work=self._work,
            duration_s=time.perf_counter() - self._started,
        )

    def _round(self, number: int, trusted: np.ndarray) -> dict[str, float] | None:
        """Returns the best alphas by layer, or None where the activations are not finite."""
        settings = self._settings
        self._model.set_weights(self._best_weights)
        images = self._train.subset(trusted).images
        statistics = collect(self._model, self._sites, images, max_rows=settings.max_rows, seed=self._seed)
        self._work += WorkCount(forward_rows=len(images))
        if not all(np.isfinite(entry.trace).all() for entry in statistics):
            logger.warning("SAP met activations that are not finite.")
            return None
        live: list[tuple[Site, Projector, np.ndarray]] = []
        tries = len(settings.alphas) * (2 if settings.per_layer else 1)
        for site, entry in zip(self._sites, statistics, strict=True):
            if not entry.rows or not entry.trace.any():
                self._skipped[site.name] = "its input is zero on all trusted rows" if entry.rows else "it is not used"
                continue
            projector = Projector(entry, site.outputs, tries)
            live.append((site, projector, site.matrices()))
            if number == 1:
                shape = {"name": site.name, "rows": entry.rows, "columns": site.columns, "route": projector.route}
                self._layers.append(shape)
        statistics.clear()
        chosen = self._common(number, live)
        if settings.per_layer:
            chosen = self._one_by_one(number, live, chosen)
        if number == 1:
            self._describe(live, chosen)
        return {live[k][0].name: alpha for k, alpha in chosen.items()}

    def _common(self, number: int, live: Sequence[tuple[Site, Projector, np.ndarray]]) -> dict[int, float]:
        """Searches one alpha for all layers, from the safe end."""
        chosen: dict[int, float] = {}
        falls = 0
        for alpha in sorted(self._settings.alphas, reverse=True):
            for site, projector, kernel in live:
                site.assign(self._project(projector, kernel, alpha))
            if self._try(number, alpha):
                chosen = dict.fromkeys(range(len(live)), alpha)
            # Accuracy over alpha has dips; only a clear loss says that the rest of the grid is lost, too.
            hurt = self._last < self._history[0]["validation_accuracy"] - _CLEAR_LOSS
            falls = falls + 1 if hurt else 0
            if falls == self._settings.patience:
                break
        return chosen

    def _one_by_one(
        self, number: int, live: Sequence[tuple[Site, Projector, np.ndarray]], chosen: dict[int, float]
    ) -> dict[int, float]:
        """Gives each layer in turn, the last ones first, the alpha (or none) that is best with all others held."""
        for k in reversed(range(len(live))):
            site, projector, kernel = live[k]
            options: list[float | None] = [None, *sorted(self._settings.alphas, reverse=True)]
            for alpha in options:
                if alpha == chosen.get(k):
                    continue
                self._model.set_weights(self._best_weights)
                site.assign(kernel if alpha is None else self._project(projector, kernel, alpha))
                if self._try(number, alpha, site.name):
                    chosen = {**{i: a for i, a in chosen.items() if i != k}, **({} if alpha is None else {k: alpha})}
        return chosen

    def _project(self, projector: Projector, kernel: np.ndarray, alpha: float) -> np.ndarray:
        projected = projector.project(kernel, alpha)
        if self._settings.statistics == "isotropic":
            size = float(np.linalg.norm(kernel))
            return kernel * (float(np.linalg.norm(projected)) / size) if size else kernel
        return projected

    def _try(self, number: int, alpha: float | None, layer: str | None = None) -> bool:
        """Scores the network as it stands and keeps its weights if it is the best so far."""
        if len(self._recalibration):
            recalibrate_batch_norm(self._model, self._train.subset(self._recalibration).images)
            self._work += WorkCount(forward_rows=len(self._recalibration))
        weights = self._model.get_weights()
        if not all(np.isfinite(weight).all() for weight in weights):
            logger.warning("SAP with alpha %s gives weights that are not finite; they are not taken.", alpha)
            self._last = 0.0
            return False
        score = self._score(number, alpha, layer)
        if score <= self._best:
            return False
        self._best, self._best_weights = score, weights
        return True

    def _score(self, number: int, alpha: float | None = None, layer: str | None = None) -> float:
        score = self._last = accuracy(self._model, self._validation)
        self._work += WorkCount(forward_rows=len(self._validation))
        row: dict[str, Any] = {
            "step": len(self._history),
            "round": number,
            "alpha": alpha,
            "validation_accuracy": score,
        }
        if layer is not None:
            row["layer"] = layer
        self._history.append({**row, "seconds": time.perf_counter() - self._started})
        return score

    def _describe(self, live: Sequence[tuple[Site, Projector, np.ndarray]], chosen: dict[int, float]) -> None:
        """Adds spectra to the layers' entries: some ranks, evenly spaced on a logarithmic scale."""
        for k, (_, projector, _) in enumerate(live):
            ratios = projector.ratios()
            columns = self._layers[k]["columns"]
            # The rest of a spectrum that is not known as a whole is not guessed.
            whole = ratios.shape[1] == min(self._layers[k]["rows"], columns)
            kept = float(scaled_ratios(ratios, chosen[k]).sum(1).mean() / columns) if k in chosen and whole else None
            mean = ratios.mean(0)  # over groups
            ranks = np.unique(np.geomspace(1, len(mean), min(_SPECTRUM_POINTS, len(mean))).round().astype(int))
            self._layers[k] |= {"kept": kept, "ranks": ranks.tolist(), "ratios": mean[ranks - 1].tolist()}
