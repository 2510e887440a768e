"""A Helm chart, installed, upgraded, rolled back and removed by helm itself: values, a hook, and what a bad image does."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiphys.testing import Cluster, Namespace

CHART = Path(__file__).parent / "chart"
Helm = Callable[..., str]


@pytest.fixture
def helm(tiphys: Namespace, tmp_path: Path) -> Helm:
    """helm of this environment, or of the PATH; its own files go with the test."""
    beside = Path(sys.executable).parent
    program = shutil.which("helm", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    assert program, "helm is not installed"

    def run(*arguments: str, fails: bool = False) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "KUBECONFIG": str(tiphys.kubeconfig),
        }
        done = subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode != 0) is fails, done.stderr
        return done.stderr if fails else done.stdout

    return run


def _status(helm: Helm, release: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(helm("status", release, "-o", "json"))
    return found


def test_a_release_is_installed_upgraded_rolled_back_and_removed(helm: Helm, tiphys: Namespace) -> None:
    helm("install", "web", str(CHART), "--wait", "--timeout", "60s")
    assert _status(helm, "web")["info"]["status"] == "deployed"
    tiphys.wait_for("pod/web-migrate", "jsonpath={.status.phase}=Succeeded")
    assert len(tiphys.list("pods", selector="app=web")) == 2

    helm("upgrade", "web", str(CHART), "--set", "greeting=goodbye,replicas=3", "--wait", "--timeout", "60s")
    config = tiphys.get("cm/web")
    assert config is not None
    assert config["data"]["greeting"] == "goodbye"
    tiphys.wait_for_all("pods", lambda pods: len(pods) == 3, selector="app=web")

    helm("rollback", "web", "1", "--wait", "--timeout", "60s")
    tiphys.wait_for("cm/web", "jsonpath={.data.greeting}=hello")
    assert [entry["revision"] for entry in json.loads(helm("history", "web", "-o", "json"))] == [1, 2, 3]

    helm("uninstall", "web", "--wait")
    tiphys.wait_gone("deployment/web")
    tiphys.wait_for_all("pods", lambda pods: not pods, selector="app=web")


def test_a_bad_image_fails_the_upgrade_and_is_taken_back(
    helm: Helm, tiphys: Namespace, tiphys_restored: Cluster
) -> None:
    tiphys_restored.pods.behave(image="nginx:broken", pull_error="manifest unknown")
    helm("install", "web", str(CHART), "--wait", "--timeout", "60s")
    said = helm(
        "upgrade", "web", str(CHART), "--set", "image=nginx:broken", "--rollback-on-failure", "--timeout", "2s",
        fails=True,
    )  # fmt: skip
    assert "UPGRADE FAILED" in said or "failed" in said
    web = tiphys.wait_for("deployment/web", "Available")
    assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1.27"


def test_values_that_are_refused_install_nothing(helm: Helm, tiphys: Namespace) -> None:
    said = helm("install", "web", str(CHART), "--set", "replicas=-1", fails=True)
    assert "must be greater than or equal to 0" in said
    assert tiphys.get("deployment/web") is None
