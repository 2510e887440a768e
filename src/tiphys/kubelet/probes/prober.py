"""Probes every running container that asks for it, and keeps what came of it: one task a probe, asleep between its times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tiphys.kubelet import spec, wording
from tiphys.kubelet.probes.handlers import Handlers, ProbeResult
from tiphys.kubelet.probes.verdicts import FIELDS, Kind, Tally, tally
from tiphys.kubelet.runtimes.interface import ContainerStatus
from tiphys.kubelet.seen import Health
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock

Unhealthy = Callable[[Object, str, str], None]
"""(pod, container name, message): a probe failed; told for each failure."""


@dataclass(slots=True)
class _Probed:
    """One running container with probes."""

    pod: Object
    container: Object
    id: str
    ip: str
    tallies: dict[Kind, Tally]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    is_startup_over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def health(self) -> Health:
        startup, liveness, readiness = (self.tallies.get(kind) for kind in FIELDS)
        for found in (startup, liveness):
            if found is not None and found.has_failed:
                probe = self.container[FIELDS[found.kind]]
                message = wording.failed_probe(self.container["name"], found.kind)
                grace = probe.get("terminationGracePeriodSeconds")
                started = startup is None or startup.verdict
                return Health(started=started, ready=False, failure=message, grace_seconds=grace)
        started = startup is None or startup.verdict
        return Health(started=started, ready=started and (readiness is None or readiness.verdict))


class ProbeManager:
    """Of one node. `wake(uid)` is called when a verdict turns."""

    def __init__(
        self, handlers: Handlers, clock: Clock, wake: Callable[[str], None], unhealthy: Unhealthy
    ) -> None:
        self._handlers = handlers
        self._clock = clock
        self._wake = wake
        self._unhealthy = unhealthy
        self._pods: dict[str, dict[str, _Probed]] = {}

    def update(self, pod: Object, running: Mapping[str, ContainerStatus], ips: tuple[str, ...]) -> None:
        uid = meta.uid(pod)
        probed = self._pods.get(uid, {})
        for id in [id for id in probed if id not in running]:
            _end(probed.pop(id))
        for id, status in running.items():
            container = spec.find_container(pod, status.name)
            if container is None or id in probed or not any(container.get(name) for name in FIELDS.values()):
                continue
            probed[id] = self._begin(pod, container, id, ips[0] if ips else "127.0.0.1")
        if probed:
            self._pods[uid] = probed
        else:
            self._pods.pop(uid, None)

    def health(self, uid: str) -> Mapping[str, Health]:
        return {id: probed.health for id, probed in self._pods.get(uid, {}).items()}

    def forget(self, uid: str) -> None:
        for probed in self._pods.pop(uid, {}).values():
            _end(probed)

    def _begin(self, pod: Object, container: Object, id: str, ip: str) -> _Probed:
        kinds: list[Kind] = [kind for kind, name in FIELDS.items() if container.get(name)]
        probed = _Probed(
            pod, container, id, ip, {kind: tally(kind, container[FIELDS[kind]]) for kind in kinds}
        )
        if "startup" not in kinds:
            probed.is_startup_over.set()
        loop = asyncio.get_running_loop()
        probed.tasks = [loop.create_task(self._probe(probed, kind), name=f"{kind} probe") for kind in kinds]
        return probed

    async def _probe(self, probed: _Probed, kind: Kind) -> None:
        probe: Mapping[str, Any] = probed.container[FIELDS[kind]]
        period = probe.get("periodSeconds") or 10
        if kind != "startup":
            await probed.is_startup_over.wait()
        await self._clock.sleep(probe.get("initialDelaySeconds") or 0)
        while True:
            result = await self._handlers.run(
                probe,
                probed.container,
                probed.id,
                probed.ip,
                timeout_seconds=probe.get("timeoutSeconds") or 1,
            )
            if self._note(probed, kind, result):
                return
            await self._clock.sleep(period)

    def _note(self, probed: _Probed, kind: Kind, result: ProbeResult) -> bool:
        """Counts one result; True when this probe has nothing more to say."""
        if not result.succeeded:
            text = "failed" if result.is_known else "errored and resulted in unknown state"
            message = f"{kind.capitalize()} probe {text}: {result.message}"
            self._unhealthy(probed.pod, probed.container["name"], message)
        if not result.is_known:
            return False
        before = probed.health
        probed.tallies[kind] = found = probed.tallies[kind].count(succeeded=result.succeeded)
        if probed.health != before:
            self._wake(meta.uid(probed.pod))
        if kind == "startup" and found.verdict:
            probed.is_startup_over.set()
            return True
        return kind != "readiness" and found.has_failed


def _end(probed: _Probed) -> None:
    for task in probed.tasks:
        task.cancel()
