"""A compact Vision Transformer for small images: 4x4 patches, 128 channels, four pre-norm blocks, average pooling.

Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021, without the
class token (about 0.5 M parameters on 32x32x3 images). It consists of stock Keras layers only, so that a saved model
loads in safe mode anywhere: the linear projection of the flattened patches (which is a strided convolution) and the
learned position embedding are one `EinsumDense` layer, whose bias has an entry per position and channel.
"""

from __future__ import annotations

import keras
from keras import layers

from unlearning.architectures.cnn import logits, rescaling

_WIDTH = 128
_DEPTH = 4
_HEADS = 4
_HIDDEN = 256
_SMALL = 16  # images with a shorter side than this many pixels are cut into patches of half the size


def vit(input_shape: tuple[int, int, int], num_classes: int, pixel_max: float) -> keras.Model:
    """Builds the network."""
    inputs = keras.Input(input_shape)
    x = _patches(rescaling(pixel_max)(inputs), 2 if min(input_shape[:2]) < _SMALL else 4)
    x = layers.EinsumDense(
        "btp,pc->btc",
        output_shape=(x.shape[1], _WIDTH),
        bias_axes="tc",
        bias_initializer=keras.initializers.RandomNormal(stddev=0.02),
        name="patch_and_position",
    )(x)
    for number in range(1, _DEPTH + 1):
        x = _block(x, f"block_{number}")
    x = layers.LayerNormalization(epsilon=1e-6, name="final_norm")(x)
    x = layers.GlobalAveragePooling1D(name="global_pool")(x)
    return keras.Model(inputs, logits(num_classes)(x), name="vit")


def _patches(x, size: int):  # type: ignore[no-untyped-def]
    """Cuts images into flattened patches, shape `(rows, patches, values of a patch)`, in reading order."""
    height, width, channels = x.shape[1:]
    below, right = -height % size, -width % size
    if below or right:
        # Zero is the middle grey here; the rim is shared among both sides, as a "same" convolution does.
        rim = ((below // 2, below - below // 2), (right // 2, right - right // 2))
        x = layers.ZeroPadding2D(rim, name="rim")(x)
    down, across = (height + below) // size, (width + right) // size
    x = layers.Reshape((down, size, across, size, channels), name="patch_grid")(x)
    x = layers.Permute((1, 3, 2, 4, 5), name="patch_order")(x)
    return layers.Reshape((down * across, size * size * channels), name="patches")(x)


def _block(x, name: str):  # type: ignore[no-untyped-def]
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_1")(x)
    y = layers.MultiHeadAttention(_HEADS, _WIDTH // _HEADS, name=f"{name}_attention")(y, y)
    x = layers.Add(name=f"{name}_add_1")([x, y])
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_2")(x)
    y = layers.Dense(_HIDDEN, activation="gelu", name=f"{name}_dense_1")(y)
    y = layers.Dense(_WIDTH, name=f"{name}_dense_2")(y)
    return layers.Add(name=f"{name}_add_2")([x, y])
