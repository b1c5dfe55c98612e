"""Files that Keras 2 wrote predict in Keras 3 what they predicted; what cannot is refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from support.command import assert_refused, cli
from support.paths import ROOT
from unlearning.errors import InputError
from unlearning.interop import load_model
from unlearning.interop.legacy import convert_model

OLD = ROOT / "tests" / "fixtures" / "keras-2"
GRAPHS = ("attention", "depthwise", "nested", "operations", "preprocessing", "recurrent")


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(OLD / "expected.npz") as file:
        return {name: file[name] for name in file.files}


def changed(path: Path, target: Path, change) -> Path:
    """Copies an HDF5 file with another configuration."""
    shutil.copy(path, target)
    with h5py.File(target, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return target


def refused(path: Path, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as raised:
        convert_model(path, tmp_path / "new.keras")
    assert "\n" not in str(raised.value) and not (tmp_path / "new.keras").exists()


class TestPredictions:
    @pytest.mark.parametrize(
        "file",
        [
            *(f"{name}.h5" for name in GRAPHS),
            *(f"{name}-saved" for name in ("nested", "preprocessing", "recurrent")),
            *(f"{name}.keras" for name in ("depthwise", "recurrent")),
        ],
    )
    def test_are_those_of_keras_2(self, file: str, tmp_path: Path, expected) -> None:
        done = convert_model(OLD / file, tmp_path / "new.keras")
        name = file.removesuffix("-saved").partition(".")[0]
        said = load_model(tmp_path / "new.keras")(expected[f"{name}_rows"], training=False)
        np.testing.assert_allclose(np.asarray(said), expected[f"{name}_answers"], atol=1e-6)
        assert "of Keras 2." in done.form
        assert done.renamed == (name == "depthwise")

    def test_of_a_file_that_keras_3_wrote(self, tmp_path: Path) -> None:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Softmax()])
        model.save(tmp_path / "m.h5")
        again = convert_model(tmp_path / "m.h5", tmp_path / "new.keras").model
        rows = np.eye(4, dtype=np.float32)
        np.testing.assert_array_equal(model(rows), again(rows))

    def test_of_a_list_of_layers_as_keras_2_0_had_it(self, tmp_path: Path, expected) -> None:
        path = changed(OLD / "recurrent.h5", tmp_path / "old.h5", lambda c: c.update(config=c["config"]["layers"]))
        said = convert_model(path, tmp_path / "new.keras").model(expected["recurrent_rows"], training=False)
        np.testing.assert_allclose(np.asarray(said), expected["recurrent_answers"], atol=1e-6)


class TestRefused:
    def test_code_before_anything_is_loaded(self, tmp_path: Path) -> None:
        path = tmp_path / "code.h5"
        shutil.copy(OLD / "code.h5", path)
        with h5py.File(path, "r+") as file:
            del file["model_weights"]  # what is not there cannot have been read
        refused(path, "'Lambda', and Lambda layers hold code: nothing of it was loaded", tmp_path)

    def test_classes_that_nobody_registered(self, tmp_path: Path) -> None:
        refused(OLD / "own.h5", "'Custom>Doubling', which is neither .* --import MODULE", tmp_path)

    def test_a_function_that_is_another_one_now(self, tmp_path: Path) -> None:
        refused(OLD / "hard_sigmoid.h5", "hard_sigmoid, which is another function in Keras 3", tmp_path)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda layer: layer["config"].update(time_major=True), "time_major=True, which Keras 3 does not know"),
            (lambda layer: layer["config"].update(activation="mine"), "function 'mine'"),
            (lambda layer: layer["config"].update(units=4), "do not fit it"),
            (lambda layer: layer["config"].update(units=2**30), "claims .* bytes of weights"),
            (lambda layer: layer.update(class_name="TFSMLayer"), "SavedModel from elsewhere"),
        ],
        ids=["an option", "a function", "weights", "a claim", "a graph"],
    )
    def test_configurations(self, change, words: str, tmp_path: Path) -> None:
        path = changed(OLD / "recurrent.h5", tmp_path / "old.h5", lambda c: change(c["config"]["layers"][3]))
        refused(path, words, tmp_path)

    def test_weights_alone(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "w.h5", "w") as file:
            file.attrs["layer_names"] = [b"dense"]
        refused(tmp_path / "w.h5", "holds weights without the model", tmp_path)

    def test_links_to_other_files(self, tmp_path: Path) -> None:
        shutil.copy(OLD / "recurrent.h5", tmp_path / "old.h5")
        with h5py.File(tmp_path / "old.h5", "r+") as file:
            name = next(f"model_weights/{name}" for name in file["model_weights"] if name.startswith("dense"))
            del file[name]
            file[name] = h5py.ExternalLink(str(OLD / "recurrent.h5"), name)
        refused(tmp_path / "old.h5", "missing, or a link", tmp_path)

    def test_what_is_no_model(self, tmp_path: Path) -> None:
        (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
        refused(tmp_path / "m.h5", "Cannot read the model", tmp_path)
        (tmp_path / "folder").mkdir()
        refused(tmp_path / "folder", "SavedModel without keras_metadata.pb", tmp_path)


class TestCommand:
    def test_converts_and_says_so(self, tmp_path: Path) -> None:
        done = cli("convert", OLD / "depthwise.h5", "new.keras", "--quiet", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "predicts the same" in done.stdout and "1 layer has another name" in done.stdout
        assert_refused(cli("convert", OLD / "depthwise.h5", "new.keras", cwd=tmp_path), "--force")

    @pytest.mark.parametrize("name", ["recurrent.h5", "recurrent.keras"])
    def test_repair_names_it(self, name: str, tmp_path: Path) -> None:
        done = cli("repair", OLD / name, "--data", "digits", "--method", "sap", "--out", "o.keras", cwd=tmp_path)
        assert_refused(done, f"unlearning convert {OLD / name} NEW.keras")

    def test_a_module_of_their_own(self, tmp_path: Path, expected) -> None:
        code = "import keras\n@keras.saving.register_keras_serializable()\nclass Doubling(keras.layers.Layer):\n"
        (tmp_path / "mine.py").write_text(code + "    def call(self, inputs):\n        return 2 * inputs\n")
        with keras.saving.custom_object_scope({}):
            done = cli("convert", OLD / "own.h5", "new.keras", "--import", "mine.py", "--quiet", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            said = load_model(tmp_path / "new.keras")(expected["own_rows"])
        np.testing.assert_allclose(np.asarray(said), expected["own_answers"], atol=1e-6)
        keras.saving.get_custom_objects().pop("Custom>Doubling")

    def test_a_module_that_is_not_there(self, tmp_path: Path) -> None:
        done = cli("convert", OLD / "own.h5", "new.keras", "--import", "nowhere_at_all", cwd=tmp_path)
        assert_refused(done, "Cannot import nowhere_at_all")
