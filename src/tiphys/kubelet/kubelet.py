"""The kubelet of one node: gives every pod that is bound to it a worker, and tells the workers when to look.

A worker is woken by a change of its pod, by an event of the runtime about one of its containers, and by what it started itself.
A slow listing of everything is the safety net under the events, and finds what belongs to no pod: that is taken apart, too.
Containers outlive the kubelet; when it comes back it finds them by their labels and goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any

from tiphys.client.cache import BY_NODE, Cache
from tiphys.client.events import WARNING
from tiphys.client.transport import DELETED
from tiphys.kubelet import labels, spec
from tiphys.kubelet.host import Host
from tiphys.kubelet.node_agent import NodeAgent
from tiphys.kubelet.runtime_view import Heard
from tiphys.kubelet.runtimes.interface import Container, ContainerStatus, RuntimeFailure, Sandbox
from tiphys.kubelet.seen import Sentence
from tiphys.kubelet.spec import Object
from tiphys.kubelet.static_pods.mirrors import is_mirror
from tiphys.kubelet.static_pods.static_pods import StaticPods
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.worker import PodWorker
from tiphys.machinery import meta

log = logging.getLogger(__name__)

RELIST_SECONDS = 10.0
RETRY_SECONDS = 0.25
QUIET_RETRY_SECONDS = 2.0
PATIENCE_SECONDS = 30.0
"""With a pod that is thrown out, beside its grace."""

Chore = Callable[[], Coroutine[Any, Any, None]]
"""What is to be done on a node beside the care for single pods: begun with the kubelet, and cancelled with it."""


class Kubelet:
    """`run` until cancelled; the containers go on. `relist_seconds` 0: the runtime's events are the whole truth.

    Pods come from the API, and from the manifests of `static`, which run while the API is not there. `until_known()` is through
    when the cache has all pods of the API; without it, it has them when the kubelet is started.
    """

    def __init__(
        self,
        host: Host,
        pods: Cache,
        agent: NodeAgent,
        *,
        static: StaticPods | None = None,
        until_known: Callable[[], Awaitable[None]] | None = None,
        relist_seconds: float = RELIST_SECONDS,
    ) -> None:
        self._host = host
        self._pods = pods
        self._agent = agent
        self.chores: list[Chore] = []
        """To be filled before it runs."""
        self._static = static
        self._until_known = until_known
        self._knows_all = False
        self._relist_seconds = relist_seconds
        self._workers: dict[str, PodWorker] = {}
        self._is_started = False
        self._may_have_leftovers = True
        self._relisted_at: float | None = None

    @property
    def host(self) -> Host:
        return self._host

    @property
    def pods(self) -> list[Object]:
        """The pods of this node, from wherever it was told of them."""
        if self._static is None:
            return self.api_pods
        return [*self._static.pods, *(pod for pod in self.api_pods if not is_mirror(pod))]

    @property
    def api_pods(self) -> list[Object]:
        """The pods of this node that the API knows, mirrors too."""
        return list(self._pods.by(BY_NODE, self._host.node))

    @property
    def active_pods(self) -> list[Object]:
        """Those that take room here now, as much as they are granted."""
        return [worker.granted for worker in self._workers.values() if worker.is_active]

    @property
    def holders(self) -> set[str] | None:
        """The uids of pods that may hold what only one can have; None: they are not all known yet."""
        if not self._is_started:
            return None
        return {uid for uid, worker in self._workers.items() if worker.may_hold}

    @property
    def node(self) -> Mapping[str, Any]:
        """As the API last had it; empty before it is registered."""
        return self._agent.node

    async def throw_out(
        self,
        pods: Iterable[Object],
        sentence: Sentence,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Ends these pods, and returns when they have given back what they had, or will not for long. `annotations`: of the event."""
        workers = [worker for pod in pods if (worker := self._workers.get(meta.uid(pod))) is not None]
        for worker in workers:
            self._host.record(worker.pod, WARNING, sentence.reason, sentence.message, annotations=annotations)
            worker.condemn(sentence)
        grace = max((spec.grace_seconds(worker.pod) for worker in workers), default=0.0)
        patience = PATIENCE_SECONDS + (grace if sentence.grace_seconds is None else sentence.grace_seconds)
        deadline = self._host.clock.monotonic() + patience
        while not all(worker.is_over for worker in workers) and self._host.clock.monotonic() < deadline:
            await self._host.clock.sleep(RETRY_SECONDS)

    def find_pod(self, namespace: str, name: str) -> Object | None:
        if self._static is not None and (found := self._static.find(f"{namespace}/{name}")) is not None:
            return found
        pod = self._pods.get(f"{namespace}/{name}")
        return pod if pod is not None and _node_of(pod) == self._host.node else None

    def worker(self, uid: str) -> PodWorker | None:
        return self._workers.get(uid)

    @property
    def workers(self) -> Iterable[PodWorker]:
        return self._workers.values()

    def measured(self) -> list[MeasuredPod]:
        """The pods that there is something to measure of."""
        found = (worker.measured() for worker in self._workers.values())
        return [pod for pod in found if pod is not None]

    def running(self) -> Iterator[ContainerStatus]:
        """The containers that run now, as the workers last saw them."""
        for worker in self._workers.values():
            for life in worker.running:
                yield life.status

    async def run(self) -> None:
        """`changed` must be told of what the cache of pods learns."""
        try:
            if self._until_known is None:
                self._knows_all = True
            await self._adopt()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_runtime())
                group.create_task(self._serve_node())
                if self._until_known is not None:
                    group.create_task(self._adopt_when_known(self._until_known))
                if self._static is not None:
                    group.create_task(self._static.run())
                for chore in self.chores:
                    group.create_task(chore())
                if self._relist_seconds:
                    group.create_task(self._relist_for_ever())
        finally:
            await asyncio.gather(*(worker.close() for worker in self._workers.values()))

    async def _serve_node(self) -> None:
        if self._until_known is not None:
            await self._until_known()
        await self._agent.register()
        await self._agent.run()

    # Pods

    def changed(self, type: str, old: Object | None, new: Object | None) -> None:
        """A pod of this node changed in the API; ADDED, MODIFIED or DELETED."""
        pod = old if new is None else new
        if pod is None or not self._is_started:
            return
        if self._static is not None and is_mirror(pod):
            self._static.mirror_changed(pod)
        elif type == DELETED:
            worker = self._workers.get(meta.uid(pod))
            if worker is not None:
                worker.pod = pod
                worker.set_gone()
        else:
            self.care_for(pod)

    def wake(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.wake()

    def node_changed(self) -> None:
        """Devices of the node are others now, or otherwise: its status must say so, and that of pods that have some."""
        self._agent.check_now()
        self.wake_all()

    def wake_all(self) -> None:
        for worker in list(self._workers.values()):
            worker.wake()

    def retry(self, uids: Iterable[str]) -> None:
        """Something that these pods refer to has changed."""
        for uid in uids:
            worker = self._workers.get(uid)
            if worker is not None:
                worker.retry_now()

    def care_for(self, pod: Object) -> None:
        """There is such a pod, or it is another one now."""
        worker = self._workers.get(meta.uid(pod))
        if worker is None:
            worker = self._add(pod)
        worker.set_pod(pod)

    def let_go(self, uid: str) -> None:
        """It shall end: who told us of it does so no more."""
        worker = self._workers.get(uid)
        if worker is not None:
            worker.set_gone()

    def _add(self, pod: Object) -> PodWorker:
        is_static = self._static is not None and self._static.owns(meta.uid(pod))
        host = self._static.host if self._static is not None and is_static else self._host
        worker = self._workers[meta.uid(pod)] = PodWorker(host, pod, self._drop)
        return worker

    def _drop(self, uid: str) -> None:
        self._workers.pop(uid, None)
        if self._static is not None:
            self._static.dropped(uid)

    # The runtime

    async def _adopt(self) -> None:
        """Once, at the start: what runs already, and what is known of it; a runtime that is not up yet is waited for."""
        if self._static is not None:
            self._static.look()
        while not await self._relist():
            await self._host.clock.sleep(RETRY_SECONDS)
        if self._static is not None:
            self._static.begin()
        if self._knows_all:
            await self._adopt_api_pods()

    async def _adopt_when_known(self, until_known: Callable[[], Awaitable[None]]) -> None:
        """Until then what belongs to pods of the API is left alone."""
        await until_known()
        self._knows_all = True
        while not await self._relist():
            await self._host.clock.sleep(RETRY_SECONDS)
        await self._adopt_api_pods()

    async def _adopt_api_pods(self) -> None:
        self._is_started = True
        for pod in self.api_pods:
            if self._static is None or not is_mirror(pod):
                self.care_for(pod)
        if self._static is not None:
            self._static.api_is_known()
        self._clean_up_after_the_gone()

    def _clean_up_after_the_gone(self) -> None:
        """Volumes, cgroups and logs of pods that were deleted while nobody was here, and that have no sandbox any more."""
        for uid in self._host.provisions.leftovers() - set(self._workers):
            log.info("removing what is left of pod %s", uid)
            nameless = {"metadata": {"uid": uid, "name": "", "namespace": ""}, "spec": {"containers": []}}
            self._add(nameless).set_gone()

    async def _relist(self) -> bool:
        """Lists everything, and wakes the workers whose pods are not as they knew them; False when the runtime does not answer."""
        clock = self._host.clock
        began, last = clock.monotonic(), self._relisted_at
        try:
            sandboxes = await self._host.runtime.list_sandboxes()
            containers = await self._host.runtime.list_containers()
        except RuntimeFailure as error:
            log.info("cannot list containers: %s", error.message)
            return False
        self._relisted_at = began
        interval = None if last is None else began - last
        self._host.metrics.relisted(clock.monotonic() - began, interval, clock.now().timestamp())
        boxes, lives = _by_pod(sandboxes), _by_pod(containers)
        for uid in {*boxes, *lives, *self._workers}:
            worker = self._workers.get(uid) or self._adopt_pod(uid, boxes.get(uid, ()))
            if worker is not None and worker.view.compare(boxes.get(uid, ()), lives.get(uid, ())):
                worker.wake()
        return True

    def _adopt_pod(self, uid: str, sandboxes: Iterable[Any]) -> PodWorker | None:
        """A worker for what runs without one: of a pod that we know, or of one that is gone."""
        known = next((pod for pod in self.pods if meta.uid(pod) == uid), None)
        if known is not None:
            return self._add(known)
        remains = next(iter(sandboxes), None)
        was_static = remains is not None and spec.is_static(
            {"metadata": {"annotations": remains.annotations}}
        )
        if remains is None or not (self._knows_all or was_static):
            return None
        self._host.metrics.delays.orphan_found()
        orphan = _orphan(uid, remains)
        if was_static and self._static is not None:
            self._static.note_remains(orphan)
        worker = self._add(orphan)
        worker.set_gone()
        return worker

    async def _relist_for_ever(self) -> None:
        while True:
            await self._host.clock.sleep(self._relist_seconds)
            if await self._relist() and self._may_have_leftovers:
                await self._remove_leftovers()

    async def _remove_leftovers(self) -> None:
        """What a runtime that was killed does not know any more: looked for after each of its starts, until there is none."""
        try:
            self._may_have_leftovers = not await self._host.runtime.remove_leftovers()
        except (RuntimeFailure, OSError, ValueError, KeyError) as error:
            log.warning("cannot look for what the runtime has forgotten: %s", error)

    async def _follow_runtime(self) -> None:
        async for event in self._host.runtime.events():
            if event.kind == "relist":
                self._may_have_leftovers = True
                while not await self._relist():
                    await self._host.clock.sleep(QUIET_RETRY_SECONDS)
                continue
            for worker in self._workers.values():
                heard = worker.view.hear(event)
                if heard is Heard.NEWS:
                    worker.wake()
                if heard is not Heard.OF_NOBODY:
                    break


def _node_of(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _by_pod(items: Iterable[Sandbox | Container]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in items:
        uid = item.labels.get(labels.POD_UID)
        if uid:
            found.setdefault(uid, []).append(item)
    return found


def _orphan(uid: str, sandbox: Sandbox) -> Mapping[str, Any]:
    """What its sandbox tells of a pod that the API has forgotten."""
    grace = sandbox.annotations.get(labels.GRACE_PERIOD, "")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": sandbox.name, "namespace": sandbox.namespace, "uid": uid},
        "spec": {
            "containers": [],
            **({"terminationGracePeriodSeconds": int(grace)} if grace.isdecimal() else {}),
        },
    }


class Dispatcher:
    """Tells each of a process's kubelets about its own pods: many nodes share one cache."""

    def __init__(self) -> None:
        self._kubelets: dict[str, Kubelet] = {}

    def add(self, kubelet: Kubelet) -> None:
        self._kubelets[kubelet.host.node] = kubelet

    def remove(self, node: str) -> None:
        self._kubelets.pop(node, None)

    def __iter__(self) -> Iterator[Kubelet]:
        return iter(self._kubelets.values())

    def find(self, node: str) -> Kubelet | None:
        return self._kubelets.get(node)

    def holder_of(self, namespace: str, name: str) -> tuple[Kubelet, Object] | None:
        """The kubelet of a pod, and the pod."""
        for kubelet in self._kubelets.values():
            pod = kubelet.find_pod(namespace, name)
            if pod is not None:
                return kubelet, pod
        return None

    def changed(self, type: str, old: Object | None, new: Object | None) -> None:
        """For Cache.add_handler."""
        pod = old if new is None else new
        kubelet = self._kubelets.get(_node_of(pod)) if pod is not None else None
        if kubelet is not None:
            kubelet.changed(type, old, new)
