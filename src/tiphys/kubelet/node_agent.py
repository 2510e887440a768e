"""Registers a node and keeps it alive in the API: a lease every ten seconds, its status when it changes, and every five minutes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from tiphys.client.client import Client
from tiphys.client.events import NORMAL, EventRecorder
from tiphys.client.leases import Heartbeat
from tiphys.client.resources import NODES
from tiphys.client.transport import STRATEGIC_MERGE_PATCH, Object
from tiphys.kubelet.node import NodeFacts, condition_events, differs, labels, new_node, node_status
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError, is_already_exists, is_not_found

log = logging.getLogger(__name__)

REPORT_SECONDS = 300.0
"""So old may the status be at most."""
CHECK_SECONDS = 10.0
"""So often the machine and the runtime are looked at for changes."""
FAILURES = (StatusError, OSError, TimeoutError)

Look = Callable[[], Awaitable[NodeFacts]]


class NodeAgent:
    """Of one node. `look()` gathers the facts. `check_seconds` 0: they never change (a simulated node).

    Without a recorder no events tell of it: of thousands of nodes they would be most of what is written.
    """

    def __init__(
        self,
        client: Client,
        look: Look,
        clock: Clock,
        *,
        check_seconds: float = CHECK_SECONDS,
        lease_seconds: int = 40,
        recorder: EventRecorder | None = None,
    ) -> None:
        self._client = client
        self._look = look
        self._clock = clock
        self._check_seconds = check_seconds
        self._lease_seconds = lease_seconds
        self._recorder = recorder
        self._is_due = asyncio.Event()
        self.node: dict[str, Any] = {}
        """As the API last had it."""

    async def register(self) -> None:
        """Until the API has the node as it is. Retries quietly."""
        delay = 0.1
        is_told = False
        while True:
            try:
                if not is_told:
                    self._tell((await self._look()).name, "Starting", "Starting kubelet.")
                    is_told = True
                await self._register()
                return
            except FAILURES as error:
                log.info("cannot register yet: %s", error)
                await self._clock.sleep(delay)
                delay = min(delay * 2, 7.0)

    async def _register(self) -> None:
        facts = await self._look()
        now = self._clock.now()
        try:
            self.node = await self._client.create(NODES, new_node(facts, now))
            self._tell_conditions(facts.name, {}, self.node.get("status") or {})
            return
        except StatusError as error:
            if not is_already_exists(error):
                raise
        self.node = await self._client.get(NODES, facts.name)
        missing = {
            name: value for name, value in labels(facts).items() if meta.labels(self.node).get(name) != value
        }
        if missing:
            self.node = await self._client.patch(NODES, facts.name, {"metadata": {"labels": missing}})
        await self._report(facts)

    async def run(self) -> None:
        """After `register`: until cancelled."""
        name = meta.name(self.node)
        heartbeat = Heartbeat(self._client, name, clock=self._clock, lease_seconds=self._lease_seconds)
        heartbeat.owner = self.node

        async def register_again() -> None:
            log.warning("the lease is gone: looking after the node")
            await self.register()
            heartbeat.owner = self.node

        async def report_again() -> None:
            log.warning("the node may have been given up for lost: saying how it is")
            await self._report(await self._look())

        heartbeat.on_missing = register_again
        heartbeat.on_late = report_again
        async with asyncio.TaskGroup() as group:
            group.create_task(heartbeat.run())
            group.create_task(self._keep_status())

    async def _keep_status(self) -> None:
        reported = self._clock.monotonic()
        while True:
            await self._wait()
            try:
                facts = await self._look()
                # Others write there, too: the control plane says Unknown of a node that it has lost.
                self.node = await self._client.get(NODES, facts.name)
                status = node_status(self.node.get("status") or {}, facts, self._clock.now())
                is_old = self._clock.monotonic() - reported >= REPORT_SECONDS
                if is_old or differs(self.node.get("status") or {}, status):
                    await self._report(facts)
                    reported = self._clock.monotonic()
            except StatusError as error:
                if is_not_found(error):
                    log.warning("the node was deleted: registering it again")
                    await self.register()
                else:
                    log.warning("cannot report the node's status: %s", error)
            except FAILURES as error:
                log.warning("cannot report the node's status: %s", error)

    def check_now(self) -> None:
        """Something of the node is not as it was."""
        self._is_due.set()

    async def _wait(self) -> None:
        timer = self._clock.call_later(self._check_seconds or REPORT_SECONDS, self._is_due.set)
        try:
            await self._is_due.wait()
        finally:
            timer.cancel()
            self._is_due.clear()

    async def _report(self, facts: NodeFacts) -> None:
        old = self.node.get("status") or {}
        status = node_status(old, facts, self._clock.now())
        self.node = await self._client.patch(
            NODES, facts.name, {"status": status}, content_type=STRATEGIC_MERGE_PATCH, subresource="status"
        )
        self._tell_conditions(facts.name, old, status)

    def _tell_conditions(self, name: str, old: Object, new: Object) -> None:
        for reason in condition_events(old, new):
            self._tell(name, reason, f"Node {name} status is now: {reason}")

    def _tell(self, name: str, reason: str, message: str) -> None:
        if self._recorder is not None:
            # Upstream's kubelet takes the name for the uid; kubectl looks for both.
            node = {"kind": "Node", "apiVersion": "v1", "name": name, "uid": name}
            self._recorder.record(node, NORMAL, reason, message)
