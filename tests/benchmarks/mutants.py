"""Changes one operator or number of the science at a time, and names the changes that no test of its room notices.

    PYTHONPATH=.:tests python tests/benchmarks/mutants.py [--per-file 8] [--seed 0] [influence/rows.py ...]

Needs `pip install cosmic-ray`, which nothing else here does: it says what can be changed. There is at most one change a
line; annotations, formatted texts and logging stay. Each change is made in a copy of the tree, and the tests that run
the line are called, fastest first, until one fails. One process imports TensorFlow, before that has any threads, and a
fork of it tries each change. A second call goes on where the first was stopped, and tries survivors again, with the
tests there are by then. A survivor keeps the verdict that the committed results have on the same change.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "OPENBLAS_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
os.environ |= {"TQDM_DISABLE": "1", "CUDA_VISIBLE_DEVICES": "-1"}

from support.benchmarks import RESULTS, save
from support.paths import ROOT
from unlearning.startup import import_tensorflow

ROOMS = ("influence", "projection", "centroids", "detection", "methods", "evaluation.py", "acceptance.py")
TESTS = (*ROOMS[:5], "test_evaluation.py", "test_acceptance.py")
FEWER = {"bit": {"RShift", "LShift", "BitOr", "BitAnd", "BitXor", "Invert"}, "is": {"Is", "IsNot"}}
"""Operators that change places among each other only: anything else raises at once, and shows nothing."""


def positions(path: Path) -> dict[int, dict[str, list[tuple[str, int]]]]:
    """What can be changed on each line of a file: operators of each family, and which occurrence of theirs it is."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    source = path.read_text(encoding="utf-8")
    nodes, kept = list(ast_nodes(get_ast(source))), list(_kept(ast.parse(source)))
    found: dict[int, dict[str, list[tuple[str, int]]]] = {}
    for name in operator_names():
        family, *words = name.split("/")[1].split("_")
        groups = {next((g for g, all_of in FEWER.items() if w in all_of), "") for w in words if w != "Delete"}
        if family.startswith("Variable") or len(groups) > 1:
            continue
        operator = get_operator(name)()
        spans = (span for node in nodes for span in operator.mutation_positions(node))
        for occurrence, (start, _) in enumerate(spans):
            if not any(first <= start < last for first, last in kept):
                found.setdefault(start[0], {}).setdefault(family, []).append((name, occurrence))
    return found


