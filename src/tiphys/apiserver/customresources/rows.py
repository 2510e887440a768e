"""What a definition says, as rows: one for each version. Pure, and cheap until somebody asks for the fields of a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from tiphys.api.resource import (
    EVERYTHING,
    STATUS_ONLY,
    FieldGetter,
    Object,
    Reading,
    Resource,
    ScalePaths,
    Subresource,
    Validate,
)
from tiphys.api.types import TYPES
from tiphys.apiserver.customresources import scaling
from tiphys.apiserver.customresources.columns import table_of
from tiphys.apiserver.registry.metadata import finalizer_warnings
from tiphys.machinery.apply.shapes import Granular
from tiphys.machinery.errors import FieldError
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.machinery.jsonpath import parse_json_path
from tiphys.machinery.schema import CheckResult
from tiphys.machinery.timing import Timing
from tiphys.machinery.versions import preference

if TYPE_CHECKING:
    from tiphys.machinery.structural import StructuralSchema

SCALE = GroupVersionKind("autoscaling", "v1", "Scale")


class VersionSchema:
    """The `Schema` of one version, made when it is first needed: most kinds of a large operator are never touched."""

    struct = None
    patch = None

    def __init__(self, find: Callable[[], Object], *, keeps_all: bool, timing: Timing | None) -> None:
        """`find` gives the definition's openAPIV3Schema. `keeps_all`: an old definition that prunes nothing."""
        self._find = find
        self._keeps_all = keeps_all
        self._timing = timing

    @cached_property
    def structural(self) -> StructuralSchema:
        # With the language of its rules it is a seventh of the server's code, which clusters without definitions never need.
        from tiphys.machinery.structural import StructuralSchema

        metadata = TYPES.struct("meta/v1.ObjectMeta")
        return StructuralSchema.of(
            self._find(),
            object_meta=metadata,
            preserve_unknown_fields=self._keeps_all,
            timing=self._timing,
        )

    @property
    def openapi(self) -> Object | None:
        """What clients are told. An old definition that prunes nothing need not be structural: nothing is told of it."""
        return None if self._keeps_all else self._find()

    @property
    def shape(self) -> Granular:
        return self.structural.shape

    def check(self, obj: Object, *, duplicates_source: bytes | None = None) -> CheckResult:
        return self.structural.check(obj, duplicates_source=duplicates_source)

    def from_store(self, obj: Object) -> Object:
        return self.structural.from_store(obj)

    def default(self, obj: Object) -> None:
        self.structural.default(obj)

    def validate(self, obj: Object, old: Object | None) -> list[FieldError]:
        return self.structural.validate(obj, old)

    def validate_status(self, obj: Object, old: Object | None) -> list[FieldError]:
        return self.structural.validate_status(obj, old or {})


@frozen
class Kind:
    """What one definition makes: rows of all its versions, served or not, by name."""

    rows: Mapping[str, Resource]
    served: tuple[str, ...]
    storage: str

    @property
    def stored(self) -> Resource:
        return self.rows[self.storage]


MakeReading = Callable[[Mapping[str, VersionSchema], str], Reading]
"""(schemas of all versions, name of one) → how that one is read."""


def kind_of(
    definition: Object, find: Callable[[], Object], make_reading: MakeReading, timing: Timing | None = None
) -> Kind:
    """The rows of a definition. `find` gives the definition again, so that none of it must be kept here."""
    spec = definition["spec"]
    versions = {version["name"]: version for version in spec["versions"]}
    keeps_all = bool(spec.get("preserveUnknownFields"))
    schemas = {
        name: VersionSchema(partial(_schema, find, name), keeps_all=keeps_all, timing=timing)
        for name in versions
    }
    storage = next(name for name, version in versions.items() if version.get("storage"))
    rows = {
        name: _row(definition, version, storage, schemas[name], make_reading(schemas, name))
        for name, version in versions.items()
    }
    served = sorted((name for name, version in versions.items() if version.get("served")), key=preference)
    return Kind(rows, tuple(served), storage)


def _schema(find: Callable[[], Object], version: str) -> Object:
    for each in find()["spec"]["versions"]:
        if each["name"] == version:
            found: Object = (each.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"}
            return found
    raise LookupError(version)


def _row(
    definition: Object, version: Object, storage: str, schema: VersionSchema, reading: Reading
) -> Resource:
    spec, names = definition["spec"], definition["status"]["acceptedNames"]
    group, kind = spec["group"], names["kind"]
    subresources = version.get("subresources") or {}
    scale = subresources.get("scale")
    has_status = subresources.get("status") is not None
    stored = GroupVersionKind(group, storage, kind)
    return Resource(
        group=group,
        version=version["name"],
        kind=kind,
        plural=names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular") or "",
        kind_of_list=names.get("listKind") or "",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=(
            *((STATUS_ONLY,) if has_status else ()),
            *((Subresource("scale", kind=SCALE),) if scale is not None else ()),
        ),
        schema=schema,
        stored=stored if version["name"] != storage else None,
        reading=reading,
        warnings=_warnings(spec, version),
        table=table_of(version.get("additionalPrinterColumns") or ()),
        defaults=schema.default,
        validate=_validate(schema, scale),
        advise=finalizer_warnings,
        prepare_status=_keep_metadata,
        validate_status=_validate_status(schema, scale),
        generation_on=EVERYTHING,
        selectable_fields=_selectable(version.get("selectableFields") or ()),
        scale=_scale_paths(scale) if scale is not None else None,
        returns_deleted=False,
        unconditional_update=False,
    )


def _scale_paths(scale: Object) -> ScalePaths:
    return ScalePaths(
        scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath") or ""
    )


def _validate(schema: VersionSchema, scale: Object | None) -> Validate:
    if scale is None:
        return schema.validate
    return lambda new, old: [*schema.validate(new, old), *scaling.validate(new, scale)]


def _validate_status(schema: VersionSchema, scale: Object | None) -> Validate:
    if scale is None:
        return schema.validate_status
    return lambda new, old: [*schema.validate_status(new, old), *scaling.validate(new, scale)]


def _keep_metadata(new: Object, old: Object | None) -> None:
    """A write to /status changes nothing but the status, and who owns its fields."""
    if old is None:
        return
    metadata = dict(old["metadata"])
    metadata.pop("managedFields", None)
    if "managedFields" in new["metadata"]:
        metadata["managedFields"] = new["metadata"]["managedFields"]
    if "resourceVersion" in new["metadata"]:
        metadata["resourceVersion"] = new["metadata"]["resourceVersion"]
    new["metadata"] = metadata


def _selectable(fields: Iterable[Object]) -> Mapping[str, FieldGetter]:
    return {field["jsonPath"].removeprefix("."): partial(_selected, field["jsonPath"]) for field in fields}


def _selected(path: str, obj: Object) -> str:
    """A field as a field selector compares it; "" when it is not there."""
    value: Any = parse_json_path(path).first(obj)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _warnings(spec: Object, version: Object) -> tuple[str, ...]:
    if not version.get("deprecated"):
        return ()
    given = version.get("deprecationWarning")
    if given is not None:
        return (given,)
    group, kind = spec["group"], spec["names"]["kind"]
    text = f"{group}/{version['name']} {kind} is deprecated"
    better = sorted(
        preference(each["name"])
        for each in spec["versions"]
        if each.get("served")
        and not each.get("deprecated")
        and preference(each["name"]) < preference(version["name"])
    )
    if better:
        named = {preference(each["name"]): each["name"] for each in spec["versions"]}
        text += f"; use {group}/{named[better[0]]} {kind}"
    return (text,)
