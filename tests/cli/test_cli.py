"""The command line: what a command computes, writes and says."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from support.command import PATIENCE_S, TINY, assert_refused, cli, process, program, tree
from support.grid import registered
from support.trees import without_times


@pytest.fixture(scope="session")
def experiment(tiny: Path) -> Path:
    """A finished tiny experiment; tests that write copy it."""
    return tiny


class TestRun:
    def test_the_tree(self, experiment: Path) -> None:
        told = experiment.with_name("out").read_text()
        assert "second-order" in told and "restored" in told
        assert sorted(tree(experiment)) == sorted(
            [
                f"clean/seed-1/{n}"
                for n in ("best_model.keras", "train_config.json", "train_log.csv", "train_results.json")
            ]
            + [
                f"budget-60/seed-1/{n}"
                for n in (
                    "corruption.npz",
                    "poison_config.json",
                    "poisoned_model.keras",
                    "train_config.json",
                    "train_log.csv",
                    "train_results.json",
                )
            ]
            + [
                f"budget-60/seed-1/{method}/{n}"
                for method in ("first-order", "second-order")
                for n in (
                    "figures/confusion_after.png",
                    "figures/confusion_before.png",
                    "figures/steps.png",
                    "log_step.csv",
                    "repaired_model.keras",
                    "unlearn_config.json",
                    "unlearning_results.json",
                )
            ]
        )

    def test_the_numbers_hang_together(self, experiment: Path) -> None:
        """Recomputed from the stored models by plain Keras."""
        import keras

        from unlearning.data import load_data

        data = load_data("digits", train_rows=300)
        cell = experiment / "budget-60/seed-1"
        results = json.loads((cell / "second-order/unlearning_results.json").read_text())
        scores = {}
        for name, path in (
            ("acc_clean", experiment / "clean/seed-1/best_model.keras"),
            ("acc_before_fix", cell / "poisoned_model.keras"),
            ("acc_after_fix", cell / "second-order/repaired_model.keras"),
        ):
            predictions = keras.saving.load_model(path).predict(data.test.images, verbose=0).argmax(-1)
            scores[name] = float((predictions == data.test.labels).mean())
            assert results[name] == pytest.approx(scores[name], abs=1e-9)
        lost = scores["acc_clean"] - scores["acc_before_fix"]
        gained = scores["acc_after_fix"] - scores["acc_before_fix"]
        assert results["acc_perc_restored"] == (pytest.approx(gained / lost) if lost > 0 else None)
        assert results["rate"] == 60 / 300 and results["n_gradients"] == results["work"]["gradient_rows"] > 0
        assert results["validation_accuracy_after"] >= results["validation_accuracy_before"]
        text = "".join(p.read_text() for p in experiment.rglob("*.json"))
        assert str(experiment.parent) not in text and str(Path.home()) not in text, "no absolute paths in files"

    def test_a_second_run_only_prints(self, experiment: Path) -> None:
        before = {p: p.stat().st_mtime_ns for p in experiment.rglob("*")}
        done = process("run", *TINY, "--out", "e", "--json", cwd=experiment.parent)
        assert done.returncode == 0
        assert [r["method"] for r in json.loads(done.stdout)] == ["first-order", "second-order"]
        assert {p: p.stat().st_mtime_ns for p in experiment.rglob("*")} == before
        assert done.stderr == "", "no log noise"

    @pytest.mark.slow
    def test_a_fresh_process_gives_equal_numbers(self, experiment: Path, tmp_path: Path) -> None:
        done = process("run", *TINY, "--methods", "first-order", "--out", "again", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        made = sorted((tmp_path / "again").rglob("*.json"))
        assert len(made) == 7
        for again in made:
            path = experiment / again.relative_to(tmp_path / "again")
            first, second = (without_times(json.loads(p.read_text())) for p in (path, again))
            for record in (first, second):
                record.pop("model_sha256", None)  # .keras archives carry the time of writing
            assert first == second, path

    @pytest.mark.slow
    def test_kill_9_and_resume(self, experiment: Path, tmp_path: Path) -> None:
        command = program("run", *TINY, "--out", "e")
        killed = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        backup = tmp_path / "e/budget-60/seed-1/backup"
        deadline = time.monotonic() + PATIENCE_S
        while not list(backup.glob("state-*")) and killed.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert list(backup.glob("state-*")), "the poisoned training should have been under way"
        assert not (tmp_path / "e/budget-60/seed-1/train_results.json").exists()
        done = cli("run", *TINY, "--out", "e", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert sorted(tree(tmp_path / "e")) == sorted(tree(experiment))
        name = "budget-60/seed-1/second-order/unlearning_results.json"
        first, second = (without_times(json.loads((root / name).read_text())) for root in (experiment, tmp_path / "e"))
        for record in (first, second):
            record.pop("model_sha256")
        assert first == second

    def test_a_different_configuration_is_refused(self, experiment: Path) -> None:
        before = tree(experiment)
        done = cli("run", *TINY, "--epochs", "5", "--out", "e", cwd=experiment.parent)
        assert done.returncode == 2 and "epochs (4 there, 5 now)" in done.stderr
        assert tree(experiment) == before

    def test_a_damaged_model_is_trained_again(self, experiment: Path, tmp_path: Path) -> None:
        shutil.copytree(experiment, tmp_path / "e")
        cell = tmp_path / "e/budget-60/seed-1"
        shutil.rmtree(cell / "first-order")
        with (cell / "poisoned_model.keras").open("r+b") as file:
            file.seek(1000)
            file.write(b"damage")
        done = cli("run", *TINY, "--out", "e", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "does not match" in done.stderr
        assert (cell / "first-order/unlearning_results.json").is_file()

    def test_a_damaged_result_is_named(self, experiment: Path, tmp_path: Path) -> None:
        shutil.copytree(experiment, tmp_path / "e")
        (tmp_path / "e/budget-60/seed-1/train_results.json").write_text("{")
        done = cli("detect", "e/budget-60/seed-1", "--detect", "neighbours", cwd=tmp_path)
        assert_refused(done, "train_results.json is not valid JSON")


class TestOtherCommands:
    def test_unlearn_and_show(self, experiment: Path, tmp_path: Path) -> None:
        shutil.copytree(experiment, tmp_path / "e")
        cell = Path("e/budget-60/seed-1")
        options = ("--set", "steps=2", "--variant", "two", "--validation", "clean", "--json")
        done = cli("unlearn", "second-order", cell, *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (result,) = json.loads(done.stdout)
        assert result["config"]["hyperparameters"]["steps"] == 2
        assert result["config"]["validation"] == "clean"
        assert (tmp_path / cell / "second-order-two-clean-validation/unlearning_results.json").is_file()
        for folder in ("e", cell, cell / "first-order"):
            done = cli("show", folder, cwd=tmp_path)
            assert done.returncode == 0 and "first-order" in done.stdout
            assert max(map(len, done.stdout.splitlines())) <= 100

    def test_the_stored_corruption_is_what_counts(self, experiment: Path, tmp_path: Path) -> None:
        """Not one drawn anew: the model was trained on the stored one, and human labels need no file again."""
        shutil.copytree(experiment, tmp_path / "e")
        (tmp_path / "e/budget-60/seed-1/corruption.npz").write_bytes(b"damaged")
        done = cli("unlearn", "first-order", "e/budget-60/seed-1", "--variant", "again", cwd=tmp_path)
        assert_refused(done, "Cannot read the corruption")
        assert not list(tmp_path.rglob("first-order-again/unlearning_results.json"))

    def test_chains_and_methods_without_flagged_rows(self, experiment: Path, tmp_path: Path) -> None:
        """One process runs both; the chain keeps every stage's settings, history and details in one record."""
        shutil.copytree(experiment, tmp_path / "e")
        names = "sap,sap+first-order"
        options = ("--set", "sap.trusted_count=80", "--set", "sap+first-order.sap.trusted_count=80")
        done = cli("run", *TINY, "--out", "e", "--methods", names, *options, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        alone, chain = json.loads(done.stdout)
        assert alone["config"]["hyperparameters"]["trusted_count"] == 80
        assert alone["rows"]["trusted_rows"]["count"] == 80 and alone["history"][1]["alpha"] == 1e6
        assert {layer["name"] for layer in alone["details"]["layers"]} >= {"conv_1", "dense_1", "logits"}
        assert set(chain["config"]["hyperparameters"]) == {"sap", "first-order"}
        assert chain["rows"] == {"sap.trusted_rows": alone["rows"]["trusted_rows"]}, "hashes of the same rows"
        assert {row["stage"] for row in chain["history"]} == {"sap", "first-order"}
        assert chain["validation_accuracy_after"] >= alone["validation_accuracy_after"]
        for name in ("sap", "sap+first-order"):
            assert (tmp_path / "e/budget-60/seed-1" / name / "figures/projection.png").is_file()

    def test_objectives_and_training_alone(self, tmp_path: Path) -> None:
        options = ("--objective", "mixup", "--objective-option", "alpha=0.4")
        with registered():
            done = cli("run", "--until", "training", *TINY, "--model", "tiny", *options, "--out", "e", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        config = json.loads((tmp_path / "e/clean/seed-1/train_config.json").read_text())
        assert (config["objective"], config["objective_options"]) == ("mixup", {"alpha": 0.4})
        assert "budget-60/seed-1" in done.stdout and "clean/seed-1" in done.stdout
        assert not list(tmp_path.rglob("unlearning_results.json"))
        again = cli("run", *TINY, "--out", "e", "--methods", "first-order", cwd=tmp_path)
        assert_refused(again, "another configuration")

    def test_configs(self, tmp_path: Path) -> None:
        done = cli("run", "--until", "configs", "--budgets", "50,100", "--seeds", "1,2", "--out", "e", cwd=tmp_path)
        assert done.returncode == 0 and len(done.stdout.splitlines()) == 2 + 4 * 4
        assert {p.suffix for p in (tmp_path / "e").rglob("*") if p.is_file()} == {".json"}


class TestRepair:
    @pytest.fixture(scope="class")
    def own(self, experiment: Path, tmp_path_factory) -> Path:
        """A user's folder: a poisoned model, the data it was trained on, and a list of flagged rows."""
        from unlearning.data import load_data
        from unlearning.noise import Corruption

        folder = tmp_path_factory.mktemp("own")
        shutil.copy(experiment / "budget-60/seed-1/poisoned_model.keras", folder / "model.keras")
        corruption = Corruption.load(experiment / "budget-60/seed-1/corruption.npz")
        data = load_data("digits", train_rows=300)
        given = corruption.apply(data.train)
        np.savez(
            folder / "data.npz",
            train_images=given.images,
            train_labels=given.labels,
            validation_images=data.validation.images,
            validation_labels=data.validation.labels,
            test_images=data.test.images,
            test_labels=data.test.labels,
        )
        lines = [f"{row},{corruption.true_labels[row]}" for row in corruption.rows[:-5]]
        lines += [f"{row}," for row in corruption.rows[-5:]]
        (folder / "flagged.csv").write_text("row,corrected_label\n" + "\n".join(lines) + "\n")
        (folder / "empty.csv").write_text("row,corrected_label\n")
        (folder / "range.csv").write_text("row,corrected_label\n3,1\n300,1\n")
        (folder / "label.csv").write_text("row,corrected_label\n3,10\n")
        (folder / "broken.keras").write_bytes(b"PK\x03\x04 not a model")
        np.savez(folder / "wide.npz", images=np.zeros((60, 9, 8, 1), np.uint8), labels=np.arange(60) % 10)
        np.savez(folder / "few.npz", images=np.zeros((60, 8, 8, 1), np.uint8), labels=np.arange(60) % 3)
        return folder

    def test_repairs_the_model(self, own: Path) -> None:
        base = ("repair", "model.keras", "--data", "data.npz", "--flagged", "flagged.csv")
        done = cli(*base, "--out", "sub/fixed.keras", "--trainable-from", "dense_1", cwd=own)
        assert done.returncode == 0, done.stderr
        record = json.loads((own / "sub/fixed.json").read_text())
        assert record["applied"] and record["flagged_rows"] == 60 and record["removed_rows"] == 5
        assert record["test_accuracy_after"] > record["test_accuracy_before"]
        assert record["corrected_accuracy_after"] > record["corrected_accuracy_before"]
        assert record["hyperparameters"]["trainable_from"] == "dense_1"
        import keras

        model = keras.saving.load_model(own / "sub/fixed.keras")
        with np.load(own / "data.npz") as data:
            predictions = model.predict(data["test_images"], verbose=0).argmax(-1)
            assert record["test_accuracy_after"] == pytest.approx((predictions == data["test_labels"]).mean())
        before = tree(own / "sub")
        again = cli(*base, "--out", "sub/fixed.keras", cwd=own)
        assert again.returncode == 2 and "--force" in again.stderr
        assert tree(own / "sub") == before

    def test_repairs_without_flagged_rows(self, own: Path) -> None:
        base = ("repair", "model.keras", "--data", "data.npz", "--set", "trusted_count=80")
        done = cli(*base, "--method", "sap", "--out", "sap/fixed.keras", cwd=own)
        assert done.returncode == 0, done.stderr
        record = json.loads((own / "sap/fixed.json").read_text())
        assert (
            record["flagged_rows"] == 0
            and len(np.load(own / "sap/fixed-rows.npz")["trusted_rows"])
            == 80
            == record["rows"]["trusted_rows"]["count"]
        )
        assert record["validation_accuracy_after"] >= record["validation_accuracy_before"]
        refused = cli(*base[:4], "--method", "sap+second-order", "--out", "no.keras", cwd=own)
        assert_refused(refused, "--flagged")

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"model": "nowhere.keras"}, "existing file"),
            ({"model": "broken.keras"}, "Cannot load the model"),
            ({"model": "data.npz"}, ".keras"),
            ({"--data": "nowhere.npz"}, "existing .npz"),
            ({"--data": "wide.npz", "--flagged": "one.csv"}, "input shape"),
            ({"--data": "few.npz", "--flagged": "one.csv"}, "3 outputs"),
            ({"--flagged": "nowhere.csv"}, "existing CSV"),
            ({"--flagged": "empty.csv"}, "flags no row"),
            ({"--flagged": "range.csv"}, "line 3"),
            ({"--flagged": "label.csv"}, "corrected_label"),
            ({"--method": "magic"}, "second-order"),
            ({"--trainable-from": "nowhere"}, "dense_1"),
            ({"--set": "steps=none"}, "steps"),
            ({"--set": "steps"}, "name=value"),
            ({"--out": "fixed.h5"}, ".keras"),
            ({"--out": "./model.keras"}, "the model itself"),
            ({"--out": "flagged.csv/fixed.keras"}, "flagged.csv"),
        ],
    )
    def test_bad_input(self, own: Path, change: dict[str, str], match: str) -> None:
        (own / "one.csv").write_text("row,corrected_label\n3,1\n")
        options = {"--data": "data.npz", "--flagged": "flagged.csv", "--out": "out.keras", **change}
        model = options.pop("model", "model.keras")
        before = tree(own)
        done = cli("repair", model, *[part for item in options.items() for part in item], cwd=own)
        assert_refused(done, match)
        assert tree(own) == before


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("run", "--data", "cifar-10"), "cifar10"),
        (("run", "--data", "nowhere.npz"), "existing"),
        (("run", "--model", "lenet"), "cnn_small"),
        (("run", "--methods", "magic"), "first-order"),
        (("run", "--methods", "first-order,first-order"), "twice"),
        (("run", "--noise", "gaussian"), "flip-pairs"),
        (("run", "--noise", "human"), "labels_file"),
        (("run", "--noise", "asymmetric"), "map"),
        (("run", "--budgets", "5000"), "budget"),
        (("run", "--budgets", "many"), "numbers"),
        (("run", "--budgets", "5", "--rates", "0.1"), "not both"),
        (("run", "--rates", "2"), "rates"),
        (("run", "--epochs", "0"), "epochs"),
        (("run", "--train-rows", "99999"), "train_rows"),
        (("run", "--set", "second-order.stpes=1"), "steps"),
        (("run", "--set", "third-order.steps=1"), "METHOD.FIELD"),
        (("run", "--variant", "../../up"), "letters"),
        (("run", "--methods", "sap+magic"), "first-order"),
        (("run", "--methods", "sap+sap"), "different methods"),
        (("run", "--methods", "sap", "--set", "sap.alphas=[1.0]"), "greater than 1"),
        (("run", "--methods", "fine-tuning", "--set", "fine-tuning.seconds=like:sap"), "finished result"),
        (("run", "--methods", "sharding", "--set", "sharding.shards=0"), "shards"),
        (("run", "--objective", "hope"), "mentornet"),
        (("run", "--objective", "sam", "--objective-option", "tau=1"), "rho"),
        (("run", "--objective", "sam", "--objective-option", "rho=small"), "objective_options.rho"),
        (("run", "--data", "clothing1m:nowhere"), "nowhere"),
        (("run", "--out", "file/e"), "file"),
        (("unlearn", "second-order", "nowhere"), "run_dir"),
        (("unlearn", "second-order", "budget-5/seed-1"), "poison_config"),
        (("unlearn", "magic", "budget-5/seed-1"), "first-order"),
        (("show", "nowhere"), "no folder"),
        (("show", "."), "holds no"),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_no_files(tmp_path: Path, arguments: tuple[str, ...], match: str) -> None:
    (tmp_path / "file").write_text("")
    done = cli(*arguments, cwd=tmp_path)
    assert_refused(done, match)
    assert list(tree(tmp_path)) == ["file"]
