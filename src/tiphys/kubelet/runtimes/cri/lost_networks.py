"""Network namespaces and addresses of sandboxes that containerd knows nothing of.

containerd makes a sandbox's network before it writes the sandbox down. Killed between the two, it forgets both the namespace and the
address, and its range of addresses grows smaller for ever. What no sandbox of containerd's list owns, twice in a row and some time
apart (a sandbox may be in the making), is given back: the address by the plugins' own DEL, the namespace by unmounting it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tiphys.machinery.frozen import frozen

log = logging.getLogger(__name__)

SETTLE_SECONDS = 8.0
"""So long must something have been without an owner. A sandbox that is being made has one sooner."""
STATE = Path("/var/lib/cni")
_LOOPBACK = "lo"
_PLUGIN_SECONDS = 30.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@frozen
class Network:
    """The pods' network, as containerd has configured it."""

    name: str
    version: str
    interface: str
    plugins: Sequence[Mapping[str, Any]]
    plugin_directories: Sequence[str]
    namespaces: Path


@frozen
class Lost:
    """What has no owner: ids of sandboxes with an address, and paths of network namespaces."""

    ids: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()

    def __and__(self, other: Lost) -> Lost:
        return Lost(self.ids & other.ids, self.namespaces & other.namespaces)

    def __bool__(self) -> bool:
        return bool(self.ids or self.namespaces)


def read_network(info: Mapping[str, str]) -> Network | None:
    """From containerd's verbose status. None when others' namespaces lie beside its own, or there is no network yet."""
    config, cni = json.loads(info.get("config", "{}")), json.loads(info.get("cniconfig", "{}"))
    networks = [entry for entry in cni.get("Networks") or () if entry["IFName"] != _LOOPBACK]
    if not config.get("netnsMountsUnderStateDir") or len(networks) != 1:
        return None
    found = networks[0]["Config"]
    return Network(
        found["Name"],
        found["CNIVersion"],
        networks[0]["IFName"],
        [json.loads(plugin["Source"]) for plugin in found["Plugins"]],
        cni["PluginDirs"],
        Path(config["stateDir"], "netns"),
    )


def present(network: Network, state: Path = STATE) -> Lost:
    """All there is, owned or not. host-local writes the owner's id into a file that is named by the address."""
    ids = set()
    for file in (state / "networks" / network.name).glob("[0-9]*"):
        lines = file.read_text().split()
        if lines:
            ids.add(lines[0])
    return Lost(frozenset(ids), frozenset(map(str, network.namespaces.glob("*"))))


class LostNetworks:
    """Remembers what was without an owner at the last look."""

    def __init__(self) -> None:
        self._suspects = Lost()
        self._suspected_at = 0.0

    def judge(self, found: Lost, owned: Lost, now: float) -> Lost:
        """What is to be given back; `now`: a monotonic clock's seconds. `waits` tells whether to look again."""
        suspects = Lost(found.ids - owned.ids, found.namespaces - owned.namespaces)
        if not self._suspects:
            self._suspects, self._suspected_at = suspects, now
            return Lost()
        if now - self._suspected_at < SETTLE_SECONDS:
            return Lost()
        settled = suspects & self._suspects
        self._suspects = Lost(suspects.ids - settled.ids, suspects.namespaces - settled.namespaces)
        self._suspected_at = now
        return settled

    @property
    def waits(self) -> bool:
        return bool(self._suspects)


async def give_back(network: Network, lost: Lost, state: Path = STATE) -> None:
    """In the node's own namespaces, where this process must be."""
    for id in sorted(lost.ids):
        log.warning("giving back the address of sandbox %s, which containerd has forgotten", id)
        for plugin in reversed(network.plugins):
            await _run_plugin(network, plugin, id)
        for file in (state / "results").glob(f"*-{id}-*"):
            file.unlink(missing_ok=True)
    for path in sorted(lost.namespaces):
        log.warning("removing the network namespace %s, which containerd has forgotten", path)
        await _run(["umount", "--lazy", path], {"PATH": _PATH}, b"")
        Path(path).unlink(missing_ok=True)


async def _run_plugin(network: Network, plugin: Mapping[str, Any], id: str) -> None:
    program = next(
        (
            path
            for directory in network.plugin_directories
            if (path := Path(directory, plugin["type"])).exists()
        ),
        None,
    )
    if program is None:
        return
    environment = {
        "CNI_COMMAND": "DEL",
        "CNI_CONTAINERID": id,
        # Without a namespace they give back what they keep outside of it; its interfaces end with it.
        "CNI_NETNS": "",
        "CNI_IFNAME": network.interface,
        "CNI_PATH": ":".join(network.plugin_directories),
        "PATH": _PATH,
    }
    configuration = {**plugin, "cniVersion": network.version, "name": network.name}
    await _run([str(program)], environment, json.dumps(configuration).encode())


async def _run(command: Sequence[str], environment: Mapping[str, str], given: bytes) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_PLUGIN_SECONDS):
            said, _ = await process.communicate(given)
    except TimeoutError:
        process.kill()
        await process.wait()
        said = b"it took too long"
    if process.returncode:
        log.warning("%s: %s", command[0], said.decode(errors="replace").strip())
