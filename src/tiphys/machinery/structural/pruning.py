"""What a custom resource becomes when it is read: unknown fields go, nulls that nothing allows go, numbers and metadata
take the form in which they are stored.

Upstream's `schema/pruning`, `schema/defaulting/prunenulls.go` and `schema/objectmeta`. This is the exact half; `gates`
recognizes the objects for which there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.schema import DecodeError, Struct
from tiphys.machinery.schema.decoding import Decoder, Pairs
from tiphys.machinery.structural.correlation import Schema

META_FIELDS = frozenset({"apiVersion", "kind", "metadata"})
_INT64 = range(-(2**63), 2**63)
# Go writes a float without a point when it is whole, up to here.
_LARGEST_PLAIN_FLOAT = 1e21


def copied(value: Any) -> Any:
    """A copy with numbers as they come out of the store: 1.0 is 1, an integer out of 64 bits is a float."""
    if isinstance(value, dict):
        return {name: copied(item) for name, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_PLAIN_FLOAT:
        return int(value) if int(value) in _INT64 else value
    return float(value) if value.__class__ is int and value not in _INT64 else value


class Pruner:
    """Removes what a schema does not know. `unknown` are the paths of what was removed."""

    def __init__(self) -> None:
        self.unknown: list[str] = []

    def prune(self, value: Any, schema: Schema | None, *, path: str = "", embedded: bool = False) -> None:
        """In place. `embedded`: the value is a whole resource, whatever the schema says."""
        if schema is not None and schema.get("x-kubernetes-preserve-unknown-fields"):
            self._keep(value, schema, path, embedded=embedded)
        elif isinstance(value, dict):
            self._prune_fields(value, schema, path, embedded=embedded)
        elif isinstance(value, list):
            items = item_schema(schema)
            for position, item in enumerate(value):
                self.prune(item, items, path=f"{path}[{position}]", embedded=is_embedded(items))

    def _prune_fields(
        self, value: dict[str, Any], schema: Schema | None, path: str, *, embedded: bool
    ) -> None:
        properties = properties_of(schema)
        more = None if schema is None else schema.get("additionalProperties")
        for name in list(value):
            if embedded and name in META_FIELDS:
                continue
            if name in properties:
                known: Schema | None = properties[name]
            elif more is not None:
                known = more if isinstance(more, Mapping) else None
            else:
                if name not in META_FIELDS or path:
                    self.unknown.append(f"{path}.{name}" if path else name)
                del value[name]
                continue
            here = f"{path}.{name}" if path else name
            self.prune(value[name], known, path=here, embedded=is_embedded(known))

    def _keep(self, value: Any, schema: Schema | None, path: str, *, embedded: bool) -> None:
        """Below what keeps its unknown fields, known ones are pruned all the same."""
        if schema is None:
            return
        if isinstance(value, dict):
            properties, more = properties_of(schema), schema.get("additionalProperties")
            for name, item in value.items():
                if embedded and name in META_FIELDS:
                    continue
                if name in properties or more is not None:
                    known = properties.get(name, more if isinstance(more, Mapping) else None)
                    here = f"{path}.{name}" if path else name
                    self.prune(item, known, path=here, embedded=is_embedded(known))
        elif isinstance(value, list):
            items = item_schema(schema)
            for position, item in enumerate(value):
                self._keep(item, items, f"{path}[{position}]", embedded=is_embedded(items))


def properties_of(schema: Schema | None) -> Mapping[str, Schema]:
    return {} if schema is None else schema.get("properties") or {}


def item_schema(schema: Schema | None) -> Schema | None:
    items = None if schema is None else schema.get("items")
    return items if isinstance(items, Mapping) else None


def is_embedded(schema: Schema | None) -> bool:
    return schema is not None and bool(schema.get("x-kubernetes-embedded-resource"))


def field_schema(schema: Schema | None, name: str) -> Schema | None:
    """The schema of a field, from the properties or else from additionalProperties."""
    properties = properties_of(schema)
    if name in properties:
        return properties[name]
    more = None if schema is None else schema.get("additionalProperties")
    return more if isinstance(more, Mapping) else None


def drop_nulls(value: Any, schema: Schema | None) -> None:
    """Removes the nulls of fields that may not be null and have no default; those with one are filled in later."""
    if isinstance(value, dict):
        for name in list(value):
            known = field_schema(schema, name)
            if value[name] is not None:
                drop_nulls(value[name], known)
            elif known is not None and not known.get("nullable") and known.get("default") is None:
                del value[name]
    elif isinstance(value, list):
        items = item_schema(schema)
        for item in value:
            drop_nulls(item, items)


class MetadataReader:
    """ObjectMeta, as Go's struct reads it. `tolerant`: a field of the wrong type is dropped (what is in the store
    must stay readable), rather than refused."""

    def __init__(self, object_meta: Struct, *, tolerant: bool = False) -> None:
        self.object_meta = object_meta
        self.tolerant = tolerant
        self.unknown: list[str] = []

    def read(self, metadata: Any, path: str = "metadata") -> dict[str, Any]:
        """The canonical form. DecodeError: a field has the wrong type."""
        decoder = Decoder()
        try:
            decoded = decoder.decode(self.object_meta, {} if metadata is None else metadata)
        except DecodeError:
            if not self.tolerant or not isinstance(metadata, dict):
                raise
            return self._read_singly(metadata)
        start = len('unknown field "')
        self.unknown += [f"{path}.{complaint[start:-1]}" for complaint in decoder.complaints]
        return decoded

    def _read_singly(self, metadata: dict[str, Any]) -> dict[str, Any]:
        decoded: dict[str, Any] = {}
        for name, value in metadata.items():
            try:
                decoded |= Decoder().decode(self.object_meta, {name: value})
            except DecodeError:
                continue
        return decoded

    def coerce(self, value: Any, schema: Schema | None, path: Path, *, embedded: bool = False) -> None:
        """Brings the metadata of embedded resources into form, in place. DecodeError: it is none."""
        if schema is None:
            return
        if isinstance(value, dict):
            if embedded:
                self._coerce_resource(value, path)
            more = schema.get("additionalProperties")
            for name, item in value.items():
                known = field_schema(schema, name)
                here = path.key(name) if name not in properties_of(schema) and more else path.child(name)
                self.coerce(item, known, here, embedded=is_embedded(known))
        elif isinstance(value, list):
            items = item_schema(schema)
            for position, item in enumerate(value):
                self.coerce(item, items, path.index(position), embedded=is_embedded(items))

    def _coerce_resource(self, value: dict[str, Any], path: Path) -> None:
        for name in ("apiVersion", "kind"):
            if name in value and not isinstance(value[name], str):
                if not self.tolerant:
                    error = FieldError.invalid(path.child(name), value[name], "must be a string")
                    raise DecodeError(str(error))
                del value[name]
        if "metadata" not in value:
            return
        here = path.child("metadata")
        try:
            value["metadata"] = self.read(value["metadata"], here.text)
        except DecodeError as error:
            if not self.tolerant:
                raise DecodeError(str(FieldError.invalid(here, value["metadata"], str(error)))) from None


def duplicate_fields(value: Any, path: str = "") -> Iterator[str]:
    """The paths of names that an object of a document has more than once, each once, in the order of the document."""
    if isinstance(value, Pairs):
        seen: set[str] = set()
        told: set[str] = set()
        for name, item in value.items():
            here = f"{path}.{name}" if path else name
            if name in seen and name not in told:
                told.add(name)
                yield here
            seen.add(name)
            yield from duplicate_fields(item, here)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from duplicate_fields(item, f"{path}[{position}]")


def type_meta_error(obj: Mapping[str, Any]) -> str:
    """What is wrong with kind and apiVersion before anything else is looked at."""
    for name in ("kind", "apiVersion"):
        value = obj.get(name, "")
        if not isinstance(value, str):
            return f".{name} accessor error: {value!r} is of the type {_GO_TYPES[value.__class__]}, expected string"
    return ""


_GO_TYPES = {
    bool: "bool",
    int: "int64",
    float: "float64",
    list: "[]interface {}",
    dict: "map[string]interface {}",
    type(None): "<nil>",
}


def unknown_field(path: str) -> str:
    return f'unknown field "{path}"'


def duplicate_field(path: str) -> str:
    return f'duplicate field "{path}"'
