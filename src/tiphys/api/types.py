"""The types of all built-in kinds: `TYPES.struct("core/v1.Pod")`. The facts are in `api/<group>/<version>.types`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from tiphys.machinery.gvk import GroupVersion
from tiphys.machinery.schema import Struct, Types

if TYPE_CHECKING:
    from tiphys.api.resource import Object, Resource, Schema
    from tiphys.machinery.apply.shapes import Granular
    from tiphys.machinery.patches import PatchSchema
    from tiphys.machinery.schema import CheckResult
    from tiphys.machinery.schema.openapi import Naming

GROUP_NAMES = {
    "admission": "admission.k8s.io",
    "admissionregistration": "admissionregistration.k8s.io",
    "apiextensions": "apiextensions.k8s.io",
    "apiregistration": "apiregistration.k8s.io",
    "apiserverinternal": "internal.apiserver.k8s.io",
    "authentication": "authentication.k8s.io",
    "authorization": "authorization.k8s.io",
    "certificates": "certificates.k8s.io",
    "coordination": "coordination.k8s.io",
    "core": "",
    "discovery": "discovery.k8s.io",
    "dynamicresources": "resource.k8s.io",
    "events": "events.k8s.io",
    "flowcontrol": "flowcontrol.apiserver.k8s.io",
    "meta": "",
    "networking": "networking.k8s.io",
    "node": "node.k8s.io",
    "rbac": "rbac.authorization.k8s.io",
    "scheduling": "scheduling.k8s.io",
    "storage": "storage.k8s.io",
    "storagemigration": "storagemigration.k8s.io",
}
"""Folder → API group, where the two differ."""

_HERE = Path(__file__).parent
_OPENAPI_PACKAGES = {
    "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
    "dynamicresources": "io.k8s.api.resource",
    "meta": "io.k8s.apimachinery.pkg.apis.meta",
}


def _load(group_version: str) -> str | None:
    path = _HERE / f"{group_version}.types"
    return path.read_text(encoding="utf-8") if path.is_file() else None


TYPES = Types(_load)


class BlockSchema:
    """The `Schema` of a block in a types file."""

    openapi = None

    def __init__(self, struct: Struct) -> None:
        self.struct = struct

    @cached_property
    def patch(self) -> PatchSchema:
        from tiphys.machinery.schema import patch_schema

        return patch_schema(self.struct)

    @cached_property
    def shape(self) -> Granular:
        from tiphys.machinery.apply import shape_of

        return shape_of(self.struct)

    @cached_property
    def _check(self) -> Callable[..., CheckResult]:
        from tiphys.machinery.schema import check

        return partial(check, self.struct)

    def check(self, obj: Object, *, duplicates_source: bytes | None = None) -> CheckResult:
        return self._check(obj, duplicates_source=duplicates_source)


@cache
def schema_named(name: str) -> BlockSchema:
    """The schema of a block, "policy/v1.Eviction". LookupError: there is none."""
    return BlockSchema(TYPES.struct(name))


def schema_of(row: Resource) -> Schema:
    """The schema of a row's objects, wherever it comes from."""
    return row.schema if row.schema is not None else schema_named(row.type)


def group_versions() -> tuple[str, ...]:
    """The names of all files, "core/v1"; they include groups that only carry bodies (meta, admission)."""
    return tuple(sorted(f"{path.parent.name}/{path.stem}" for path in _HERE.glob("*/*.types")))


def openapi_name(name: str) -> str:
    """What OpenAPI calls a type: "core/v1.Pod" is "io.k8s.api.core.v1.Pod"."""
    if name == "meta/v1.Info":
        return "io.k8s.apimachinery.pkg.version.Info"
    folder, _, rest = name.partition("/")
    return f"{_OPENAPI_PACKAGES.get(folder, f'io.k8s.api.{folder}')}.{rest}"


def openapi_naming(served: Iterable[GroupVersion] = ()) -> Naming:
    """How `tiphys.machinery.schema.openapi` calls the built-in types. `served`: the groups whose objects can be deleted
    and watched; the bodies of both are kinds of every group."""
    from tiphys.machinery.schema.openapi import Naming

    versions = tuple(served)
    return Naming(openapi_name, lambda struct: _openapi_kinds(struct, versions))


def _openapi_kinds(struct: Struct, served: tuple[GroupVersion, ...]) -> list[dict[str, str]]:
    """The `x-kubernetes-group-version-kind` of a type: one for an object, none for a part of one."""
    kind = struct.short_name
    if struct.name in ("meta/v1.DeleteOptions", "meta/v1.WatchEvent"):
        everywhere = dict.fromkeys((GroupVersion("", "v1"), *sorted(served)))
        return [{"group": each.group, "kind": kind, "version": each.version} for each in everywhere]
    if not struct.is_object:
        return []
    folder, _, version = struct.group_version.partition("/")
    return [{"group": GROUP_NAMES.get(folder, folder), "kind": kind, "version": version}]
