"""Discovery: which groups, versions and resources there are, in the old documents and in the aggregated one (KEP-3352)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

from tiphys.api.resource import Resource, Subresource
from tiphys.api.scheme import Scheme
from tiphys.machinery.gvk import GroupVersionKind

AGGREGATED = ("v2", "v2beta1")


def api_versions(server_address: str) -> dict[str, Any]:
    """/api: the versions of the core group."""
    address = {"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]}


def group_list(scheme: Scheme) -> dict[str, Any]:
    """/apis: every named group."""
    groups = dict.fromkeys(version.group for version in scheme.group_versions() if version.group)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(scheme, name) for name in groups]}


def group(scheme: Scheme, name: str) -> dict[str, Any] | None:
    """/apis/{group}; None when there is no such group."""
    if not any(version.group == name for version in scheme.group_versions()):
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(scheme, name)}


def _group(scheme: Scheme, name: str) -> dict[str, Any]:
    versions = [
        {"groupVersion": str(version), "version": version.version}
        for version in scheme.group_versions()
        if version.group == name
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def resource_list(scheme: Scheme, group_name: str, version: str) -> dict[str, Any] | None:
    """/api/v1 and /apis/{group}/{version}; None when it is not served."""
    rows = sorted(_rows(scheme, group_name, version), key=lambda row: row.plural)
    if not rows:
        return None
    resources = [entry for row in rows for entry in _entries(scheme, row)]
    head = {"kind": "APIResourceList"} | (
        {"apiVersion": "v1"} if group_name else {}
    )  # upstream's core group says less
    return {
        **head,
        "groupVersion": f"{group_name}/{version}" if group_name else version,
        "resources": resources,
    }


def _rows(scheme: Scheme, group_name: str, version: str) -> list[Resource]:
    return [row for row in scheme if row.group == group_name and row.version == version]


def _entries(scheme: Scheme, row: Resource) -> Iterable[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": row.plural,
        "singularName": row.singular_name,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": sorted(row.verbs),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    if not row.virtual:
        entry["storageVersionHash"] = storage_version_hash(scheme.stored_row(row).gvk)
    yield entry
    for subresource in sorted(row.subresources, key=lambda item: item.name):
        yield _subresource_entry(row, subresource)


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


def storage_version_hash(kind: GroupVersionKind) -> str:
    """A fingerprint of the version a resource is stored in: upstream's, of "group/version/kind"."""
    digest = hashlib.sha256("/".join(kind).encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def aggregated(scheme: Scheme, version: str, *, core: bool) -> dict[str, Any]:
    """Everything in one document: of /api when `core`, else of /apis."""
    names = dict.fromkeys(item.group for item in scheme.group_versions() if (item.group == "") == core)
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": [_aggregated_group(scheme, name) for name in names],
    }


def _aggregated_group(scheme: Scheme, name: str) -> dict[str, Any]:
    versions = [item.version for item in scheme.group_versions() if item.group == name]
    return {
        "metadata": {"name": name} if name else {},
        "versions": [
            {
                "version": version,
                "resources": [
                    _aggregated_resource(row)
                    for row in sorted(_rows(scheme, name, version), key=lambda row: row.plural)
                ],
                "freshness": "Current",
            }
            for version in versions
        ],
    }


def _aggregated_resource(row: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": row.plural,
        "responseKind": {"group": "", "version": "", "kind": row.kind},
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular_name,
        "verbs": sorted(row.verbs),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    if row.subresources:
        ordered = sorted(row.subresources, key=lambda item: item.name)
        entry["subresources"] = [_aggregated_subresource(row, item) for item in ordered]
    return entry


def _aggregated_subresource(row: Resource, subresource: Subresource) -> dict[str, Any]:
    kind = subresource.kind or row.gvk
    other = kind.group_version != row.group_version
    response = {
        "group": kind.group if other else "",
        "version": kind.version if other else "",
        "kind": kind.kind,
    }
    return {"subresource": subresource.name, "responseKind": response, "verbs": sorted(subresource.verbs)}
