"""Reading what Keras 2 wrote, without running any of it: HDF5 files, and the metadata and variables of SavedModels."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unlearning.archives import check_members
from unlearning.errors import InputError, one_line
from unlearning.files import check_file
from unlearning.interop.claims import WEIGHTS, read_config

_LONGEST_CONFIG = 2**26
_LARGEST = 2**40
_EXPANSION = 200
_FREE_BYTES = 2**20

Weights = dict[str, list[tuple[str, np.ndarray]]]
"""By layer: names and values, those that train first; of a model within a model, those of all its layers."""


Check = Callable[[dict[str, Any], str], None]
"""Looks at a configuration and the version of Keras that wrote it; raises `InputError`."""


class Read(NamedTuple):
    """What a file holds."""

    config: dict[str, Any]
    """`class_name` and `config` of the model."""
    version: str
    """The version of Keras that wrote it; empty where it does not say so."""
    weights: Weights
    """Empty where Keras 3 reads them itself."""
    held: int
    """Bytes of weights in the file."""


def read_hdf5(path: Path, check: Check) -> Read:
    """Reads an HDF5 file.

    Args:
        path: The file.
        check: Looks at the configuration and the version, before anything else is read.

    Returns:
        Its content.

    Raises:
        InputError: If it is damaged, holds weights only, or leads to other files.
    """
    import h5py

    check_file("model", path, _LARGEST, "HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            if text is None:
                if "layer_names" in file.attrs:
                    raise InputError(
                        f"{path} holds weights without the model that they belong to: build it in Python, call "
                        "model.load_weights(...) there, and save it as .keras."
                    )
                raise InputError(f"{path} holds no model that Keras wrote: it has no attribute model_config.")
            config, version = _parse(text), _text(file.attrs.get("keras_version", ""))
            check(config, version)
            group = _child(file, "model_weights")
            names = [str(name) for name in _texts(group, "layer_names")]
            weights: Weights = {name: list(_arrays(_child(group, name))) for name in names}
            if "top_level_model_weights" in group and _texts(_child(group, "top_level_model_weights"), "weight_names"):
                raise InputError(f"{path} has weights outside its model's layers, which nobody here can place.")
            return Read(config, version, weights, _bytes(weights))
    except InputError:
        raise
    except Exception as error:  # h5py raises whatever a damaged file makes of itself
        raise InputError(f"Cannot read the model {path}: {one_line(error)}") from error


def read_archive(path: Path, check: Check) -> Read | None:
    """Reads a `.keras` file.

    Args:
        path: The file.
        check: See `read_hdf5`.

    Returns:
        The content of one that Keras 2 wrote, but for the weights; None of others.

    Raises:
        InputError: If it is damaged.
    """
    check_file("model", path, _LARGEST, ".keras file")
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            version = str(json.loads(archive.read("metadata.json"))["keras_version"])
            if not version.startswith("2"):
                return None
            config = _checked(read_config(archive))
            check(config, version)
            return Read(config, version, {}, archive.getinfo(WEIGHTS).file_size)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged archive makes of itself
        raise InputError(f"Cannot read the model {path}: {one_line(error)}") from error


def _bytes(weights: Weights) -> int:
    return sum(array.nbytes for arrays in weights.values() for _, array in arrays)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _parse(text: Any) -> dict[str, Any]:
    if len(text) > _LONGEST_CONFIG:
        raise ValueError(f"its configuration has {len(text)} bytes, more than {_LONGEST_CONFIG}")
    return _checked(json.loads(_text(text)))


def _checked(config: Any) -> dict[str, Any]:
    """What is the model's, without how it was compiled, which nobody needs here."""
    if not isinstance(config, dict) or not {"class_name", "config"} <= set(config):
        raise ValueError("its configuration is no model's")
    return {name: config[name] for name in ("class_name", "config")}


def _texts(group: Any, name: str) -> list[str]:
    """A list of texts among the attributes of a group; a long one is kept in pieces."""
    pieces = [name] if name in group.attrs else []
    while f"{name}{len(pieces)}" in group.attrs:
        pieces.append(f"{name}{len(pieces)}")
    return [_text(one) for piece in pieces for one in np.asarray(group.attrs[piece]).tolist()]


