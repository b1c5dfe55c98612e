"""What every source promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.paths import ROOT
from unlearning.data import (
    SOURCES,
    DataSettings,
    ImageData,
    Source,
    is_at_hand,
    is_users_own,
    load,
    load_data,
    recorded_name,
    register,
    summaries,
)
from unlearning.data.assembling import assemble
from unlearning.data.division import divide
from unlearning.data.registry import find
from unlearning.errors import InputError

NAMES = {
    "clothing1m": "clothing1m:photos",
    "webvision": "webvision:photos",
    "mini-webvision": "mini-webvision:photos",
    "digits": "digits",
    "npz": "mine.npz",
    "npy": "arrays",
    "folder": "folder",
    "cifar100-superclasses": "cifar100-superclasses",
    "tensorflow-datasets": "cifar10:3.0.2",
}


@pytest.mark.parametrize("name", SOURCES.names())
class TestEverySource:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "arrays").mkdir()
        np.save(tmp_path / "arrays" / "labels.npy", np.arange(2))
        monkeypatch.chdir(tmp_path)

    def test_it_knows_its_texts_and_no_other_does(self, name: str) -> None:
        others = [e for e in SOURCES.entries() if e.name != name and not e.load().is_fallback]
        assert SOURCES.load(name)().matches(NAMES[name])
        assert not any(other.load()().matches(NAMES[name]) for other in others)
        assert type(find(NAMES[name])) is SOURCES.load(name)
        assert SOURCES.load(name).form and summaries()[name]

    def test_recorded_names_are_no_paths(self, name: str) -> None:
        recorded = recorded_name(NAMES[name])
        assert recorded and not set(recorded) & set("/\\:") and not recorded.endswith(".npz")

    def test_whose_it_is(self, name: str) -> None:
        assert is_users_own(NAMES[name]) == (SOURCES.entry(name).family in ("files", "listed"))
        expected = SOURCES.entry(name).family != "tensorflow-datasets"
        assert is_at_hand(NAMES[name], data_dir=".") == expected, "nothing is prepared in this folder"


def test_names() -> None:
    for text, name in (
        ("clothing1m:/a/b", "clothing1m"),
        ("mini-webvision:b", "mini-webvision"),
        ("/a/b/mine.npz", "mine"),
        ("cifar10", "cifar10"),
        ("cifar10:3.0.2", "cifar10-3.0.2"),
        ("clothing1m", "clothing1m"),
    ):
        assert recorded_name(text) == name


def test_the_last_source_names_all_and_suggests() -> None:
    with pytest.raises(InputError, match=r"a \.npz file.*clothing1m:DIR|clothing1m:DIR.*a \.npz file"):
        load_data("nowhere-to-be-found")
    with pytest.raises(InputError, match=r"Did you mean .*clothing1m:DIR"):
        load_data("clothing1m")


def test_settings() -> None:
    assert load(DataSettings()).fingerprint() == load_data("digits").fingerprint()
    assert load(DataSettings(train_rows=50)).fingerprint() == load_data("digits", train_rows=50).fingerprint()
    for wrong in ({"data_seed": -1}, {"data_seed": 2**32}, {"image_size": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            DataSettings(**wrong)


class Stripes(Source):
    """Striped images."""

    form = "stripes:N"

    def matches(self, text: str) -> bool:
        return text.startswith("stripes:")

    def load(self, text: str, settings: DataSettings) -> ImageData:
        labels = np.arange(int(text.partition(":")[2])) % 2
        images = np.zeros((len(labels), 4, 4, 1), np.uint8) + (labels * 200)[:, None, None, None].astype(np.uint8)
        return assemble("stripes", divide(images, labels, settings.data_seed), ["dark", "bright"])


def test_a_registered_stranger_works() -> None:
    register("stripes", Stripes)
    try:
        data = load_data("stripes:40", train_rows=9)
        assert len(data.train) == 9 and data.name == "stripes"
        assert recorded_name("stripes:40") == "stripes-40", "as it is not said otherwise"
        assert not is_users_own("stripes:40") and summaries()["stripes"] == "Striped images"
    finally:
        SOURCES.remove("stripes")


def test_no_source_needs_keras_or_tensorflow_before_it_loads() -> None:
    code = "import sys, unlearning.data as d; [d.SOURCES.load(k) for k in d.available()]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"keras", "tensorflow", "tensorflow_datasets", "sklearn"} & set(done.stdout.split())
