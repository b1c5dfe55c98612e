"""Arrays in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from support.images import IMAGES, LABELS, write_npz
from unlearning.data import (
    load_data,
)
from unlearning.errors import InputError


class TestNpz:
    def test_one_part_is_divided_with_a_warning(self, tmp_path: Path, caplog) -> None:
        data = load_data(write_npz(tmp_path / "mine.npz", images=IMAGES, labels=LABELS, class_names=list("abcd")))
        assert "of its 40 rows, 12 are held out, and row numbers count within the other 28" in caplog.text
        assert [len(s) for s in (data.train, data.validation, data.test)] == [28, 6, 6]
        assert data.name == "mine" and data.class_names == ("a", "b", "c", "d")

    def test_given_parts_are_kept_and_test_is_halved(self, tmp_path: Path) -> None:
        path = write_npz(
            tmp_path / "d.npz",
            train_images=IMAGES,
            train_labels=LABELS,
            test_images=IMAGES[:20],
            test_labels=LABELS[:20],
        )
        data = load_data(path)
        np.testing.assert_array_equal(data.train.images, IMAGES)
        test, validation = train_test_split(np.arange(20), test_size=0.5, random_state=42)
        np.testing.assert_array_equal(data.test.images, IMAGES[test])
        np.testing.assert_array_equal(data.validation.images, IMAGES[validation])

    def test_grey_images_get_a_channel_and_unit_floats_are_noticed(self, tmp_path: Path) -> None:
        data = load_data(write_npz(tmp_path / "d.npz", images=IMAGES[..., 0] / 255.0, labels=LABELS))
        assert data.input_shape == (5, 4, 1) and data.pixel_max == 1.0

    def test_named_classes_may_lack_rows(self, tmp_path: Path) -> None:
        path = write_npz(tmp_path / "d.npz", images=IMAGES, labels=LABELS % 2 * 2, class_names=list("abc"))
        assert load_data(path).num_classes == 3

    @pytest.mark.parametrize(
        ("arrays", "match"),
        [
            ({"images": IMAGES}, "arrays named"),
            ({"images": IMAGES, "labels": LABELS[:-1]}, "one label per image"),
            ({"images": IMAGES, "labels": LABELS / 2}, "integers"),
            ({"images": IMAGES, "labels": LABELS - 1}, r"0\.\.K-1"),
            ({"images": IMAGES, "labels": np.arange(40)}, "at least 4"),
            ({"images": IMAGES[0], "labels": LABELS}, "one label per image"),
            ({"images": IMAGES.astype(complex), "labels": LABELS}, "numbers"),
            ({"images": np.where(IMAGES[7, 2, 1, 0] == IMAGES, np.nan, IMAGES), "labels": LABELS}, "NaN"),
            ({"images": IMAGES, "labels": LABELS, "class_names": list("abc")}, r"classes 0\.\.2"),
            ({"images": IMAGES, "labels": LABELS, "class_names": "abcd"}, "class_names"),
            ({"images": IMAGES, "labels": LABELS % 2 * 10**6}, "1000000 occurs, but 1 does not"),
            ({"images": IMAGES, "labels": LABELS + 1}, "4 occurs, but 0 does not"),
            ({"images": IMAGES, "labels": LABELS * 0}, "two classes"),
            ({"images": IMAGES[:, :0], "labels": LABELS}, "one pixel"),
            (
                {
                    "train_images": IMAGES,
                    "train_labels": LABELS,
                    "test_images": IMAGES[:1],
                    "test_labels": LABELS[:1],
                },
                "two rows",
            ),
            (
                {
                    "train_images": IMAGES,
                    "train_labels": LABELS,
                    "test_images": IMAGES[:9, :3],
                    "test_labels": LABELS[:9],
                },
                "shape",
            ),
        ],
    )
    def test_bad_arrays(self, tmp_path: Path, arrays: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            load_data(write_npz(tmp_path / "d.npz", **arrays))

    def test_pickles_garbage_and_missing_files_are_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "p.npz", images=np.array([{}], dtype=object), labels=LABELS)
        (tmp_path / "g.npz").write_bytes(b"not a zip")
        for name in ("p.npz", "g.npz", "nowhere.npz"):
            with pytest.raises(InputError):
                load_data(tmp_path / name)


class TestFineLabels:
    def test_arrays(self, tmp_path: Path) -> None:
        fine = np.arange(40) % 8
        whole = load_data(write_npz(tmp_path / "a.npz", images=IMAGES, labels=LABELS, fine_labels=fine))
        assert whole.fine_labels is not None
        for part in ("train", "validation", "test"):
            np.testing.assert_array_equal(whole.fine_labels[part] % 4, getattr(whole, part).labels)
        plain = load_data(write_npz(tmp_path / "b.npz", images=IMAGES, labels=LABELS))
        np.testing.assert_array_equal(plain.test.images, whole.test.images)
        other = load_data(write_npz(tmp_path / "c.npz", images=IMAGES, labels=LABELS, fine_labels=fine[::-1].copy()))
        assert plain.fine_labels is None and len({d.fingerprint() for d in (whole, plain, other)}) == 3
        parts = {
            f"{part}_{name}": values[:rows]
            for part, rows in (("train", 40), ("test", 20))
            for name, values in (("images", IMAGES), ("labels", LABELS), ("fine_labels", fine))
        }
        halved = load_data(write_npz(tmp_path / "d.npz", **parts))
        assert halved.fine_labels is not None
        np.testing.assert_array_equal(halved.fine_labels["train"], fine)
        np.testing.assert_array_equal(halved.fine_labels["validation"] % 4, halved.validation.labels)
        for name, wrong, match in (
            ("test_fine_labels", fine[:19], "test fine labels"),
            ("train_fine_labels", fine / 2, "train fine labels"),
            ("train_fine_labels", fine - 1, "train fine labels"),
        ):
            with pytest.raises(InputError, match=match):
                load_data(write_npz(tmp_path / "e.npz", **{**parts, name: wrong}))
        del parts["test_fine_labels"]
        with pytest.raises(InputError, match="every part"):
            load_data(write_npz(tmp_path / "e.npz", **parts))
