"""What the runtime has of one pod, kept up to date with as few questions as possible.

A sandbox is asked for again only when something said that it, or a container in it, changed: an event, a difference in a
listing of everything, or an act of our own. Containers that are as they were in the listing are not asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum

from tiphys.kubelet.runtimes.interface import (
    Container,
    ContainerEvent,
    ContainerStatus,
    NotFound,
    Runtime,
    Sandbox,
    SandboxStatus,
)
from tiphys.kubelet.seen import SeenContainer


class Heard(Enum):
    """What an event is to a pod."""

    OF_NOBODY = 0
    """It is about another one's containers."""
    NOTHING_NEW = 1
    NEWS = 2


LastWords = Callable[[ContainerStatus], str]
"""The message that an exited container left behind; empty for none."""


class RuntimeView:
    """Of one pod. `refresh` asks; everything else is at hand."""

    def __init__(self, runtime: Runtime, last_words: LastWords) -> None:
        self._runtime = runtime
        self._last_words = last_words
        self._sandboxes: dict[str, SandboxStatus] = {}
        self._containers: dict[str, SeenContainer] = {}
        self._stale: set[str] = set()

    @property
    def sandboxes(self) -> tuple[SandboxStatus, ...]:
        """Newest first."""
        return tuple(
            sorted(self._sandboxes.values(), key=lambda box: (box.attempt, box.created_at), reverse=True)
        )

    @property
    def containers(self) -> tuple[SeenContainer, ...]:
        """Newest first."""
        return tuple(
            sorted(
                self._containers.values(),
                key=lambda container: (container.status.created_at, container.status.attempt),
                reverse=True,
            )
        )

    @property
    def ids(self) -> set[str]:
        """Of everything that is known or about to be asked for."""
        return {*self._sandboxes, *self._containers, *self._stale}

    def mark_sandbox(self, id: str) -> None:
        """Something happened to it or in it."""
        self._stale.add(id)

    def mark(self, id: str) -> bool:
        """Something happened to a sandbox or container; False when it is none of ours."""
        if id in self._containers:
            self._stale.add(self._containers[id].sandbox_id)
        elif id in self._sandboxes:
            self._stale.add(id)
        else:
            return False
        return True

    def hear(self, event: ContainerEvent) -> Heard:
        """Marks what an event is about, unless it tells what was seen already: of our own acts there are events, too."""
        id, is_start = event.container_id, event.kind == "started"
        if id in self._containers:
            seen = self._containers[id]
            sandbox_id, is_known = seen.sandbox_id, is_start and seen.status.state == "Running"
        elif id in self._sandboxes:
            sandbox_id, is_known = id, is_start and self._sandboxes[id].state == "Ready"
        else:
            return Heard.OF_NOBODY
        if is_known:
            return Heard.NOTHING_NEW
        self._stale.add(sandbox_id)
        return Heard.NEWS

    def compare(self, sandboxes: Iterable[Sandbox], containers: Iterable[Container]) -> bool:
        """Marks what a listing of this pod shows otherwise than we know it; True when there is something."""
        listed = {box.id: box.state for box in sandboxes}
        for id in {*listed, *self._sandboxes}:
            known = self._sandboxes.get(id)
            if known is None or listed.get(id) != known.state:
                self._stale.add(id)
        found = {container.id: container for container in containers}
        for container in found.values():
            seen = self._containers.get(container.id)
            if seen is None or seen.status.state != container.state:
                self._stale.add(container.sandbox_id)
        self._stale |= {seen.sandbox_id for id, seen in self._containers.items() if id not in found}
        return bool(self._stale)

    async def refresh(self) -> None:
        """Asks for what is stale. Raises RuntimeFailure, and then it stays stale."""
        while self._stale:
            id = next(iter(self._stale))
            await self._refresh(id)

    async def _refresh(self, id: str) -> None:
        # What happens while we ask marks it anew.
        self._stale.discard(id)
        try:
            try:
                self._sandboxes[id] = await self._runtime.sandbox_status(id)
            except NotFound:
                self._sandboxes.pop(id, None)
            listed = await self._runtime.list_containers(id)
            await asyncio.gather(*(self._look_at(container) for container in listed))
        except BaseException:
            self._stale.add(id)
            raise
        present = {container.id for container in listed}
        gone = [
            other
            for other, seen in self._containers.items()
            if seen.sandbox_id == id and other not in present
        ]
        for other in gone:
            del self._containers[other]

    async def _look_at(self, container: Container) -> None:
        known = self._containers.get(container.id)
        if known is not None and known.status.state == container.state:
            return
        try:
            status = await self._runtime.container_status(container.id)
        except NotFound:
            return
        if status.state == "Exited":
            status = replace(status, message=self._last_words(status) or status.message)
        self._containers[container.id] = SeenContainer(container.sandbox_id, status)
