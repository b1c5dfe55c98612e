"""What an experiment is asked for: checked, written, and found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.recorded import TRAIN_RESULTS
from unlearning.errors import InputError
from unlearning.experiments.cell.line import write_configs
from unlearning.experiments.cell.settings import MethodChoice, RunSettings
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.cell.training import ensure_clean
from unlearning.records import TrainConfig, TrainResults, UnlearnConfig, config_hash, read_json, write_json


class TestSettings:
    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"budgets": (5,), "rates": (0.1,)}, "not both"),
            ({"rates": (1.5,)}, "rates"),
            ({"budgets": (0,)}, "budgets"),
            ({"seeds": ()}, "seeds"),
            ({"seeds": (1, 1)}, "distinct"),
            ({"seeds": (-1,)}, "seeds"),
            ({"noise": "human", "budgets": (5,)}, "human"),
            ({"methods": (MethodChoice(name="first-order"), MethodChoice(name="first-order"))}, "distinct"),
        ],
    )
    def test_bad_settings(self, options: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            RunSettings(**options)

    def test_a_grid_is_written_and_a_different_one_refused(self, tmp_path: Path) -> None:
        settings = {
            "budgets": (50, 100),
            "seeds": (1, 2),
            "output": tmp_path / "e",
            "methods": (MethodChoice(name="first-order"),),
        }
        paths = write_configs(Setup(RunSettings(**settings)))
        assert len(paths) == len(set(paths)) == 2 + 4 * 3
        config = read_json(tmp_path / "e/budget-100/seed-2/first-order/unlearn_config.json", UnlearnConfig)
        assert config.method == "first-order" and config.hyperparameters["steps"] == 1
        before = {path: path.read_bytes() for path in paths}
        assert write_configs(Setup(RunSettings(**settings))) == paths
        with pytest.raises(InputError, match=r"epochs \(30 there, 7 now\)"):
            write_configs(Setup(RunSettings(**settings, epochs=7)))
        assert {path: path.read_bytes() for path in paths} == before

    def test_other_data_under_the_same_name_are_refused(self, tmp_path: Path) -> None:
        """Configurations record names, not paths or content; the results carry the hash."""
        images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
        path = tmp_path / "data.npz"
        np.savez(path, images=images, labels=np.arange(60) % 3)
        settings = RunSettings(dataset=str(path), budgets=(6,), output=tmp_path / "e")
        first = Setup(settings)
        wanted = config_hash(read_json(write_configs(first)[0], TrainConfig))
        results = {**TRAIN_RESULTS, "config_hash": wanted, "data_sha256": first.data_sha256}
        write_json(tmp_path / "e/clean/seed-42/train_results.json", TrainResults.model_validate(results))
        assert ensure_clean(Setup(settings), 42).config_hash == wanted
        np.savez(path, images=images, labels=np.arange(60)[::-1] % 3)
        with pytest.raises(InputError, match="are not those"):
            ensure_clean(Setup(settings), 42)
        with pytest.raises(InputError, match="are not those"):
            ensure_clean(Setup(settings.changed(seeds=(7,))), 7)
        assert not (tmp_path / "e/clean/seed-7").exists()

    def test_variants_and_protocols_have_folders_of_their_own(self, tmp_path: Path) -> None:
        shared = {"budgets": (50,), "output": tmp_path / "e"}
        quick = MethodChoice(name="second-order", overrides={"steps": 2}, variant="quick")
        for validation in ("noisy", "clean"):
            for choice in (MethodChoice(name="second-order"), quick):
                write_configs(Setup(RunSettings(**shared, validation=validation, methods=(choice,))))
        names = {p.parent.name for p in (tmp_path / "e").rglob("unlearn_config.json")}
        assert names == {
            "second-order",
            "second-order-quick",
            "second-order-clean-validation",
            "second-order-quick-clean-validation",
        }
