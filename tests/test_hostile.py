"""Damaged and malicious input: one clear line, nothing executed, nothing written, bounded memory and time."""

from __future__ import annotations

import io
import json
import os
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cli
from support.paths import MODELS
from support.small import small_model
from unlearning import detection, methods
from unlearning.archives import read_arrays
from unlearning.data import load_data
from unlearning.errors import InputError
from unlearning.interop import load_model
from unlearning.noise import Corruption
from unlearning.records import (
    KINDS,
    PoisonConfig,
    Record,
    TrainConfig,
    UnlearnConfig,
    config_hash,
    read_json,
    write_json,
)
from unlearning.repairs.flagged import read_flagged
from unlearning.strict_json import parse_json

MEGABYTE = 2**20
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def bounded(megabytes: int) -> Iterator[None]:
    """Fails where Python and NumPy held more memory at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()


def refused(call: Callable[[], object], match: str = "") -> str:
    """Returns the message of an `InputError`, which is short and on one line once the command line prints it."""
    with pytest.raises(InputError, match=match or None) as caught:
        call()
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def refused_command(arguments: list[object], folder: Path, match: str = "") -> None:
    """Runs a command and requires one line, exit code 2, and an unchanged folder."""
    before = {p: p.stat().st_size for p in sorted(folder.rglob("*"))}
    done = CliRunner().invoke(cli.main, [str(argument) for argument in arguments])
    assert done.exit_code == 2, (done.exit_code, done.output, done.exception)
    assert match in done.output and "Traceback" not in done.output, done.output
    assert len([line for line in done.output.splitlines() if line.startswith("Error:")]) == 1, done.output
    assert {p: p.stat().st_size for p in sorted(folder.rglob("*"))} == before


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


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


def npy(shape: tuple, dtype: str = "<f8", data: bytes = b"", *, header: str | None = None) -> bytes:
    """The bytes of an `.npy` file whose header may claim anything."""
    text = header or str({"descr": dtype, "fortran_order": False, "shape": shape})
    text = text.ljust(118 - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


class TestArrays:
    def test_pickles_are_not_loaded(self, tmp_path: Path) -> None:
        marker = tmp_path / "executed"

        class Payload:
            def __reduce__(self) -> tuple:
                return (os.system, (f"touch {marker}",))

        objects = np.array([Payload()], dtype=object)
        np.savez(tmp_path / "d.npz", images=objects, labels=np.zeros(1, int))
        refused(lambda: load_data(tmp_path / "d.npz"), "without pickles")
        np.savez(tmp_path / "c.npz", given_labels=objects, true_labels=objects)
        refused(lambda: Corruption.load(tmp_path / "c.npz"), "without pickles")
        import pickle

        (tmp_path / "p.npz").write_bytes(pickle.dumps(Payload()))
        refused(lambda: load_data(tmp_path / "p.npz"), "without pickles")
        assert not marker.exists()

    @pytest.mark.parametrize(
        "member",
        [
            npy((10**6, 32, 32, 3)),
            npy((2**62, 2**62)),
            npy((-1, 5)),
            npy((10,), data=b"\0" * 40),
            npy((10,), data=b"\0" * 160),
            npy((), header="{'descr': '<f8', 'fortran_order': False, 'shape': __import__('os').getcwd()}"),
            npy((), header="(" * 100),
            npy((), header="{}"),
            b"",
            b"\x93NUMPY\x09\x00\x00\x00",
            b"not an array",
        ],
    )
    def test_headers_that_lie(self, tmp_path: Path, member: bytes) -> None:
        path = zipped(tmp_path / "d.npz", {"images.npy": member, "labels.npy": npy((1,), "<i8", b"\0" * 8)})
        with bounded(20):
            refused(lambda: load_data(path), "Cannot read")

    def test_bombs(self, tmp_path: Path) -> None:
        size = 100 * MEGABYTE
        path = zipped(tmp_path / "d.npz", {"images.npy": npy((size,), "|u1", b"\0" * size)})
        assert path.stat().st_size < MEGABYTE
        with bounded(20):
            refused(lambda: load_data(path), "unpack")

    def test_more_than_the_memory(self, tmp_path: Path) -> None:
        """The directory claims what no machine has; the claim is believed only as a reason to stop."""
        path = zipped(tmp_path / "d.npz", {"images.npy": npy((10,), data=b"\0" * 80)}, zipfile.ZIP_STORED)
        content = bytearray(path.read_bytes())
        directory = content.rindex(b"PK\x01\x02")
        content[directory + 24 : directory + 28] = struct.pack("<I", 2**32 - 2)
        path.write_bytes(content)
        with bounded(20):
            refused(lambda: load_data(path), "unpack")

    def test_names(self, tmp_path: Path) -> None:
        good = npy((1,), "<i8", b"\0" * 8)
        for name in ("../images.npy", "/images.npy", "images.txt"):
            path = zipped(tmp_path / "d.npz", {name: good})
            refused(lambda path=path: read_arrays(path), "name|no array")

    def test_ordinary_archives_are_read(self, tmp_path: Path) -> None:
        arrays = {
            "a": np.arange(6.0).reshape(2, 3),
            "b": np.array("text"),
            "c": np.zeros((0, 3)),
            "d": np.asfortranarray(np.eye(3)),
        }
        for save in (np.savez, np.savez_compressed):
            save(tmp_path / "d.npz", **arrays)
            read = read_arrays(tmp_path / "d.npz")
            assert set(read) == set(arrays) and all(np.array_equal(read[k], arrays[k]) for k in arrays)

    @FUZZ
    @given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4))
    def test_flipped_bits_give_the_same_arrays_or_an_error(self, tmp_path: Path, changes: list) -> None:
        path = tmp_path / "d.npz"
        np.savez_compressed(path, a=np.arange(50), b=np.eye(4))
        content = bytearray(path.read_bytes())
        for position, bits in changes:
            content[position % len(content)] ^= bits
        path.write_bytes(content)
        try:
            read = read_arrays(path)
        except InputError:
            return
        assert all(isinstance(array, np.ndarray) for array in read.values())


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header claims a size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


class TestImages:
    def folder(self, tmp_path: Path, content: bytes, *, name: str = "1.png", copies: int = 1) -> Path:
        for kind in ("a", "b"):
            (tmp_path / "images" / kind).mkdir(parents=True)
            for copy in range(copies):
                (tmp_path / "images" / kind / f"{copy}{name}").write_bytes(content)
        return tmp_path / "images"

    @pytest.mark.parametrize("side", [10_000, 60_000, 2**31 - 1])
    def test_claimed_sizes(self, tmp_path: Path, side: int) -> None:
        with bounded(50):
            refused(lambda: load_data(self.folder(tmp_path, png(side, side))), "Cannot read the image")

    def test_more_images_than_memory(self, tmp_path: Path) -> None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        copies = min(memory // (2 * 6 * 9000**2) + 1, 20_000)
        with bounded(50):
            refused(lambda: load_data(self.folder(tmp_path, png(9000, 9000), copies=copies)), "memory")

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            png(5, 5),
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(touch x) system\n",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"GIF89a" + b"\xff" * 50,
        ],
    )
    def test_what_is_no_image(self, tmp_path: Path, content: bytes) -> None:
        refused(lambda: load_data(self.folder(tmp_path, content)), "Cannot read the image")


class TestNames:
    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (("run", "--variant", "../../x"), "letters"),
            (("run", "--variant", "/x"), "letters"),
            (("run", "--variant", "a\x1b[2J"), "letters"),
            (("run", "--variant", "x" * 200), "letters"),
            (("run", "--dataset", "../../x"), ""),
            (("run", "--dataset", "../../x.npz"), "existing"),
            (("run", "--dataset", "a/../../../x"), ""),
            (("run", "--dataset", "clothing1m:../../x"), ""),
            (("run", "--model", "../../x"), "letters"),
            (("run", "--methods", "../x"), "first-order"),
            (("run", "--noise", "../x"), "letters"),
            (("unlearn", "../../x", "budget-5/seed-1"), "first-order"),
            (("unlearn", "second-order", "budget-5/seed-1/../../.."), "run_dir"),
            (("detect", "../x.keras", "--detector", "../x", "--out", "o.csv"), "loss-mixture"),
            (("compare", ".", "--control", "../x"), ""),
            (("schema", "../x", "--out", "."), "train_config"),
        ],
    )
    def test_paths_in_names(
        self, tmp_path: Path, arguments: tuple, match: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "in" / "here").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "in" / "here")
        refused_command(list(arguments), tmp_path, match)


class TestOptions:
    @pytest.mark.parametrize(
        "value",
        ["NaN", "nan", "Infinity", "-inf", "1e999", "9" * 5000, "[" * 50_000, '{"a":1,"a":2}', '"\\ud800"', "\\u0000"],
    )
    @pytest.mark.parametrize(
        ("name", "field"),
        [("second-order", "smoothing"), ("second-order", "steps"), ("second-order", "dampings"), ("sap", "rounds")],
    )
    def test_absurd_hyperparameters(self, name: str, field: str, value: str) -> None:
        refused(lambda: methods.get(name, {field: value}), field)

    @pytest.mark.parametrize("value", ["NaN", "nan", "1e999", "[" * 50_000, "9" * 5000, "[NaN]"])
    def test_absurd_detector_options(self, value: str) -> None:
        refused(lambda: detection.get("loss-ranking", {"share": value}), "share")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--set", "second-order.steps=" + "[" * 50_000),
            ("--set", "second-order.smoothing=nan"),
            ("--learning-rate", "nan"),
            ("--learning-rate", "inf"),
            ("--weight-decay", "nan"),
            ("--objective", "sam", "--objective-option", "rho=nan"),
            ("--objective", "sam", "--objective-option", "rho=inf"),
            ("--rates", "nan"),
            ("--rates", "1e999"),
            ("--budgets", "9" * 5000),
            ("--seeds", "99999999999999999999"),
            ("--epochs", "-1"),
            ("--batch-size", "0"),
            ("--train-rows", "-5"),
            ("--data-seed", "-1"),
        ],
    )
    def test_absurd_settings(self, tmp_path: Path, arguments: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        refused_command(["run", "--quiet", *arguments], tmp_path)

    @FUZZ
    @given(text=st.one_of(st.text(max_size=60), st.from_regex(r"[\[\]{}0-9eE\-+.,\":a-zA-Z]{0,30}")))
    def test_any_text_is_a_value_or_an_error(self, text: str) -> None:
        for name, field in (("second-order", "dampings"), ("sap", "include"), ("fine-tuning", "learning_rates")):
            if field not in methods.get(name).config():
                continue
            try:
                chosen = methods.get(name, {field: text})
            except InputError:
                continue
            json.dumps(chosen.config(), allow_nan=False)


RECORDS = {
    name: json.loads(next(MODELS.rglob(f"{name}.json")).read_text())
    for name in ("train_config", "train_results", "poison_config", "unlearn_config", "unlearning_results")
}
JSON_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=10),
        st.sampled_from(["", "../../x", "\x1b[2J", "9" * 400, "nan", "sha"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


def check_readable(path: Path, name: str) -> None:
    """Whatever a file holds, it gives a record that can be hashed and written again, or `InputError`."""
    kind = KINDS[name]
    try:
        record = read_json(path, kind)
    except InputError as error:
        assert len(str(error)) < 1000
        return
    if isinstance(record, Record):
        config_hash(record)
    again = path.with_name("again.json")
    write_json(again, record)
    assert read_json(again, kind) == record


class TestRecords:
    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("NaN", "not a number in JSON"),
            ('{"seed": Infinity}', "not a number in JSON"),
            ('{"seed": 1, "seed": 2}', "twice"),
            ('{"seed": 1e999}', "too large"),
            ('{"seed": ' + "9" * 30 + "}", "64 bits"),
            ('{"seed": -' + "9" * 10_000 + "}", "64 bits"),
            ("[" * 70 + "]" * 70, "deeper"),
            ('{"a":' * 5000 + "1" + "}" * 5000, "deeper"),
            ("[" * 10**6, "deeper|valid JSON"),
            ("[" + "0," * 600_000 + "0]", "more than"),
            ('{"noise": "\\u001b[2J"}', "control character"),
            ('{"\\ud800": 1}', "surrogate"),
            ("{" + ",".join(f'"k{i}": 1' for i in range(50_000)) + "}", "PoisonConfig"),
            (json.dumps({"x" * MEGABYTE: 1}), "PoisonConfig"),
        ],
    )
    def test_absurd_json(self, tmp_path: Path, text: str, match: str) -> None:
        path = tmp_path / "poison_config.json"
        path.write_text(text)
        with bounded(300):
            refused(lambda: read_json(path, PoisonConfig), match)

    def test_a_hundred_megabytes(self, tmp_path: Path) -> None:
        folder = tmp_path / "budget-1/seed-1/sap"
        folder.mkdir(parents=True)
        path = folder / "unlearning_results.json"
        with path.open("wb") as file:
            file.truncate(100 * MEGABYTE)
        with bounded(20):
            refused(lambda: read_json(path, PoisonConfig), "at most")
        for command in ("show", "compare"):
            refused_command([command, tmp_path], tmp_path, "at most")
        refused_command(["export", tmp_path, tmp_path / "r.csv"], tmp_path, "at most")

    def test_what_is_no_ordinary_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "zero").symlink_to("/dev/zero")
        for name in ("pipe", "zero", "."):
            refused(lambda name=name: read_json(tmp_path / name, PoisonConfig), "existing file")
            refused(lambda name=name: read_flagged(tmp_path / name, 10, 3), "existing CSV")

    def test_a_hostile_configuration_of_a_cell(self, tmp_path: Path) -> None:
        cell = tmp_path / "budget-5" / "seed-1"
        cell.mkdir(parents=True)
        (cell / "poison_config.json").write_text(json.dumps(RECORDS["poison_config"]))
        config = RECORDS["train_config"]
        for change in (
            {"epochs": 0},
            {"batch_size": -1},
            {"model": "../../x"},
            {"data": {**config["data"], "dataset": "../../x.npz"}},
            {"data": {**config["data"], "dataset": "/etc"}},
            {"objective": "__import__"},
        ):
            (cell / "train_config.json").write_text(json.dumps({**config, **change}))
            refused_command(["unlearn", "second-order", cell, "--quiet"], tmp_path)

    @FUZZ
    @given(content=st.binary(max_size=200))
    def test_any_bytes(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "r.json").write_bytes(content)
        check_readable(tmp_path / "r.json", "poison_config")

    @FUZZ
    @given(name=st.sampled_from(sorted(RECORDS)), data=st.data())
    def test_any_value_in_any_field(self, tmp_path: Path, name: str, data: st.DataObject) -> None:
        content = dict(RECORDS[name])
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.sampled_from([*content, "surprise"]))] = data.draw(JSON_VALUES)
        (tmp_path / "r.json").write_text(json.dumps(content), encoding="utf-8")
        check_readable(tmp_path / "r.json", name)

    @FUZZ
    @given(value=JSON_VALUES)
    def test_what_is_taken_is_plain(self, value: object) -> None:
        try:
            parsed = parse_json(json.dumps(value))
        except ValueError:
            return
        json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode()

    @pytest.mark.parametrize("kind", [TrainConfig, UnlearnConfig])
    def test_another_kind_of_record(self, tmp_path: Path, kind: type) -> None:
        (tmp_path / "r.json").write_text(json.dumps(RECORDS["poison_config"]))
        refused(lambda: read_json(tmp_path / "r.json", kind), "not a valid")


class TestFlaggedRows:
    @pytest.mark.parametrize(
        "content",
        [
            b"row,corrected_label\n\0,1\n",
            b"row,corrected_label\n1\0,1\n",
            b'row,corrected_label\n"1,1\n',
            b'row,corrected_label\n"1"x,1\n',
            b"row,corrected_label\n" + b"1" * 2 * MEGABYTE + b",1\n",
            b'row,corrected_label\n"' + b"\n" * 2 * MEGABYTE,
            b"x" * 2 * MEGABYTE,
            b"row,corrected_label\n-1,1\n",
            b"row,corrected_label\n+1,1\n",
            "row,corrected_label\n٣,1\n".encode(),
            "row,corrected_label\n１,1\n".encode(),
            "row,corrected_label\n²,1\n".encode(),
            b"row,corrected_label\n0x1,1\n",
            b"row,corrected_label\n1e0,1\n",
            b"row,corrected_label\n../../x,1\n",
            b"row,corrected_label\n1,=1+1\n",
            b"row,row,corrected_label\n1,2,1\n",
            b"row,corrected_label,corrected_label\n1,2,1\n",
            "row,corrected_label\n1,1\n".encode("utf-16"),
            b"\xef\xbb\xbf\xef\xbb\xbfrow,corrected_label\n1,1\n",
            b"\xff\xfe",
        ],
    )
    def test_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "f.csv"
        path.write_bytes(content)
        with bounded(50):
            refused(lambda: read_flagged(path, 10, 3))

    def test_a_file_of_a_hundred_megabytes(self, tmp_path: Path) -> None:
        with (tmp_path / "f.csv").open("wb") as file:
            file.truncate(100 * MEGABYTE)
        refused(lambda: read_flagged(tmp_path / "f.csv", 10, 3), "at most")

    def test_quotes_and_byte_order_mark_are_csv(self, tmp_path: Path) -> None:
        (tmp_path / "f.csv").write_bytes(b'\xef\xbb\xbf"row","corrected_label","note"\r\n"1","2","a ""b"", c"\r\n')
        assert read_flagged(tmp_path / "f.csv", 10, 3).rows.tolist() == [1]

    def read(self, path: Path) -> None:
        try:
            found = read_flagged(path, 10, 3)
        except InputError as error:
            assert len(str(error)) < 1000
            return
        assert len(found) and 0 <= found.rows.min() <= found.rows.max() < 10
        assert len(set(found.rows.tolist())) == len(found) and set(found.labels.tolist()) <= {-1, 0, 1, 2}

    @FUZZ
    @given(content=st.binary(max_size=100))
    def test_any_bytes(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "f.csv").write_bytes(content)
        self.read(tmp_path / "f.csv")
        (tmp_path / "f.csv").write_bytes(b"row,corrected_label\n" + content)
        self.read(tmp_path / "f.csv")

    @FUZZ
    @given(
        rows=st.lists(
            st.lists(st.one_of(st.integers(-3, 12).map(str), st.text(max_size=5), st.just("")), max_size=4), max_size=6
        ),
        end=st.sampled_from(["\n", "\r\n", "\r", ""]),
    )
    def test_any_cells(self, tmp_path: Path, rows: list, end: str) -> None:
        text = "row,corrected_label\n" + end.join(",".join(row) for row in rows)
        (tmp_path / "f.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
        self.read(tmp_path / "f.csv")
