"""A copy predicts what its model predicts, or is refused by the name of the layer that does not."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from unlearning.errors import InputError
from unlearning.interop import as_logit_model, copy_model
from unlearning.methods import get
from unlearning.task import Corrections, Split, UnlearningTask
from unlearning.training import draw_afresh

LAYERS = keras.layers
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (64, 4, 4, 1)).astype(np.float32)
WORDS = np.array([["a b"], ["f e d"]])

Made = tuple[keras.Model, np.ndarray]


def scaled(**options) -> keras.layers.Normalization:
    layer = LAYERS.Normalization(axis=None, **options)
    layer.adapt(IMAGES)
    return layer


def stacked(*layers) -> Made:
    ending = LAYERS.Flatten(), LAYERS.Dense(3, activation="softmax", name="scores")
    return keras.Sequential([keras.Input((4, 4, 1)), *layers, *ending]), IMAGES


def nested() -> Made:
    return stacked(keras.Sequential([keras.Input((4, 4, 1)), scaled(name="scale"), LAYERS.Conv2D(2, 3)], name="inner"))


def shared() -> Made:
    """One adapted layer, twice in the model and once in another model within it."""
    scale, images = scaled(name="scale"), keras.Input((4, 4, 1))
    inner = keras.Sequential([keras.Input((4, 4, 1)), scale, LAYERS.Conv2D(1, 1)])
    joined = LAYERS.Concatenate()([scale(images), scale(LAYERS.Rescaling(0.5)(images)), inner(images)])
    return keras.Model(images, LAYERS.Dense(3, activation="softmax")(LAYERS.Flatten()(joined))), IMAGES


def tokens() -> Made:
    lookup = LAYERS.TextVectorization(output_sequence_length=5)
    lookup.adapt(["a b c", "c d e f"])
    ending = LAYERS.Flatten(), LAYERS.Dense(2, activation="softmax")
    return keras.Sequential([keras.Input((1,), dtype="string"), lookup, LAYERS.Embedding(10, 4), *ending]), WORDS


def lookup(layer, data, taken, dtype: str) -> Made:
    layer.adapt(data)
    inputs = keras.Input(taken.shape[1:], dtype=dtype)
    found = layer(inputs)
    if found.dtype.startswith("int"):
        found = LAYERS.Flatten()(LAYERS.Embedding(8, 3)(found))
    return keras.Model(inputs, LAYERS.Dense(2, activation="softmax")(LAYERS.Flatten()(found))), taken


def moved_averages() -> Made:
    model, images = stacked(LAYERS.BatchNormalization(name="averages"))
    for _ in range(5):
        model(images, training=True)
    return model, images


def adapters() -> Made:
    model, images = stacked(scaled())
    model.layers[-1].enable_lora(2)
    model.layers[-1].lora_kernel_b.assign(RNG.normal(size=model.layers[-1].lora_kernel_b.shape))
    return model, images


def quantised() -> Made:
    model, images = stacked(scaled(), LAYERS.Flatten(), LAYERS.Dense(8))
    for layer in model.layers:
        if isinstance(layer, LAYERS.Dense):
            layer.quantize("int8")
    return model, images


def half(policy: str) -> Made:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return stacked(scaled(), LAYERS.Conv2D(4, 3))
    finally:
        keras.config.set_dtype_policy(before)


class Whole(keras.Model):
    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.scale, self.flat = LAYERS.Normalization(axis=None), LAYERS.Flatten()
        self.dense = LAYERS.Dense(3)

    def call(self, images):
        return self.dense(self.flat(self.scale(images)))

    def get_config(self):
        return {}


def subclassed() -> Made:
    model = Whole()
    model.scale.adapt(IMAGES)
    model(IMAGES)
    return model, IMAGES


class Scale(LAYERS.Layer):
    """Keeps what it is adapted to in no weight and no configuration."""

    divisor = 1.0

    def adapt(self, images) -> None:
        self.divisor = float(np.mean(images))

    def call(self, images):
        return images / self.divisor


class SavedScale(Scale):
    def save_own_variables(self, store) -> None:
        store["divisor"] = np.array(self.divisor)

    def load_own_variables(self, store) -> None:
        self.divisor = float(store["divisor"])


def adapted(kind: type[Scale], **options) -> Scale:
    layer = kind(**options)
    layer.adapt(IMAGES)
    return layer


KINDS: dict[str, Callable[[], Made]] = {
    "normalization": lambda: stacked(scaled()),
    "inverted normalization": lambda: stacked(scaled(invert=True)),
    "augmentation and dropout": lambda: stacked(scaled(), LAYERS.RandomFlip(), LAYERS.Dropout(0.5)),
    "nested": nested,
    "shared": shared,
    "tokens": tokens,
    "words": lambda: lookup(
        LAYERS.StringLookup(output_mode="multi_hot"), ["x", "y"], np.array([["x", "q"], ["y", "y"]]), "string"
    ),
    "tf-idf": lambda: lookup(LAYERS.TextVectorization(output_mode="tf_idf"), ["a b", "b c"], WORDS, "string"),
    "numbers": lambda: lookup(LAYERS.IntegerLookup(), [12, 36, 42], np.array([[12, 7], [42, 36]]), "int64"),
    "bins": lambda: lookup(
        LAYERS.Discretization(num_bins=4, output_mode="one_hot"), IMAGES.reshape(-1), IMAGES[:5, 0, :, 0], "float32"
    ),
    "moved averages": moved_averages,
    "adapters": adapters,
    "quantised": quantised,
    "mixed_float16": lambda: half("mixed_float16"),
    "bfloat16": lambda: half("bfloat16"),
    "subclassed": subclassed,
    "a layer that saves its own state": lambda: stacked(adapted(SavedScale)),
}


def say(model: keras.Model, rows: np.ndarray) -> np.ndarray:
    rows = keras.ops.convert_to_tensor(rows, dtype="string") if rows.dtype.kind == "U" else rows
    return keras.ops.convert_to_numpy(model(rows, training=False)).astype(np.float64)


@pytest.fixture(params=KINDS, scope="module")
def made(request) -> Made:
    keras.utils.set_random_seed(11)
    return KINDS[request.param]()


class TestCopies:
    def test_they_predict_the_same(self, made: Made) -> None:
        model, rows = made
        expected = say(model, rows)
        copy = copy_model(model)
        np.testing.assert_allclose(say(copy, rows), expected, rtol=1e-6, atol=1e-6)
        for one, other in zip(model.get_weights(), copy.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_logits_are_those_of_the_same_probabilities(self, made: Made) -> None:
        model, rows = made
        expected, logits = say(model, rows), say(as_logit_model(model), rows)
        if isinstance(model, Whole):  # it puts out logits
            np.testing.assert_array_equal(logits, expected)
            return
        found = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
        tolerance = 1e-5 if model.compute_dtype == model.variable_dtype == "float32" else 0.03
        np.testing.assert_allclose(found, expected, atol=tolerance)

    def test_a_loss_without_a_name_does_not_matter(self) -> None:
        model, images = stacked(scaled())
        model.compile("sgd", lambda true, predicted: keras.ops.mean(predicted))
        np.testing.assert_array_equal(say(copy_model(model), images), say(model, images))
        assert model.compiled and not as_logit_model(model).compiled

    def test_a_named_loss_is_kept(self) -> None:
        model, _ = stacked(scaled())
        model.compile("sgd", "sparse_categorical_crossentropy")
        assert copy_model(model).loss == "sparse_categorical_crossentropy"

    def test_rows_that_no_shape_tells_of(self) -> None:
        class Picky(LAYERS.Layer):
            def call(self, images):
                keras.ops.convert_to_numpy(1 / float(keras.ops.all(images > 300))) if hasattr(images, "numpy") else 0
                return images

        model, images = stacked(Picky())
        with pytest.raises(InputError, match=r"takes no rows that were made up.*Give a few"):
            copy_model(model)
        np.testing.assert_array_equal(say(copy_model(model, images + 301), images + 301), say(model, images + 301))


class Noise(LAYERS.Layer):
    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, images):
        return images + keras.random.normal(keras.ops.shape(images), seed=self.seed_generator)


class FixedDraw(LAYERS.Layer):
    """Draws once, when it is made, and keeps that to itself."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.factors = np.random.default_rng().normal(size=(4, 4, 1)).astype(np.float32)

    def call(self, images):
        return images * self.factors


