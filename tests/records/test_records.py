"""Paths, records, hashes, and how damaged files are met."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from unlearning.experiments.cell.run import Experiment, MethodChoice, Settings
from unlearning.repairs.own import read_flagged

from unlearning.errors import InputError
from unlearning.evaluation import probabilities, restored_share
from unlearning.experiments.cell import folder as layout
from unlearning.records import (
    DataConfig,
    PoisonConfig,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    config_hash,
    differing_keys,
    finite,
    read_json,
    write_json,
)
from unlearning.task import REMOVED

TRAIN = TrainConfig(
    data=DataConfig(dataset="digits", data_seed=42),
    model="cnn_small",
    epochs=3,
    batch_size=128,
    learning_rate=1e-3,
    optimizer="adam",
    schedule="constant",
    weight_decay=0.0,
    augment=False,
    mixed_precision=False,
    deterministic=False,
    seed=42,
)
SCORES = {"precision": 1.0, "recall": 0.5, "f1-score": 0.6, "support": 3.0}
RESULTS = {
    **{str(k): SCORES for k in range(2)},
    **{"accuracy": 0.5, "macro avg": SCORES, "weighted avg": SCORES},
    **{"config_hash": "x", "train_loss": 0.1, "test_loss": 0.2, "epochs_for_min": 3, "time": 1.0},
    **{"cpu_time_s": 1.0, "rows": 5, "corrupted_rows": 0, "validation_accuracy_clean": 0.5},
    **{"validation_accuracy_noisy": None, "num_params": 7, "model_sha256": "y", "data_sha256": "z"},
    "environment": {"python": "3", "tensorflow": "2", "keras": "3", "numpy": "2", "device": "CPU", "threads": 2},
}


class TestLayout:
    def test_the_published_set_up_has_the_published_path(self) -> None:
        folder = layout.default_experiment("cifar10", "cnn", "flip-pairs", None)
        cell = layout.cell_files(folder, 10000, 42)
        method = layout.method_files(cell.folder, "second-order")
        assert layout.clean_files(folder).results == Path("models/poisoning/clean/train_results.json")
        assert cell.model == Path("models/poisoning/budget-10000/seed-42/poisoned_model.keras")
        assert method.results == cell.folder / "second-order" / "unlearning_results.json"
        assert layout.parse_cell(cell.folder) == (folder, 10000, 42)

    def test_set_ups_do_not_share_folders(self) -> None:
        names = {
            layout.default_experiment(*parts)
            for parts in (
                ("cifar10", "cnn", "flip-pairs", None),
                ("cifar10", "cnn", "flip-pairs", 100),
                ("cifar10", "cnn_small", "flip-pairs", None),
                ("cifar10", "cnn", "symmetric", None),
                ("digits", "cnn", "flip-pairs", None),
            )
        }
        assert len(names) == 5

    @pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a\\b", "x" * 101, "nul\0"])
    def test_names_cannot_leave_the_folder(self, name: str) -> None:
        with pytest.raises(InputError):
            layout.check_name("variant", name)
        with pytest.raises(InputError):
            layout.method_files(Path("cell"), name)

    @pytest.mark.parametrize("folder", ["x", "budget-1/seed-x", "budget-/seed-1", "seed-1/budget-1"])
    def test_what_is_not_a_cell(self, folder: str) -> None:
        with pytest.raises(InputError, match="run_dir"):
            layout.parse_cell(Path(folder))


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
        mixed = TRAIN.model_copy(update={"objective": "mixup", "objective_options": {"alpha": 0.4}})
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
            ("{}", "data: Field required"),
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
        results = TrainResults.model_validate(RESULTS)
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


class TestFlaggedRows:
    @staticmethod
    def read(tmp_path: Path, text: str):
        path = tmp_path / "flagged.csv"
        path.write_text(text)
        return read_flagged(path, rows=10, num_classes=3)

    def test_labels_removal_and_other_columns(self, tmp_path: Path) -> None:
        corrections = self.read(tmp_path, "score,row,corrected_label\n.5,7,2\n.1,0,\n")
        assert corrections.rows.tolist() == [7, 0] and corrections.labels.tolist() == [2, REMOVED]

    def test_byte_order_mark_and_windows_lines(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "\ufeffrow,corrected_label\r\n3,1\r\n").rows.tolist() == [3]

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("", "lacks the column"),
            ("row,label\n1,2\n", "corrected_label"),
            ("row,corrected_label\n", "flags no row"),
            ("row,corrected_label\n10,1\n", "line 2: row"),
            ("row,corrected_label\n1,1\n-1,1\n", "line 3: row"),
            ("row,corrected_label\n1.0,1\n", "line 2: row"),
            ("row,corrected_label\n1_0,1\n", "line 2: row"),
            ("row,corrected_label\n٣,1\n", "line 2: row"),
            ("row,corrected_label\n99999999999999999999,1\n", "line 2: row"),
            ("row,corrected_label\n1,3\n", "line 2: corrected_label"),
            ("row,corrected_label\n1,cat\n", "line 2: corrected_label"),
            ("row,corrected_label\n1,1\n1,2\n", "line 3: row 1 is flagged twice"),
            ("row,corrected_label\n1\n", "line 2"),
            ("row,corrected_label\n1,2,3\n", "line 2"),
            ('row,corrected_label\n"1,2\n', "CSV"),
            ("row,corrected_label\n1\0,2\n", "line 2|CSV"),
        ],
    )
    def test_malformed_lines_are_named(self, tmp_path: Path, text: str, match: str) -> None:
        with pytest.raises(InputError, match=match):
            self.read(tmp_path, text)

    def test_given_labels_say_whether_the_rows_are_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "suspects.csv"
        path.write_text("row,given_label,corrected_label\n3,2,1\n4,,1\n")
        given = np.arange(10) % 3
        with pytest.raises(InputError, match="line 2: training row 3 has the label 0, not the given_label '2'"):
            read_flagged(path, 10, 3, given)
        given[3] = 2
        assert read_flagged(path, 10, 3, given).rows.tolist() == [3, 4]

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="existing CSV"):
            read_flagged(tmp_path / "nowhere.csv", 10, 3)


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
            ({"methods": (MethodChoice("first-order"), MethodChoice("first-order"))}, "distinct"),
        ],
    )
    def test_bad_settings(self, options: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            Settings(**options)

    def test_a_grid_is_written_and_a_different_one_refused(self, tmp_path: Path) -> None:
        settings = {
            "budgets": (50, 100),
            "seeds": (1, 2),
            "output": tmp_path / "e",
            "methods": (MethodChoice("first-order"),),
        }
        paths = Experiment(Settings(**settings)).write_configs()
        assert len(paths) == len(set(paths)) == 1 + 4 * 3
        config = read_json(tmp_path / "e/budget-100/seed-2/first-order/unlearn_config.json", UnlearnConfig)
        assert config.method == "first-order" and config.hyperparameters["steps"] == 1
        before = {path: path.read_bytes() for path in paths}
        assert Experiment(Settings(**settings)).write_configs() == paths
        with pytest.raises(InputError, match=r"epochs \(30 there, 7 now\)"):
            Experiment(Settings(**settings, epochs=7)).write_configs()
        assert {path: path.read_bytes() for path in paths} == before

    def test_other_data_under_the_same_name_are_refused(self, tmp_path: Path) -> None:
        """Configurations record names, not paths or content; the results carry the hash."""
        images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
        path = tmp_path / "data.npz"
        np.savez(path, images=images, labels=np.arange(60) % 3)
        settings = Settings(dataset=str(path), budgets=(6,), output=tmp_path / "e")
        first = Experiment(settings)
        wanted = config_hash(read_json(first.write_configs()[0], TrainConfig))
        results = {**RESULTS, "config_hash": wanted, "data_sha256": first.data.fingerprint()}
        write_json(tmp_path / "e/clean/train_results.json", TrainResults.model_validate(results))
        assert Experiment(settings).ensure_clean().config_hash == wanted
        np.savez(path, images=images, labels=np.arange(60)[::-1] % 3)
        with pytest.raises(InputError, match="are not those"):
            Experiment(settings).ensure_clean()

    def test_variants_and_protocols_have_folders_of_their_own(self, tmp_path: Path) -> None:
        shared = {"budgets": (50,), "output": tmp_path / "e"}
        quick = MethodChoice("second-order", (("steps", 2),), "quick")
        for validation in ("noisy", "clean"):
            for choice in (MethodChoice("second-order"), quick):
                Experiment(Settings(**shared, validation=validation, methods=(choice,))).write_configs()
        names = {p.parent.name for p in (tmp_path / "e").rglob("unlearn_config.json")}
        assert names == {
            "second-order",
            "second-order-quick",
            "second-order-clean-validation",
            "second-order-quick-clean-validation",
        }


class TestScores:
    def test_restored_share(self) -> None:
        assert restored_share(0.6, 0.7, 0.8) == pytest.approx(0.5)
        assert restored_share(0.6, 0.5, 0.8) == pytest.approx(-0.5)
        assert restored_share(0.8, 0.9, 0.8) is None

    def test_probabilities_of_either_kind_of_scores(self) -> None:
        logits = np.array([[0.0, np.log(3.0)], [1000.0, 0.0]])
        expected = [[0.25, 0.75], [1.0, 0.0]]
        np.testing.assert_allclose(probabilities(logits), expected)
        np.testing.assert_allclose(probabilities(np.array(expected)), expected)
