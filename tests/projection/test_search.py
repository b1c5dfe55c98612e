"""One projection: equal to the published algorithm, and never worse on validation."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from support.projection import (
    TOY,
    Stranger,
    all_rows,
    attached,
    by_svd,
    holds,
    labelled_by,
    projected_weights,
    random_split,
    same,
    two_layers,
)
from support.small import blobs
from unlearning.evaluation import accuracy
from unlearning.interop import copy_model
from unlearning.projection.sites import find_sites
from unlearning.projection.solver import Projector
from unlearning.task import OutcomeStatus, Split, WorkCount


class TestProjection:
    """One projection of a network small enough to be redone in NumPy."""

    ROWS = np.arange(5, 25)

    @pytest.mark.parametrize("alpha", [10.0, 100.0])
    def test_equals_the_published_algorithm(self, alpha: float) -> None:
        """All statistics come from the network as it was, whose first layer is not yet projected."""
        model, train = two_layers(), random_split(60)
        before = model.get_weights()
        target = projected_weights(before, train.images[self.ROWS], alpha)
        validation = labelled_by(target, random_split(300, seed=1).images)
        callback = attached(model, train, validation, alphas=(alpha,), trusted_rows=self.ROWS)
        report = callback.project()
        holds(report, model, validation, before)
        assert report.validation_accuracy_after == 1.0
        for weight, expected in zip(model.get_weights(), target, strict=True):
            np.testing.assert_allclose(weight, expected, atol=1e-5)
        assert np.array_equal(model.get_weights()[1], before[1]) and np.array_equal(model.get_weights()[3], before[3])
        assert report.alphas == ({"hidden": alpha, "out": alpha},)
        np.testing.assert_array_equal(report.trusted_rows, self.ROWS)
        assert report.work == WorkCount(forward_rows=20 + 2 * 300)
        assert callback.reports == [report]
        hidden, out = report.details()["layers"]
        assert (hidden["name"], hidden["rows"], hidden["columns"]) == ("hidden", 20, 4)
        rows = train.images[self.ROWS].reshape(20, -1).astype(np.float64)
        ratios = np.linalg.eigvalsh(rows.T @ rows)[::-1] / np.sum(rows**2)
        np.testing.assert_allclose(hidden["ratios"], ratios, rtol=1e-6)
        assert hidden["kept"] == pytest.approx(np.mean(alpha * ratios / ((alpha - 1) * ratios + 1)))
        assert (out["name"], out["columns"]) == ("out", 7)

    def test_the_best_of_several_alphas_wins(self) -> None:
        model, train = two_layers(), random_split(60)
        before = model.get_weights()
        target = projected_weights(before, train.images[self.ROWS], 30.0)
        validation = labelled_by(target, random_split(300, seed=1).images)
        alphas = (3.0, 1e4, 30.0, 1e3)
        report = attached(model, train, validation, alphas=alphas, trusted_rows=self.ROWS, patience=9).project()
        holds(report, model, validation, before)
        assert [row["alpha"] for row in report.history] == [None, 1e4, 1e3, 30.0, 3.0]  # from the safe end
        assert report.alphas == ({"hidden": 30.0, "out": 30.0},)
        for weight, expected in zip(model.get_weights(), target, strict=True):
            np.testing.assert_allclose(weight, expected, atol=1e-5)

    def test_rounds_start_from_the_projected_network(self) -> None:
        model, train = two_layers(), random_split(60)
        before, images = model.get_weights(), train.images[self.ROWS]
        once = projected_weights(before, images, 10.0)
        twice = projected_weights(once, images, 10.0)
        validation = labelled_by(twice, random_split(300, seed=1).images)
        report = attached(model, train, validation, alphas=(10.0,), trusted_rows=self.ROWS, rounds=2).project()
        holds(report, model, validation, before)
        assert [row["round"] for row in report.history] == [0, 1, 2] and len(report.alphas) == 2
        assert report.validation_accuracy_after == 1.0
        for weight, expected in zip(model.get_weights(), twice, strict=True):
            np.testing.assert_allclose(weight, expected, atol=1e-5)
        assert len(report.details()["layers"]) == 2  # of the first round only
        # A third round that improves nothing changes nothing.
        again = two_layers()
        longer = attached(again, train, validation, alphas=(10.0,), trusted_rows=self.ROWS, rounds=5).project()
        assert len(longer.alphas) == 2 and [row["round"] for row in longer.history] == [0, 1, 2, 3]
        assert same(again.get_weights(), model.get_weights())

    @pytest.mark.parametrize("layer", ["hidden", "out"])
    def test_per_layer_finds_the_one_layer_that_needs_it(self, layer: str) -> None:
        model, train = two_layers(), random_split(60)
        before = model.get_weights()
        target = projected_weights(before, train.images[self.ROWS], 10.0, [layer])
        validation = labelled_by(target, random_split(300, seed=1).images)
        callback = attached(
            model, train, validation, alphas=(1e4, 10.0), trusted_rows=self.ROWS, per_layer=True, patience=9
        )
        report = callback.project()
        holds(report, model, validation, before)
        assert report.validation_accuracy_after == 1.0
        assert report.alphas[0][layer] == 10.0 and report.alphas[0].get({"hidden": "out", "out": "hidden"}[layer]) in (
            None,
            1e4,
        )
        searched = [row["layer"] for row in report.history if "layer" in row]
        assert searched == ["out"] * searched.count("out") + ["hidden"] * searched.count("hidden")
        assert {"out", "hidden"} == set(searched)

    @pytest.mark.parametrize("kind", ["isotropic", "isotropic-step"])
    def test_isotropic_control_shrinks_as_much_but_turns_nothing(self, kind: str) -> None:
        """To the norm that the projection leaves, or by a step as long as the projection's."""
        model, train = two_layers(), random_split(60)
        before = model.get_weights()
        directed = projected_weights(before, train.images[self.ROWS], 10.0)
        target = [
            (old * left / np.linalg.norm(old) if old.ndim == 2 else old)
            for old, new in zip(before, directed, strict=True)
            for left in [
                np.linalg.norm(new) if kind == "isotropic" else np.linalg.norm(old) - np.linalg.norm(old - new)
            ]
        ]
        validation = labelled_by(target, random_split(300, seed=1).images)
        report = attached(model, train, validation, alphas=(10.0,), trusted_rows=self.ROWS, statistics=kind).project()
        holds(report, model, validation, before)
        assert report.validation_accuracy_after == 1.0
        for weight, expected in zip(model.get_weights(), target, strict=True):
            np.testing.assert_allclose(weight, expected, atol=1e-5)

    def test_dead_layer_and_layer_out_of_reach_are_skipped(self) -> None:
        model, split = Stranger(), blobs(120)
        keras.utils.set_random_seed(0)
        model.build(split.images.shape)
        model.hidden.bias.assign(np.full(8, -1e6))  # everything after the ReLU is zero
        model.out.bias.assign([0.0, 1.0, 0.0])
        before = model.get_weights()
        report = attached(model, split, blobs(60, seed=1), trusted_count=30, alphas=(100.0, 2.0)).project()
        assert report.skipped == {"out": "its input is zero on all trusted rows", "spare": "it is not used"}
        assert [row["name"] for row in report.layers] == ["hidden"]
        assert same(before, model.get_weights())

    def test_dead_channel_keeps_only_its_own_kernel(self) -> None:
        keras.utils.set_random_seed(0)
        layer = keras.layers.DepthwiseConv2D(3, name="depthwise")
        model = keras.Sequential([keras.Input((6, 6, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(3)])
        images = np.random.default_rng(0).standard_normal((30, 6, 6, 3)).astype(np.float32)
        images[..., 1] = 0
        train = Split(images, np.arange(30) % 3)
        callback = attached(model, train, train, alphas=(10.0,), include=("depthwise",))
        before = np.array(layer.kernel)
        changed: list[np.ndarray] = []
        (site,), _ = find_sites(model, ["depthwise"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(site), "assign", lambda _, matrices: changed.append(matrices.copy()))
            report = callback.project()
        assert "depthwise" not in report.skipped
        np.testing.assert_array_equal(changed[0][1], site.matrices()[1])
        for channel in (0, 2):
            rows = all_rows(site, images)[channel]
            expected = by_svd(rows, before[:, :, channel].reshape(9, 1).astype(np.float64), 10.0)
            np.testing.assert_allclose(changed[0][channel], expected, atol=1e-6)
            assert np.abs(expected - before[:, :, channel].reshape(9, 1)).max() > 1e-3

    @pytest.mark.parametrize(
        ("scores", "tried"),
        [
            ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [1e5, 1e4, 1e3, 1e2, 1e1]),  # a plateau is no loss
            ([0.5, 0.4, 0.4], [1e5, 1e4]),
            ([0.5, 0.4, 0.6, 0.4, 0.4], [1e5, 1e4, 1e3, 1e2]),  # a success starts the count again
            ([0.5, 0.4, 0.5, 0.4, 0.4], [1e5, 1e4, 1e3, 1e2]),
            ([0.5, 0.495, 0.492, 0.491, 0.6, 0.5], [1e5, 1e4, 1e3, 1e2, 1e1]),  # a dip of a few rows is no loss
            ([0.5, 0.6, 0.495, 0.492, 0.491, 0.6], [1e5, 1e4, 1e3, 1e2, 1e1]),  # it counts from where the search began
            ([0.5, 0.489, 0.488], [1e5, 1e4]),
        ],
    )
    def test_search_stops_where_it_only_hurts(self, scores, tried, monkeypatch) -> None:
        model, train = two_layers(), random_split(60)
        script = iter(scores)
        monkeypatch.setattr("unlearning.projection.search.accuracy", lambda *_: next(script))
        alphas = (1e1, 1e3, 1e5, 1e2, 1e4)
        report = attached(model, train, train, alphas=alphas, trusted_rows=self.ROWS).project()
        assert [row["alpha"] for row in report.history] == [None, *tried]
        assert [row["validation_accuracy"] for row in report.history] == scores
        assert report.applied == (max(scores) > 0.5)
        assert report.validation_accuracy_after == max(scores)

    @pytest.mark.parametrize("scores", [[0.5, 0.5, 0.5], [0.5, 0.499, 0.2]])
    def test_equal_or_worse_leaves_the_network_bit_identical(self, scores, monkeypatch) -> None:
        model, train = two_layers(), random_split(60)
        before, script = model.get_weights(), iter(scores)
        monkeypatch.setattr("unlearning.projection.search.accuracy", lambda *_: next(script))
        report = attached(model, train, train, alphas=(10.0, 3.0), trusted_rows=self.ROWS).project()
        assert not report.applied and report.status is OutcomeStatus.NOTHING_IMPROVED and report.alphas == ()
        assert same(before, model.get_weights())
        assert all(row["kept"] is None for row in report.layers)

    def test_non_finite_activations(self) -> None:
        model, train = two_layers(), random_split(60)
        train.images[7] = np.inf
        before = model.get_weights()
        report = attached(model, train, random_split(60, seed=1), trusted_rows=self.ROWS).project()
        assert report.status is OutcomeStatus.NON_FINITE and not report.applied
        assert same(before, model.get_weights())
        assert json.loads(json.dumps(report.details()))["alphas"] == []
        train.images[7] = 0
        assert attached(model, train, train, trusted_rows=self.ROWS).project().status is not OutcomeStatus.NON_FINITE

    def test_weights_that_are_not_finite_are_never_taken(self, monkeypatch) -> None:
        model, train = two_layers(), random_split(60)
        before = model.get_weights()
        monkeypatch.setattr(Projector, "project", lambda self, kernel, alpha: np.full_like(kernel, np.nan))
        validation = Split(train.images, np.zeros(60, np.int64))  # NaN scores are argmax 0, so would all be "right"
        report = attached(model, train, validation, trusted_rows=self.ROWS, patience=9).project()
        assert not report.applied and same(before, model.get_weights())
        assert [row["alpha"] for row in report.history] == [None]

    def test_an_alpha_that_shrinks_everything_is_never_taken(self, poisoned) -> None:
        model, task = copy_model(poisoned[0]), poisoned[1]
        before = model.get_weights()
        report = attached(model, task.train, task.validation, trusted_count=60, alphas=(1.001,)).project()
        assert report.history[-1]["validation_accuracy"] < report.validation_accuracy_before - 0.2
        assert not report.applied and same(before, model.get_weights())

    def test_recalibrated_batch_norm_is_part_of_what_is_scored_and_kept(self, poisoned) -> None:
        """Wrong statistics of the norm spoil the network; re-estimating them repairs it whatever alpha does."""
        model, task = copy_model(poisoned[0]), poisoned[1]
        norm, validation = model.get_layer("norm"), task.validation
        norm.moving_mean.assign(norm.moving_mean + 3)
        before = model.get_weights()
        settings = {"trusted_count": 60, "alphas": (1e6,), "include": ("conv",)}
        assert not attached(model, task.train, validation, **settings).project().applied
        report = attached(model, task.train, validation, **settings, batch_norm_rows=120).project()
        holds(report, model, validation, before)
        assert report.applied and report.validation_accuracy_after > accuracy(poisoned[0], validation) - 0.1
        # 120 rows are one batch, whose rows nobody but the seed knows.
        outputs = keras.Model(model.inputs[0], model.get_layer("conv").output).predict(task.train.images)
        np.testing.assert_allclose(norm.moving_mean, outputs.mean((0, 1, 2)), atol=0.2)
        assert report.work.forward_rows == 240 + 60 + 2 * len(validation) + 120

    def test_batch_norm_and_biases_stay_without_recalibration(self, poisoned) -> None:
        model, task = copy_model(poisoned[0]), poisoned[1]
        report = attached(model, task.train, task.validation, **TOY).project()
        assert report.applied
        pairs = zip(model.weights, poisoned[0].weights, strict=True)
        changed = [new.path for new, old in pairs if not np.array_equal(new, old)]
        assert ["/".join(path.split("/")[-2:]) for path in changed] == ["conv/kernel", "hidden/kernel", "logits/kernel"]

    def test_recalibration_alone_counts_as_applied(self, poisoned) -> None:
        model, task = copy_model(poisoned[0]), poisoned[1]
        norm = model.get_layer("norm")
        norm.moving_mean.assign(norm.moving_mean + 1.5)
        before = model.get_weights()
        report = attached(
            model,
            task.train,
            task.validation,
            trusted_count=60,
            alphas=(3.0,),
            per_layer=True,
            batch_norm_rows=240,
            include=("hidden",),
        ).project()
        assert report.validation_accuracy_after > report.validation_accuracy_before
        assert report.applied == (not same(before, model.get_weights()))
