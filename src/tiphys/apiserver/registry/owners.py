"""Who owns which fields of the objects that are written: `metadata.managedFields` of every kind, at every path.

Upstream's field manager: it looks at what a client wants after defaulting, and before admission, so that nobody owns what
admission adds. docs/decisions/0012-managed-fields.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tiphys.api.resource import Object, Resource
from tiphys.api.scheme import Scheme
from tiphys.api.types import schema_of
from tiphys.apiserver.call import Call
from tiphys.apiserver.registry.versions import convert_from_stored, convert_to_stored
from tiphys.machinery.apply import Shape, Target, manager_name, update
from tiphys.machinery.apply.fieldset import FieldPath, FieldSet, from_paths
from tiphys.machinery.apply.managers import Entry, ManagedFieldsError, parse_entries
from tiphys.machinery.apply.target import ANY_ELEMENT, Convert
from tiphys.machinery.gvk import GroupVersionResource, parse_api_version

_SPOILED = (
    ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating "
    "admission controller; please fix your requests: {}"
)


class Owners:
    """Made once, by the registry; keeps what it has made of each row and path."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._targets: dict[tuple[GroupVersionResource, str], tuple[Resource, Target]] = {}

    def target(self, row: Resource, subresource: str = "") -> Target:
        """What a write by this path must know of the kind."""
        key = (row.gvr, subresource)
        found = self._targets.get(key)
        if found is None or found[0] is not row:
            found = self._targets[key] = (row, self._make_target(row, subresource))
        return found[1]

    def _make_target(self, row: Resource, subresource: str) -> Target:
        path = row.subresource(subresource) if subresource else None
        only = path.writes if path is not None else ()
        return Target(
            api_version=row.api_version,
            kind=row.kind,
            shape=schema_of(row).shape,
            subresource=subresource,
            ignored=field_set(() if only else resets_of(row, subresource)),
            only=field_set(only),
            convert=self._converter(row),
            schema_changes=row.schema is not None,
        )

    def _converter(self, row: Resource) -> Convert:
        stored = self._scheme.stored_row(row)

        def convert(obj: Object, api_version: str) -> tuple[Object, Shape] | None:
            try:
                other = self._scheme.known_kind(parse_api_version(api_version).with_kind(row.kind))
            except ValueError:
                return None
            if other is not None and row.reading is not None and other.group_resource == row.group_resource:
                return row.reading.in_version(obj, api_version) if obj else obj, schema_of(other).shape
            if other is None or self._scheme.stored_row(other) is not stored:
                return None
            if obj:  # there is nothing yet of an object that is created
                obj = convert_from_stored(other, convert_to_stored(row, obj))
            return obj, schema_of(other).shape

        return convert

    def keep(self, call: Call, new: Object, old: Object | None, now: datetime) -> None:
        """Writes the owners into `new`, which the call makes out of `old` (None: a creation)."""
        entries = update(self.target(call.row, call.info.subresource), old, new, manager_of(call), now)
        if entries is None:
            new["metadata"].pop("managedFields", None)
        else:
            new["metadata"]["managedFields"] = entries


def check_admitted(call: Call, obj: Object, before: list[Entry] | None) -> None:
    """Takes the owners back when admission (a webhook that does not know them) has left none that make sense."""
    metadata = obj["metadata"]
    after = metadata.get("managedFields")
    if after is before or after is None:
        return
    try:
        parse_entries(after)
    except ManagedFieldsError as error:
        if before is None:
            del metadata["managedFields"]
        else:
            metadata["managedFields"] = before
        call.warn(_SPOILED.format(error))


def manager_of(call: Call) -> str:
    """Who writes: what the request says, or else the program that sends it."""
    request = call.request
    return manager_name(request.query.get("fieldManager", ("",))[0], request.headers.get("user-agent", ""))


def resets_of(row: Resource, subresource: str) -> tuple[str, ...]:
    """What a write by this path leaves as it was."""
    path = row.subresource(subresource) if subresource else None
    if path is not None:
        return path.resets
    if row.resets is not None:
        return row.resets
    return ("status",) if row.has_status else ()


def field_set(paths: Iterable[str]) -> FieldSet:
    """`spec.containers.*.resources` and the like as a set of fields."""
    return from_paths([field_path(each) for each in paths])


def field_path(dotted: str) -> FieldPath:
    return tuple(name if name == ANY_ELEMENT else f"f:{name}" for name in dotted.split("."))
