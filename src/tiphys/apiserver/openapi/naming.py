"""What types are called in OpenAPI documents, and which kinds they are.

Definitions keep upstream's names ("io.k8s.api.core.v1.Pod"): client generators and kubectl plugins look types up by them.
"""

from __future__ import annotations

from collections import defaultdict

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme
from tiphys.apiserver.openapi.operations import DEFINED, DELETE_OPTIONS, WATCH_EVENT, type_of
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.machinery.schema import Struct
from tiphys.machinery.schema.openapi import Naming

_META = "io.k8s.apimachinery.pkg.apis.meta"
_PACKAGES = {
    "meta": _META,
    "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
    "dynamicresources": "io.k8s.api.resource",
}
"""Folders of `tiphys/api` whose Go package is not `k8s.io/api/<folder>`."""
_OUTSIDE = {"meta/v1.Info": "io.k8s.apimachinery.pkg.version.Info"}
_IN_EVERY_GROUP = (DELETE_OPTIONS, WATCH_EVENT)


def definition_name(type_name: str) -> str:
    """ "io.k8s.api.core.v1.Pod" of "core/v1.Pod"; what is not of a types file has its name already."""
    if type_name.startswith(DEFINED):
        return type_name.removeprefix(DEFINED)
    if type_name in _OUTSIDE:
        return _OUTSIDE[type_name]
    folder, _, rest = type_name.partition("/")
    return f"{_PACKAGES.get(folder, f'io.k8s.api.{folder}')}.{rest}"


def naming(scheme: Scheme) -> Naming:
    """Names and kinds as the rows of a scheme have them."""
    kinds: dict[str, list[dict[str, str]]] = defaultdict(list)
    built_in = [row for row in scheme if row.schema is None]
    for row in built_in:
        _add_row(kinds, scheme, row)
    for version in dict.fromkeys(row.group_version for row in built_in):
        for type_name in _IN_EVERY_GROUP:
            kinds[type_name].append(_kind(version.with_kind(type_name.rpartition(".")[2])))
    for name in ("Status", "APIVersions", "APIGroup", "APIGroupList", "APIResourceList"):
        kinds[f"meta/v1.{name}"].append(_kind(GroupVersionKind("", "v1", name)))

    def kinds_of(struct: Struct) -> list[dict[str, str]]:
        return kinds.get(struct.name, [])

    return Naming(definition_name, kinds_of)


def _add_row(kinds: dict[str, list[dict[str, str]]], scheme: Scheme, row: Resource) -> None:
    kinds[row.type].append(_kind(row.gvk))
    if "list" in row.verbs:
        kinds[f"{row.type}List"].append(_kind(row.gvk._replace(kind=row.list_kind)))
    for subresource in row.subresources:
        if subresource.kind is not None:
            type_name, kind = type_of(scheme, subresource.kind), _kind(subresource.kind)
            if kind not in kinds[type_name]:
                kinds[type_name].append(kind)


def _kind(gvk: GroupVersionKind) -> dict[str, str]:
    return {"group": gvk.group, "version": gvk.version, "kind": gvk.kind}
