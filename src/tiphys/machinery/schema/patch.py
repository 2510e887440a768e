"""A struct as strategic merge patches see it: which lists merge, and by which key."""

from __future__ import annotations

from functools import cache

from tiphys.machinery.patches.strategic import PatchField, PatchSchema
from tiphys.machinery.schema.model import Field, ListOf, MapOf, Struct, Type, struct_of


class _StructPatchSchema:
    def __init__(self, struct: Struct) -> None:
        self._struct = struct
        self._fields: dict[str, PatchField] = {}

    def field(self, name: str) -> PatchField | None:
        found = self._fields.get(name)
        if found is None:
            field = self._struct.fields.get(name)
            if field is None:
                return None
            found = self._fields[name] = _patch_field(field)
        return found


class _MapPatchSchema:
    def __init__(self, value: Type) -> None:
        self._field = PatchField(items=_items(value), value=_object(value))

    def field(self, name: str) -> PatchField | None:
        return self._field


@cache
def patch_schema(struct: Struct) -> PatchSchema:
    """The view of a built-in type; custom resources take no strategic patches."""
    return _StructPatchSchema(struct)


def _patch_field(field: Field) -> PatchField:
    return PatchField(
        strategy=frozenset(field.patch_strategies),
        merge_key=field.merge_key,
        items=_items(field.type),
        value=_object(field.type),
    )


def _items(type_: Type) -> PatchSchema | None:
    return _object(type_.item) if isinstance(type_, ListOf) else None


def _object(type_: Type) -> PatchSchema | None:
    if isinstance(type_, MapOf):
        return _MapPatchSchema(type_.value)
    struct = struct_of(type_)
    return patch_schema(struct) if struct is not None and not struct.is_any else None
