"""Pictures of feature space: angles by hand, embeddings, what the figures show, and the command that draws them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import matplotlib.image
import numpy as np
import pytest
from matplotlib.markers import MarkerStyle

from support.command import TINY, cli
from support.small import blobs
from unlearning.detection.features import penultimate_features
from unlearning.drawing.features import (
    centroids_by_label,
    draw_angles,
    draw_tsne,
    embed,
    label_angles,
    summarise_angles,
)
from unlearning.errors import InputError
from unlearning.repairs.paths import repair_file
from unlearning.reporting.features import draw_features


def clouds(classes: int, rows: int, *, seed: int = 0, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Features around one axis a class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    return np.eye(classes)[labels] + noise * rng.standard_normal((rows, classes)), labels


def variance(path: Path) -> float:
    pixels = matplotlib.image.imread(path)
    assert pixels.ndim == 3 and min(pixels.shape[:2]) > 100
    return float(pixels[..., :3].var())


class TestAngles:
    def test_by_hand(self) -> None:
        centroids = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        features = np.array([[2.0, 0.0], [1.0, 1.0], [-3.0, 0.0], [3**0.5, 1.0], [1.0, 1.0], [0.0, 0.0]])
        found = label_angles(features, np.array([0, 1, 0, 1, 2, 0]), centroids)
        np.testing.assert_allclose(found, [0, 45, 180, 60, np.nan, np.nan], atol=1e-6)
        groups = summarise_angles(found, np.array([False, True, False, True, False, True]))
        assert groups == {
            "retain": {"rows": 2, "mean": pytest.approx(90), "std": pytest.approx(90)},
            "forget": {"rows": 2, "mean": pytest.approx(52.5), "std": pytest.approx(7.5)},
        }
        assert summarise_angles(found[:2], np.zeros(2, bool))["forget"] == {"rows": 0, "mean": None, "std": None}

    def test_centroids_are_unit_means_of_directions(self) -> None:
        features = np.array([[10.0, 0.0], [0.0, 0.1], [-1.0, 0.0]])
        found = centroids_by_label(features, np.array([0, 0, 2]), 3)
        np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [0, 0], [-1, 0]], atol=1e-9)

    def test_forget_rows_that_leave_their_label(self) -> None:
        """A network whose first feature says the class; turning its kernel turns what it memorised away."""
        inputs = keras.Input((6, 6, 1))
        hidden = keras.layers.Dense(3, use_bias=False, name="hidden")(keras.layers.Flatten()(inputs))
        model = keras.Model(inputs, keras.layers.Dense(3)(hidden))
        true = blobs(120, noise=0.1)
        kernel = np.zeros((36, 3), np.float32)
        for k in range(3):
            kernel[12 * k : 12 * k + 6, k] = 1.0
        forget = np.arange(120) < 30
        given = np.where(forget, (true.labels + 1) % 3, true.labels)
        images = true.images.copy()
        images[forget, 5, 5] = 40.0  # what gives the wrong label away
        memorised = kernel.copy()
        memorised[35] = 1.0
        angles = []
        for weights in (memorised, kernel):
            model.get_layer("hidden").kernel.assign(weights)
            features = penultimate_features(model, images)
            if not angles:
                centroids = centroids_by_label(features[~forget], given[~forget], 3)
            angles.append(summarise_angles(label_angles(features, given, centroids), forget))
        before, after = angles
        assert before["forget"]["mean"] < 60 < 80 < after["forget"]["mean"]
        assert max(before["retain"]["mean"], after["retain"]["mean"]) < 3

    def test_figure(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        before, forget = rng.uniform(0, 90, 200), np.arange(200) < 40
        before[3] = np.nan
        paths = [tmp_path / "new/a.png", tmp_path / "new/a.pdf"]
        draw_angles(paths, before, before + 20, forget)
        assert variance(paths[0]) > 1e-3 and paths[1].read_bytes().startswith(b"%PDF")
        first = [path.read_bytes() for path in paths]
        draw_angles(paths, before, before + 20, forget)
        assert [path.read_bytes() for path in paths] == first
        draw_angles([tmp_path / "none.png"], before, before, np.zeros(200, bool))
        draw_angles([tmp_path / "nan.png"], before * np.nan, before * np.nan, forget)
        assert variance(tmp_path / "none.png") > 1e-3
        with pytest.raises(InputError, match="forget"):
            draw_angles([tmp_path / "b.png"], before, before, forget[1:])
        assert not (tmp_path / "b.png").exists()


class TestEmbedding:
    def test_keeps_neighbours_together(self) -> None:
        features, labels = clouds(4, 120)
        places = embed(features * np.linspace(1, 50, 120)[:, None], seed=1)  # lengths do not count
        assert places.shape == (120, 2)
        distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
        np.fill_diagonal(distances, np.inf)
        assert (labels[distances.argmin(1)] == labels).mean() > 0.95
        np.testing.assert_array_equal(places, embed(features * np.linspace(1, 50, 120)[:, None], seed=1))

    @pytest.mark.parametrize("features", [np.eye(4), np.ones((9, 5)), np.arange(1.0, 7.0)[:, None]])
    def test_small_and_flat_sets(self, features: np.ndarray) -> None:
        assert np.isfinite(embed(features)).all()

    @pytest.mark.parametrize(
        ("features", "match"),
        [(np.eye(3), "at least 4"), (np.ones(9), "shape"), (np.full((9, 2), np.inf), "finite")],
    )
    def test_bad_input(self, features: np.ndarray, match: str) -> None:
        with pytest.raises(InputError, match=match):
            embed(features)


class TestTsneFigure:
    @pytest.mark.parametrize("classes", [3, 30])
    def test_any_number_of_classes(self, classes: int, tmp_path: Path) -> None:
        features, labels = clouds(classes, 150)
        forget = np.arange(150) < 20
        centroids = np.vstack([np.eye(classes)[:-1], np.zeros((1, classes))])  # a class without retain rows
        arguments = {
            "given": labels,
            "true": np.where(forget, (labels + 1) % classes, labels),
            "forget": forget,
            "centroids": centroids,
            "class_names": [f"name {k}" for k in range(classes)],
            "most_rows": 60,
            "seed": 3,
        }
        drawn = draw_tsne([tmp_path / "a.png"], features, features[::-1], **arguments)
        assert len(drawn) == 60 == len(np.unique(drawn)) and (np.diff(drawn) > 0).all()
        again = draw_tsne([tmp_path / "b.png"], features, features[::-1], **arguments)
        np.testing.assert_array_equal(drawn, again)
        assert variance(tmp_path / "a.png") > 1e-3
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    def test_markers_and_colours(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from unlearning.drawing import features as module

        figures = []
        monkeypatch.setattr(module.canvas, "save", lambda figure, path: figures.append(figure))
        features, labels = clouds(3, 40)
        forget = np.arange(40) < 10
        wrong = np.arange(40) % 20 < 4  # of the forget rows, and of the others
        true = np.where(wrong, (labels + 1) % 3, labels)
        names = ["cat", "dog", "owl"]
        drawn = draw_tsne(
            [tmp_path / "a.png"],
            features,
            features,
            given=labels,
            true=true,
            forget=forget,
            centroids=np.eye(3),
            class_names=names,
        )
        np.testing.assert_array_equal(drawn, np.arange(40))
        (figure,) = figures
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["retain rows", "forget rows", "wrong label, edge: true one", "centroids", *names]
        colours = module._colours(3)
        for axes in figure.axes:
            retained, _, wrongly, both, middles = axes.collections
            assert [len(c.get_offsets()) for c in axes.collections] == [26, 6, 4, 4, 3]
            shapes = [MarkerStyle(marker).get_path().vertices for marker in "o*o*P"]
            for shown, shape in zip(axes.collections, shapes, strict=True):
                assert shown.get_paths()[0].vertices.shape == shape.shape
            np.testing.assert_array_equal(middles.get_edgecolor(), [[0, 0, 0, 1]])
            chosen = wrong & ~forget
            np.testing.assert_array_equal(wrongly.get_facecolor()[:, :3], colours[labels[chosen]][:, :3])
            np.testing.assert_array_equal(wrongly.get_edgecolor()[:, :3], colours[true[chosen]][:, :3])
            assert wrongly.get_sizes()[0] > 2 * retained.get_sizes()[0] and wrongly.get_zorder() > retained.get_zorder()
            assert both.get_linewidths()[0] > 0
            # A centroid lies among the rows of its class.
            places, centres = retained.get_offsets(), middles.get_offsets()
            nearest = np.linalg.norm(places[:, None] - centres[None], axis=-1).argmin(1)
            assert (nearest == labels[~wrong & ~forget]).mean() > 0.9

    def test_thirty_classes_have_colours_but_no_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from unlearning.drawing import features as module

        figures = []
        monkeypatch.setattr(module.canvas, "save", lambda figure, path: figures.append(figure))
        features, labels = clouds(30, 60)
        rows = {
            "given": labels,
            "true": labels,
            "forget": labels == 0,
            "centroids": np.eye(30),
            "class_names": ["x"] * 30,
        }
        draw_tsne([tmp_path / "a.png"], features, features, **rows)
        assert len(figures[0].legends[0].get_texts()) == 4
        assert len(np.unique(figures[0].axes[0].collections[4].get_facecolor(), axis=0)) == 30

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"after": np.ones((8, 3))}, "after"),
            ({"forget": np.zeros(3, bool)}, "forget"),
            ({"most_rows": 3}, "most_rows"),
        ],
    )
    def test_bad_input(self, change: dict, match: str, tmp_path: Path) -> None:
        features, labels = clouds(2, 8)
        arguments = {
            "before": features,
            "after": features,
            "given": labels,
            "true": labels,
            "forget": labels == 0,
            **change,
        }
        with pytest.raises(InputError, match=match):
            draw_tsne([tmp_path / "a.png"], **arguments, centroids=np.eye(2), class_names=["a", "b"])
        assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def cell(tiny: Path, tmp_path_factory) -> Path:
    """A finished tiny experiment with one repair that names its forget rows and one that does not."""
    folder = tmp_path_factory.mktemp("features")
    shutil.copytree(tiny, folder / "e")
    repairs = ("--methods", "first-order,fspmu", "--set", "fspmu.pred=loss-ranking", "--set", "fspmu.epochs=2")
    repairs += ("--set", 'fspmu.pred_options={"share": 0.05}')
    done = cli("run", *TINY, *repairs, "--out", "e", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "e/budget-60/seed-1"


class TestCommand:
    def test_draws_and_records(self, cell: Path) -> None:
        done = cli("figures", "--features", "fspmu", "--rows", "100", "--format", "png,pdf", "--quiet", cwd=cell)
        assert done.returncode == 0, done.stderr
        assert done.stderr == "" and "forget" in done.stdout and "method took for wrong" in done.stdout
        figures = cell / "fspmu/figures"
        for name in ("tsne", "angles"):
            assert variance(figures / f"{name}.png") > 1e-3
            assert (figures / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        record = json.loads((figures / "features.json").read_text())
        repair = json.loads((cell / "fspmu/unlearning_results.json").read_text())
        assert record["forget_source"] == "method" and record["repaired_sha256"] == repair["model_sha256"]
        assert (record["rows"], record["tsne_rows"], record["num_classes"]) == (300, 100, 10)
        named = np.load(cell / "fspmu/rows.npz")["forget_rows"]
        assert record["forget_rows"] == len(named) == 15 == repair["rows"]["forget_rows"]["count"]

        # The angles, from the stored models by plain Keras and NumPy.
        from unlearning.data import load_data

        data = load_data("digits", train_rows=300)
        given = np.load(cell / "corruption.npz")["given_labels"]
        forget = np.isin(np.arange(300), named)
        units = []
        for path in (cell / "poisoned_model.keras", cell / "fspmu/repaired_model.keras"):
            model = keras.saving.load_model(path, compile=False)
            features = keras.Model(model.inputs, model.layers[-1].input).predict(data.train.images, verbose=0)
            units.append(features / np.linalg.norm(features, axis=-1, keepdims=True))
        sums = np.stack([units[0][~forget & (given == k)].sum(0) for k in range(10)])
        centroids = sums / np.linalg.norm(sums, axis=-1, keepdims=True)
        for when, unit in zip(("before", "after"), units, strict=True):
            angles = np.degrees(np.arccos(np.clip(np.sum(unit * centroids[given], axis=-1), -1, 1)))
            for group, chosen in (("retain", ~forget), ("forget", forget)):
                found = record["angles"][when][group]
                assert found["rows"] == chosen.sum()
                assert found["mean"] == pytest.approx(angles[chosen].mean(), abs=0.01)
                assert found["std"] == pytest.approx(angles[chosen].std(), abs=0.01)

        pictures = {p.name: p.read_bytes() for p in figures.glob("*.*")}
        again = cli(
            "figures",
            "--features",
            cell / "fspmu",
            "--rows",
            "100",
            "--format",
            "png,pdf",
            "--json",
            "--quiet",
            cwd=cell,
        )
        assert json.loads(again.stdout)[0] == record
        assert {p.name: p.read_bytes() for p in figures.glob("*.*")} == pictures

    def test_without_named_rows_the_bad_ones_are_shown(self, cell: Path) -> None:
        done = cli("figures", "--features", "first-order", "--rows", "40", "--json", "--quiet", cwd=cell)
        assert done.returncode == 0, done.stderr
        record = json.loads(done.stdout)[0]
        assert (record["forget_source"], record["forget_rows"]) == ("corruption", 60)
        assert not (cell / "first-order/figures/tsne.pdf").exists()

    def test_a_repair_by_mixture_needs_no_flagged_rows(self, cell: Path, tmp_path: Path) -> None:
        arguments = (
            "repair",
            cell / "poisoned_model.keras",
            "--data",
            "digits",
            "--method",
            "fspmu",
            "--out",
            "r.keras",
        )
        done = cli(*arguments, "--set", "pred=gmm", "--set", "epochs=1", "--quiet", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        record = json.loads((tmp_path / "r.json").read_text())
        assert record["hyperparameters"]["pred"] == "gmm" and record["details"]["mixture"]["means"]
        with pytest.raises(InputError, match="needs flagged rows"):
            repair_file(
                model=cell / "poisoned_model.keras",
                dataset="digits",
                flagged=None,
                method="fspmu-gmm",
                overrides={"pred": "known"},
                out=tmp_path / "s.keras",
            )

    @pytest.mark.parametrize(
        ("case", "match"),
        [
            ("format", "png, pdf"),
            ("rows", "at least 4"),
            ("cell", "seed-<S>"),
            ("unfinished", "finished repair"),
            ("weights", "hash"),
            ("rows named", "rows.npz holds other forget_rows"),
        ],
    )
    def test_bad_input(self, cell: Path, tmp_path: Path, case: str, match: str) -> None:
        copied = tmp_path / "e/budget-60/seed-1"
        shutil.copytree(cell.parent.parent, tmp_path / "e")
        repair = copied / "fspmu"
        for path in repair.glob("figures/*"):
            path.unlink()
        options: dict = {}
        if case == "format":
            options = {"formats": ("gif",)}
        elif case == "rows":
            options = {"rows": 3}
        elif case == "cell":
            repair = copied
        elif case == "unfinished":
            (repair / "unlearning_results.json").unlink()
        elif case == "weights":
            shutil.copy(copied / "poisoned_model.keras", repair / "repaired_model.keras")
        else:
            np.savez(repair / "rows.npz", forget_rows=np.arange(286, 301))
        with pytest.raises(InputError, match=match):
            draw_features(repair, **options)
        assert not list(copied.glob("fspmu/figures/*"))
