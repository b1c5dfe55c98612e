"""Damaged and malicious models: one clear line, nothing executed, nothing written, bounded memory."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from support.hostile import MEGABYTE, bounded, refused, refused_command, zipped
from support.small import small_model
from unlearning.interop import load_model


class TestModels:
    @pytest.fixture
    def members(self, tmp_path: Path) -> dict[str, bytes]:
        """The parts of a good `.keras` file."""
        small_model().save(tmp_path / "good.keras")
        with zipfile.ZipFile(tmp_path / "good.keras") as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        (tmp_path / "good.keras").unlink()
        return found

    def test_the_parts_make_a_good_model(self, members: dict[str, bytes], tmp_path: Path) -> None:
        assert load_model(zipped(tmp_path / "m.keras", members)).count_params() == small_model().count_params()

    def test_a_lambda_with_bytecode(self, tmp_path: Path) -> None:
        marker = tmp_path / "executed"
        function = eval(f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]")
        model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Lambda(function), keras.layers.Flatten()])
        model.save(tmp_path / "m.keras")
        marker.unlink()  # building the model calls the function
        arguments = [
            "repair",
            tmp_path / "m.keras",
            "--data",
            "digits",
            "--method",
            "sap",
            "--out",
            tmp_path / "o.keras",
        ]
        refused_command([*arguments, "--quiet"], tmp_path, "Lambda")
        assert not marker.exists()

    @pytest.mark.parametrize(
        "payload",
        [
            {"module": "os", "class_name": "system", "config": {"command": "touch MARKER"}, "registered_name": None},
            {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "MARKER"]}},
            {"module": "builtins", "class_name": "exec", "config": {"source": "open('MARKER', 'w')"}},
            {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "function"},
            {"module": "evil_module", "class_name": "Dense", "config": {"units": 3}, "registered_name": None},
            {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "file:///etc/passwd"}},
            {"module": "keras.src.saving.saving_lib", "class_name": "load_model", "config": {"filepath": "x.keras"}},
            {"class_name": "__lambda__", "config": {"value": "4wAAAAA="}},
            {"class_name": "../../Dense", "module": "../..", "config": {}},
        ],
    )
    def test_a_configuration_that_names_arbitrary_code(
        self, members: dict[str, bytes], tmp_path: Path, payload: dict, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        marker = tmp_path / "executed"
        (tmp_path / "evil_module.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Dense: ...\n")
        monkeypatch.syspath_prepend(tmp_path)
        payload = json.loads(json.dumps(payload).replace("MARKER", str(marker)))
        for whole in (False, True):
            config = json.loads(members["config.json"])
            config["config"]["layers"][1] = payload
            members["config.json"] = json.dumps(payload if whole else config).encode()
            path = zipped(tmp_path / "m.keras", members)
            refused(lambda path=path: load_model(path), "Cannot load the model")
        assert not marker.exists()

    @pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "assets/../../escaped", "C:\\escaped", "a\x1bb"])
    def test_unsafe_member_names(self, members: dict[str, bytes], tmp_path: Path, name: str) -> None:
        folder = tmp_path / "deep" / "er"
        folder.mkdir(parents=True)
        path = zipped(folder / "m.keras", {**members, name: b"x"})
        refused(lambda: load_model(path), "unsafe name")
        assert not list(tmp_path.rglob("escaped")) and not Path("/tmp/escaped").exists()

    def test_bombs(self, members: dict[str, bytes], tmp_path: Path) -> None:
        big = {**members, "config.json": b" " * (100 * MEGABYTE)}
        path = zipped(tmp_path / "m.keras", big)
        del big
        with bounded(50):
            refused(lambda: load_model(path), "unpack")

    def test_weights_that_claim_a_huge_shape(self, members: dict[str, bytes], tmp_path: Path) -> None:
        buffer = io.BytesIO(members["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            names: list[str] = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            del file[names[0]]
            file.create_dataset(names[0], (10**6, 10**6), "f4", chunks=(1000, 1000))
        path = zipped(tmp_path / "m.keras", {**members, "model.weights.h5": buffer.getvalue()})
        with bounded(100):
            refused(lambda: load_model(path), "Cannot load the model")

    @pytest.mark.parametrize("config", [b"", b"{", b"[" * 100_000, b"null", b"[]", b'{"class_name": 1}', b"\xff"])
    def test_nonsense_configurations(self, members: dict[str, bytes], tmp_path: Path, config: bytes) -> None:
        path = zipped(tmp_path / "m.keras", {**members, "config.json": config})
        refused(lambda: load_model(path), "Cannot load the model")

    def test_every_truncation_and_flipped_bits(self, members: dict[str, bytes], tmp_path: Path) -> None:
        content = zipped(tmp_path / "m.keras", members, zipfile.ZIP_STORED).read_bytes()
        for end in np.linspace(0, len(content) - 1, 12, dtype=int):
            (tmp_path / "m.keras").write_bytes(content[:end])
            refused(lambda: load_model(tmp_path / "m.keras"))
        weights = content.index(members["model.weights.h5"][:64])
        for position in np.linspace(weights, weights + len(members["model.weights.h5"]) - 1, 8, dtype=int):
            damaged = bytearray(content)
            damaged[position] ^= 16
            (tmp_path / "m.keras").write_bytes(damaged)
            refused(lambda: load_model(tmp_path / "m.keras"))
