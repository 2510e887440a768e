"""One object in several versions: what a client sees in its version is kept in another."""

from __future__ import annotations

from tiphys.api.resource import Object, Resource


def convert_from_stored(row: Resource, obj: Object) -> Object:
    """A stored object in the version of a row; shares what does not differ."""
    if row.stored is None or row.reading is not None:
        return obj  # a `reading` has done its work before
    if row.conversion is not None:
        return row.conversion.from_stored(obj)
    return {**obj, "kind": row.kind, "apiVersion": row.api_version}


def convert_to_stored(row: Resource, obj: Object) -> Object:
    """An object of a row's version as it is kept."""
    if row.stored is None:
        return obj
    if row.conversion is not None:
        return row.conversion.to_stored(obj)
    return {**obj, "kind": row.stored.kind, "apiVersion": row.stored.api_version}
