"""What runs of a cluster, from pid files and /proc; whether it is ready, from the API server itself."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiphys.cluster import processes
from tiphys.cluster.layout import ClusterError, Layout, read_config
from tiphys.cluster.supervisor import program_of, read_running

if TYPE_CHECKING:
    from tiphys.client.kubeconfig import Access

_ASK_SECONDS = 5.0


def supervisor_pid(layout: Layout) -> int | None:
    """The pid of the cluster's supervisor, if it lives: our own module with this directory on its command line."""
    wanted = [b"tiphys.cluster.supervisor", str(layout.run).encode()]
    return next((pid for pid in processes.pids() if _command_line(pid)[-2:] == wanted), None)


def component_pids(layout: Layout) -> list[int]:
    """Everything that a supervisor of this cluster has started and that lives, the newest first, whoever has lost sight of it.

    nsenter, by which some of them entered a node, has the same words on its command line, and is among them.
    """
    settings, nodes = f"{layout.run}/", f"{layout.data / 'nodes'}/"
    found = []
    for pid in processes.pids():
        words = [word.decode(errors="replace") for word in _command_line(pid)]
        is_ours = words[-2:-1] and words[-2].startswith("tiphys.cluster.") and words[-1].startswith(settings)
        is_containerd = "--config" in words and any(word.startswith(nodes) for word in words)
        if (is_ours or is_containerd) and processes.is_alive(pid):
            found.append(pid)
    return sorted(found, reverse=True)


def _command_line(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def status(layout: Layout) -> dict[str, Any]:
    """The document that `tiphys status -o json` prints."""
    config = read_config(layout)
    pid = supervisor_pid(layout)
    ours = set(component_pids(layout))
    now = time.time()
    components = [
        {
            "name": entry["name"],
            "pid": program_of(entry["pid"]),
            "rss_bytes": resident_bytes(program_of(entry["pid"])),
            "uptime_seconds": round(now - entry["started_at"], 1),
        }
        for entry in read_running(layout.run)
        if entry["pid"] in ours
    ]
    access = _access(layout)
    nodes = asyncio.run(_ask(access)) if components and access is not None else None
    listed = nodes or []
    ready = (
        pid is not None
        and nodes is not None
        and len(listed) >= config.nodes
        and all(node["ready"] for node in listed)
    )
    return {
        "name": config.name,
        "ready": ready,
        "server": access.server if access is not None else "",
        "kubeconfig": str(layout.kubeconfig),
        "components": components,
        "nodes": listed,
    }


def _access(layout: Layout) -> Access | None:
    """What the cluster's kubeconfig says; None before the first `up` has written it."""
    from tiphys.client import kubeconfig

    if not layout.kubeconfig.exists():
        return None
    try:
        return kubeconfig.access(layout.kubeconfig)
    except kubeconfig.KubeconfigError as error:
        raise ClusterError(str(error), "tiphys up writes it anew") from None


async def _ask(access: Access) -> list[dict[str, Any]] | None:
    """The nodes; None when nobody answers."""
    from tiphys.client.client import Client
    from tiphys.client.https import HTTPSTransport
    from tiphys.client.resources import NODES
    from tiphys.machinery import meta
    from tiphys.machinery.errors import StatusError

    transport = HTTPSTransport(access)
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            listing = await Client(transport).list(NODES)
    except (TimeoutError, OSError, StatusError):
        return None
    finally:
        await transport.close()
    return [
        {"name": meta.name(node), "ready": meta.is_condition_true(meta.conditions(node), "Ready")}
        for node in listing.items
    ]
