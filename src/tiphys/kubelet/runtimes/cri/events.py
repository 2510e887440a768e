"""What happens to containers, from containerd's event service, for ever: through restarts and without silent gaps."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

from tiphys.kubelet.runtimes.cri.answers import EPOCH
from tiphys.kubelet.runtimes.cri.wire import Service, message
from tiphys.kubelet.runtimes.interface import ContainerEvent, RuntimeFailure
from tiphys.net.grpc_messages import Message

PACKAGE = "containerd.services.events.v1"
MARKER_TOPIC = "/tiphys/subscribed"
MARKER_SECONDS = 0.05
RECONNECT_SECONDS = 0.1
SETTLE_DELAYS_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.02, 0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.5)


def subscription_filters(namespace: str) -> list[str]:
    """A comma means "and", several filters mean "or". A regular expression must be quoted."""
    topics = (
        'topic~="^/tasks/(start|exit|oom)$"',
        'topic=="/containers/delete"',
        f'topic~="^{MARKER_TOPIC}"',
    )
    return [f"namespace=={namespace},{topic}" for topic in topics]


def translate(envelope: Message) -> ContainerEvent | None:
    """containerd's event in the kubelet's words; None for what is no container's own (the end of an exec'd process)."""
    time, payload = _moment(envelope.timestamp), envelope.event.value
    if envelope.topic == "/tasks/exit":
        exit = message(f"{PACKAGE}.TaskExit").FromString(payload)  # type: ignore[attr-defined]
        if exit.id != exit.container_id:
            return None
        return ContainerEvent(exit.container_id, "exited", _moment(exit.exited_at), exit.exit_status)
    if envelope.topic == "/containers/delete":
        deleted = message(f"{PACKAGE}.ContainerDelete").FromString(payload)  # type: ignore[attr-defined]
        return ContainerEvent(deleted.id, "deleted", time)
    task = message(f"{PACKAGE}.TaskEvent").FromString(payload)  # type: ignore[attr-defined]
    return ContainerEvent(task.container_id, "started" if envelope.topic == "/tasks/start" else "oom", time)


def _moment(timestamp: Message) -> datetime:
    return EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000)


class EventStream:
    """One listener. `has_exited(id)` asks the runtime whether its lists show an exit yet."""

    def __init__(self, events: Service, namespace: str, has_exited: Callable[[str], Awaitable[bool]]) -> None:
        self._events = events
        self._namespace = namespace
        self._has_exited = has_exited
        self._queue: asyncio.Queue[ContainerEvent] = asyncio.Queue()
        self._settling: set[asyncio.Task[None]] = set()

    async def __call__(self) -> AsyncIterator[ContainerEvent]:
        follower = asyncio.create_task(self._follow())
        try:
            while True:
                yield await self._queue.get()
        finally:
            for task in (follower, *self._settling):
                task.cancel()

    async def _follow(self) -> None:
        while True:
            try:
                await self._subscribe()
            except RuntimeFailure:
                pass
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _subscribe(self) -> None:
        """One subscription, until it breaks.

        gRPC does not tell when the other side has begun to listen; what happens before that is lost. So a marker of ours is
        published until it comes back: from then on nothing is missed, and a relist sees what happened earlier.
        """
        marker = f"{MARKER_TOPIC}/{uuid.uuid4().hex}"
        announcer = asyncio.create_task(self._announce(marker))
        is_heard = False
        try:
            async for envelope in self._events.stream(
                "Subscribe", filters=subscription_filters(self._namespace)
            ):
                if envelope.topic == marker and not is_heard:
                    is_heard = True
                    announcer.cancel()
                    self._queue.put_nowait(ContainerEvent("", "relist", datetime.now(UTC)))
                elif not envelope.topic.startswith(MARKER_TOPIC):
                    self._receive(envelope)
        finally:
            announcer.cancel()

    async def _announce(self, marker: str) -> None:
        while True:
            try:
                await self._events.call("Publish", topic=marker, event={"type_url": "tiphys/marker"})
            except RuntimeFailure:
                pass
            await asyncio.sleep(MARKER_SECONDS)

    def _receive(self, envelope: Message) -> None:
        event = translate(envelope)
        if event is None:
            return
        if event.kind != "exited":
            self._queue.put_nowait(event)
            return
        task = asyncio.create_task(self._settle(event))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, event: ContainerEvent) -> None:
        """Passes an exit on once the runtime's status shows it, tens of milliseconds after the event: who looks then sees it."""
        for delay_seconds in SETTLE_DELAYS_SECONDS:
            try:
                if await self._has_exited(event.container_id):
                    break
            except RuntimeFailure:
                break
            await asyncio.sleep(delay_seconds)
        self._queue.put_nowait(event)
