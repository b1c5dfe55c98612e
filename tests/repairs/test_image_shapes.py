"""Models whose images are no squares, on folders of images of any size: height and width are the model's."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from support.command import assert_refused, cli
from support.images import load_clothing1m
from unlearning import detect, load_data
from unlearning.errors import InputError
from unlearning.repairs.taking import input_images, open_data

HEIGHT, WIDTH = 5, 9


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of squares and of lying images, and a model of neither."""
    folder = tmp_path_factory.mktemp("shapes")
    draw = np.random.default_rng(0)
    for label in range(3):
        (folder / f"photos/{label}").mkdir(parents=True)
        for row in range(14):
            pixels = draw.integers(0, 60, (12, 12 + row % 2, 3)) + 80 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"photos/{label}/{row:02}.png")
    layers = keras.layers
    keras.utils.set_random_seed(0)
    keras.Sequential(
        [keras.Input((HEIGHT, WIDTH, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3)]
    ).save(folder / "model.keras")
    return folder


def model_of(*shape: int | None) -> keras.Model:
    images = keras.Input(shape)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(images))


def test_the_models_height_and_width() -> None:
    assert input_images(model_of(5, 9, 3)) == ("rgb", (5, 9))
    assert input_images(model_of(6, 6, 1)) == ("grayscale", (6, 6))
    for shape in ((None, None, 3), (5, None, 3), (None, 9, 3)):
        assert input_images(model_of(*shape)) == ("rgb", None)


def test_in_python(place: Path) -> None:
    model = keras.saving.load_model(place / "model.keras")
    data = open_data(place / "photos", model)
    assert data.input_shape == (HEIGHT, WIDTH, 3)
    wanted = keras.utils.image_dataset_from_directory(
        place / "photos", image_size=(HEIGHT, WIDTH), shuffle=False, batch_size=None, verbose=False
    )
    read = {row.tobytes() for row in data.train.images}
    assert read <= {np.rint(image.numpy()).astype(np.uint8).tobytes() for image, _ in wanted}
    found = detect(model, place / "photos", detector="neighbours", options={"neighbours": 5})
    assert found.record.rows == len(data.train)


@pytest.mark.parametrize(
    "words",
    [
        ("detect", "model.keras", "--detect", "neighbours", "--set", "neighbours=5", "--out", "found.csv"),
        ("repair", "model.keras", "--method", "sap", "--out", "repaired.keras"),
    ],
    ids=["detect", "repair"],
)
def test_on_the_command_line(place: Path, words: tuple[str, ...]) -> None:
    done = cli(*words, "--data", "photos", cwd=place)
    assert done.returncode == 0, done.stderr
    assert json.loads((place / words[-1]).with_suffix(".json").read_text())
    other = [*words[:-1], f"other-{words[-1]}"]
    assert_refused(cli(*other, "--data", "photos", "--image-size", "6", cwd=place), "input shape (5, 9, 3)")
    assert not (place / other[-1]).exists()


def test_a_size_that_is_asked_for(place: Path) -> None:
    assert load_data(place / "photos", image_size=(3, 4)).input_shape == (3, 4, 3)
    assert load_data(place / "photos", image_size=[np.int64(3), 4]).input_shape == (3, 4, 3)
    assert load_data(place / "photos", image_size=3).input_shape == (3, 3, 3)
    for wrong in ((3,), (3, 4, 5), (3, 0), (0, 3), -1):
        with pytest.raises(InputError, match="argument `image_size"):
            load_data(place / "photos", image_size=wrong)


def test_sets_read_from_disk_stay_squares(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one number of pixels.*\(8, 9\)"):
        load_clothing1m(tmp_path, image_size=(8, 9))
