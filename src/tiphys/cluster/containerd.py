"""One node's containerd: configured, started inside the node's namespaces, and ended.

It is a daemon of its own, never the host's: its files lie in the node's directory, its socket in the node's /run. When it dies or is
stopped, containers go on running, and it finds them again when it is started; when the node ends, all of that ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from tiphys.cluster.containerd_config import PATH, SOCKET, Machine, MissingPrograms, Settings, files, probe
from tiphys.cluster.namespaces import Node
from tiphys.cluster.processes import end, is_alive, spawn, with_argument
from tiphys.kubelet.runtimes.cri.runtime import ContainerdRuntime
from tiphys.kubelet.runtimes.interface import RuntimeFailure
from tiphys.machinery.frozen import frozen

__all__ = [
    "Containerd",
    "ContainerdError",
    "Machine",
    "MissingPrograms",
    "Settings",
    "find_containerd",
    "probe",
    "start_containerd",
    "stop_containerd",
]

START_SECONDS = 60.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.005
LOG_TAIL_LINES = 5


class ContainerdError(Exception):
    """containerd did not come up; the text has the end of its log."""


@frozen
class Containerd:
    """A containerd that runs."""

    node: Node
    pid: int

    @property
    def socket(self) -> str:
        """As seen from outside the node; short, however long the node's directory is named."""
        return socket_path(self.node)

    def runtime(self) -> ContainerdRuntime:
        """A client for the kubelet; its owner closes it."""
        return ContainerdRuntime(self.socket, root=self.node.root)


def socket_path(node: Node) -> str:
    return f"{node.root}{SOCKET}"


async def start_containerd(
    node: Node, settings: Settings, machine: Machine, *, environment: Mapping[str, str] | None = None
) -> Containerd:
    """Starts it, or finds it running, and returns once it answers CRI and its network is ready.

    environment: more variables for it, such as HTTPS_PROXY. Raises ContainerdError.
    """
    containerd = find_containerd(node, settings)
    if containerd is None:
        for path, text in files(settings, machine).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        containerd = await _start(node, settings, {"PATH": PATH, **(environment or {})})
    await _wait_until_ready(containerd, settings)
    return containerd


async def _start(node: Node, settings: Settings, environment: dict[str, str]) -> Containerd:
    command = [*node.enter, "containerd", "--config", str(settings.config_path), "--log-level", "warn"]
    with settings.log_path.open("ab") as log:
        entrance = spawn(command, environment=environment, output=log.fileno())
    while (containerd := find_containerd(node, settings)) is None:
        if not is_alive(entrance):
            raise ContainerdError(f"containerd ended at once: {_log_tail(settings)}")
        await asyncio.sleep(POLL_SECONDS)
    return containerd


def find_containerd(node: Node, settings: Settings) -> Containerd | None:
    """The one that runs with these settings."""
    found = with_argument("containerd", str(settings.config_path))
    return Containerd(node, found[0]) if found else None


async def _wait_until_ready(containerd: Containerd, settings: Settings) -> None:
    runtime = containerd.runtime()
    problem = "its socket is not there"
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                if not is_alive(containerd.pid):
                    raise ContainerdError(f"containerd ended: {_log_tail(settings)}")
                if Path(containerd.socket).exists():
                    problem = await _problem(runtime)
                    if not problem:
                        return
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise ContainerdError(f"containerd is not ready: {problem}; {_log_tail(settings)}") from None
    finally:
        await runtime.close()


async def _problem(runtime: ContainerdRuntime) -> str:
    """Why it is not ready yet; empty when it is."""
    try:
        conditions = (await runtime.status()).conditions
    except RuntimeFailure as error:
        return error.message
    return "; ".join(f"{c.type}: {c.message or c.reason}" for c in conditions if not c.status)


def stop_containerd(containerd: Containerd) -> bool:
    """Ends it, and only it: containers run on until the node ends. False when it does not die."""
    return end(containerd.pid, grace_seconds=STOP_SECONDS)


def _log_tail(settings: Settings) -> str:
    try:
        lines = settings.log_path.read_text(errors="replace").splitlines()
    except OSError:
        return "it left no log"
    return " | ".join(lines[-LOG_TAIL_LINES:]) or "it logged nothing"
