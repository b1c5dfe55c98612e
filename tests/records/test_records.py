"""Records, their hashes, and how damaged files are met."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.recorded import SCORES, TRAIN, TRAIN_RESULTS
from unlearning.errors import InputError
from unlearning.records import (
    DataConfig,
    PoisonConfig,
    TrainConfig,
    TrainResults,
    config_hash,
    differing_keys,
    finite,
    read_json,
    write_json,
)


class TestRecords:
    def test_round_trip(self, tmp_path: Path) -> None:
        write_json(tmp_path / "sub" / "c.json", TRAIN)
        assert read_json(tmp_path / "sub" / "c.json", TrainConfig) == TRAIN
        assert [p.name for p in (tmp_path / "sub").iterdir()] == ["c.json"]

    def test_hash_covers_every_field_and_ignores_order(self) -> None:
        poison = PoisonConfig(noise="pair", budget=5, seed=1)
        assert config_hash(TRAIN, poison) == config_hash(TRAIN.model_copy(), poison.model_copy())
        hashes = {config_hash(TRAIN), config_hash(TRAIN, poison), config_hash(poison)}
        for field, value in (("epochs", 4), ("seed", 43), ("augment", True), ("learning_rate", 1e-4)):
            hashes.add(config_hash(TRAIN.model_copy(update={field: value})))
        assert len(hashes) == 7

    def test_the_plain_objective_leaves_no_trace(self) -> None:
        """Folders from before there were objectives must keep their hashes."""
        assert not {"objective", "objective_options"} & set(TRAIN.model_dump())
        mixed = TRAIN.changed(objective="mixup", objective_options={"alpha": 0.4})
        assert TrainConfig.model_validate(mixed.model_dump()) == mixed
        assert config_hash(mixed) != config_hash(TRAIN)
        assert differing_keys(TRAIN, mixed) == [
            "objective (None there, 'mixup' now)",
            "objective_options (None there, {'alpha': 0.4} now)",
        ]

    def test_differences_are_named_with_both_values(self) -> None:
        other = TRAIN.model_copy(update={"epochs": 9, "data": DataConfig(dataset="digits", data_seed=1)})
        assert differing_keys(TRAIN, other) == ["data.data_seed (42 there, 1 now)", "epochs (3 there, 9 now)"]

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("", "not valid JSON"),
            ("{", "not valid JSON"),
            ("[" * 100_000, "not valid JSON"),
            ("[]", "not a valid TrainConfig"),
            ("{}", "epochs: Field required"),
            (json.dumps({**TRAIN.model_dump(), "epochs": "many"}), "epochs"),
            (json.dumps({**TRAIN.model_dump(), "surprise": 1}), "surprise"),
            (json.dumps({**TRAIN.model_dump(), "schema_version": 99}), "schema_version"),
            ('{"epochs": ' + "9" * 5000 + "}", "TrainConfig|not valid JSON"),
        ],
    )
    def test_damaged_files_give_one_line(self, tmp_path: Path, text: str, match: str) -> None:
        path = tmp_path / "train_config.json"
        path.write_text(text)
        with pytest.raises(InputError, match=match) as caught:
            read_json(path, TrainConfig)
        assert str(path) in str(caught.value)

    def test_binary_huge_and_missing_files(self, tmp_path: Path) -> None:
        (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
        with (tmp_path / "h.json").open("wb") as file:
            file.truncate(2**27)
        for name in ("b.json", "h.json", "nowhere.json"):
            with pytest.raises(InputError):
                read_json(tmp_path / name, TrainConfig)

    def test_results_keep_the_published_keys(self, tmp_path: Path) -> None:
        results = TrainResults.model_validate(TRAIN_RESULTS)
        write_json(tmp_path / "r.json", results)
        stored = json.loads((tmp_path / "r.json").read_text())
        assert stored["0"] == SCORES and stored["macro avg"] == SCORES and stored["schema_version"] == 1
        assert read_json(tmp_path / "r.json", TrainResults) == results

    def test_what_is_not_a_number_becomes_null(self) -> None:
        assert finite({"a": [float("nan"), 1.0], "b": float("inf"), "c": ("x", 2)}) == {
            "a": [None, 1.0],
            "b": None,
            "c": ["x", 2],
        }
