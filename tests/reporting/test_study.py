"""Figures of whole experiments: which are drawn, from which numbers, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.colors import to_hex

import cli
from support.command import cli as command
from support.paths import FIXTURES, PUBLISHED
from unlearning.drawing import palette
from unlearning.errors import InputError
from unlearning.experiments.results.reader import read_folders
from unlearning.reporting.figures import FIGURES, draw_study
from unlearning.reporting.figures.experiment import list_experiments
from unlearning.reporting.figures.study import DRAWN

TEMPLATE = FIXTURES / "cifar10-20000-cnn_small-symmetric/budget-10000/seed-42/second-order/unlearning_results.json"
CLASSES = {str(k): {"precision": 0.5, "recall": 0.4 + 0.05 * k, "f1-score": 0.5, "support": 50.0} for k in range(3)}


def result(folder: Path, budget: int, seed: int, method: str, **changes) -> Path:
    """Writes one result record in its place."""
    content = json.loads(TEMPLATE.read_text())
    name, _, variant = method.partition("-x")
    content |= {"budget": budget, "seed": seed, "rate": budget / 200, "method": name, "variant": variant}
    content |= {"acc_clean": 0.9, "acc_before_fix": 0.5, "acc_after_fix": 0.7, "acc_perc_restored": 0.5}
    content |= {"class_report_before": None, "class_report_after": None, **changes}
    path = folder / f"budget-{budget}" / f"seed-{seed}" / method / "unlearning_results.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Two budgets, two methods, up to three seeds, a solver log; accuracies are 0.6, 0.7 and 0.8 by seed."""
    folder = tmp_path / "e"
    for seed in (1, 2, 3):
        after = 0.5 + 0.1 * seed
        result(folder, 20, seed, "sap", acc_after_fix=after, acc_perc_restored=(after - 0.5) / 0.4)
        report = {"class_report_before": CLASSES, "class_report_after": CLASSES, "class_names": ["cat", "dog", "owl"]}
        result(folder, 50, seed, "sap", unlearning_duration_s=10.0**seed, **report)
    path = result(folder, 50, 1, "second-order", acc_perc_restored=-3.0, acc_after_fix=0.1, solves=[], history=[])
    lines = ["step,iteration,relative_residual", "1,0,1.0", "1,1,0.5", "1,2,", "2,0,1.0", "2,1,0.0"]
    (path.parent / "log_solver.csv").write_text("\n".join(lines) + "\n")
    return folder


def draw(folder: Path, name: str):
    """The Matplotlib figure behind a file."""
    (found,) = list_experiments(read_folders([folder], strict=True))
    return DRAWN[name][0](found)


def lines(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_xydata() for line in axes.get_lines() if not line.get_label().startswith("_")}


