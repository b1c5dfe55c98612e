"""What every registered objective promises."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest

from support.command import PATIENCE_S
from support.paths import ROOT
from support.training import (
    batches,
    blobs,
    image_model,
    linear_model,
    needs_tensorflow,
)
from unlearning.errors import InputError
from unlearning.registry import Role
from unlearning.training import ShuffledBatches, TrainSettings, building_context, train
from unlearning.training.objectives import (
    OBJECTIVES,
    MentorMixModel,
    MentorNetModel,
    MixUp,
    Objective,
    Prepared,
    available,
    get,
    register,
    summaries,
)

every_objective = pytest.mark.parametrize("name", OBJECTIVES.names())


@every_objective
def test_every_objective_says_what_it_is(name: str) -> None:
    entry = OBJECTIVES.entry(name)
    assert issubclass(entry.load(), Objective) and isinstance(entry.role, Role)
    assert summaries()[name] == entry.summary and not entry.summary.endswith(".") and entry.family
    assert not [option for option, field in entry.load().model_fields.items() if not field.description]


@every_objective
def test_every_objective_comes_back_from_its_options(name: str) -> None:
    objective = get(name)
    assert get(name, json.loads(json.dumps(objective.config()))) == objective
    assert TrainSettings(objective=name, objective_options=objective.config()).objective_options == objective.config()
    recorded = TrainSettings(objective=name).config().get("objective_options", {})
    assert recorded == {}, "recorded are only those that were given"
    with pytest.raises(InputError, match=rf"{name}\.speed"):
        TrainSettings(objective=name, objective_options={"speed": 1})


def test_every_objective_is_imported_without_keras() -> None:
    code = (
        "import sys; from unlearning.training import TrainSettings\n"
        f"for name in {OBJECTIVES.names()}: TrainSettings(objective=name)\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


class Halved(Objective):
    """Half of the cross-entropy."""

    one_device: ClassVar[bool] = True

    def _prepare(self, model: Any, data: Any, num_classes: int, epochs: int, seed: int) -> Prepared:
        return Prepared(model, data, keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def test_a_stranger_can_register_an_objective(tmp_path: Path) -> None:
    register("halved", Halved)
    try:
        assert "halved" in available() and summaries()["halved"] == "Half of the cross-entropy"
        with building_context(objective="halved"):
            model = image_model()
        settings = TrainSettings(epochs=2, objective="halved")
        files = {"checkpoint": tmp_path / "m.keras", "log": tmp_path / "l.csv"}
        _, report = train(model, batches(), settings=settings, **files)
        assert len(report.history) == 2
    finally:
        OBJECTIVES.remove("halved")
    with pytest.raises(InputError, match="one of cross-entropy"):
        TrainSettings(objective="halved")


@needs_tensorflow
@every_objective
def test_every_objective_learns_and_trains_the_given_model(name: str, tmp_path: Path) -> None:
    images, given, truth = blobs()
    model = image_model()
    before = model.get_weights()
    data = ShuffledBatches(images, given, batch_size=20, seed=2)
    ready = get(name).prepare(model, data, num_classes=2, epochs=8, seed=3)
    ready.model.compile(keras.optimizers.SGD(0.2), loss=ready.loss, metrics=["accuracy"])
    history = ready.model.fit(ready.data, epochs=8, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all() and set(history) == {"loss", "accuracy"}
    # MentorNet's loss is over fewer rows in the burn-in, here 2 epochs.
    start = 2 if name.startswith("mentor") else 0
    assert min(history["loss"][start + 1 :]) < history["loss"][start]
    # Under MixUp it is how often the larger half of a blend is recognised.
    assert history["accuracy"][-1] > 0.6
    predicted = np.argmax(model(images), -1)
    assert (predicted == truth).mean() > 0.9
    assert not all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert isinstance(model, keras.Sequential) and len(model.weights) == len(before)
    model.save(tmp_path / "model.keras")
    stored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(stored(images), model(images), atol=1e-6)


@needs_tensorflow
@pytest.mark.parametrize("name", ["mixup", "sam", "mentornet", "mentormix"])
def test_a_training_continued_from_saved_weights_ends_the_same(name: str, tmp_path: Path) -> None:
    images, labels, _ = blobs(40)

    class Reseed(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            ready.data.start_at(epoch)
            for number, layer in enumerate([self.model, *self.model.layers]):
                generator = getattr(layer, "seed_generator", None)
                if generator is not None:
                    state = np.array([number, epoch])
                    generator.state.assign(state.astype(generator.state.dtype))

    def run(first: int, last: int, load: bool) -> tuple[keras.Model, Any]:
        nonlocal ready
        model = image_model()
        data = ShuffledBatches(images, labels, batch_size=10, seed=2)
        # Of 10 epochs 2 are burn-in, and the interruption falls between them.
        ready = get(name).prepare(model, data, num_classes=2, epochs=10, seed=3)
        ready.model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss=ready.loss)
        if load:
            ready.model.optimizer.build(ready.model.trainable_variables)
            ready.model.load_weights(tmp_path / "state.weights.h5")
        ready.model.fit(ready.data, initial_epoch=first, epochs=last, shuffle=False, verbose=0, callbacks=[Reseed()])
        return model, ready.model

    ready: Any = None
    whole, _ = run(0, 4, False)
    _, interrupted = run(0, 1, False)
    interrupted.save_weights(tmp_path / "state.weights.h5")
    continued, wrapper = run(1, 4, True)
    for a, b in zip(whole.get_weights(), continued.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    if name.startswith("mentor"):
        assert int(wrapper.batches_seen) == 16


def test_plain_cross_entropy_changes_nothing() -> None:
    model, data = image_model(), batches()
    plain = get("cross-entropy").prepare(model, data, num_classes=2, epochs=3, seed=0)
    assert plain.model is model and plain.data is data
    assert type(plain.loss) is keras.losses.SparseCategoricalCrossentropy


def ready(name: str, data: Any = None, **options: float) -> Any:
    data = batches() if data is None else data
    return get(name, options).prepare(image_model(), data, num_classes=2, epochs=3, seed=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adaboost", {}),
        ("cross-entropy", {"alpha": 1}),
        ("mixup", {"rho": 1}),
        ("mixup", {"alpha": -1}),
        ("mixup", {"alpha": float("nan")}),
        ("logit-clip", {"threshold": 0}),
        ("mentornet", {"quantile": 1}),
        ("mentornet", {"quantile": "high"}),
        ("mentornet", {"ema": 1}),
        ("mentornet", {"ema": -0.1}),
        ("mentormix", {"alpha": 0}),
        ("mentormix", {"quantile": 0}),
        ("label-smoothing", {"rate": 1}),
        ("label-smoothing", {"rate": float("-inf")}),
    ],
)
def test_unknown_names_and_options_are_input_errors(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Invalid value for argument"):
        ready(name, **options)


def test_other_mistakes_are_input_errors() -> None:
    with pytest.raises(InputError, match="data"):
        MixUp((np.zeros((3, 2)), np.arange(3)), num_classes=3)
    with pytest.raises(InputError, match="num_classes"):
        MixUp(batches(), num_classes=1)
    with pytest.raises(InputError, match="burn_in"):
        MentorNetModel(linear_model(), burn_in=-1)
    with pytest.raises(InputError, match="data"):
        ready("mentornet", data=blobs()[:2])
    with pytest.raises(InputError, match="epochs"):
        get("mentornet").prepare(image_model(), batches(), num_classes=2, epochs=0, seed=0)
    for model in (keras.Sequential([keras.layers.Dense(2)]), object()):
        with pytest.raises(InputError, match="model"):
            MentorNetModel(model)
    inputs = keras.Input((2,))
    with pytest.raises(InputError, match="one output"):
        MentorMixModel(keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)]))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_objectives_work_on_another_backend() -> None:
    script = """
