"""Events: what a component tells the reader of `kubectl describe`. Recorded in the background; never fails the caller.

Repetition is folded as client-go's recorder does it (`tools/record/events_cache.go`): the same event again raises `count` and
`lastTimestamp` of the first one; more than ten that differ only in their message within ten minutes become one
"(combined from similar events)"; and an object gets at most 25 events at once and then one every five minutes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from tiphys.client.client import Client
from tiphys.client.event_writer import EventWriter, patch_event
from tiphys.client.resources import EVENTS
from tiphys.client.transport import Object
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError, is_already_exists
from tiphys.machinery.frozen import frozen

NORMAL = "Normal"
WARNING = "Warning"

REMEMBERED = 4096
AGGREGATE_AFTER = 10
AGGREGATE_SECONDS = 600.0
SPAM_BURST = 25
SPAM_PER_SECOND = 1 / 300
NAME_TRIES = 5

V = TypeVar("V")


class _Recent(OrderedDict[tuple[str, ...], V], Generic[V]):
    """A dict of the most recently used keys."""

    def use(self, key: tuple[str, ...]) -> V | None:
        value = self.get(key)
        if value is not None:
            self.move_to_end(key)
        return value

    def put(self, key: tuple[str, ...], value: V) -> None:
        self[key] = value
        self.move_to_end(key)
        while len(self) > REMEMBERED:
            self.popitem(last=False)


@dataclass(slots=True)
class _Bucket:
    """A token bucket: how many more events an object may get."""

    tokens: float
    filled_at: datetime


@dataclass(slots=True)
class _Similar:
    messages: set[str] = field(default_factory=set)
    last: datetime | None = None


@frozen
class Correlated:
    """What to write: a new event, or a patch of the one that `event` names. None of both: nothing."""

    event: Object
    patch: Object | None
    key: tuple[str, ...]


class Correlator:
    """Decides what becomes of an event; no I/O. `now` comes with every call."""

    def __init__(self) -> None:
        self._buckets: _Recent[_Bucket] = _Recent()
        self._similar: _Recent[_Similar] = _Recent()
        self._written: _Recent[Object] = _Recent()

    def correlate(self, event: Object, now: datetime) -> Correlated | None:
        """None: the object has had too many events."""
        event, key = self._aggregate(event, now)
        if not self._take_token(event, now):
            return None
        earlier = self._written.use(key)
        if earlier is None:
            self._written.put(key, event)
            return Correlated(event, None, key)
        patch = {
            "count": earlier["count"] + 1,
            "lastTimestamp": event["lastTimestamp"],
            "message": event["message"],
        }
        updated = {**earlier, **patch}
        self._written.put(key, updated)
        return Correlated(updated, patch, key)

    def wrote(self, key: tuple[str, ...], event: Object) -> None:
        """It stands on the server like this: the next one like it is a patch of this one."""
        self._written.put(key, event)

    def forget(self, key: tuple[str, ...]) -> None:
        """The event is no longer there (or was never written): the next one like it is a new one."""
        self._written.pop(key, None)

    def _aggregate(self, event: Object, now: datetime) -> tuple[Object, tuple[str, ...]]:
        group = (*_subject(event), event["type"], event["reason"])
        similar = self._similar.use(group)
        if (
            similar is None
            or similar.last is None
            or (now - similar.last).total_seconds() > AGGREGATE_SECONDS
        ):
            similar = _Similar()
            self._similar.put(group, similar)
        similar.messages.add(event["message"])
        similar.last = now
        if len(similar.messages) < AGGREGATE_AFTER:
            return event, (*group, event["message"])
        similar.messages.pop()
        return {**event, "message": f"(combined from similar events): {event['message']}"}, group

    def _take_token(self, event: Object, now: datetime) -> bool:
        subject = _subject(event)
        bucket = self._buckets.use(subject)
        if bucket is None:
            bucket = _Bucket(SPAM_BURST, now)
            self._buckets.put(subject, bucket)
        elapsed = (now - bucket.filled_at).total_seconds()
        bucket.tokens = min(SPAM_BURST, bucket.tokens + elapsed * SPAM_PER_SECOND)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _subject(event: Object) -> tuple[str, ...]:
    involved = event["involvedObject"]
    fields = ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")
    source = event.get("source") or {}
    return (source.get("component", ""), source.get("host", ""), *(involved.get(name, "") for name in fields))


def object_reference(obj: Object) -> dict[str, Any]:
    """An ObjectReference to an object (with apiVersion and kind)."""
    reference = {
        "kind": obj.get("kind", ""),
        "namespace": meta.namespace(obj),
        "name": meta.name(obj),
        "uid": meta.uid(obj),
        "apiVersion": obj.get("apiVersion", ""),
        "resourceVersion": meta.resource_version(obj),
    }
    return {name: value for name, value in reference.items() if value}


def make_event(
    regarding: Object, type: str, reason: str, message: str, *, component: str, host: str = "", now: datetime
) -> Object:
    """A core/v1 Event. `regarding` is an object or an ObjectReference; its name gets upstream's `name.<hex nanoseconds>`."""
    reference = object_reference(regarding) if "metadata" in regarding else regarding
    nanoseconds = int((now - datetime.fromtimestamp(0, UTC)).total_seconds() * 1_000_000) * 1000
    source = {"component": component, **({"host": host} if host else {})}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{reference.get('name', '')}.{nanoseconds:x}",
            # Events about cluster-wide objects live in "default", where kubectl describe looks for them.
            "namespace": reference.get("namespace") or "default",
        },
        "involvedObject": reference,
        "reason": reason,
        "message": message,
        "source": source,
        "firstTimestamp": meta.format_time(now),
        "lastTimestamp": meta.format_time(now),
        "count": 1,
        "type": type,
        "eventTime": None,
        "reportingComponent": component,
        "reportingInstance": host,
    }