class TestNumbers:
    def test_mean_and_band_over_seeds(self, experiment: Path) -> None:
        (axes,) = draw(experiment, "accuracy-over-budget").axes
        drawn = lines(axes)
        assert drawn["sap (n = 3)"] == pytest.approx(np.array([[20, 70], [50, 70]]))
        assert "second-order (n = 1)" not in drawn, "at one budget there is no line"
        assert "1 method of one budget alone" in draw(experiment, "accuracy-over-budget").get_supxlabel()
        assert drawn["clean model"][:, 1] == pytest.approx([90, 90])
        assert drawn["poisoned model (n = 3)"][:, 1] == pytest.approx([50, 50])
        bands = {to_hex(band.get_facecolor()[0]): band.get_paths()[0].vertices for band in axes.collections}
        band = bands[palette.look("sap").colour.lower()]
        at_20 = band[np.isclose(band[:, 0], 20), 1]
        assert (at_20.min(), at_20.max()) == pytest.approx((60, 80))  # 0.6, 0.7, 0.8: a standard deviation of 0.1

    def test_every_seed_is_a_point(self, experiment: Path) -> None:
        figure = draw(experiment, "restored-over-seconds")
        left, right = figure.axes
        assert left.get_xscale() == "log" and "second" in left.get_xlabel() and "%" in left.get_ylabel()
        small, large = left.collections
        assert sorted(small.get_offsets()[:, 1]) == pytest.approx([25, 50, 75])
        assert large.get_offsets()[0, 1] == pytest.approx(50)
        means = [c.get_offsets()[0] for c in right.collections if len(c.get_offsets()) == 1]
        lost, kept = sorted(means, key=lambda mean: mean[1])
        assert tuple(kept) == pytest.approx((100, 50)), "the geometric mean of 10, 100 and 1000 seconds"
        assert lost[1] == -100, "what lost even more stands at the edge"

    def test_bars_say_what_lies_beyond_the_edge(self, experiment: Path) -> None:
        figure = draw(experiment, "restored-by-method")
        left, right = figure.axes
        assert [t.get_text() for t in left.get_yticklabels()] == ["sap (n = 3)", "second-order (n = 1)"]
        assert [t.get_text() for t in left.texts] == ["no result"] and [t.get_text() for t in right.texts] == ["-300 %"]

    def test_recall_before_and_after(self, experiment: Path) -> None:
        axes = draw(experiment, "recall-by-class").axes[0]
        assert [t.get_text() for t in axes.get_yticklabels()] == ["poisoned (n = 3)", "sap (n = 3)"]
        assert [t.get_text() for t in axes.get_xticklabels()] == ["cat", "dog", "owl"]
        assert np.ravel(axes.collections[0].get_array()).tolist() == pytest.approx([40, 45, 50] * 2)

    def test_a_residual_of_zero_has_no_place_on_a_logarithmic_axis(self, experiment: Path) -> None:
        (axes,) = draw(experiment, "solver-convergence").axes
        assert [line.get_ydata().tolist() for line in axes.get_lines()] == [[1.0, 0.5], [1.0]]
        assert "2 solves, n = 1" in axes.get_title()

    def test_the_solve_of_the_system_that_was_chosen(self, tmp_path: Path) -> None:
        """The most damped, one in between, the least damped: of the second only the end is known."""
        dampings = (0.1, 0.01, 0.001)
        solve = {"solver": "cg", "status": "converged", "iterations": 2, "lambda_max": 1.0, "negative_curvature": False}
        solves = [
            solve | {"damping": damping, "relative_residual": damping / 10, "matvecs": 0 if number else 9}
            for _ in dampings
            for number, damping in enumerate(dampings)
        ]
        history = [{"step": 0, "validation_accuracy": 0.5}]
        history += [{"step": k, "validation_accuracy": 0.6, "damping": d} for k, d in enumerate(dampings, 1)]
        path = result(tmp_path / "e", 50, 1, "second-order", solves=solves, history=history)
        rows = [f"{step},{k},{10.0**-k},{10.0 ** (-2 * k)}" for step in (1, 2, 3) for k in (0, 1, 2)]
        header = "step,iteration,relative_residual,relative_residual_most_damped"
        (path.parent / "log_solver.csv").write_text("\n".join([header, *rows]) + "\n")
        (axes,) = draw(tmp_path / "e", "solver-convergence").axes
        drawn = [line.get_ydata().tolist() for line in axes.get_lines()]
        assert drawn == [[1.0, 0.01, 0.0001], [0.001], [1.0, 0.1, 0.01]]

    @pytest.mark.parametrize("name", FIGURES)
    def test_methods_look_as_everywhere(self, experiment: Path, name: str) -> None:
        if name == "recall-by-class":
            return  # colours are recall there
        figure = draw(experiment, name)
        colours = {to_hex(line.get_color()) for axes in figure.axes for line in axes.get_lines()}
        colours |= {to_hex(c) for axes in figure.axes for found in axes.collections for c in found.get_facecolor()}
        allowed = {palette.look(m).colour.lower() for m in ("sap", "second-order")}
        assert colours & allowed and colours <= allowed | {palette.CLEAN.lower(), palette.POISONED.lower()}
        assert "n = " in figure.get_supxlabel()


