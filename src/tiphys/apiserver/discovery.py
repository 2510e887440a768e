"""Discovery: which groups, versions and resources there are, in the old documents and in the aggregated one (KEP-3352)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from tiphys.api.resource import Resource, Subresource
from tiphys.machinery.gvk import GroupVersion, GroupVersionKind

AGGREGATED = ("v2", "v2beta1")


# What clients do not notice but for its hash: upstream's apiextensions server writes its own kind down in the old version.
_HASHED_AS = {
    GroupVersionKind("apiextensions.k8s.io", "v1", "CustomResourceDefinition"): GroupVersionKind(
        "apiextensions.k8s.io", "v1beta1", "CustomResourceDefinition"
    )
}


def api_versions(server_address: str) -> dict[str, Any]:
    """/api: the versions of the core group."""
    address = {"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]}


def group_list(groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """/apis: every named group, with its versions."""
    listed = [_group(name, versions) for name, versions in groups.items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(name: str, versions: Sequence[str]) -> dict[str, Any]:
    """/apis/{group}."""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def _group(name: str, versions: Sequence[str]) -> dict[str, Any]:
    found = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": found, "preferredVersion": found[0]}


def resource_list(version: GroupVersion, rows: Iterable[Resource]) -> dict[str, Any]:
    """/api/v1 and /apis/{group}/{version}."""
    resources = [entry for row in sorted(rows, key=lambda row: row.plural) for entry in _entries(row)]
    head = {"kind": "APIResourceList"} | (
        {"apiVersion": "v1"} if version.group else {}
    )  # upstream's core group says less
    return {**head, "groupVersion": str(version), "resources": resources}


def _entries(row: Resource) -> Iterable[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": row.plural,
        "singularName": row.singular_name,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": _verbs(row),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    if not row.virtual:
        entry["storageVersionHash"] = storage_version_hash(row.stored or row.gvk)
    yield entry
    for subresource in _below(row):
        yield _subresource_entry(row, subresource)


def _below(row: Resource) -> Sequence[Subresource]:
    """In the order in which upstream tells of them: by name, but of custom resources the status comes first."""
    return sorted(row.subresources, key=lambda item: item.name) if row.reading is None else row.subresources


def _subresource_entry(row: Resource, subresource: Subresource) -> dict[str, Any]:
    kind = subresource.kind or row.gvk
    entry: dict[str, Any] = {
        "name": f"{row.plural}/{subresource.name}",
        "singularName": "",
        "namespaced": row.namespaced,
        "kind": kind.kind,
        "verbs": sorted(subresource.verbs),
    }
    if kind.group_version != row.group_version:
        entry["group"], entry["version"] = kind.group, kind.version
    return entry


_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_WHILE_TERMINATING = ("delete", "deletecollection", "get", "list", "watch")
"""Of a kind that is being deleted: nobody shall begin to make or to change anything."""


def _verbs(row: Resource) -> list[str]:
    """What clients are told that they can do: of custom resources in the order in which upstream tells it."""
    if row.reading is None:
        return sorted(row.verbs)
    return list(_WHILE_TERMINATING if row.terminating else _CUSTOM_VERBS)


def _response_kind(row: Resource, kind: GroupVersionKind) -> dict[str, str]:
    """Upstream leaves group and version out where they are the resource's own, but not of custom resources."""
    full = row.reading is not None or kind.group_version != row.group_version
    return {"group": kind.group if full else "", "version": kind.version if full else "", "kind": kind.kind}


def storage_version_hash(kind: GroupVersionKind) -> str:
    """A fingerprint of the version a resource is stored in: upstream's, of "group/version/kind"."""
    digest = hashlib.sha256("/".join(_HASHED_AS.get(kind, kind)).encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def aggregated_version(version: str, rows: Iterable[Resource]) -> dict[str, Any]:
    """One version of a group in the aggregated document."""
    ordered = sorted(rows, key=lambda row: row.plural)
    return {
        "version": version,
        "resources": [_aggregated_resource(row) for row in ordered],
        "freshness": "Current",
    }


def aggregated_group(name: str, versions: Iterable[bytes]) -> bytes:
    """One group in the aggregated document, of the encoded versions."""
    metadata = orjson.dumps({"name": name} if name else {})
    return b'{"metadata":%b,"versions":[%b]}' % (metadata, b",".join(versions))


def aggregated(version: str, groups: Iterable[bytes]) -> bytes:
    """Everything in one document: of /api the core group, of /apis the others; of the encoded groups."""
    return (
        b'{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/%b","metadata":{},"items":[%b]}'
        % (
            version.encode(),
            b",".join(groups),
        )
    )


def _aggregated_resource(row: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": row.plural,
        "responseKind": _response_kind(row, row.gvk),
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular_name,
        "verbs": _verbs(row),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    if row.subresources:
        entry["subresources"] = [_aggregated_subresource(row, item) for item in _below(row)]
    return entry


def _aggregated_subresource(row: Resource, subresource: Subresource) -> dict[str, Any]:
    response = _response_kind(row, subresource.kind or row.gvk)
    return {"subresource": subresource.name, "responseKind": response, "verbs": sorted(subresource.verbs)}
