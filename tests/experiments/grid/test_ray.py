"""The same cells on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.command import PATIENCE_S
from support.grid import copy, environment, setup, start
from support.trees import contents
from unlearning.errors import InputError
from unlearning.experiments.grid import cluster, sweep


class TestRay:
    def test_a_missing_package_is_named(self, monkeypatch, tmp_path: Path) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(InputError, match="pip install ray"):
            sweep.sweep(setup(tmp_path / "e"), sweep.SweepOptions(executor="ray"))

    def test_a_cluster_of_our_own_asks_for_a_token(self, monkeypatch) -> None:
        """It listens on all interfaces; what is not in the environment before ray is imported is not asked for."""
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(__version__="2.51.2"))
        cluster.import_ray()
        assert "RAY_AUTH_MODE" not in os.environ
        with pytest.raises(InputError, match=r"ray 2\.52 or newer.*2\.51\.2"):
            cluster.import_ray(own=True)
        assert os.environ["RAY_AUTH_MODE"] == "token" and len(os.environ["RAY_AUTH_TOKEN"]) == 64
        monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(__version__="2.100.0rc1"))
        monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
        cluster.import_ray(own=True)
        assert os.environ["RAY_AUTH_TOKEN"] == "mine"

    @pytest.mark.slow
    def test_the_same_results(self, undisturbed: Path, reference: dict[str, str], tmp_path: Path) -> None:
        pytest.importorskip("ray", reason="the optional extra ray is not installed")
        folder = tmp_path / "e"
        copy(undisturbed, folder, without=("budget-40/seed-2/first-order",))
        process = start(folder, "--executor", "ray")
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert contents(folder) == reference

    @pytest.fixture
    def running(self) -> Iterator[str]:
        """A cluster that asks for a token, in processes of its own."""
        pytest.importorskip("ray", reason="the optional extra ray is not installed")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # Sockets live in this folder, and their paths must be short.
        with tempfile.TemporaryDirectory(prefix="ray") as folder, contextlib.ExitStack() as stack:
            options = ("--num-cpus", "2", "--include-dashboard=False", "--temp-dir", folder, "--disable-usage-stats")
            head = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "ray.scripts.scripts",
                    "start",
                    "--head",
                    "--block",
                    "--port",
                    str(port),
                    *options,
                ],
                env={**environment(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            stack.callback(head.wait, PATIENCE_S)
            stack.callback(head.terminate)
            assert head.stdout is not None
            assert any("Ray runtime started" in line for line in head.stdout)
            yield f"127.0.0.1:{port}"

    @pytest.mark.slow
    def test_a_running_cluster(
        self, running: str, undisturbed: Path, reference: dict[str, str], monkeypatch, tmp_path: Path
    ) -> None:
        folder = tmp_path / "e"
        monkeypatch.setenv("RAY_gcs_rpc_server_connect_timeout_s", "1")
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        process = start(tmp_path / "refused", "--executor", "ray", "--address", running)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 2 and f"Cannot reach a Ray cluster at {running}" in err, err
        assert "RAY_AUTH_MODE=token" in err and "Traceback" not in err
        assert not list(tmp_path.rglob("*.*")), "nothing is trained before the cluster is reached"

        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
        copy(undisturbed, folder, without=("budget-40/seed-1/first-order", "budget-40/seed-2"))
        process = start(folder, "--executor", "ray", "--address", running, "--workers", "2")
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert contents(folder) == reference
