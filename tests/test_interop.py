"""Loading, saving and copying other people's models, and the scores computed from them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from support.paths import ROOT
from support.small import blobs, small_model
from unlearning.errors import InputError
from unlearning.evaluation import accuracy, confusion, predict, report
from unlearning.interop import (
    as_graph,
    as_logit_model,
    copy_model,
    differentiate,
    joint_norm,
    load_model,
    on_all_gpus,
    outputs_probabilities,
    save_model,
)
from unlearning.task import Corrections, Split, UnlearningTask, WorkCount


class TestFiles:
    def test_round_trip(self, tmp_path: Path) -> None:
        model = small_model()
        save_model(model, tmp_path / "sub" / "m.keras")
        again = load_model(tmp_path / "sub" / "m.keras")
        for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert [p.name for p in (tmp_path / "sub").iterdir()] == ["m.keras"]

    def test_a_failed_save_keeps_the_old_file(self, tmp_path: Path, monkeypatch) -> None:
        path = tmp_path / "m.keras"
        save_model(small_model(), path)
        before = path.read_bytes()

        def full(self, name, *_, **__):
            Path(name).write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(keras.Sequential, "save", full)
        with pytest.raises(OSError, match="space"):
            save_model(small_model(seed=3), path)
        assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1

    def test_code_in_a_model_file_is_refused(self, tmp_path: Path) -> None:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x + 1), keras.layers.Dense(2)])
        model.save(tmp_path / "evil.keras")
        with pytest.raises(InputError, match="Cannot load"):
            load_model(tmp_path / "evil.keras")

    def test_missing_damaged_and_misnamed_files(self, tmp_path: Path) -> None:
        save_model(small_model(), tmp_path / "m.keras")
        (tmp_path / "cut.keras").write_bytes((tmp_path / "m.keras").read_bytes()[:500])
        (tmp_path / "m.h5").write_bytes(b"")
        for name in ("nowhere.keras", "cut.keras", "m.h5"):
            with pytest.raises(InputError):
                load_model(tmp_path / name)
        with pytest.raises(InputError, match=r"\.keras"):
            save_model(small_model(), tmp_path / "m.h5")


class TestCopies:
    def test_copies_share_nothing(self) -> None:
        model = small_model()
        copy = copy_model(model)
        assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
        copy.set_weights([w + 1 for w in copy.get_weights()])
        for a, b in zip(model.get_weights(), small_model().get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_logit_copy_of_a_softmax_model(self) -> None:
        model = small_model(softmax=True)
        images = blobs(5).images
        logits = as_logit_model(model)(images, training=False)
        np.testing.assert_allclose(keras.ops.softmax(logits), model(images, training=False), atol=1e-6)
        assert model.layers[-1].activation is keras.activations.softmax

    def test_a_model_that_cannot_be_rebuilt(self) -> None:
        class Stubborn(keras.Model):
            def __init__(self, width):
                super().__init__()
                self.dense = keras.layers.Dense(width)

            def call(self, x):
                return self.dense(x)

        model = Stubborn(3)
        model(np.zeros((1, 4)))
        with pytest.raises(InputError, match="get_config"):
            copy_model(model)


class TestBackend:
    def test_differentiating_by_hand(self) -> None:
        one, two, unused = (keras.Variable(np.array(v, "float32")) for v in ([1.0, 2.0], [3.0, 4.0], [5.0]))

        def forward():
            product = keras.ops.sum(one * two)
            return product, "the rest"

        rest, found = differentiate(forward, [one, two, unused])
        assert rest == "the rest" and found[2] is None
        np.testing.assert_array_equal(found[0], two.numpy())
        np.testing.assert_array_equal(found[1], one.numpy())
        assert float(joint_norm(found[:2])) == pytest.approx(np.sqrt(30))

    def test_a_graph_computes_the_same(self) -> None:
        rows = np.arange(6, dtype="float32").reshape(2, 3)
        np.testing.assert_array_equal(as_graph(lambda x: keras.ops.sum(x, -1))(rows), rows.sum(-1))

    def test_one_device_needs_no_strategy(self) -> None:
        with on_all_gpus():
            assert small_model().built

    def test_importing_it_imports_no_keras(self) -> None:
        for module in ("interop", "evaluation", "feeding"):
            code = f"import sys, unlearning.{module}; assert not {{'tensorflow', 'keras'}} & set(sys.modules)"
            subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


class TestScores:
    def test_by_hand(self) -> None:
        inputs = keras.Input((2, 1, 1))
        model = keras.Model(inputs, keras.layers.Flatten()(inputs))  # the image is the pair of scores
        images = np.array([[0, 1], [0, 2], [3, 0], [0, 1]], np.float32).reshape(4, 2, 1, 1)
        split = Split(images, np.array([1, 1, 0, 0]))
        assert accuracy(model, split) == 0.75
        np.testing.assert_array_equal(confusion(model, split, 2), [[1, 1], [0, 2]])
        table = report(model, split, ["zero", "one"])
        assert table["accuracy"] == 0.75 and table["zero"]["recall"] == 0.5 and table["one"]["precision"] == 2 / 3
        losses = [np.log1p(np.exp(-m)) for m in (1, 2, 3, -1)]
        assert table["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
        with pytest.raises(InputError):
            predict(model, images[:0])

    def test_a_class_without_rows_still_counts(self) -> None:
        table = report(small_model(), Split(blobs(9).images, np.zeros(9, int)))
        assert {"0", "1", "2", "accuracy", "macro avg", "weighted avg", "loss"} <= set(table)
        assert table["2"]["support"] == 0

    def test_telling_probabilities_from_logits(self) -> None:
        assert outputs_probabilities(np.array([[0.2, 0.8], [1.0, 0.0]]))
        assert not outputs_probabilities(np.array([[0.2, 0.9]]))
        assert not outputs_probabilities(np.array([[-0.5, 1.5]]))


class TestTask:
    images, labels = np.zeros((5, 2, 2, 1)), np.array([0, 1, 2, 0, 1])

    @pytest.mark.parametrize(
        ("make", "match"),
        [
            (lambda t: Split(t.images, t.labels[:4]), "one label per image"),
            (lambda t: Split(t.images, t.labels / 2), "integers"),
            (lambda t: Corrections(np.array([1, 1]), np.array([0, 0])), "distinct"),
            (lambda t: Corrections(np.array([1]), np.array([0, 0])), "per flagged row"),
            (lambda t: Corrections(np.array([1.5]), np.array([0])), "integers"),
            (lambda t: Corrections(np.array([1]), np.array([0]), t.images), "per flagged row"),
            (lambda t: t.task(rows=[5]), r"0\.\.4"),
            (lambda t: t.task(rows=[-1]), "Received: -1"),
            (lambda t: t.task(labels=[3]), "removal"),
            (lambda t: t.task(labels=[-2]), "removal"),
            (lambda t: t.task(rows=range(5), labels=[-1] * 5), "at least one row to stay"),
            (lambda t: t.task(images=np.zeros((1, 3, 2, 1))), "shape"),
            (lambda t: t.task(num_classes=2), r"0\.\.1"),
        ],
    )
    def test_bad_input(self, make, match: str) -> None:
        with pytest.raises(InputError, match=match):
            make(self)

    def task(self, rows=(1,), labels=(0,), images=None, num_classes: int = 3) -> UnlearningTask:
        split = Split(self.images, self.labels)
        corrections = Corrections(np.array(rows), np.array(labels), images)
        return UnlearningTask(split, corrections, split, num_classes)

    def test_work_adds_up(self) -> None:
        assert WorkCount(1, 2, 3) + WorkCount(10, 20, 30) == WorkCount(11, 22, 33)

    def test_long_values_are_shortened_in_messages(self) -> None:
        assert len(str(InputError("x", "y", "z" * 1000))) < 300

    def test_an_error_survives_the_way_from_a_worker(self) -> None:
        error = InputError("rate", "a float in [0, 1)", 1.5)
        assert str(pickle.loads(pickle.dumps(error))) == str(error) and "`rate`" in str(error)
        assert str(InputError("A whole sentence.")) == "A whole sentence."
