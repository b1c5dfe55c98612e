"""How Keras is set up on a machine is looked at before anything computes."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from unlearning.errors import InputError
from unlearning.records import Environment
from unlearning.startup import check_keras, import_tensorflow


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return tmp_path / "keras.json"


class TestKerasJson:
    @pytest.mark.parametrize(
        ("config", "match"),
        [
            ({"image_data_format": "channels_first"}, "channels last: set it to 'channels_last'"),
            ({"backend": "jax"}, r"keras\.json sets Keras up for the backend 'jax': set KERAS_BACKEND=tensorflow"),
            ({"floatx": "bfloat16"}, "floatx to 'bfloat16'"),
            ({"epsilon": 1}, "epsilon to 1"),
            (["tensorflow"], "a JSON object"),
        ],
    )
    def test_refused_in_one_line(self, home: Path, config, match: str) -> None:
        home.write_text(json.dumps(config))
        with pytest.raises(InputError, match=match) as raised:
            import_tensorflow()
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("text", [None, "{}", "{", '{"backend": "tensorflow", "epsilon": 1e-07}'])
    def test_taken(self, home: Path, text: str | None, caplog) -> None:
        if text is not None:
            home.write_text(text)
        check_keras()
        assert not caplog.records

    def test_the_environment_goes_before_the_file(self, home: Path, monkeypatch) -> None:
        home.write_text('{"backend": "jax"}')
        monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
        check_keras()
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        with pytest.raises(InputError, match="KERAS_BACKEND sets Keras up for the backend 'torch'"):
            check_keras()

    def test_another_precision_is_said_and_recorded(self, home: Path, monkeypatch, caplog) -> None:
        home.write_text('{"floatx": "float64"}')
        monkeypatch.delitem(sys.modules, "keras")
        with caplog.at_level(logging.WARNING, "unlearning"):
            check_keras()
        assert [record.message for record in caplog.records] == [
            f"{home} sets Keras up for float64: models are built in it, and records say so."
        ]

    def test_records_say_so_only_where_it_is_another_one(self, float64) -> None:
        from unlearning.repairs.environment import describe_environment

        found = describe_environment()
        assert found.model_dump()["floats"] == "float64"
        usual = Environment(**{**found.model_dump(), "floats": "float32"})
        assert "floats" not in usual.model_dump()
