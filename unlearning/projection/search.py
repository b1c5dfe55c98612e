"""One projection of a network: trusted rows, statistics, and the search for `alpha` on validation rows.

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
from typing import Any

import keras
import numpy as np

from unlearning.evaluation import accuracy
from unlearning.projection.selection import select_trusted
from unlearning.projection.settings import ProjectionSettings
from unlearning.projection.sites import Site, find_sites
from unlearning.projection.solver import Projector, scaled_ratios
from unlearning.projection.statistics import collect, recalibrate_batch_norm
from unlearning.streams import stream
from unlearning.task import OutcomeStatus, Split, WorkCount

logger = logging.getLogger(__name__)

_SPECTRUM_POINTS = 24
_CLEAR_LOSS = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class ProjectionReport:
    """What one projection did.

    Attributes:
        applied: Whether the network was changed.
        status: Why.
        validation_accuracy_before: Of the network as it was.
        validation_accuracy_after: Of the network as it is left; never lower. These rows chose among many, so
            that better on them is no proof. The method `sap` has other rows decide (see `unlearning.acceptance`).
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
            "trusted_count": len(self.trusted_rows),
        }


class Search:
    """One projection: the network, the best weights so far, and the log.

    Args:
        model: The network; its weights are changed.
        train: Training rows with their given labels.
        validation: Rows that choose.
        settings: Hyperparameters.
        seed: Seed of what is drawn.
    """

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
        self._recalibration = stream(seed, "method", "batch-norm rows").choice(
            len(train), min(settings.batch_norm_rows, len(train)), replace=False
        )

    def run(self, given: np.ndarray | None) -> ProjectionReport:
        """Leaves the network with the best weights.

        Args:
            given: Rows to trust; None selects them.

        Returns:
            What was done.
        """
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
        projected, kind = projector.project(kernel, alpha), self._settings.statistics
        size = float(np.linalg.norm(kernel))
        if kind == "activations" or not size:
            return projected
        if kind == "isotropic":
            return kernel * (float(np.linalg.norm(projected)) / size)
        return kernel * (1 - float(np.linalg.norm(kernel - projected)) / size)

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
