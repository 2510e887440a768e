"""Carries out actions: the only place where controllers write.

Neighbouring actions of one sort on one kind go out together, other ones in order. Creations start slowly (1, 2, 4, 8… at a
time), so that a thousand pods that would all be refused by a quota cost one refusal. The first failure ends the plan.

Three answers are no failures. A creation in a namespace that is going away: it would fail for ever. A write to an object that
is gone, and a deletion of one that is gone or was replaced: there is nothing left to do, and the cache will say so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from tiphys.api.resource import Resource
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.controllers.actions import (
    Action,
    Create,
    Delete,
    DeleteCollection,
    Note,
    Object,
    Patch,
    PostSubresource,
    RecordEvent,
    Update,
    UpdateStatus,
)
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found
from tiphys.machinery.frozen import frozen

log = logging.getLogger(__name__)

LARGEST_BATCH = 64
NAMESPACE_TERMINATING = "NamespaceTerminating"


@frozen
class Write:
    """What was written, so that one can wait until a cache shows it: version 0 when the object is gone for good."""

    resource: Resource
    key: str
    uid: str
    version: str


@frozen
class Failure:
    """The action that failed first, and its error."""

    action: Action
    error: Exception


@frozen
class Outcome:
    writes: tuple[Write, ...] = ()
    failure: Failure | None = None


class Executor:
    """Performs plans through one client. `recorder` None: events are not recorded."""

    def __init__(self, client: Client, recorder: EventRecorder | None = None) -> None:
        self._client = client
        self._recorder = recorder

    async def perform(self, actions: Sequence[Action], about: Object | None = None) -> Outcome:
        """Does them in order, up to the first failure. `about` is the object that events are about."""
        writes: list[Write] = []
        for batch in batches(actions):
            outcomes = await asyncio.gather(*(self._one(action, about) for action in batch))
            for outcome in outcomes:
                writes += outcome.writes
            failed = next((outcome.failure for outcome in outcomes if outcome.failure), None)
            if failed is not None:
                return Outcome(tuple(writes), failed)
        return Outcome(tuple(writes))

    async def _one(self, action: Action, about: Object | None) -> Outcome:
        if isinstance(action, RecordEvent):
            self._record(action.regarding or about, action.type, action.reason, action.message)
            return Outcome()
        try:
            answer = await self._send(action)
        except (StatusError, OSError, TimeoutError) as error:
            if _is_settled(action, error):
                return Outcome()
            self._note(getattr(action, "failed", None), about, _name(action, {}), str(error))
            return Outcome(failure=Failure(action, error))
        self._note(getattr(action, "done", None), about, _name(action, answer), "")
        return Outcome(tuple(_written(action, answer)))

    async def _send(self, action: Action) -> Object:
        client = self._client
        match action:
            case Create(resource, obj):
                return await client.create(resource, obj)
            case Update(resource, obj, subresource):
                return await client.update(resource, obj, subresource=subresource)
            case UpdateStatus(resource, obj):
                return await client.update_status(resource, obj)
            case Patch(resource, name, patch, namespace, content_type, subresource):
                query = {"fieldManager": action.manager, "force": "true"} if action.manager else None
                return await client.patch(
                    resource,
                    name,
                    patch,
                    namespace,
                    content_type=content_type,
                    subresource=subresource,
                    query=query,
                )
            case Delete(resource, name, namespace):
                return await client.delete(
                    resource,
                    name,
                    namespace,
                    uid=action.uid,
                    resource_version=action.resource_version,
                    propagation=action.propagation,
                    grace_period_seconds=action.grace_period_seconds,
                )
            case DeleteCollection(resource, namespace):
                return await client.delete_collection(resource, namespace)
            case PostSubresource(resource, name, subresource, body, namespace):
                return await client.create_subresource(resource, name, subresource, body, namespace)
        raise TypeError(f"not an action: {action!r}")

    def _note(self, note: Note | None, about: Object | None, name: str, error: str) -> None:
        if note is not None:
            message = note.message.replace("{name}", name).replace("{error}", error)
            self._record(about, note.type, note.reason, message)

    def _record(self, regarding: Object | None, type: str, reason: str, message: str) -> None:
        if self._recorder is not None and regarding is not None:
            self._recorder.record(regarding, type, reason, message)


def batches(actions: Sequence[Action]) -> Iterator[list[Action]]:
    """Actions that may go out together: neighbours of one sort on one kind; creations in growing batches."""
    for (sort, _), neighbours in groupby(actions, key=_sort):
        remaining = list(neighbours)
        size = 1 if sort is Create else LARGEST_BATCH
        while remaining:
            yield remaining[:size]
            remaining = remaining[size:]
            size = min(size * 2, LARGEST_BATCH)


def _sort(action: Action) -> tuple[type, Any]:
    resource = getattr(action, "resource", None)
    return type(action), resource.gvr if resource else None


def _name(action: Action, answer: Object) -> str:
    written = meta.name(answer) or getattr(action, "name", "")
    return written or meta.name(getattr(action, "obj", {}))


def _is_settled(action: Action, error: Exception) -> bool:
    if isinstance(action, Create):
        return is_namespace_terminating(error)
    if is_not_found(error):
        return True
    # A conflict on a deletion with a uid: the name belongs to another object now.
    return (
        isinstance(action, Delete) and bool(action.uid and not action.resource_version) and is_conflict(error)
    )


def is_namespace_terminating(error: BaseException) -> bool:
    if not isinstance(error, StatusError):
        return False
    return any(cause.get("reason") == NAMESPACE_TERMINATING for cause in error.causes)


def _written(action: Action, answer: Object) -> Iterator[Write]:
    """What a cache will show of it. Subresources other than status answer with something else than the object."""
    match action:
        case Create(resource) | UpdateStatus(resource) | Update(resource) | Patch(resource):
            if answer.get("kind") == resource.kind:
                yield _write(resource, answer)
        case Delete(resource, name, namespace):
            if answer.get("kind") == resource.kind and meta.is_deleting(answer):
                yield _write(resource, answer)
            else:
                yield Write(resource, f"{namespace}/{name}" if namespace else name, action.uid, "")


def _write(resource: Resource, answer: Object) -> Write:
    return Write(resource, meta.namespaced_name(answer), meta.uid(answer), meta.resource_version(answer))
