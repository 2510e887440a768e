"""Clusters of ours, measured from outside: made by ./tiphys as a user would, in a home of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.processes import Started, free_port, started
from bench.table import NotMeasured
from tiphys.cluster.blueprint import leaves
from tiphys.cluster.control_plane_settings import ControlPlaneSettings
from tiphys.cluster.layout import ClusterConfig, Layout
from tiphys.cluster.pki import Authority

ROOT = Path(__file__).parent.parent
SIMULATED = ("--runtime", "simulated")


class Cluster:
    """One cluster."""

    def __init__(self, home: Path, name: str, *options: str) -> None:
        self.name = name
        self._home = home
        self._options = options

    def tiphys(self, *arguments: str) -> str:
        environment = {
            **os.environ,
            "TIPHYS_HOME": str(self._home),
            "HOME": str(self._home),
            "KUBECONFIG": "",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        result = subprocess.run(
            [str(ROOT / "tiphys"), *arguments], capture_output=True, text=True, env=environment, check=False
        )
        if result.returncode:
            raise NotMeasured(f"tiphys {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout

    def up(self) -> float:
        """Seconds until the command has returned, every node Ready."""
        begun = time.perf_counter()
        self.tiphys("up", "--name", self.name, "--api-port", "0", *self._options)
        return time.perf_counter() - begun

    def down(self, *options: str) -> None:
        self.tiphys("down", "--name", self.name, *options)

    def status(self) -> Any:
        return json.loads(self.tiphys("status", "--name", self.name, "-o", "json"))

    @property
    def layout(self) -> Layout:
        return Layout(self._home / self.name)

    @cached_property
    def kubeconfig(self) -> Path:
        return self.layout.kubeconfig

    def pids(self) -> dict[str, int]:
        """Of its processes, by their names."""
        return {item["name"]: item["pid"] for item in self.status()["components"]}


class Ours:
    """What rows measure: a cluster for the requests, and as many others as they like, none of which they need to end."""

    name = "ours"

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._stack = ExitStack()

    @contextmanager
    def cluster(self, *options: str) -> Iterator[Cluster]:
        """One that is not up yet; purged in the end."""
        made = Cluster(self.scratch / "home", "bench", *options)
        try:
            yield made
        finally:
            made.down("--purge")

    @cached_property
    def _requests(self) -> Cluster:
        made = Cluster(self.scratch / "home", "requests", *SIMULATED)
        self._stack.callback(made.down, "--purge")
        made.up()
        return made

    @property
    def kubeconfig(self) -> Path:
        """Of the control plane that requests go to; it is there from now on."""
        return self._requests.kubeconfig

    @property
    def requests_layout(self) -> Layout:
        """Where that control plane has its files."""
        return self._requests.layout

    @cached_property
    def requests_pid(self) -> int:
        return self._requests.pids()["control-plane"]

    @contextmanager
    def control_plane(self) -> Iterator[dict[str, int]]:
        """Pids of one that has nothing to do."""
        with self.cluster(*SIMULATED) as made:
            made.up()
            yield {"control-plane": made.pids()["control-plane"]}

    @contextmanager
    def apiserver(self) -> Iterator[Started]:
        """The process alone, over whatever was stored last time."""
        config = ClusterConfig("bench", 1, "sqlite", "simulated", free_port(), 250)
        directory = self.scratch / "apiserver"
        authority = Authority(directory / "pki", datetime.now(UTC))
        authority.ensure(leaves(config))
        authority.ensure_signing_key("service-account")
        settings = ControlPlaneSettings(
            pki=str(directory / "pki"),
            database=str(directory / "state.db"),
            host="127.0.0.1",
            port=config.api_port,
            port_file=str(directory / "port"),
        )
        path = directory / "settings.json"
        path.write_text(settings.text())
        command = [sys.executable, "-m", "tiphys.cluster.control_plane", str(path)]
        with started("apiserver", command, directory, config.api_port) as process:
            yield process

    def close(self) -> None:
        self._stack.close()
