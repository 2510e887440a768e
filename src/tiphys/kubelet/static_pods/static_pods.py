"""The pods that a node runs without having been told by the API server, and their mirrors there. One a kubelet, which runs it.

Sources say what there shall be. The kubelet's workers care for these pods as for any others; they see them with the status that the
mirror has, and what they report goes to the mirror. A pod whose manifest has changed is another one, of the same name: it is
begun when nothing of the former one is left. Mirrors are set right whenever the API or the sources show something else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from tiphys.api.resource import Resource
from tiphys.client import transport
from tiphys.client.client import Client
from tiphys.client.resources import PODS
from tiphys.kubelet.host import Host
from tiphys.kubelet.spec import Object
from tiphys.kubelet.static_pods.mirrors import CreateMirror, decide, fits, is_mirror, key_of, shown
from tiphys.kubelet.static_pods.sources import Source
from tiphys.machinery import errors, meta
from tiphys.machinery.errors import StatusError, is_already_exists, is_conflict, is_not_found

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 10.0
FAILURES = (StatusError, OSError, TimeoutError)


class Carer(Protocol):
    """The kubelet, as static pods need it."""

    @property
    def node(self) -> Mapping[str, Any]:
        """As the API last had it; empty before it is registered."""

    @property
    def api_pods(self) -> list[Object]:
        """All of this node that the API shows, mirrors too."""

    def care_for(self, pod: Object) -> None:
        """There is such a pod, or it is another one now."""

    def let_go(self, uid: str) -> None:
        """It shall end; `StaticPods.dropped` is called when nothing of it is left."""


class StaticPods:
    """`host` is what these pods' workers get: the node's, with a client that reports to mirrors."""

    def __init__(self, host: Host, sources: Sequence[Source], carer: Callable[[], Carer]) -> None:
        self._client = host.client
        self._clock = host.clock
        self._sources = sources
        self._carer = carer
        self._wanted: dict[str, dict[str, Object]] = {source.kind: {} for source in sources}
        self._current: dict[str, Object] = {}
        """By namespace and name: those that have a worker, be it one that ends them."""
        self._has_begun = False
        self._is_api_known = False
        self._something = asyncio.Event()
        self._failures: dict[str, str] = {}
        self.host = replace(host, client=_MirrorClient(host.client.transport, self._mirror))

    # What there is

    @property
    def pods(self) -> list[Object]:
        """With the status that the API knows."""
        return [
            shown(pod, self._mirror_named(key)) for key, pod in {**self._all_wanted, **self._current}.items()
        ]

    def find(self, key: str) -> Object | None:
        pod = self._current.get(key) or self._all_wanted.get(key)
        return shown(pod, self._mirror_named(key)) if pod is not None else None

    def owns(self, uid: str) -> bool:
        return any(meta.uid(pod) == uid for pod in (*self._current.values(), *self._all_wanted.values()))

    @property
    def _all_wanted(self) -> dict[str, Object]:
        """Of two sources with the same name the first one wins."""
        found: dict[str, Object] = {}
        for pods in reversed(self._wanted.values()):
            found |= pods
        return found

    def _mirror_named(self, key: str) -> Object | None:
        found = (pod for pod in self._carer().api_pods if is_mirror(pod) and key_of(pod) == key)
        return next(found, None)

    def _mirror(self, key: str) -> Object | None:
        """That shows the pod which runs now."""
        pod, mirror = self._current.get(key), self._mirror_named(key)
        return mirror if pod is not None and mirror is not None and fits(mirror, pod) else None

    # What changes

    def look(self) -> None:
        """Once, before it begins: what is known without asking anybody."""
        for source in self._sources:
            pods = source.look()
            if pods is not None:
                self.update(source.kind, pods)

    def note_remains(self, pod: Object) -> None:
        """A static pod of an earlier life of the kubelet is being taken apart: the next one of its name waits for that."""
        self._current.setdefault(key_of(pod), pod)

    def begin(self) -> None:
        """The runtime was looked at: pods may be started."""
        self._has_begun = True
        for key in {**self._all_wanted, **self._current}:
            self._settle(key)

    def update(self, kind: str, pods: Sequence[Object]) -> None:
        """All that a source has."""
        before = self._wanted[kind]
        wanted = self._wanted[kind] = {}
        uids = {
            meta.uid(pod)
            for source, found in self._wanted.items()
            if source != kind
            for pod in found.values()
        }
        for pod in pods:
            key, uid = key_of(pod), meta.uid(pod)
            if key in wanted or uid in uids:
                log.warning("there are two manifests of pod %s", key)
                continue
            uids.add(uid)
            known = before.get(key)
            # It is seen when it is seen for the first time.
            is_known = known is not None and meta.uid(known) == uid and known["spec"] == pod["spec"]
            wanted[key] = known if known is not None and is_known else pod
        if self._has_begun:
            for key in {**before, **self._wanted[kind]}:
                self._settle(key)

    def _settle(self, key: str) -> None:
        wanted, current = self._all_wanted.get(key), self._current.get(key)
        if current is None and wanted is not None:
            self._current[key] = wanted
            self._carer().care_for(shown(wanted, self._mirror_named(key)))
        elif current is not None and (wanted is None or meta.uid(wanted) != meta.uid(current)):
            self._carer().let_go(meta.uid(current))
        elif current is not None and wanted is not None and current is not wanted:
            # Its manifest says which uid it has, and something new beside that.
            self._current[key] = wanted
            self._carer().care_for(shown(wanted, self._mirror_named(key)))
        self._something.set()

    def dropped(self, uid: str) -> None:
        """Nothing is left of a pod here."""
        for key, pod in list(self._current.items()):
            if meta.uid(pod) == uid:
                del self._current[key]
                self._settle(key)

    def api_is_known(self) -> None:
        """All pods that the API has for this node have been seen."""
        self._is_api_known = True
        self._something.set()
        for pod in self._carer().api_pods:
            if is_mirror(pod):
                self.mirror_changed(pod)

    def mirror_changed(self, mirror: Object) -> None:
        pod = self._current.get(key_of(mirror))
        if pod is not None and self._has_begun and self._is_current(pod):
            self._carer().care_for(shown(pod, self._mirror_named(key_of(mirror))))
        self._something.set()

    def _is_current(self, pod: Object) -> bool:
        wanted = self._all_wanted.get(key_of(pod))
        return wanted is not None and meta.uid(wanted) == meta.uid(pod)

    # What is done about it

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for source in self._sources:
                group.create_task(source.follow(lambda pods, kind=source.kind: self.update(kind, pods)))  # type: ignore[misc]
            group.create_task(self._keep_mirrors())

    async def _keep_mirrors(self) -> None:
        delay = RETRY_SECONDS
        while True:
            await self._something.wait()
            self._something.clear()
            if not self._is_api_known:
                continue
            results = [await self._set_right(key) for key in self._keys()]
            if all(results):
                delay = RETRY_SECONDS
            else:
                self._clock.call_later(delay, self._something.set)
                delay = min(delay * 2, LONGEST_RETRY_SECONDS)

    def _keys(self) -> Iterator[str]:
        mirrors = [key_of(pod) for pod in self._carer().api_pods if is_mirror(pod)]
        yield from dict.fromkeys([*self._all_wanted, *self._current, *mirrors])

    async def _set_right(self, key: str) -> bool:
        """False: look again later."""
        pod, node = self._current.get(key), self._carer().node
        if pod is not None and not self._is_current(pod):
            return True  # it ends, and its mirror shows that to the last
        if not node:
            return False
        action = decide(pod, self._mirror_named(key), node)
        if action is None:
            self._failures.pop(key, None)
            return True
        try:
            if isinstance(action, CreateMirror):
                await self._client.create(PODS, dict(action.pod))
            else:
                await self._client.delete(
                    PODS, action.name, action.namespace, uid=action.uid, grace_period_seconds=0
                )
        except FAILURES as error:
            self._complain(key, error)
            return False
        # What was written shows in the cache, and that is the next look.
        return True

    def _complain(self, key: str, error: BaseException) -> None:
        """Once of each failure; that the cache is behind the API is none."""
        if is_not_found(error) or is_conflict(error) or is_already_exists(error):
            level = logging.INFO
        else:
            level = logging.WARNING
        if self._failures.get(key) != str(error):
            log.log(level, "the mirror of pod %s is not as it should be: %s", key, error)
        self._failures[key] = str(error)


class _MirrorClient(Client):
    """Statuses of static pods go to their mirrors; while there is none, nowhere."""

    def __init__(self, transport: Any, mirror: Callable[[str], Object | None]) -> None:
        super().__init__(transport)
        self._mirror_of = mirror

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: transport.Object | Sequence[Any],
        namespace: str = "",
        *,
        content_type: str = transport.MERGE_PATCH,
        subresource: str = "",
        query: transport.Query | None = None,
    ) -> transport.Object:
        if resource is PODS and isinstance(patch, dict):
            mirror = self._mirror_of(f"{namespace}/{name}")
            if mirror is None:
                raise errors.not_found(PODS.group_resource, name)
            patch = {**patch, "metadata": {"uid": meta.uid(mirror)}}
        return await super().patch(
            resource,
            name,
            patch,
            namespace,
            content_type=content_type,
            subresource=subresource,
            query=query,
        )