@pytest.mark.filterwarnings(r"ignore:`build\(\)` was called on layer")
class TestRefused:
    @pytest.mark.parametrize("copy", [copy_model, as_logit_model])
    @pytest.mark.parametrize(
        ("layer", "why"),
        [
            (lambda: adapted(Scale, name="culprit"), "'culprit' of the copy answers differently"),
            (lambda: FixedDraw(name="culprit"), "'culprit' of the copy answers differently"),
            (lambda: Noise(name="culprit"), "'culprit' draws at random"),
        ],
    )
    def test_the_layer_is_named_at_any_depth(self, copy, layer, why: str) -> None:
        inner = keras.Sequential([keras.Input((4, 4, 1)), LAYERS.Conv2D(1, 1), layer(), LAYERS.ReLU()], name="inner")
        for model in (stacked(scaled(), layer(), LAYERS.Conv2D(2, 3))[0], stacked(inner)[0]):
            with pytest.raises(InputError, match=why):
                copy(model)
            assert not [part.name for part in model.layers if "call" in vars(part)]

    def test_within_a_subclassed_model(self) -> None:
        class Losing(Whole):
            def __init__(self, **options) -> None:
                super().__init__(**options)
                self.scale = Scale(name="culprit")

        model = Losing()
        model.scale.adapt(IMAGES)
        model(IMAGES)
        with pytest.raises(InputError, match="'culprit' of the copy"):
            copy_model(model)

    def test_what_draws_is_left_where_it_was(self) -> None:
        model, _ = stacked(Noise(name="noise"))
        before = model.get_layer("noise").seed_generator.state.numpy()
        with pytest.raises(InputError, match="draws at random"):
            copy_model(model)
        np.testing.assert_array_equal(model.get_layer("noise").seed_generator.state.numpy(), before)


