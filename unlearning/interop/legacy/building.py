"""The graph of a model of Keras 2, built anew in Keras 3."""

from __future__ import annotations

from typing import Any

from unlearning.errors import InputError, first_line, printable
from unlearning.interop.legacy.layers import make_layer, mend
from unlearning.interop.legacy.operations import LAMBDAS, OPERATIONS, SLICING, slice_of
from unlearning.interop.legacy.vetting import find_registered

GRAPHS = ("Functional", "Model")


class Built:
    """A model with its layers under the names that they had.

    Args:
        config: `class_name` and `config`, as Keras 2 wrote them, with nothing in them that `check_config` refuses.

    Attributes:
        model: The model, with fresh weights.
        layers: Layers by their old names, in the file's order; a model within it is a `Built` itself.

    Raises:
        InputError: If it cannot be built.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.layers: dict[str, Any] = {}
        self._taken: set[str] = set()
        self._outputs: dict[tuple[str, int], list[Any]] = {}
        kind, inner = config["class_name"], config["config"]
        if kind == "Sequential":
            self.model = self._sequential(inner)
        elif kind in GRAPHS and isinstance(inner, dict) and "layers" in inner:
            self.model = self._functional(inner)
        else:
            raise InputError(
                f"The model is a {printable(str(kind))}, of which the file holds no graph. Build it in Python, load "
                "the weights into it, and save it as .keras."
            )

    def _new_name(self, old: str) -> str:
        """Keras 3 knows no names with slashes."""
        name = old.replace("/", "_") or "layer"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def _part(self, entry: dict[str, Any]) -> Any:
        """Makes a layer, or a model within this one."""
        old = str(entry.get("name") or entry["config"]["name"])
        if entry["class_name"] in (*GRAPHS, "Sequential"):
            inner = Built({**entry, "config": entry["config"]})
            inner.model.name = self._new_name(old)
            self.layers[old] = inner
            return inner.model
        self.layers[old] = made = make_layer(entry, self._new_name(old), find_registered)
        return made

    def _sequential(self, config: Any) -> Any:
        import keras

        entries = config["layers"] if isinstance(config, dict) else config
        shape = config.get("build_input_shape") if isinstance(config, dict) else None
        parts, begins = [], None
        for entry in entries:
            inner = entry["config"]
            told = inner.get("batch_input_shape", inner.get("batch_shape")) if isinstance(inner, dict) else None
            dtype = inner.get("dtype") if isinstance(inner, dict) else None
            if begins is None and told is not None:
                begins = _input(told, dtype if entry["class_name"] in ("InputLayer", "Embedding") else None)
            if entry["class_name"] != "InputLayer":
                parts.append(self._part(entry))
        if begins is None and shape is not None:
            begins = _input(shape, None)
        if begins is None and parts and isinstance(parts[0], keras.Model):
            begins = _input(parts[0].input_shape, None)
        if begins is None:
            raise InputError("The file does not say which shape of input its model takes. Build it once, and save it.")
        name = config.get("name", "sequential") if isinstance(config, dict) else "sequential"
        return keras.Sequential([begins, *parts], name=name.replace("/", "_"))

    def _functional(self, config: dict[str, Any]) -> Any:
        import keras

        entries = {str(entry["name"]): entry for entry in config["layers"]}
        self._first = _first_calls(config, entries)
        waiting: list[tuple[str, int, Any]] = []
        made: dict[str, Any] = {}
        for name, entry in entries.items():
            if entry["class_name"] == "InputLayer":
                inner = entry["config"]
                _refuse_sparse(name, inner)
                shape = inner.get("batch_input_shape", inner.get("batch_shape"))
                self._outputs[name, 0] = [_input(shape, inner.get("dtype"), self._new_name(name))]
                continue
            if entry["class_name"] not in LAMBDAS:
                made[name] = self._part(entry)
            waiting += [(name, number, node) for number, node in enumerate(entry["inbound_nodes"])]
        while waiting:
            left = []
            for name, number, node in waiting:
                if self._is_ready(node) and (not number or (name, number - 1) in self._outputs):
                    self._call(entries[name], made.get(name), name, number, node)
                else:
                    left.append((name, number, node))
            if len(left) == len(waiting):
                raise InputError(f"The graph has no beginning: {printable(left[0][0])!r} waits for itself.")
            waiting = left
        ends = [self._tensor(one) for one in _several(config["output_layers"])]
        starts = [self._tensor(one) for one in _several(config["input_layers"])]
        one_end = ends[0] if len(ends) == 1 else ends
        model = keras.Model(starts[0] if len(starts) == 1 else starts, one_end, name=config["name"].replace("/", "_"))
        return model

    def _call(self, entry: dict[str, Any], layer: Any, name: str, number: int, node: Any) -> None:
        """Computes one node of the graph."""
        inputs, options = self._arguments(node)
        options.pop("name", None)
        try:
            if layer is not None:
                found = layer(*inputs, **options)
            else:
                function = entry["config"]["function"]
                found = (slice_of if function == SLICING else OPERATIONS[function])(*inputs, **options)
                found._keras_history.operation.name = self._new_name(name)  # its own might be a layer's
        except InputError:
            raise
        except Exception as error:  # a layer may raise anything about what it is called with
            raise InputError(f"Keras 3 cannot compute {printable(name)!r}: {first_line(error)[:200]}") from error
        self._outputs[name, number] = list(found) if isinstance(found, list | tuple) else [found]

    def _arguments(self, node: Any) -> tuple[list[Any], dict[str, Any]]:
        """Returns what a node is called with: one tensor, or a list of them, and keywords."""
        single = bool(node) and not isinstance(node[0], list)
        items = [node] if single else node
        options = {key: self._resolved(value) for item in items for key, value in (_keywords(item)).items()}
        tensors = [self._constant(item) if item[0] == "_CONSTANT_VALUE" else self._tensor(item) for item in items]
        return [tensors[0] if len(tensors) == 1 else tensors], options

    def _constant(self, item: list[Any]) -> Any:
        return self._resolved(item[2])

    def _resolved(self, value: Any) -> Any:
        if self._is_tensor(value):
            return self._tensor(value)
        if isinstance(value, list):
            return [self._resolved(one) for one in value]
        return mend("", {"value": value})["value"]

    def _is_tensor(self, value: Any) -> bool:
        if not isinstance(value, list) or len(value) not in (3, 4) or not isinstance(value[0], str):
            return False
        return isinstance(value[1], int) and (value[0], value[1] - self._first.get(value[0], 0)) in self._outputs

    def _tensor(self, item: list[Any]) -> Any:
        name, number, place = item[:3]
        return self._outputs[name, number - self._first.get(name, 0)][place]

    def _is_ready(self, node: Any) -> bool:
        """Whether everything is there that a node is called with."""
        return all((n, k - self._first.get(n, 0)) in self._outputs for n, k in _references(node, set(self._first)))


def _first_calls(config: dict[str, Any], entries: dict[str, Any]) -> dict[str, int]:
    """The number of the first call of each layer: Keras 2 counts the making of a model within a model as one."""
    numbers: dict[str, list[int]] = {name: [] for name in entries}
    told = [entry["inbound_nodes"] for entry in entries.values()]
    for name, number in _references([*told, config["output_layers"], config["input_layers"]], set(entries)):
        numbers[name].append(number)
    return {
        name: min(found) if found and entries[name]["class_name"] in (*GRAPHS, "Sequential") else 0
        for name, found in numbers.items()
    }


def _references(part: Any, names: set[str]) -> list[tuple[str, int]]:
    """The calls that a part of a graph refers to, at any depth."""
    if isinstance(part, dict):
        return [one for value in part.values() for one in _references(value, names)]
    if not isinstance(part, list):
        return []
    found = [one for value in part for one in _references(value, names)]
    if len(part) in (3, 4) and isinstance(part[0], str) and part[0] in names and isinstance(part[1], int):
        found.append((part[0], part[1]))
    return found


def _keywords(item: list[Any]) -> dict[str, Any]:
    return item[3] if len(item) > 3 and isinstance(item[3], dict) else {}


def _several(told: list[Any]) -> list[Any]:
    """Inputs or outputs as a list: one alone may stand for itself."""
    return [told] if told and isinstance(told[0], str) else told


def _input(shape: Any, dtype: Any, name: str | None = None) -> Any:
    import keras

    told = mend("", {"shape": shape, "dtype": dtype})
    kind = told["dtype"] if isinstance(told["dtype"], str) else "float32"
    return keras.Input(
        batch_shape=tuple(told["shape"]), dtype=kind if not kind.startswith("mixed") else "float32", name=name
    )


def _refuse_sparse(name: str, config: dict[str, Any]) -> None:
    if config.get("sparse") or config.get("ragged"):
        raise InputError(f"The input {printable(name)!r} is sparse or ragged, which no classifier here takes.")
