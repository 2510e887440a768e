"""A real cluster, made and unmade by the command that a newcomer types; real kubectl; real containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
KUBECTL = Path(sys.executable).parent / "kubectl"
WAIT_SECONDS = 180.0
"""Far more than anything takes, on a machine that others use, too."""


@dataclass
class Cluster:
    """One cluster and what tests ask of it. Commands run as a user would run them."""

    name: str
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {
            **inherited,
            "TIPHYS_HOME": str(self.home / "tiphys"),
            "HOME": str(self.home),
            "KUBECONFIG": "",
        }

    def tiphys(
        self, *arguments: str, check: bool = True, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """./tiphys from the checkout."""
        result = subprocess.run(
            [str(ROOT / "tiphys"), *arguments],
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=timeout,
            check=False,
        )
        if check:
            assert result.returncode == 0, f"tiphys {' '.join(arguments)}: {result.stderr}{result.stdout}"
        return result

    def kubectl(
        self, *arguments: str, input: str | None = None, check: bool = True, timeout: float = 360
    ) -> subprocess.CompletedProcess[str]:
        """The bundled kubectl, with this cluster's kubeconfig."""
        kubeconfig = self.home / "tiphys" / self.name / "kubeconfig"
        result = subprocess.run(
            [str(KUBECTL), *arguments],
            capture_output=True,
            text=True,
            input=input,
            env={**self.environment, "KUBECONFIG": str(kubeconfig)},
            timeout=timeout,
            check=False,
        )
        if check:
            assert result.returncode == 0, f"kubectl {' '.join(arguments)}: {result.stderr}{result.stdout}"
        return result

    def get(self, *arguments: str) -> Any:
        """`kubectl get … -o json`, decoded."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def status(self) -> Any:
        return json.loads(self.tiphys("status", "--name", self.name, "-o", "json").stdout)

    def logs(self) -> str:
        """The end of every log, for messages of failed tests."""
        found = sorted((self.home / "tiphys" / self.name / "logs").glob("*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in found)


def wait_for(
    condition: Callable[[], Any], what: str, *, seconds: float = WAIT_SECONDS, interval_seconds: float = 0.1
) -> Any:
    """Asks until the answer is true, and gives it. Fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(interval_seconds)


def running(home: Path, name: str, *options: str) -> Iterator[Cluster]:
    cluster = Cluster(name, home)
    try:
        cluster.tiphys("up", "--name", name, "--api-port", "0", *options)
    except AssertionError as error:
        said = cluster.logs()
        cluster.tiphys("down", "--name", name, "--purge", check=False)
        pytest.fail(f"{error}\n{said}")
    try:
        yield cluster
    finally:
        cluster.tiphys("down", "--name", name, "--purge")
