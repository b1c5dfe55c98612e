"""Folders of images are read as Keras reads them, so that a model sees what it was trained on."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from unlearning.data import ImageFiles, load_data
from unlearning.data.decoding import read_image
from unlearning.data.settings import ImageReading
from unlearning.errors import InputError

METHODS = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")


def picture(height: int = 20, width: int = 26) -> np.ndarray:
    """Smooth colours with a sharp edge: what differs between ways of resizing and decoding."""
    y, x = np.mgrid[:height, :width]
    shades = np.stack([x * 9, y * 12, (x * 5 + y * 3) % 256], axis=-1).astype(np.uint8)
    shades[height // 2 :, : width // 3] = (250, 3, 120)
    return shades


def bytes_of(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def samples() -> dict[str, bytes]:
    """Files by name, of every kind that Keras reads."""
    rgb = Image.fromarray(picture())
    grey, palette = rgb.convert("L"), rgb.quantize(64)
    wide = picture().astype(np.uint16) * 251 + 77
    orientation = Image.Exif()
    orientation[0x112] = 6
    return {
        "rgb.png": bytes_of(rgb, "PNG"),
        "grey.png": bytes_of(grey, "PNG"),
        "rgba.png": bytes_of(Image.merge("RGBA", (*rgb.split(), grey)), "PNG"),
        "grey-alpha.png": bytes_of(Image.merge("LA", (grey, grey.rotate(90))), "PNG"),
        "palette.png": bytes_of(palette, "PNG"),
        "palette-transparent.png": bytes_of(palette, "PNG", transparency=3),
        "bit.png": bytes_of(rgb.convert("1"), "PNG"),
        "grey-16.png": bytes_of(Image.fromarray(wide[..., 0]), "PNG"),
        "rgb.jpg": bytes_of(rgb, "JPEG"),
        "grey.jpeg": bytes_of(grey, "JPEG"),
        "turned.jpg": bytes_of(rgb, "JPEG", exif=orientation),
        "cmyk.jpg": bytes_of(rgb.convert("CMYK"), "JPEG"),
        "rgb.bmp": bytes_of(rgb, "BMP"),
        "grey.bmp": bytes_of(grey, "BMP"),
        "palette.bmp": bytes_of(palette, "BMP"),
        "palette.gif": bytes_of(palette, "GIF"),
        "transparent.gif": bytes_of(palette, "GIF", transparency=3),
        "moving.GIF": bytes_of(palette, "GIF", save_all=True, append_images=[grey.quantize(8)] * 3, duration=90),
    }


def by_keras(folder: Path, size: tuple[int, int], color_mode: str, **options) -> np.ndarray:
    """What Keras returns, file by file in the order of their names."""
    loaded = keras.utils.image_dataset_from_directory(
        folder, image_size=size, color_mode=color_mode, shuffle=False, batch_size=None, verbose=False, **options
    )
    return np.stack([image.numpy() for image, _ in loaded])


def by_us(folder: Path, size: tuple[int, int], color_mode: str, **options) -> np.ndarray:
    reading = ImageReading(color_mode=color_mode, **options)
    return np.stack([read_image(path, reading, size) for path in sorted(folder.glob("*/*"))])


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for number, (name, content) in enumerate(sorted(files.items())):
        path = folder / f"class_{number % 2}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("everything"), samples())


@pytest.fixture(scope="module")
def without(tmp_path_factory) -> dict[str, Path]:
    """The files that Keras reads in a number of channels: its decoders do not know all of them for all kinds."""
    kinds = {"grayscale": (".png", ".jpg", ".jpeg"), "rgba": (".png", ".bmp")}
    return {
        mode: write(
            tmp_path_factory.mktemp(mode),
            {n: c for n, c in samples().items() if n.endswith(known) and (mode, n) != ("grayscale", "cmyk.jpg")},
        )
        for mode, known in kinds.items()
    } | {"rgb": write(tmp_path_factory.mktemp("rgb"), samples())}


class TestAsKeras:
    @pytest.mark.parametrize("mode", ["rgb", "grayscale", "rgba"])
    def test_every_kind_of_file(self, without: dict[str, Path], mode: str) -> None:
        size = picture().shape[:2]
        np.testing.assert_array_equal(by_us(without[mode], size, mode), by_keras(without[mode], size, mode))

    @pytest.mark.parametrize("mode", ["rgb", "grayscale", "rgba"])
    @pytest.mark.parametrize("size", [(9, 9), (48, 48), (11, 30)])
    def test_resized_by_default(self, without: dict[str, Path], mode: str, size: tuple[int, int]) -> None:
        found, expected = by_us(without[mode], size, mode), by_keras(without[mode], size, mode)
        np.testing.assert_array_equal(found, np.rint(expected))
        assert found.dtype == np.uint8 and found.shape[1:3] == size

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("size", [(9, 9), (48, 48), (20, 26)])
    def test_every_interpolation(self, without: dict[str, Path], method: str, size: tuple[int, int]) -> None:
        expected = by_keras(without["rgba"], size, "rgba", interpolation=method)
        found = by_us(without["rgba"], size, "rgba", interpolation=method)
        np.testing.assert_array_equal(found, np.clip(np.rint(expected), 0, 255))

    @pytest.mark.parametrize("option", ["crop_to_aspect_ratio", "pad_to_aspect_ratio"])
    @pytest.mark.parametrize("size", [(9, 9), (48, 48), (30, 11), (11, 30)])
    @pytest.mark.parametrize("method", ["bilinear", "nearest"])
    def test_aspect_ratios(self, without: dict[str, Path], option: str, size: tuple[int, int], method: str) -> None:
        options = {option: True, "interpolation": method}
        expected = by_keras(without["rgba"], size, "rgb", **options)
        np.testing.assert_array_equal(by_us(without["rgba"], size, "rgb", **options), np.rint(expected))

    @pytest.mark.parametrize("option", ["crop_to_aspect_ratio", "pad_to_aspect_ratio"])
    def test_many_proportions(self, tmp_path: Path, option: str) -> None:
        rng = np.random.default_rng(0)
        for number, (height, width) in enumerate(rng.integers(8, 90, (60, 2))):
            write_to = tmp_path / "all" / f"{number:02}.png"
            write_to.parent.mkdir(exist_ok=True)
            Image.fromarray(picture(height, width)).save(write_to)
        expected = by_keras(tmp_path, (17, 13), "rgb", **{option: True})
        np.testing.assert_array_equal(by_us(tmp_path, (17, 13), "rgb", **{option: True}), np.rint(expected))

    def test_one_row_of_pixels_is_padded(self, tmp_path: Path) -> None:
        Image.fromarray(picture(1, 90)).save(tmp_path / "a.png")
        found = read_image(tmp_path / "a.png", ImageReading(pad_to_aspect_ratio=True), (9, 9))
        assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == [4]

    def test_what_keras_cannot_read_in_a_colour_mode_is_read_all_the_same(self, everything: Path) -> None:
        for mode, channels in (("grayscale", 1), ("rgba", 4)):
            assert by_us(everything, (9, 9), mode).shape == (len(samples()), 9, 9, channels)

    def test_the_whole_folder(self, tmp_path: Path) -> None:
        files = {f"{number}-{name}": content for number in range(2) for name, content in samples().items()}
        folder = write(tmp_path, files)
        data = load_data(folder, image_size=12)
        assert data.train_ids is not None
        expected = dict(zip(sorted(folder.glob("*/*")), by_keras(folder, (12, 12), "rgb"), strict=True))
        for path, image in zip(data.train_ids, data.train.images, strict=True):
            np.testing.assert_array_equal(image, np.rint(expected[folder / path]))
        assert load_data(folder, image_size=12, color_mode="grayscale").input_shape == (12, 12, 1)


class TestDeepShades:
    """More than eight bits: never black and white."""

    RAMP = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)

    @staticmethod
    def read(path: Path, mode: str = "grayscale") -> list[np.ndarray]:
        listed = ImageFiles(path.parent, [path.name], image_size=8)[0]
        return [read_image(path, ImageReading(color_mode=mode), (8, 8))[..., 0], listed[..., 0]]

    @pytest.mark.parametrize("name", ["a.png", "a.tif"])
    @pytest.mark.parametrize("mode", ["grayscale", "rgb", "rgba"])
    def test_sixteen_bits(self, tmp_path: Path, name: str, mode: str) -> None:
        Image.fromarray(self.RAMP).save(tmp_path / name)
        for found in self.read(tmp_path / name, mode):
            np.testing.assert_array_equal(found, self.RAMP >> 8)

    def test_the_other_byte_order(self, tmp_path: Path) -> None:
        Image.fromarray(self.RAMP.astype(">u2")).save(tmp_path / "a.tif")
        for found in self.read(tmp_path / "a.tif"):
            np.testing.assert_array_equal(found, self.RAMP >> 8)

    def test_twelve_bits(self, tmp_path: Path) -> None:
        shades = (self.RAMP >> 4).ravel()
        packed = np.empty(96, np.uint8)  # two shades in three bytes
        packed[0::3] = shades[0::2] >> 4
        packed[1::3] = (shades[0::2] & 15) << 4 | shades[1::2] >> 8
        packed[2::3] = shades[1::2] & 255
        self.write_tiff(tmp_path / "a.tif", packed.tobytes(), bits=12, black_is_zero=True)
        for found in self.read(tmp_path / "a.tif"):
            np.testing.assert_array_equal(found.ravel(), shades >> 4)

    def test_white_is_zero(self, tmp_path: Path) -> None:
        self.write_tiff(tmp_path / "a.tif", self.RAMP.astype("<u2").tobytes(), bits=16, black_is_zero=False)
        for found in self.read(tmp_path / "a.tif"):
            np.testing.assert_array_equal(found, 255 - (self.RAMP >> 8))

    @staticmethod
    def write_tiff(path: Path, pixels: bytes, *, bits: int, black_is_zero: bool) -> None:
        tags = {256: 8, 257: 8, 258: bits, 259: 1, 262: int(black_is_zero), 273: 8, 277: 1, 278: 8, 279: len(pixels)}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        header = b"II*\0" + struct.pack("<I", 8 + len(pixels))
        path.write_bytes(header + pixels + struct.pack("<H", len(tags)) + entries + bytes(4))

    @pytest.mark.parametrize("kind", [np.int32, np.float32])
    def test_ranges_that_nobody_knows_are_refused_with_file_and_mode(self, tmp_path: Path, kind: type) -> None:
        for label in ("a", "b"):
            (tmp_path / label).mkdir()
            for number in range(4):
                Image.fromarray((self.RAMP / 65535 * 7).astype(kind)).save(tmp_path / label / f"{number}.tif")
        mode = "I" if kind is np.int32 else "F"
        with pytest.raises(InputError, match=rf"0\.tif: .*mode {mode}\).*\.npz"):
            load_data(tmp_path)
        with pytest.raises(InputError, match=rf"0\.tif: .*mode {mode}\)"):
            ImageFiles(tmp_path, ["a/0.tif"])[0]


class TestReading:
    def test_ways_that_exclude_each_other(self) -> None:
        with pytest.raises(InputError, match="both"):
            ImageReading(crop_to_aspect_ratio=True, pad_to_aspect_ratio=True)
        with pytest.raises(InputError, match="pillow"):
            ImageReading(interpolation="pillow", crop_to_aspect_ratio=True)
        with pytest.raises(InputError, match="interpolation"):
            ImageReading(interpolation="hamming")

    def test_as_version_01_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        Image.fromarray(picture()).save(path)
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB").resize((7, 9)))
        np.testing.assert_array_equal(read_image(path, ImageReading(interpolation="pillow"), (9, 7)), expected)

    def test_later_frames_of_a_gif_are_not_unpacked(self, tmp_path: Path) -> None:
        frames = samples()["moving.GIF"]
        first = frames.index(b"\x2c", 13)
        # A second frame that claims 65,535 x 65,535 pixels.
        bomb = frames[:-1] + b"\x2c" + bytes(4) + b"\xff" * 4 + b"\0" + b"\x08\x02\x00\x01\0;"
        (tmp_path / "a.gif").write_bytes(bomb)
        (tmp_path / "b.gif").write_bytes(frames)
        assert first > 0
        found = [read_image(tmp_path / name, ImageReading(), (20, 26)) for name in ("a.gif", "b.gif")]
        np.testing.assert_array_equal(*found)
