"""Objects of a test cluster by the names that people use for them: "deployment/web", "cm", "widgets.example.com", a dict.

Runs beside the API server, on its loop; every verb goes through its whole pipeline, as an administrator.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme
from tiphys.apiserver.local import LocalAPI
from tiphys.client.inprocess import InProcessTransport
from tiphys.client.transport import APPLY_PATCH, Object, resource_path
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.gvk import parse_api_version
from tiphys.machinery.selectors import parse_label_selector
from tiphys.testing.moving_clock import MovingClock

ADMINISTRATOR = "kubernetes-admin"
ADMINISTRATORS = ("system:masters", "system:authenticated")
USER_AGENT = "tiphys-testing"
ESTABLISHING_SECONDS = 5.0
NOTHING_KNOWN = "-"
"""A mark that no list has."""


def find_kind(scheme: Scheme, word: str) -> Resource:
    """As kubectl reads one: plural, singular, short name or kind, with ".group" or ".version.group" where needed. LookupError."""
    name, _, rest = word.lower().partition(".")
    version, _, group = rest.partition(".")
    for row in scheme:
        names = {row.plural, row.singular or row.kind.lower(), row.kind.lower(), *row.short_names}
        is_group = not rest or rest == row.group or (version, group) == (row.version, row.group)
        if name in names and is_group:
            return row
    raise LookupError(f"the server has no resource type {word!r}")


class Objects:
    """`changed` is what all waiting is made of."""

    def __init__(self, local: LocalAPI, scheme: Scheme, clock: MovingClock) -> None:
        self._local = local
        self._scheme = scheme
        self._clock = clock
        self._transport = InProcessTransport(local, ADMINISTRATOR, ADMINISTRATORS, user_agent=USER_AGENT)

    # Verbs

    async def get(self, kind: str, name: str, namespace: str) -> Object | None:
        """None when there is no such object."""
        try:
            return await self._transport.request("GET", self._path(kind, namespace, name))
        except StatusError as error:
            if is_not_found(error) and (error.details or {}).get("name"):
                return None
            raise

    async def list_objects(self, kind: str, namespace: str, selector: str) -> list[Object]:
        """`namespace` "": of all."""
        query = {"labelSelector": selector} if selector else None
        answer = await self._transport.request("GET", self._path(kind, namespace), query=query)
        row = find_kind(self._scheme, kind)
        return [
            {"apiVersion": row.api_version, "kind": row.kind, **item} for item in answer.get("items") or ()
        ]

    async def create(self, obj: Object, namespace: str) -> Object:
        path = self._path_of(obj, namespace, named=False)
        return await self._transport.request("POST", path, body=obj)

    async def load(self, obj: Object, namespace: str) -> Object:
        """Applies the object, as `kubectl apply --server-side --force-conflicts` does. A definition is waited for until its kind is served."""
        if not meta.name(obj):
            return await self.create(obj, namespace)
        path = self._path_of(obj, namespace, named=True)
        query = {"fieldManager": USER_AGENT, "force": "true"}
        loaded = await self._transport.request("PATCH", path, query=query, body=obj, content_type=APPLY_PATCH)
        if obj.get("kind") == "CustomResourceDefinition":
            await self._established(loaded)
        return loaded

    async def patch(
        self, *, kind: str, name: str, namespace: str, patch: Any, content_type: str, subresource: str
    ) -> Object:
        path = self._path(kind, namespace, name)
        if subresource:
            path = f"{path}/{subresource}"
        return await self._transport.request("PATCH", path, body=patch, content_type=content_type)

    async def delete(self, kind: str, name: str, namespace: str, options: Object) -> bool:
        """False when there was nothing to delete."""
        try:
            await self._transport.request("DELETE", self._path(kind, namespace, name), body=options)
        except StatusError as error:
            if is_not_found(error):
                return False
            raise
        return True

    def kind_of(self, obj: Object) -> str:
        """The word for an object's kind that `find_kind` understands. LookupError when it is not served."""
        version = parse_api_version(obj["apiVersion"])
        row = self._scheme.by_kind(version.with_kind(obj["kind"]))
        if row is None:
            raise LookupError(f'no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"')
        return f"{row.plural}.{row.version}.{row.group}" if row.group else row.plural

    def _path(self, kind: str, namespace: str, name: str = "") -> str:
        return resource_path(find_kind(self._scheme, kind), namespace, name)

    def _path_of(self, obj: Object, namespace: str, *, named: bool) -> str:
        where = meta.namespace(obj) or namespace
        return self._path(self.kind_of(obj), where, meta.name(obj) if named else "")

    # Waiting

    async def changed(
        self, *, kind: str, name: str, namespace: str, selector: str, known: str, timeout_seconds: float
    ) -> tuple[str, list[Object], float] | None:
        """(mark, objects, what is left of the time) as soon as the mark is another than `known`; None after so long.

        `name` "": all of the kind, in the namespace, that the label selector selects. When the cluster's time stands still it is moved
        on, from one moment at which something is due to the next.
        """
        row = find_kind(self._scheme, kind)
        where = (namespace or None) if row.namespaced else None
        labels = parse_label_selector(selector)
        happened = asyncio.Event()

        async def look() -> tuple[str, list[Object]]:
            items, _ = await self._local.list_objects(row, where)
            found = [
                {"apiVersion": row.api_version, "kind": row.kind, **item}
                for item in items
                if name in ("", meta.name(item)) and labels.matches(meta.labels(item))
            ]
            return " ".join(f"{meta.uid(item)}@{meta.resource_version(item)}" for item in found), found

        _, version = await self._local.list_objects(row, where)
        stop = self._local.watch_objects(row, where, version, lambda *_: happened.set())
        try:
            left = timeout_seconds
            while True:
                happened.clear()
                seen = await look()
                if seen[0] != known:
                    return *seen, left
                left = await self._pass_time(happened, left)
                if left < 0:
                    return None
        finally:
            stop()

    async def _pass_time(self, happened: asyncio.Event, left: float) -> float:
        """Until something happened; what is left of the time, negative when it is over."""
        if self._clock.speed == 0:
            if left <= 0:
                return -1
            return left - await self._clock.step(left)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(left):
                await happened.wait()
        except TimeoutError:
            return -1
        return max(0.0, left - (loop.time() - begun))

    async def _established(self, definition: Object) -> None:
        known, name = NOTHING_KNOWN, meta.name(definition)
        while True:
            seen = await self.changed(
                kind="customresourcedefinitions",
                name=name,
                namespace="",
                selector="",
                known=known,
                timeout_seconds=ESTABLISHING_SECONDS,
            )
            if seen is None:
                raise TimeoutError(f"the definition {name} is not established")
            known, found, _ = seen
            conditions = meta.conditions(found[0]) if found else []
            if any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions):
                return
