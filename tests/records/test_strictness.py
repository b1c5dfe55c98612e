"""What a record refuses: on reading and in its JSON Schema alike."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from support.paths import FIXTURES
from support.recorded import TRAIN, TRAIN_RESULTS
from unlearning.errors import InputError
from unlearning.records import KINDS, TrainConfig, config_hash, parse_record, read_raw
from unlearning.records.schema import schema_of

WRONG: list[tuple[str, str, Any]] = [
    ("unlearning_results", "membership_auc_after", 7),
    ("unlearning_results", "rate", 5),
    ("unlearning_results", "rate", "0.2"),
    ("unlearning_results", "rate", True),
    ("unlearning_results", "acc_clean", -0.1),
    ("unlearning_results", "acc_perc_restored", "all"),
    ("unlearning_results", "budget", -1),
    ("unlearning_results", "budget", 2.5),
    ("unlearning_results", "budget", "100"),
    ("unlearning_results", "applied", 1),
    ("unlearning_results", "unlearning_duration_s", -1.0),
    ("unlearning_results", "model_sha256", "abc"),
    ("unlearning_results", "model_sha256", "a" * 64 + "\n"),
    ("unlearning_results", "work.gradient_rows", -1),
    ("unlearning_results", "schema_version", True),
    ("unlearning_results", "surprise", 1),
    ("train_results", "0.recall", 9),
    ("train_results", "macro avg.recall", True),
    ("train_results", "accuracy", 1.01),
    ("train_results", "accuracy", None),
    ("train_results", "surprise", 1),
    ("train_config", "epochs", 0),
    ("train_config", "epochs", None),
    ("train_config", "learning_rate", "0.1"),
    ("train_config", "decay", 0),
    ("train_config", "optimizer", "adamw"),
    ("train_config", "data.data_seed", "1"),
    ("poison_config", "labels_sha256", "abc"),
]


def example(kind: str) -> dict[str, Any]:
    """A valid file's content."""
    if kind == "train_results":
        return copy.deepcopy(TRAIN_RESULTS)
    path = FIXTURES / "of-every-kind/experiment/budget-314/seed-42"
    return read_raw(next(path.rglob(f"{kind}.json")))


def changed(kind: str, name: str, value: Any) -> dict[str, Any]:
    content = example(kind)
    *above, last = name.split(".")
    inside = content
    for part in above:
        inside = inside[part]
    inside[last] = value
    return content


@pytest.mark.parametrize(("kind", "name", "value"), WRONG)
def test_wrong_values_are_refused_by_reader_and_schema(kind: str, name: str, value: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    content = changed(kind, name, value)
    with pytest.raises(InputError, match=name.rsplit(".", 1)[-1]):
        parse_record(Path(f"{kind}.json"), content, KINDS[kind])
    validator = jsonschema.Draft202012Validator(schema_of(kind))
    assert validator.is_valid(example(kind)) and not validator.is_valid(content)


@pytest.mark.parametrize("name", sorted(set(TRAIN.model_dump()) - {"schema_version"}))
def test_a_configuration_says_everything(name: str) -> None:
    """The recipe has defaults for users, who may change from version to version; what was done is written down."""
    content = {key: value for key, value in TRAIN.model_dump(mode="json").items() if key != name}
    with pytest.raises(InputError, match=f"{name}: Field required"):
        parse_record(Path("train_config.json"), content, TrainConfig)
    assert name in schema_of("train_config")["required"]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"milestones": [3]}, "schedule"),
        ({"schedule": "step"}, "milestones"),
        ({"decay": 0.5}, "decay"),
        ({"nesterov": False}, "nesterov"),
        ({"objective": "nonsense"}, "objective"),
        ({"objective_options": {"alpha": 1.0}}, "alpha|objective"),
    ],
)
def test_fields_that_do_not_fit_together_are_one_line(values: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        parse_record(Path("there/train_config.json"), TRAIN.model_dump(mode="json") | values, TrainConfig)
    assert "there/train_config.json" in str(caught.value) and "\n" not in str(caught.value)


def test_any_finite_number_may_be_restored() -> None:
    content = changed("unlearning_results", "acc_perc_restored", -31.5)
    assert parse_record(Path("x.json"), content, KINDS["unlearning_results"]).acc_perc_restored == -31.5


def test_names_of_fields_are_no_keys() -> None:
    """The key is `f1-score`; what the schema does not know is not read either."""
    content = copy.deepcopy(TRAIN_RESULTS)
    content["0"]["f1_score"] = content["0"].pop("f1-score")
    with pytest.raises(InputError, match="f1-score"):
        parse_record(Path("x.json"), content, KINDS["train_results"])


def test_hashes_are_of_what_is_written() -> None:
    stored = json.loads(json.dumps(TRAIN.model_dump(mode="json", by_alias=True)))
    assert config_hash(parse_record(Path("x.json"), stored, TrainConfig)) == config_hash(TRAIN)
