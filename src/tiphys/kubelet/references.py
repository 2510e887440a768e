"""Objects that pods refer to (ConfigMaps, Secrets), each watched once as long as a pod on this node wants it.

A change reaches the volumes of running pods as soon as the API shows it, and wakes pods that waited for the object to appear.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tiphys.api.resource import Resource
from tiphys.client.client import Client
from tiphys.client.reflector import Reflector
from tiphys.kubelet.spec import Object
from tiphys.machinery.clock import Clock

SYNC_SECONDS = 10.0

Key = tuple[Resource, str, str]


@dataclass(slots=True)
class _Watched:
    reflector: Reflector
    task: asyncio.Task[None]
    users: set[str] = field(default_factory=set)


class NotSynced(Exception):
    """The API has not answered in time; the message is fit for an event."""


class References:
    """`on_change(uids)`: an object that these pods refer to is another one now."""

    def __init__(self, client: Client, clock: Clock, on_change: Callable[[Iterable[str]], None]) -> None:
        self.client = client
        self._clock = clock
        self._on_change = on_change
        self._watched: dict[tuple[str, str, str], _Watched] = {}

    async def get(self, user: str, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None when there is none; watched from now on for the pod with the uid `user`. Raises NotSynced.

        What can never change is not watched any longer once it is here.
        """
        watched = await self._synced(user, resource, namespace, name)
        found = watched.reflector.cache.get(f"{namespace}/{name}" if namespace else name)
        if found is not None and found.get("immutable"):
            watched.task.cancel()
        return found

    async def all(self, user: str, resource: Resource) -> Sequence[Object]:
        """Every object of a kind of the cluster, watched from now on. Raises NotSynced."""
        return (await self._synced(user, resource, "", "")).reflector.cache.list()

    async def _synced(self, user: str, resource: Resource, namespace: str, name: str) -> _Watched:
        key = (resource.plural, namespace, name)
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = self._watch(key, resource, namespace, name)
        watched.users.add(user)
        try:
            async with asyncio.timeout(SYNC_SECONDS):
                await watched.reflector.wait_synced()
        except TimeoutError:
            raise NotSynced(
                f"failed to sync {resource.singular_name} cache: timed out waiting for the condition"
            ) from None
        return watched

    def _watch(self, key: tuple[str, str, str], resource: Resource, namespace: str, name: str) -> _Watched:
        reflector = Reflector(
            self.client,
            resource,
            clock=self._clock,
            namespace=namespace,
            field_selector=f"metadata.name={name}" if name else "",
        )

        def changed(type: str, old: Object | None, new: Object | None) -> None:
            del type, old, new
            watched = self._watched.get(key)
            if watched is not None and reflector.cache.has_synced:
                self._on_change(tuple(watched.users))

        reflector.cache.add_handler(changed)
        task = asyncio.get_running_loop().create_task(reflector.run(), name=f"watch {'/'.join(key)}")
        return _Watched(reflector, task)

    def forget(self, user: str) -> None:
        """That pod is gone; what nobody refers to is not watched any longer."""
        for key, watched in list(self._watched.items()):
            watched.users.discard(user)
            if not watched.users:
                watched.task.cancel()
                del self._watched[key]

    async def close(self) -> None:
        tasks = [watched.task for watched in self._watched.values()]
        self._watched.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
