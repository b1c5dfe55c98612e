"""Configurations of published tables: they are what the records say was run, and mistakes in them are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.paths import PUBLISHED, ROOT
from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.published.config import config_files, config_path, read_config
from unlearning.experiments.published.reproducing import expected_numbers, steps
from unlearning.records import PoisonConfig, TrainConfig, UnlearnConfig, differing_keys, read_json

NAMES = sorted(path.stem for path in (ROOT / "configs").glob("*.toml"))
SMALL = """
title = "t"
experiment = "e"
[settings]
budgets = [40]
[[runs]]
methods = [{ name = "first-order" }]
[hardware]
machine = "one"
threads = 2
minutes = 1
[table]
headings = ["method"]
columns = ["after"]
rows = [{ folder = "first-order", texts = ["`first-order`"] }]
[expected]
rows = [{ method = "first-order", column = "after", mean = 1.0, seeds = 1 }]
"""


@pytest.fixture(autouse=True)
def _in_a_clone(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)


def test_every_published_table_has_one() -> None:
    assert [path.stem for path in config_files()] == NAMES and len(NAMES) >= 8


@pytest.mark.parametrize("name", NAMES)
class TestCommitted:
    def test_it_runs_what_was_run(self, name: str) -> None:
        """Every configuration that it makes is equal to the recorded one, defaults of today included."""
        table = read_config(config_path(name))
        compared = 0
        for step in steps(table, PUBLISHED / table.experiment):
            for seed in step.run.seeds:
                cell = layout.cell_files(step.setup.folder, table.budget, seed)
                recorded = read_json(cell.config, TrainConfig)
                assert differing_keys(recorded, step.setup.train_config(seed)) == []
                for planned in step.setup.repairs:
                    config = read_json(planned.files(cell.folder).config, UnlearnConfig)
                    assert differing_keys(config, planned.config(seed)) == [], planned.label
                    compared += 1
        assert compared >= len(table.table.rows)

    def test_it_makes_all_rows_and_no_others(self, name: str) -> None:
        table = read_config(config_path(name))
        made = [
            f"{step.run.within}/{planned.label}" if step.run.within else planned.label
            for step in steps(table)
            for planned in step.setup.repairs
        ]
        assert sorted(made) == sorted(row.key for row in table.table.rows)

    def test_it_expects_what_the_records_say(self, name: str) -> None:
        table = read_config(config_path(name))
        assert table.expected.rows == tuple(expected_numbers(table, PUBLISHED / table.experiment))
        for number in table.expected.rows:
            assert number.std is not None or number.column in table.expected.spread_of_one_seed, number

    def test_flawed_rows_are_marked_and_explained(self, name: str) -> None:
        """Version 0.1 drew noise and curvature rows from one stream: with symmetric noise all of these were wrong."""
        table = read_config(config_path(name))
        streams = {
            read_json(path, PoisonConfig).streams
            for path in (PUBLISHED / table.experiment).rglob(f"budget-{table.budget}/*/poison_config.json")
        }
        flawed = streams == {"seed"} and any(run.noise == "symmetric" for run in table.runs)
        found = [row for row in table.table.rows if "second-order" in row.folder]
        assert len(streams) == 1 and all(row.texts[0].endswith("†") == flawed for row in found)
        if flawed and found:
            assert "curvature rows" in table.note


class TestMistakes:
    @pytest.mark.parametrize(
        ("old", "new", "match"),
        [
            ('title = "t"', 'title = "t"\nsubtitle = "u"', "subtitle.*title"),
            ('title = "t"', "title = 7", "title"),
            ('title = "t"', "title = 1979-05-27", "date"),
            ('title = "t"', "title = [", "as TOML"),
            ("budgets = [40]", "budgets = [40]\nepoch = 3", r"runs\.0\.epoch`.*epochs"),
            ("budgets = [40]", "budgets = ['40']", "integer"),
            ("budgets = [40]", "rates = [0.2]", "budgets"),
            ("budgets = [40]", 'budgets = [40]\noutput = "/tmp"', "output"),
            ("budgets = [40]", "budgets = [40, 50]", "budgets"),
            ('[{ name = "first-order" }]', '[{ nam = "first-order" }]', r"methods\.0.*name"),
            ('[{ name = "first-order" }]', '[{ name = "a" }, { name = "a" }]', "distinct methods"),
            ('methods = [{ name = "first-order" }]', 'within = "../x"', "methods|within"),
            ("minutes = 1", "minutes = nan", "hardware.minutes"),
            ("minutes = 1", "minute = 1", r"hardware\.minute"),
            ('columns = ["after"]', 'columns = ["hope"]', "hope"),
            ('columns = ["after"]', 'columns = ["seeds"]', "some numbers"),
            ('texts = ["`first-order`"]', "texts = []", "1 cells of text"),
            ('texts = ["`first-order`"]', 'texts = ["a | b"]', "Markdown"),
            ('column = "after", mean', 'column = "before", mean', "rows and columns of the table"),
            ('method = "first-order", column', 'method = "sap", column', "rows and columns of the table"),
        ],
    )
    def test_a_mistake_names_file_and_field(self, tmp_path: Path, old: str, new: str, match: str) -> None:
        path = tmp_path / "mine.toml"
        path.write_text(SMALL)
        assert read_config(path).budget == 40
        assert old in SMALL
        path.write_text(SMALL.replace(old, new))
        with pytest.raises(InputError, match=match) as raised:
            read_config(path)
        assert "mine.toml" in str(raised.value)

    def test_files_of_strangers(self, tmp_path: Path) -> None:
        path = tmp_path / "deep.toml"
        path.write_text("a = " + 10**5 * "[")
        with pytest.raises(InputError, match=r"deep.toml as TOML"):
            read_config(path)
        path.write_text("#" * (2**20 + 1))
        with pytest.raises(InputError, match="at most"):
            read_config(path)
        path.write_bytes(b"\xff\xfe")
        with pytest.raises(InputError, match=r"deep.toml as text"):
            read_config(path)

    def test_an_unknown_name_lists_the_known(self, tmp_path: Path, monkeypatch) -> None:
        with pytest.raises(InputError, match="digits, flip-pairs"):
            config_path("hope")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match="no folder configs"):
            config_path("digits")
