"""What another server says that it serves, as it stands in our aggregated document.

Asked for in the aggregated form; a server that has only the old one is asked for the list of each group version, which is
turned into the new form (apiserver `endpoints` ConvertGroupVersionIntoToDiscovery).
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api.resource import Object
from tiphys.apiserver.aggregation.availability import path_of
from tiphys.apiserver.aggregation.identity import AGGREGATOR, identity_headers
from tiphys.machinery.gvk import GroupVersion
from tiphys.net.client import HTTPClient, HTTPClientError

FETCH_TIMEOUT_SECONDS = 5.0
_ACCEPT = ", ".join(
    [
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        "application/json",
    ]
)


async def fetch_resources(client: HTTPClient, version: GroupVersion) -> list[Object] | None:
    """The resources of a group version in the new form; None when the server does not tell."""
    document = await _get(client, "/apis" if version.group else "/api", _ACCEPT)
    if document is not None and document.get("kind") == "APIGroupDiscoveryList":
        return resources_in(document, version)
    listed = await _get(client, path_of(version), "application/json")
    return None if listed is None else resources_of(listed, version)


async def _get(client: HTTPClient, path: str, accept: str) -> Object | None:
    headers = [("Accept", accept), *identity_headers(AGGREGATOR)]
    try:
        answer = await client.request("GET", path, headers, timeout_seconds=FETCH_TIMEOUT_SECONDS)
        if answer.status != 200:
            return None
        document = orjson.loads(answer.body)
    except (HTTPClientError, orjson.JSONDecodeError):
        return None
    return document if isinstance(document, dict) else None


def resources_in(document: Object, version: GroupVersion) -> list[Object]:
    """Of an aggregated document what it says of a group version; nothing when it does not know it."""
    for group in document.get("items") or ():
        if ((group.get("metadata") or {}).get("name") or "") == version.group:
            for each in group.get("versions") or ():
                if each.get("version") == version.version:
                    return list(each.get("resources") or ())
    return []


def resources_of(listed: Object, version: GroupVersion) -> list[Object]:
    """An APIResourceList in the new form: subresources stand in their resource."""
    found: dict[str, dict[str, Any]] = {}
    for entry in listed.get("resources") or ():
        name, _, subresource = entry["name"].partition("/")
        if subresource:
            parent = found.setdefault(name, {"resource": name, "scope": _scope(entry), "verbs": []})
            kind = _kind(entry, version)
            parent.setdefault("subresources", []).append(
                {"subresource": subresource, "responseKind": kind, "verbs": list(entry.get("verbs") or ())}
            )
            continue
        resource: dict[str, Any] = {
            "resource": name,
            "responseKind": _kind(entry, version),
            "scope": _scope(entry),
            "singularResource": entry.get("singularName") or "",
            "verbs": list(entry.get("verbs") or ()),
        }
        for field in ("shortNames", "categories"):
            if entry.get(field):
                resource[field] = list(entry[field])
        earlier = found.get(name, {}).get("subresources")
        found[name] = {**resource, "subresources": earlier} if earlier else resource
    return list(found.values())


def _scope(entry: Object) -> str:
    return "Namespaced" if entry.get("namespaced") else "Cluster"


def _kind(entry: Object, version: GroupVersion) -> dict[str, str]:
    """An entry that says nothing of its group is of the list's."""
    group, own = entry.get("group") or "", entry.get("version") or ""
    if not group and not own:
        group, own = version
    return {"group": group, "version": own, "kind": entry.get("kind") or ""}


def encode(version: GroupVersion, resources: list[Object], *, is_current: bool) -> bytes:
    """As it stands in the aggregated document."""
    entry: dict[str, Any] = {"version": version.version}
    if resources:
        entry["resources"] = resources
    return orjson.dumps({**entry, "freshness": "Current" if is_current else "Stale"})