import keras, numpy as np
from unlearning.training.objectives import OBJECTIVES, get
from unlearning.training import ShuffledBatches

rng = np.random.default_rng(0)
labels = np.arange(40) % 2
images = (rng.normal(0, 0.5, (40, 2, 2, 1)) + (2 * labels - 1)[:, None, None, None]).astype("float32")
for name in OBJECTIVES:
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    data = ShuffledBatches(images, labels, batch_size=20)
    try:
        ready = get(name).prepare(model, data, num_classes=2, epochs=3, seed=0)
    except ValueError as error:
        print(name, error)
        continue
    ready.model.compile(keras.optimizers.SGD(0.1), loss=ready.loss, metrics=["accuracy"])
    loss = ready.model.fit(ready.data, epochs=3, shuffle=False, verbose=0).history["loss"]
    print(name, "finite" if np.isfinite(loss).all() else loss)
    if name.startswith("mentor"):
        assert float(ready.model.threshold) > 0 and int(ready.model.batches_seen) == 6
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert "tensorflow" in lines.pop("sam")
    assert lines == {name: "finite" for name in OBJECTIVES if name != "sam"}


def test_the_modules_import_no_tensorflow() -> None:
    for path in (ROOT / "unlearning" / "training" / "objectives").rglob("*.py"):
        assert not any(
            line.startswith(("import tensorflow", "from tensorflow")) for line in path.read_text().split("\n")
        )
