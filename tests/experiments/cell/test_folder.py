"""The path grammar of an experiment folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout


class TestLayout:
    def test_the_published_set_up_has_the_published_path(self) -> None:
        folder = layout.default_experiment("cifar10", "cnn", "flip-pairs", None)
        cell = layout.cell_files(folder, 10000, 42)
        method = layout.method_files(cell.folder, "second-order")
        assert layout.clean_files(folder, None).results == Path("models/poisoning/clean/train_results.json")
        clean = layout.clean_files(folder, 42)
        assert clean.results == Path("models/poisoning/clean/seed-42/train_results.json")
        assert layout.parse_clean(clean.folder) == 42 and layout.parse_clean(cell.folder) is None
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
