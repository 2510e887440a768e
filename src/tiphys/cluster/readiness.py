"""Waiting until a cluster that was started is of use: its API server answers, and the kubelets of this life say Ready.

A component that ends again and again ends the wait at once, with that component's own last words.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tiphys.cluster import blueprint, processes
from tiphys.cluster.layout import ClusterConfig, ClusterError, Layout
from tiphys.cluster.status import supervisor_pid
from tiphys.cluster.supervisor import ORDERS, read_running

READY_SECONDS = 120.0
HOPELESS_RESTARTS = 4
"""A component that ended this often while we wait will not come up by itself."""
LOOK_SECONDS = 1.0
PORT_LOOK_SECONDS = 0.2
RETRY_SECONDS = 0.2


class DoesNotStart(ClusterError):
    """A component ends as often as it is started."""


class Readiness:
    """Of one cluster, from now on: what ended before we began to wait does not count."""

    def __init__(self, layout: Layout, config: ClusterConfig) -> None:
        self._layout = layout
        self._config = config
        self._restarts = {entry["name"]: entry["restarts"] for entry in read_running(layout.run)}
        self._waiting = set(config.node_names)

    def wait_for_port(self) -> int:
        """Until the API server listens. Raises ClusterError."""
        path = blueprint.port_file(self._layout)
        deadline = time.monotonic() + READY_SECONDS
        while not processes.wait_until(path.exists, PORT_LOOK_SECONDS):
            if (problem := self._problem()) is not None:
                raise problem
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the API server does not listen after {READY_SECONDS:.0f} s",
                    f"see the logs in {self._layout.logs}",
                )
        return int(path.read_text())

    async def wait_for_nodes(self) -> None:
        """Until all nodes are Ready. Raises ClusterError."""
        following = asyncio.ensure_future(self._follow())
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not (await asyncio.wait([following], timeout=LOOK_SECONDS))[0]:
                    if (problem := self._problem()) is not None:
                        raise problem
                following.result()
        except TimeoutError:
            names = ", ".join(sorted(self._waiting)[:3])
            raise ClusterError(
                f"not Ready after {READY_SECONDS:.0f} s: {names}", f"see the logs in {self._layout.logs}"
            ) from None
        finally:
            following.cancel()
            await asyncio.wait([following])

    async def _follow(self) -> None:
        """Watches nodes until all of ours are Ready: no polling, so that the last one is seen at once."""
        from tiphys.client.client import Client
        from tiphys.client.https import HTTPSTransport
        from tiphys.client.kubeconfig import access
        from tiphys.machinery.errors import StatusError

        transport = HTTPSTransport(access(self._layout.kubeconfig))
        try:
            while self._waiting:
                try:
                    await self._follow_once(Client(transport))
                except (StatusError, OSError, TimeoutError):  # it is just being started again
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            await transport.close()

    async def _follow_once(self, client: Any) -> None:
        from tiphys.client.resources import NODES

        listing = await client.list(NODES)
        for node in listing.items:
            self._note(node)
        if not self._waiting:
            return
        async for event in client.watch(NODES, resource_version=listing.resource_version):
            self._note(event.object)
            if not self._waiting:
                return

    def _note(self, node: Mapping[str, Any]) -> None:
        from tiphys.machinery import meta

        name = meta.name(node)
        if name in self._waiting and is_ready_since(node, self._kubelet_started(name)):
            self._waiting.discard(name)

    def _kubelet_started(self, node: str) -> float:
        """When the kubelet of this node began, in seconds since 1970; 0 when that is not known."""
        started = {entry["name"]: entry["started_at"] for entry in read_running(self._layout.run)}
        simulated = blueprint.kubelet_name(self._config.node_name(1))
        return float(started.get(blueprint.kubelet_name(node), started.get(simulated, 0.0)))

    def _problem(self) -> ClusterError | None:
        """Why waiting is of no use, if so."""
        if supervisor_pid(self._layout) is None:
            if (self._layout.run / ORDERS).exists():
                return DoesNotStart("the supervisor has ended", f"see {self._layout.log('supervisor')}")
            return ClusterError("the cluster was stopped meanwhile", "run up again")
        for entry in read_running(self._layout.run):
            if entry["restarts"] - self._restarts.get(entry["name"], 0) >= HOPELESS_RESTARTS:
                return self._does_not_start(entry["name"])
        return None

    def _does_not_start(self, component: str) -> DoesNotStart:
        log = self._layout.log(component)
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        said = lines[-1].removeprefix("tiphys: ") if lines else "it said nothing"
        return DoesNotStart(f"{component} does not start: {said}", f"see {log}")


def is_ready_since(node: Mapping[str, Any], since: float) -> bool:
    """Whether the node is Ready by the word of a kubelet that began at `since`.

    An earlier life's last word stays in the store; it is no sign that anybody is there now.
    """
    from tiphys.machinery import meta

    conditions = meta.conditions(node)
    if not meta.is_condition_true(conditions, "Ready"):
        return False
    ready = meta.find_condition(conditions, "Ready") or {}
    try:
        said = meta.parse_time(str(ready.get("lastHeartbeatTime")))
    except ValueError:
        return False
    # Conditions have whole seconds.
    return said >= datetime.fromtimestamp(int(since), UTC)