class EventRecorder:
    """Records events of one component. `record` returns at once; a task writes them in order."""

    def __init__(self, client: Client, component: str, *, clock: Clock, host: str = "") -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock
        self._correlator = Correlator()
        self._writer = EventWriter(self._write)
        self._last_name = ""

    def record(
        self,
        regarding: Object,
        type: str,
        reason: str,
        message: str,
        *,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """`regarding`: an object with apiVersion, kind and metadata, or an ObjectReference. `type`: Normal or Warning."""
        event = make_event(
            regarding,
            type,
            reason,
            message,
            component=self._component,
            host=self._host,
            now=self._clock.now(),
        )
        if annotations:
            event["metadata"]["annotations"] = dict(annotations)
        self._name_apart(event)
        self._writer.put(event)

    def _name_apart(self, event: Object) -> None:
        """Two events about one object within the same tick of the clock must not share a name."""
        stem, _, number = event["metadata"]["name"].rpartition(".")
        previous_stem, _, previous = self._last_name.rpartition(".")
        if stem == previous_stem and int(number, 16) <= int(previous, 16):
            event["metadata"]["name"] = f"{stem}.{int(previous, 16) + 1:x}"
        self._last_name = event["metadata"]["name"]

    async def flush(self) -> None:
        """Until everything recorded so far is written or given up."""
        await self._writer.flush()

    async def stop(self) -> None:
        await self._writer.stop()

    async def _write(self, event: Object) -> None:
        decided = self._correlator.correlate(event, self._clock.now())
        if decided is None:
            return
        try:
            if decided.patch is not None and await patch_event(self._client, decided.event, decided.patch):
                return
            written = {**decided.event, "metadata": event["metadata"]}
            await self._create(written)
            self._correlator.wrote(decided.key, written)
        except StatusError:
            self._correlator.forget(decided.key)
            raise

    async def _create(self, event: Object) -> None:
        """Under the next free name: another component may have told of the same object at the same moment."""
        for _ in range(NAME_TRIES):
            try:
                await self._client.create(EVENTS, event)
                return
            except StatusError as error:
                if not is_already_exists(error):
                    raise
            stem, _, number = meta.name(event).rpartition(".")
            event["metadata"] = {**event["metadata"], "name": f"{stem}.{int(number, 16) + 1:x}"}