def _kept(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yields where annotations, formatted texts, calls of the logger and imports for types alone begin and end."""
    for node in ast.walk(tree):
        hidden = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if isinstance(node, ast.JoinedStr) or called.startswith("logger.") or typing:
            hidden.append(node)
        for each in hidden:
            if each is not None:
                yield (each.lineno, each.col_offset), (each.end_lineno, each.end_col_offset)


def draw(path: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Draws changes of a file, at most one a line, on lines spread over it."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    file, source, found = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"), positions(path)
    rng, lines, changes = random.Random(f"{file} {seed}"), sorted(found), []
    step = max(len(lines) / count, 1.0)
    first = rng.random() * step
    for line in [lines[int(at)] for at in (first + step * k for k in range(count)) if at < len(lines)]:
        operators = [(family, each) for family in sorted(found[line]) for each in found[line][family]]
        # Families have equal chances, however many operators they have; what does not compile is drawn again.
        for _, (name, occurrence) in sorted(operators, key=lambda o: rng.random() ** (1 / len(found[line][o[0]]))):
            code = mutate_code(source, get_operator(name)(), occurrence)
            if code not in (None, source) and _compiles(code):
                pair = difflib.unified_diff(source.splitlines(), code.splitlines(), lineterm="", n=0)
                diff = [f"{text[0]} {text[1:].strip()}" for text in list(pair)[3:] if text[1:].strip()]
                changes.append({"file": file, "line": line, "operator": name.split("/")[1], "diff": diff, "code": code})
                break
    return changes


def _compiles(code: str) -> bool:
    try:
        compile(code, "changed", "exec")
    except SyntaxError:
        return False
    return True


class Reach:
    """A plugin of pytest that notes which lines each test runs, and how long it takes."""

    def __init__(self, tree: Path) -> None:
        import coverage

        self._tree, self._tests = tree, {}  # type: ignore[var-annotated]
        self._measured = coverage.Coverage(data_file=None, source=[str(tree / "unlearning")])
        self._measured.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._measured.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        known = self._tests.setdefault(report.nodeid, {"seconds": 0.0, "passed": False, "lines": {}})
        known["seconds"] += report.duration
        known["passed"] |= report.when == "call" and report.passed

    def end(self) -> dict[str, dict[str, Any]]:
        """Returns the tests that passed."""
        self._measured.stop()
        data = self._measured.get_data()
        for path in data.measured_files():
            for line, tests in data.contexts_by_lineno(path).items():
                for test in self._tests.keys() & set(tests):
                    self._tests[test]["lines"].setdefault(str(Path(path).relative_to(self._tree)), []).append(line)
        return {name: known for name, known in self._tests.items() if known["passed"]}


class Trials:
    """A copy of the tree, in which forks of this process call tests.

    Args:
        work: Folder for the copy, and for what is known of the tests; a test is not measured again before it changes.
        given: Files or folders of tests, below `tests`.
    """

    def __init__(self, work: Path, given: Sequence[str]) -> None:
        self.tree, memory = work / "tree", work / "reach.json"
        shutil.rmtree(self.tree, ignore_errors=True)
        listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True)
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.tree / name)
        known = json.loads(memory.read_text()) if memory.exists() else {}
        found = [self.tree / "tests" / name for name in given]
        files = [path for each in found for path in ([each] if each.is_file() else sorted(each.rglob("test_*.py")))]
        self.tests: dict[str, dict[str, Any]] = {}
        for path in files:
            file, digest = str(path.relative_to(self.tree)), hashlib.sha256(path.read_bytes()).hexdigest()
            if known.get(file, {}).get("digest") != digest:
                self._fork(lambda path=path: self._measure(path, work / "new.json"), 1800)
                known[file] = {"digest": digest, "tests": json.loads((work / "new.json").read_text())}
                memory.write_text(json.dumps(known))
                print(f"{file}: {len(known[file]['tests'])} tests", flush=True)
            self.tests |= known[file]["tests"]

    def _measure(self, path: Path, out: Path) -> int:
        reach = Reach(self.tree)
        self._pytest([str(path)], reach)
        out.write_text(json.dumps(reach.end()))
        return 0

    def _pytest(self, names: list[str], *plugins: object) -> int:
        import pytest

        os.chdir(self.tree)
        sys.path[:] = [path for path in sys.path if Path(path).resolve() not in (ROOT, ROOT / "tests")]
        for name in [name for name in sys.modules if name.split(".")[0] in ("support", "unlearning")]:
            del sys.modules[name]
        options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp", str(self.tree.parent / "temporary")]
        return int(pytest.main([*options, *names], plugins=list(plugins)))

    def _fork(self, function: Callable[[], int], seconds: float) -> int | None:
        """Calls a function in a fork that says nothing; returns its code, or None if it was too slow."""
        child = os.fork()
        if not child:
            code = 99
            try:
                os.setsid()
                nowhere = os.open(os.devnull, os.O_RDWR)
                for number in range(3):
                    os.dup2(nowhere, number)
                code = function()
            finally:
                os._exit(code)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None

    def reaching(self, file: str, line: int, most_s: float) -> list[str]:
        """Returns the tests that run a line, fastest first; where none is known to, those of its function or file.

        TensorFlow rewrites what it traces, so that lines of graph functions are not seen to run. Module level runs once
        a process, whoever asks first: there count those of all functions, and at last all of the room.
        """
        nodes = ast.walk(ast.parse((self.tree / file).read_text(encoding="utf-8")))
        bodies = [range(n.body[0].lineno, (n.end_lineno or 0) + 1) for n in nodes if isinstance(n, ast.FunctionDef)]
        around = sorted((set(body) for body in bodies if line in body), key=len)
        for lines in [{line} if around else set(), *around, set().union(*bodies)]:
            found = [name for name, test in self.tests.items() if lines.intersection(test["lines"].get(file, ()))]
            if found:
                break
        else:
            found = [name for name in self.tests if name.split("/")[1] == file.split("/")[1]]
        found.sort(key=lambda name: self.tests[name]["seconds"])
        spent = itertools.accumulate(self.tests[name]["seconds"] for name in found)
        return [name for name, until in zip(found, spent, strict=True) if until <= most_s] or found[:1]

    def survives(self, change: Mapping[str, Any], names: Sequence[str]) -> bool:
        """Whether tests pass with a change."""
        path = self.tree / change["file"]
        before = path.read_bytes(), path.stat()
        try:
            path.write_text(change["code"], encoding="utf-8")
            os.utime(path, (0, time.time_ns() % 10**9))  # compiled code is taken for current by this time and the size
            for some in filter(None, (names[:8], names[8:])):
                seconds = 120 + 10 * sum(self.tests[name]["seconds"] for name in some)
                if self._fork(lambda some=some: self._pytest(["-x", *some]), seconds) != 0:  # type: ignore[misc]
                    return False
        finally:
            path.write_bytes(before[0])
            os.utime(path, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))
        return True


def main() -> None:
    """Tries changes, and writes how many each file had, and which survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "files", nargs="*", default=ROOMS, help="files or folders of unlearning/; by default the science"
    )
    parser.add_argument("--per-file", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files or folders of tests/; by default the rooms'")
    parser.add_argument("--tests-s", type=float, default=60.0, help="most seconds of tests a change, the fastest ones")
    parser.add_argument("--minutes", type=float, default=60.0, help="what is not tried by then is left out")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "mutants"), help="where to go on")
    options = parser.parse_args()
    given = [ROOT / "unlearning" / name for name in options.files]
    files = sorted(p for path in given for p in ([path] if path.is_file() else path.rglob("*.py")))
    changes = [change for path in files for change in draw(path, options.per_file, options.seed)]
    print(f"{len(changes)} changes in {len(files)} files", flush=True)
    options.work.mkdir(parents=True, exist_ok=True)
    import_tensorflow()
    for name in ("keras", "scipy.linalg", "sklearn", "pytest", "hypothesis", "coverage"):
        importlib.import_module(name)
    trials, log = Trials(options.work, options.tests), options.work / "log.jsonl"
    earlier = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    killed = {_key(each) for each in earlier if not each["survived"]}
    # In turn from every file: what is stopped has seen something of each.
    end, tried = time.monotonic() + 60 * options.minutes, []
    turns = sorted(range(len(changes)), key=lambda n: sum(c["file"] == changes[n]["file"] for c in changes[:n]))
    for number, change in enumerate(changes[turn] for turn in turns):
        change["survived"] = False
        if _key(change) not in killed:
            if time.monotonic() > end:
                continue
            names = trials.reaching(change["file"], change["line"], options.tests_s)
            change["survived"], change["tests"] = trials.survives(change, names), len(names)
            with log.open("a") as lines:
                lines.write(json.dumps({key: value for key, value in change.items() if key != "code"}) + "\n")
            said = "survived" if change["survived"] else "killed"
            print(number + 1, said, change["file"], change["line"], len(names), *change["diff"], flush=True)
        tried.append(change)
    tried.sort(key=lambda change: (change["file"], change["line"]))
    results = RESULTS / "mutants.json"
    judged = json.loads(results.read_text())["survivors"] if results.exists() else []
    verdicts = {_key(each): each["verdict"] for each in judged}
    shown = ("file", "line", "operator", "diff", "tests")
    survivors = [
        {key: c[key] for key in shown} | {"verdict": verdicts.get(_key(c), "")} for c in changes if c["survived"]
    ]
    rows = []
    for file, group in itertools.groupby(tried, key=lambda change: change["file"]):
        found = list(group)
        left = [str(change["line"]) for change in found if change["survived"]]
        rows.append(
            {"file": file, "changes": len(found), "killed": len(found) - len(left), "survived_on_line": ", ".join(left)}
        )
    save("mutants", rows, per_file=options.per_file, seed=options.seed, survivors=survivors)


def _key(change: Mapping[str, Any]) -> str:
    """The same change, wherever its line has gone."""
    return f"{change['file']} {change['diff']}"


if __name__ == "__main__":
    main()