class TestDrawnAfresh:
    def test_adapted_layers_are_kept(self, made: Made) -> None:
        model, rows = made
        if isinstance(model, Whole):
            with pytest.raises(InputError, match="Sequential or functional"):
                draw_afresh(model, 3)
            return
        fresh = draw_afresh(model, 3)
        for layer, other in zip(model.layers, fresh.layers, strict=True):
            if callable(getattr(layer, "adapt", None)):
                tolerance = {"float32": 0, "bfloat16": 0.02}.get(layer.compute_dtype, 0.002)
                np.testing.assert_allclose(say(other, rows), say(layer, rows), atol=tolerance)
        last = zip(model.layers[-1].get_weights(), fresh.layers[-1].get_weights(), strict=True)
        assert not all(np.array_equal(*pair) for pair in last)

    def test_within_a_nested_model(self) -> None:
        fresh = draw_afresh(nested()[0], 3)
        scale = fresh.get_layer("inner").get_layer("scale")
        np.testing.assert_allclose(say(scale, IMAGES).mean(), 0, atol=1e-3)

    def test_learned_averages_start_anew_and_frozen_layers_stay(self) -> None:
        fresh = draw_afresh(moved_averages()[0], 3)
        assert not fresh.get_layer("averages").moving_mean.numpy().any()
        model, _ = nested()
        model.get_layer("inner").trainable = False
        fresh = draw_afresh(model, 3)
        for one, other in zip(model.layers[0].get_weights(), fresh.layers[0].get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert not fresh.get_layer("inner").trainable_weights and fresh.trainable_weights

    def test_a_model_that_is_all_frozen(self) -> None:
        model, _ = nested()
        model.trainable = False
        with pytest.raises(InputError, match=r"layer\.trainable = True"):
            draw_afresh(model, 3)

    def test_a_retrained_model_sees_rows_as_the_model_does(self) -> None:
        """Rows far from where weights begin: without the statistics, no layer behind them can be trained."""
        rng = np.random.default_rng(3)
        true = rng.integers(0, 3, 300)
        images = (1e4 + rng.normal(size=(300, 3)) + 6 * np.eye(3)[true]).astype(np.float32)
        scale = LAYERS.Normalization()
        scale.adapt(images)
        model = keras.Sequential([keras.Input((3,)), scale, LAYERS.Dense(3)])
        given = true.copy()
        given[:40] = (given[:40] + 1) % 3
        task = UnlearningTask(
            Split(images[:200], given[:200]), Corrections(np.arange(40), true[:40]), Split(images[200:], true[200:]), 3
        )
        recipe = {"learning_rate": 0.1, "epochs": 10, "batch_size": 32}
        outcome = get("retraining", {"recipe": recipe}).unlearn(model, task)
        assert outcome.applied and outcome.validation_accuracy_after > 0.9


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_model_that_takes_so_many_rows_at_once_is_copied(rows: int) -> None:
    inputs = keras.Input((3,), batch_size=rows)
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    images = np.ones((rows, 3), np.float32)
    np.testing.assert_array_equal(copy_model(model)(images), model(images))
