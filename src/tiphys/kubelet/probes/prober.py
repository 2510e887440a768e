"""Probes every running container that asks for it, and keeps what came of it: one task a probe, asleep between its times.

When and how is upstream's (`pkg/kubelet/prober/worker.go`): delays count from the container's start; a probe that errors is tried
three times and then says nothing; liveness and startup are over with the container's failure or the pod's deletion, readiness
goes on until the container ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from tiphys.kubelet import spec, wording
from tiphys.kubelet.metrics import ProbeMetrics
from tiphys.kubelet.probes.handlers import Handlers
from tiphys.kubelet.probes.results import ProbeResult
from tiphys.kubelet.probes.verdicts import FIELDS, Kind, Tally, tally
from tiphys.kubelet.runtimes.interface import ContainerStatus
from tiphys.kubelet.seen import Health
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock

TRIES = 3
TICK_SECONDS = 0.1
"""Probes follow their first ones at times of this grid: the process wakes up for many of them at once."""
UNHEALTHY, WARNED = "Unhealthy", "ProbeWarning"
_CONDEMNING: tuple[Kind, ...] = ("startup", "liveness")
"""Those whose failure ends the container."""

Tell = Callable[[Object, str, str, str], None]
"""(pod, container name, reason, message): a probe failed or has something to say; told each time."""


@dataclass(slots=True)
class _Probed:
    """One running container with probes."""

    pod: Object
    container: Object
    status: ContainerStatus
    ip: str
    tallies: dict[Kind, Tally]
    tasks: dict[Kind, asyncio.Task[None]] = field(default_factory=dict)
    is_startup_over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def health(self) -> Health:
        startup, readiness = self.tallies.get("startup"), self.tallies.get("readiness")
        started = startup is None or startup.verdict
        ready = started and (readiness is None or readiness.verdict)
        for kind in _CONDEMNING:
            found = self.tallies.get(kind)
            if found is not None and found.has_failed:
                probe = self.container[FIELDS[kind]]
                message = wording.failed_probe(self.container["name"], kind)
                grace = probe.get("terminationGracePeriodSeconds")
                return Health(started=started, ready=False, failure=message, grace_seconds=grace)
        return Health(started=started, ready=ready)

    def labels(self, kind: Kind) -> tuple[str, str, str, str, str]:
        pod = self.pod
        name = self.container["name"]
        return kind.capitalize(), name, meta.name(pod), meta.namespace(pod), meta.uid(pod)


class ProbeManager:
    """Of one node. `wake(uid)` is called when a verdict turns."""

    def __init__(
        self,
        handlers: Handlers,
        clock: Clock,
        wake: Callable[[str], None],
        tell: Tell,
        *,
        random: Random,
        metrics: ProbeMetrics | None = None,
    ) -> None:
        self._handlers = handlers
        self._clock = clock
        self._wake = wake
        self._tell = tell
        self._random = random
        self._metrics = metrics or ProbeMetrics()
        self._began_at = clock.now()
        self._pods: dict[str, dict[str, _Probed]] = {}

    def update(self, pod: Object, running: Mapping[str, ContainerStatus], ips: tuple[str, ...]) -> None:
        uid = meta.uid(pod)
        probed = self._pods.get(uid, {})
        for id in [id for id in probed if id not in running]:
            self._end(probed.pop(id))
        for id, status in running.items():
            known = probed.get(id)
            if known is not None:
                known.pod = pod
                if meta.is_deleting(pod):
                    self._be_quiet(known)
                continue
            container = spec.find_container(pod, status.name)
            if container is not None and any(container.get(name) for name in FIELDS.values()):
                probed[id] = self._begin(pod, container, status, ips[0] if ips else "127.0.0.1")
        if probed:
            self._pods[uid] = probed
        else:
            self._pods.pop(uid, None)

    def health(self, uid: str) -> Mapping[str, Health]:
        return {id: probed.health for id, probed in self._pods.get(uid, {}).items()}

    def forget(self, uid: str) -> None:
        for probed in self._pods.pop(uid, {}).values():
            self._end(probed)

    # One container

    def _begin(self, pod: Object, container: Object, status: ContainerStatus, ip: str) -> _Probed:
        kinds: list[Kind] = [kind for kind, name in FIELDS.items() if container.get(name)]
        tallies = {kind: tally(kind, container[FIELDS[kind]]) for kind in kinds}
        probed = _Probed(pod, container, status, ip, tallies)
        self._remember(probed)
        startup = tallies.get("startup")
        if startup is None or startup.verdict:
            probed.is_startup_over.set()
            kinds = [kind for kind in kinds if kind != "startup"]
        if meta.is_deleting(pod):
            kinds = [kind for kind in kinds if kind not in _CONDEMNING]
        loop = asyncio.get_running_loop()
        probed.tasks = {
            kind: loop.create_task(self._probe(probed, kind), name=f"{kind} probe") for kind in kinds
        }
        return probed

    def _remember(self, probed: _Probed) -> None:
        """A container that ran before this kubelet did is as the API has it, until a probe says otherwise."""
        reported = spec.reported_status(probed.pod, probed.status.name)
        if reported is None or not str(reported.get("containerID", "")).endswith(f"//{probed.status.id}"):
            return
        for kind, was_so in (("startup", reported.get("started")), ("readiness", reported.get("ready"))):
            found = probed.tallies.get(kind)  # type: ignore[call-overload]
            if found is not None and was_so:
                probed.tallies[found.kind] = replace(found, verdict=True)

    def _be_quiet(self, probed: _Probed) -> None:
        """The pod is to end: nothing condemns its containers any more."""
        for kind in _CONDEMNING:
            task = probed.tasks.pop(kind, None)
            if task is not None:
                task.cancel()
            found = probed.tallies.get(kind)
            if found is not None and found.last is not None:
                probed.tallies[kind] = replace(found, streak=0, last=None)

    def _end(self, probed: _Probed) -> None:
        for task in probed.tasks.values():
            task.cancel()
        for kind in probed.tallies:
            self._metrics.forget(probed.labels(kind))

    # Probing

    async def _probe(self, probed: _Probed, kind: Kind) -> None:
        probe: Mapping[str, Any] = probed.container[FIELDS[kind]]
        period = probe.get("periodSeconds") or 10
        if kind != "startup":
            await probed.is_startup_over.wait()
        await self._clock.sleep(self._delay(probed, probe, period))
        while True:
            began = self._clock.monotonic()
            result = await self._run(probed, probe)
            self._count(probed, kind, result, self._clock.monotonic() - began)
            if self._note(probed, kind, result):
                return
            tick = round(began / TICK_SECONDS) * TICK_SECONDS
            await self._clock.sleep(max(tick + period - self._clock.monotonic(), 0))

    def _delay(self, probed: _Probed, probe: Mapping[str, Any], period: float) -> float:
        """What is left of the initial delay; after a start of the kubelet, not all at once."""
        started_at, now = probed.status.started_at or self._clock.now(), self._clock.now()
        delay = (probe.get("initialDelaySeconds") or 0) - (now - started_at).total_seconds()
        jitter = self._random.random() * period if started_at < self._began_at else 0.0
        return max(delay, jitter, 0.0)

    async def _run(self, probed: _Probed, probe: Mapping[str, Any]) -> ProbeResult:
        timeout_seconds = float(probe.get("timeoutSeconds") or 1)
        for _ in range(TRIES):
            result = await self._handlers.run(
                probe, probed.container, probed.status.id, probed.ip, timeout_seconds=timeout_seconds
            )
            if result.is_known:
                break
        return result

    def _count(self, probed: _Probed, kind: Kind, result: ProbeResult, seconds: float) -> None:
        if result.is_known:
            told = "successful" if result.succeeded else "failed"
            self._metrics.probed(probed.labels(kind), told, seconds)

    def _note(self, probed: _Probed, kind: Kind, result: ProbeResult) -> bool:
        """Counts one result; True when this probe has nothing more to say."""
        name = probed.container["name"]
        if result.warns:
            self._tell(probed.pod, name, WARNED, f"{kind.capitalize()} probe warning: {result.message}")
        elif not result.succeeded:
            text = "failed" if result.is_known else "errored and resulted in unknown state"
            self._tell(probed.pod, name, UNHEALTHY, f"{kind.capitalize()} probe {text}: {result.message}")
        if not result.is_known:
            return False
        before = probed.health
        probed.tallies[kind] = found = probed.tallies[kind].count(succeeded=result.succeeded)
        if probed.health != before:
            self._wake(meta.uid(probed.pod))
        if kind == "startup" and found.verdict:
            probed.is_startup_over.set()
            return True
        return kind in _CONDEMNING and found.has_failed
