"""Image files in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.images import IMAGES, write_folder
from unlearning.data import (
    load_data,
)
from unlearning.errors import InputError


class TestFolder:
    def test_classes_and_files_are_sorted(self, tmp_path: Path) -> None:
        data = load_data(write_folder(tmp_path / "f"))
        assert data.class_names == ("class_0", "class_1", "class_2")
        assert data.input_shape == (7, 5, 3)
        values = np.concatenate([s.images[:, 0, 0, 0] for s in (data.train, data.validation, data.test)])
        labels = np.concatenate([s.labels for s in (data.train, data.validation, data.test)])
        np.testing.assert_array_equal(labels, values // 10)
        assert load_data(tmp_path / "f", image_size=9).input_shape == (9, 9, 3)
        with pytest.raises(InputError, match="image_size"):
            load_data(tmp_path / "f", image_size=0)

    def test_bad_folders(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "f")
        (folder / "class_1" / "broken.png").write_bytes(b"\x89PNG nothing")
        with pytest.raises(InputError, match=r"broken\.png"):
            load_data(folder)
        (folder / "class_1" / "broken.png").unlink()
        (folder / "empty").mkdir()
        with pytest.raises(InputError, match="none in"):
            load_data(folder)
        (tmp_path / "one" / "only").mkdir(parents=True)
        with pytest.raises(InputError, match="two subfolders"):
            load_data(tmp_path / "one")

    def test_links_out_of_the_folder_are_refused(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "f")
        secret = tmp_path / "secret.png"
        Image.fromarray(IMAGES[0]).save(secret)
        (folder / "class_0" / "x.png").symlink_to(secret)
        with pytest.raises(InputError, match="link"):
            load_data(folder)

    def test_decompression_bombs_are_refused(self, tmp_path: Path, monkeypatch) -> None:
        folder = write_folder(tmp_path / "f")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # the images have 35 pixels
        with pytest.raises(InputError, match=r"0\.png"):
            load_data(folder)