def _child(group: Any, name: str) -> Any:
    """What stands under a name in a group, and in no other file; `ValueError` where nothing does."""
    import h5py

    found = group
    for part in name.split("/"):
        if part in ("", ".", "..") or not isinstance(found, h5py.Group):
            raise ValueError(f"{name!r} is no name of a part")
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} is missing, or a link")
        found = found[part]
    return found


def _arrays(group: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of a layer's weights, in the order of the file."""
    import h5py

    for name in _texts(group, "weight_names"):
        data = _child(group, name)
        if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
            raise ValueError(f"the weight {name!r} lies in another file")
        size = math.prod(data.shape) * data.dtype.itemsize
        if data.dtype.kind not in "fiub" or size > _FREE_BYTES + _EXPANSION * data.id.get_storage_size():
            raise ValueError(
                f"the weight {name!r} claims {size} bytes, and the file holds {data.id.get_storage_size()}"
            )
        yield name, np.asarray(data[()])


def read_saved_model(path: Path, check: Check) -> Read:
    """Reads a SavedModel of Keras 2: the configuration beside its graph, and its variables. The graph is not run.

    Args:
        path: The folder.
        check: See `read_hdf5`.

    Returns:
        Its content.

    Raises:
        InputError: If it is damaged, or has no configuration, as `model.export` of Keras 3 writes none.
    """
    metadata = path / "keras_metadata.pb"
    if not metadata.is_file():
        raise InputError(
            f"{path} is a SavedModel without keras_metadata.pb, which holds a graph to run and no layers to train: "
            "load the model in the Keras it was made with, and save it as .keras or .h5."
        )
    check_file("model", metadata, _LONGEST_CONFIG, "file of metadata")
    try:
        nodes = [dict(_fields(node)) for number, node in _fields(metadata.read_bytes()) if number == 1]
        root = next(node for node in nodes if node.get(3) == b"root")
        told = json.loads(root[5])
        config = {"class_name": told["class_name"], "config": told["config"]}
        version = str(told.get("keras_version", "2"))
        check(config, version)
        if not isinstance(told["config"], dict) or "layers" not in told["config"]:
            return Read(config, version, {}, 0)
        weights = _variables(path / "variables" / "variables", config)
        return Read(config, version, weights, _bytes(weights))
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes of itself
        raise InputError(f"Cannot read the SavedModel {path}: {one_line(error)}") from error


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yields the numbers and values of a message in the protocol buffer format: integers, and bytes."""
    place = 0

    def integer() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while place < len(message):
        key = integer()
        if key & 7 == 0:
            yield key >> 3, integer()
        elif key & 7 == 2:
            size = integer()
            yield key >> 3, message[place : place + size]
            place += size
        else:
            raise ValueError("it is no message of Keras")


def _variables(prefix: Path, config: dict[str, Any]) -> Weights:
    """The variables of each layer, found by the graph of objects that is stored with them."""
    import tensorflow as tf
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    reader = tf.train.load_checkpoint(str(prefix))
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))

    def children(number: int) -> dict[str, int]:
        return {child.local_name: child.node_id for child in graph.nodes[number].children}

    def value(number: int) -> tuple[str, np.ndarray] | None:
        told = [one for one in graph.nodes[number].attributes if one.name == "VARIABLE_VALUE"]
        return (told[0].full_name, reader.get_tensor(told[0].checkpoint_key)) if told else None

    def gather(number: int, whole: dict[str, Any]) -> Weights:
        found: Weights = {}
        entries = whole["config"]["layers"]
        if whole["class_name"] == "Sequential":  # which does not count its input
            entries = [entry for entry in entries if entry["class_name"] != "InputLayer"]
        for place, entry in enumerate(entries):
            child = children(number)[f"layer-{place}"]
            name = str(entry.get("name") or entry["config"]["name"])
            if "layers" in entry["config"]:
                inner = gather(child, entry)
                found |= {f"{name}/{key}": arrays for key, arrays in inner.items()}
                continue
            below = children(child)
            listed = (
                sorted(children(below["variables"]).items(), key=lambda one: int(one[0]))
                if "variables" in below
                else ()
            )
            numbers = [number for _, number in listed] or [
                k for key, k in below.items() if not key.startswith("adapt_")
            ]
            found[name] = [one for one in map(value, numbers) if one is not None]
        return found

    return gather(0, config)