class TestFiles:
    def test_one_file_an_experiment_and_figure(self, experiment: Path, tmp_path: Path) -> None:
        before = dict(matplotlib.rcParams)
        drawn = draw_study([experiment], tmp_path / "out", formats=("png", "pdf"))
        names = [f"e/{name}.{kind}" for name in FIGURES for kind in ("png", "pdf", "tex")]
        assert [str(p.relative_to(tmp_path / "out")) for p in drawn.paths] == names
        assert sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file()) == sorted(drawn.paths)
        assert dict(matplotlib.rcParams) == before, "no global state"
        again = draw_study([experiment], tmp_path / "again", formats=("png", "pdf"))
        for first, second in zip(drawn.paths, again.paths, strict=True):
            content = first.read_bytes()
            assert content == second.read_bytes(), first
            if first.suffix == ".pdf":
                assert b"CreationDate" not in content and b"/FontFile2" in content and b"/Type3" not in content
            elif first.suffix == ".png":
                assert b"Software" not in content
            else:
                assert content.startswith(b"\\caption{e. ")

    def test_at_any_state_of_a_grid(self, tmp_path: Path) -> None:
        folder = tmp_path / "e"
        result(folder, 20, 1, "sap", acc_perc_restored=None)
        drawn = draw_study([folder], tmp_path / "out")
        assert [p.name for p in drawn.paths] == ["accuracy-over-budget.png", "accuracy-over-budget.tex"] and len(
            drawn.left_out
        ) == 4

    def test_all_published_results_can_be_drawn(self) -> None:
        experiments = list_experiments(read_folders([PUBLISHED], strict=True))
        assert len(experiments) > 5
        for name, (draw_one, _) in DRAWN.items():
            drawn = [figure for figure in map(draw_one, experiments[:3]) if figure is not None]
            assert drawn, name

    def test_methods_that_are_all_there_at_every_budget(self, tmp_path: Path) -> None:
        for budget in (20, 50):
            result(tmp_path / "e", budget, 1, "sap")
        assert len(lines(draw(tmp_path / "e", "accuracy-over-budget").axes[0])) == 3

    def test_names_are_not_typeset(self, experiment: Path, tmp_path: Path) -> None:
        names = ["$x", "$\\bad{$", "y$"]
        report = {"class_report_before": CLASSES, "class_report_after": CLASSES, "class_names": names}
        result(experiment, 50, 4, "sap", **report)
        drawn = draw_study([experiment.rename(tmp_path / "$a$ $\\b{$")], tmp_path / "out")
        assert len(drawn.paths) == 2 * len(FIGURES)
        assert r"\caption{\$a\$ \$\textbackslash{}b" in drawn.paths[1].read_text()

    def test_the_command(self, experiment: Path, tmp_path: Path) -> None:
        done = command("figures", "e", "--out", "f", "--format", "pdf", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.split() == [f"f/e/{name}.{kind}" for name in FIGURES for kind in ("pdf", "tex")]

    def test_without_captions(self, experiment: Path, tmp_path: Path) -> None:
        drawn = draw_study([experiment], tmp_path / "out", caption=False)
        plain = draw_study([experiment], tmp_path / "plain")
        for own, other in zip(drawn.paths, plain.paths, strict=True):
            assert (own.read_bytes() == other.read_bytes()) == (own.suffix == ".tex"), own.name


class TestRefusals:
    def test_existing_files_only_by_force(self, experiment: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        (out / "e").mkdir(parents=True)
        mine = out / "e/restored-by-method.png"
        mine.write_text("mine")
        with pytest.raises(InputError, match=r"restored-by-method\.png exists.*--force"):
            draw_study([experiment], out)
        assert [p for p in out.rglob("*") if p.is_file()] == [mine] and mine.read_text() == "mine"
        draw_study([experiment], out, force=True)
        assert mine.read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize("formats", ["svg", "png,jpg", ""])
    def test_unknown_formats(self, experiment: Path, tmp_path: Path, formats: str) -> None:
        arguments = ["figures", str(experiment), "--out", str(tmp_path / "out"), "--format", formats]
        done = CliRunner().invoke(cli.main, arguments)
        assert done.exit_code == 2 and "png, pdf" in done.output and not (tmp_path / "out").exists()

    def test_nothing_to_draw(self, tmp_path: Path) -> None:
        (tmp_path / "e").mkdir()
        with pytest.raises(InputError, match="Nothing to draw"):
            draw_study([tmp_path / "e"], tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("text", ["step,iteration\n1,1\n", "step,iteration,relative_residual\n1,x,0.5\n", "\xff\0"])
    def test_a_damaged_log(self, experiment: Path, tmp_path: Path, text: str) -> None:
        (experiment / "budget-50/seed-1/second-order/log_solver.csv").write_text(text, encoding="latin-1")
        with pytest.raises(InputError, match=r"log_solver\.csv"):
            draw_study([experiment], tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_two_experiments_of_one_name_are_not_mixed(self, experiment: Path, tmp_path: Path) -> None:
        shutil.copytree(experiment, tmp_path / "other" / "e")
        with pytest.raises(InputError, match="Two experiments"):
            draw_study([experiment, tmp_path / "other" / "e"], tmp_path / "out")
        drawn = draw_study([tmp_path], tmp_path / "out")
        assert {p.parent.relative_to(tmp_path / "out" / tmp_path.name).as_posix() for p in drawn.paths} == {
            "e",
            "other/e",
        }
