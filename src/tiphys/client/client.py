"""Calls on kinds: the words of the API (get, create, patch…) over any transport, on rows and plain dicts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from tiphys.api.resource import Resource
from tiphys.client.transport import (
    MERGE_PATCH,
    Listing,
    Object,
    Query,
    Transport,
    WatchEvent,
    resource_path,
)
from tiphys.machinery import meta


class Client:
    """All methods raise StatusError for an answer that is not a success. Cluster-wide kinds have namespace ""."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def get(
        self, resource: Resource, name: str, namespace: str = "", *, subresource: str = ""
    ) -> Object:
        return await self.transport.request("GET", resource_path(resource, namespace, name, subresource))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Listing:
        query = selector_query(label_selector, field_selector)
        return await self.transport.list(resource, namespace, query=query)

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncGenerator[WatchEvent, None]:
        query = selector_query(label_selector, field_selector)
        return self.transport.watch(resource, namespace, resource_version=resource_version, query=query)

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Creates it in the namespace that its metadata names."""
        return await self.transport.request("POST", resource_path(resource, meta.namespace(obj)), body=obj)

    async def create_subresource(
        self, resource: Resource, name: str, subresource: str, body: Object, namespace: str = ""
    ) -> Object:
        """POST to `binding`, `eviction`, `token`…"""
        path = resource_path(resource, namespace, name, subresource)
        return await self.transport.request("POST", path, body=body)

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """PUT; a conflict when metadata.resourceVersion is set and not the newest."""
        path = resource_path(resource, meta.namespace(obj), meta.name(obj), subresource)
        return await self.transport.request("PUT", path, body=obj)

    async def update_status(self, resource: Resource, obj: Object) -> Object:
        return await self.update(resource, obj, subresource="status")

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Object | Sequence[Any],
        namespace: str = "",
        *,
        content_type: str = MERGE_PATCH,
        subresource: str = "",
        query: Query | None = None,
    ) -> Object:
        path = resource_path(resource, namespace, name, subresource)
        return await self.transport.request("PATCH", path, query=query, body=patch, content_type=content_type)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "",
        grace_period_seconds: int | None = None,
    ) -> Object:
        """The object, when something keeps it for now, or a Status. `propagation`: Background, Foreground or Orphan."""
        options = delete_options(uid, resource_version, propagation, grace_period_seconds)
        return await self.transport.request("DELETE", resource_path(resource, namespace, name), body=options)

    async def delete_collection(self, resource: Resource, namespace: str = "") -> Object:
        """Everything of a kind, and what belongs to it in the background."""
        options = delete_options("", "", "Background", None)
        return await self.transport.request("DELETE", resource_path(resource, namespace), body=options)


def selector_query(label_selector: str, field_selector: str) -> dict[str, str]:
    query = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in query.items() if value}


def delete_options(
    uid: str, resource_version: str, propagation: str, grace_period_seconds: int | None
) -> Object:
    """A DeleteOptions body of what is set."""
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    if uid or resource_version:
        options["preconditions"] = {name: value for name, value in preconditions.items() if value}
    if propagation:
        options["propagationPolicy"] = propagation
    if grace_period_seconds is not None:
        options["gracePeriodSeconds"] = grace_period_seconds
    return options
