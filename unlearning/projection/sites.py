"""The kernels of a model, seen as matrices, and the rows of numbers each of them multiplies.

A convolution multiplies patches of its input, a dense layer its last axis, an `EinsumDense` whatever its equation
contracts. A `Site` brings all of them into one shape, `(groups, rows, columns)` times `(groups, columns, outputs)`, so
that statistics and projection need to know nothing about layers. `MultiHeadAttention` is four `EinsumDense` layers
(query, key, value, output) and is found through them.
"""

from __future__ import annotations

import abc
import fnmatch
from collections.abc import Sequence

import keras
import numpy as np

from unlearning.errors import InputError


class Site(abc.ABC):
    """One kernel of a model.

    Attributes:
        name: Layer names from the model down to the layer, joined by `/`.
        layer: The Keras layer.
        groups: Number of independent matrices (more than one in grouped and depthwise convolutions).
        columns: Length of the rows each of them multiplies.
        outputs: Columns of each matrix.
    """

    def __init__(self, name: str, layer: keras.layers.Layer) -> None:
        self.name, self.layer = name, layer
        self.groups, self.columns, self.outputs = self.matrices().shape

    @abc.abstractmethod
    def positions(self, inputs: np.ndarray) -> int:
        """Returns how many rows each example of a batch of layer inputs contributes."""

    @abc.abstractmethod
    def rows(self, inputs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Gathers rows.

        Args:
            inputs: Layer inputs of a batch.
            chosen: int array `(batch, count)` of positions, each below `positions(inputs)`.

        Returns:
            float64 array of shape `(groups, batch * count, columns)`.
        """

    @abc.abstractmethod
    def matrices(self) -> np.ndarray:
        """Returns the kernel as a float64 array of shape `(groups, columns, outputs)`."""

    @abc.abstractmethod
    def assign(self, matrices: np.ndarray) -> None:
        """Puts matrices of that shape back into the layer."""


class _Contraction(Site):
    """`Dense` and `EinsumDense`: a kernel that contracts axes of the input."""

    def __init__(self, name: str, layer: keras.layers.Layer) -> None:
        equation = layer.equation if isinstance(layer, keras.layers.EinsumDense) else "...x,xy->...y"
        operands, output = equation.replace(" ", "").split("->")
        inputs, kernel = operands.split(",")
        self._input: str = inputs
        self._kernel: str = kernel
        letters = set(self._input) - {"."}
        self._contracted = [c for c in self._kernel if c in letters and c not in output]
        if not self._contracted:
            raise NotImplementedError("its equation contracts nothing")
        if any(c in letters and c in output for c in self._kernel):
            raise NotImplementedError("its kernel depends on the position")
        if any(c not in self._kernel and c not in output for c in letters):
            raise NotImplementedError("its equation sums over positions")
        super().__init__(name, layer)

    def _spread(self, inputs: np.ndarray) -> np.ndarray:
        """Brings inputs into shape `(batch, positions, columns)`."""
        before, ellipsis, after = self._input.partition("...")
        # Axes are counted from the end where an ellipsis stands before them.
        axes = []
        for letter in self._contracted:
            axes.append(after.index(letter) - len(after) if ellipsis and letter in after else before.index(letter))
        axes = [axis % inputs.ndim for axis in axes]
        others = [axis for axis in range(inputs.ndim) if axis not in axes]
        if not others or others[0] != 0:
            raise InputError(
                f"Layer {self.name!r} contracts the batch axis, which no per-example statistics can follow."
            )
        return np.transpose(inputs, others + axes).reshape(len(inputs), -1, self.columns)

    def positions(self, inputs: np.ndarray) -> int:
        return self._spread(inputs).shape[1]

    def rows(self, inputs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        picked = np.take_along_axis(self._spread(inputs), chosen[:, :, None], axis=1)
        return picked.reshape(1, -1, self.columns).astype(np.float64)

    def _order(self) -> list[int]:
        free = [c for c in self._kernel if c not in self._contracted]
        return [self._kernel.index(c) for c in (*self._contracted, *free)]

    def matrices(self) -> np.ndarray:
        kernel = _values(self.layer.kernel).transpose(self._order())
        columns = int(np.prod(kernel.shape[: len(self._contracted)]))
        return kernel.reshape(1, columns, -1)

    def assign(self, matrices: np.ndarray) -> None:
        order = self._order()
        shape = [self.layer.kernel.shape[axis] for axis in order]
        self.layer.kernel.assign(matrices.reshape(shape).transpose(np.argsort(order)))


class _Convolution(Site):
    """`Conv2D` (strides, dilation, groups, both paddings) and `DepthwiseConv2D`, as the layer itself applies them."""

    def __init__(self, name: str, layer: keras.layers.Layer) -> None:
        self._depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        self._size, self._strides, self._dilation = layer.kernel_size, layer.strides, layer.dilation_rate
        super().__init__(name, layer)

    def _reach(self) -> tuple[int, int]:
        return tuple((k - 1) * d + 1 for k, d in zip(self._size, self._dilation, strict=True))  # type: ignore[return-value]

    def _last(self, inputs: np.ndarray) -> np.ndarray:
        return np.moveaxis(inputs, 1, -1) if self.layer.data_format == "channels_first" else inputs

    def _grid(self, inputs: np.ndarray) -> tuple[int, int]:
        """Height and width of the output."""
        sides = self._last(inputs).shape[1:3]
        reach = self._reach() if self.layer.padding == "valid" else (1, 1)
        return tuple((n - r) // s + 1 for n, r, s in zip(sides, reach, self._strides, strict=True))  # type: ignore[return-value]

    def positions(self, inputs: np.ndarray) -> int:
        height, width = self._grid(inputs)
        return height * width

    def rows(self, inputs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        images = self._last(inputs)
        grid = self._grid(inputs)
        if self.layer.padding == "same":
            # What does not divide evenly goes to the bottom and right, unlike the symmetric padding of other libraries.
            total = [
                max((g - 1) * s + r - n, 0)
                for g, s, r, n in zip(grid, self._strides, self._reach(), images.shape[1:3], strict=True)
            ]
            images = np.pad(images, ((0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)))
        y = (chosen // grid[1] * self._strides[0])[:, :, None] + np.arange(self._size[0]) * self._dilation[0]
        x = (chosen % grid[1] * self._strides[1])[:, :, None] + np.arange(self._size[1]) * self._dilation[1]
        example = np.arange(len(images))[:, None, None, None]
        patches = images[example, y[:, :, :, None], x[:, :, None, :]].astype(np.float64)
        count, channels = chosen.size, images.shape[-1]
        grouped = patches.reshape(count, *self._size, self.groups, channels // self.groups)
        return np.ascontiguousarray(np.moveaxis(grouped, 3, 0)).reshape(self.groups, count, self.columns)

    def matrices(self) -> np.ndarray:
        kernel = _values(self.layer.kernel)
        if self._depthwise:  # (height, width, channels, multiplier)
            return np.moveaxis(kernel, 2, 0).reshape(kernel.shape[2], -1, kernel.shape[3])
        groups = self.layer.groups  # (height, width, channels / groups, filters)
        split = kernel.reshape(-1, groups, kernel.shape[-1] // groups)
        return np.moveaxis(split, 1, 0)

    def assign(self, matrices: np.ndarray) -> None:
        shape = self.layer.kernel.shape
        if self._depthwise:
            kernel = np.moveaxis(matrices.reshape(shape[2], shape[0], shape[1], shape[3]), 0, 2)
        else:
            kernel = np.moveaxis(matrices, 0, 1).reshape(shape)
        self.layer.kernel.assign(kernel)


_SITES: tuple[tuple[type[keras.layers.Layer], type[Site]], ...] = (
    (keras.layers.Dense, _Contraction),
    (keras.layers.EinsumDense, _Contraction),
    (keras.layers.Conv2D, _Convolution),
    (keras.layers.DepthwiseConv2D, _Convolution),
)


def find_sites(
    model: keras.Model, include: Sequence[str] = ("*",), exclude: Sequence[str] = ()
) -> tuple[list[Site], dict[str, str]]:
    """Finds the kernels that can be projected.

    Args:
        model: A built model; nested models and attention layers are searched, too.
        include: Patterns (`fnmatch`) of site names to take.
        exclude: Patterns of site names to leave out.

    Returns:
        The sites in model order, and for every other layer with a kernel the reason why it is left as it is.

    Raises:
        InputError: If a pattern fits no layer, or nothing is left to project.
    """
    found: list[Site] = []
    skipped: dict[str, str] = {}
    seen: set[int] = set()

    def walk(parent: keras.layers.Layer, prefix: str) -> None:
        # Keras has no public way to a layer's sublayers (`Model.layers` stops at the top level).
        for layer in parent._flatten_layers(include_self=False, recursive=False):
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            name = prefix + layer.name
            site = next((site for kind, site in _SITES if isinstance(layer, kind)), None)
            if site is not None:
                try:
                    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
                        raise NotImplementedError("its kernel is adapted (LoRA) or quantised")
                    found.append(site(name, layer))
                except NotImplementedError as reason:
                    skipped[name] = str(reason)
            elif any(len(weight.shape) > 1 for weight in layer.trainable_weights) and not layer._layers:
                skipped[name] = f"no projection for {type(layer).__name__} layers"
            else:
                walk(layer, f"{name}/")

    walk(model, "")
    names = [site.name for site in found]
    for argument, patterns in (("include", include), ("exclude", exclude)):
        for pattern in patterns:
            if not fnmatch.filter(names, pattern) and pattern != "*":
                raise InputError(argument, f"patterns of layer names among {', '.join(names) or 'none'}", pattern)
    chosen = []
    for site in found:
        if any(fnmatch.fnmatchcase(site.name, p) for p in include) and not any(
            fnmatch.fnmatchcase(site.name, p) for p in exclude
        ):
            chosen.append(site)
        else:
            skipped[site.name] = "not selected"
    if not chosen:
        raise InputError(
            f"The model {model.name!r} has no layer to project. Expected a Dense, Conv2D, DepthwiseConv2D, EinsumDense "
            f"or MultiHeadAttention layer that is selected. Left out: {skipped or 'none'}."
        )
    return chosen, skipped


def _values(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), dtype=np.float64)
