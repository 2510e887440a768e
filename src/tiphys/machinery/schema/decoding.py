"""The slow, exact reading of what a client sent: canonical form, unknown and duplicate fields, wrong types.

It does to plain JSON values what a round trip through Go's structs does. `checking` calls it only for objects that are
not already in canonical form.
"""

from __future__ import annotations

from typing import Any

from tiphys.machinery.schema.errors import DecodeError
from tiphys.machinery.schema.model import Field, ListOf, MapOf, Scalar, Struct, Type, struct_of
from tiphys.machinery.schema.scalars import (
    MismatchError,
    decode_scalar,
    go_type_name,
    is_empty,
    json_kind,
    zero,
)

COMPLAINT_LIMIT = 100
"""Upstream stops counting there, so that an answer stays readable and small."""


class Pairs:
    """A JSON object whose names may repeat: `items()` gives all of them, in the order of the document."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self._pairs = pairs

    def items(self) -> list[tuple[str, Any]]:
        return self._pairs


def plain(value: Any) -> Any:
    """A value without Pairs: the last of the same names wins."""
    if isinstance(value, Pairs | dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


class Decoder:
    """Reads one object. `complaints` are messages in the order of the document, none twice."""

    def __init__(self) -> None:
        self.complaints: dict[str, None] = {}
        self._path: list[str] = []
        self._go_path: list[str] = []
        self._go_struct = ""
        self._silent = 0

    def decode(self, struct: Struct, value: Any) -> dict[str, Any]:
        """The canonical object. DecodeError: a value has the wrong type."""
        decoded: dict[str, Any] = self._value(struct, value)
        return decoded

    def _value(self, type_: Type, value: Any) -> Any:
        """The canonical form of a value that is not null."""
        if isinstance(type_, Scalar):
            return self._scalar(type_, value)
        if isinstance(type_, ListOf):
            return self._list(type_, value)
        if isinstance(type_, MapOf):
            return self._map(type_, value)
        struct = struct_of(type_)
        assert struct is not None
        return self._any_form(struct, value) if struct.is_any else self._struct(struct, value)

    def _scalar(self, scalar: Scalar, value: Any) -> Any:
        try:
            return decode_scalar(scalar, plain(value) if isinstance(value, Pairs | dict | list) else value)
        except MismatchError as mismatch:
            raise self._mismatch(mismatch.value, mismatch.go_type) from None

    def _mismatch(self, value: str, go_type: str) -> DecodeError:
        where = f"struct field {self._go_struct}.{'.'.join(self._go_path)}" if self._go_path else "value"
        return DecodeError(f"json: cannot unmarshal {value} into Go {where} of type {go_type}")

    def _struct(self, struct: Struct, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict | Pairs):
            raise self._mismatch(json_kind(value), go_type_name(struct))
        fields = struct.fields
        decoded: dict[str, Any] = {}
        seen: set[str] = set()
        outer = self._go_struct
        for name, item in value.items():
            field = fields.get(name)
            self._path.append(f".{name}")
            if field is None:
                self._complain("unknown")
            else:
                if name in seen:
                    self._complain("duplicate")
                seen.add(name)
                self._go_struct = struct.short_name
                self._field(field, item, decoded)
            self._path.pop()
        self._go_struct = outer
        return decoded

    def _field(self, field: Field, value: Any, decoded: dict[str, Any]) -> None:
        if value is None:
            return
        self._go_path.append(field.name)
        result = self._value(field.type, value)
        self._go_path.pop()
        if result is None or (not field.keeps_zero and _is_empty(field.type, result)):
            decoded.pop(field.name, None)
        else:
            decoded[field.name] = result

    def _list(self, type_: ListOf, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self._mismatch(json_kind(value), go_type_name(type_))
        decoded = []
        for index, item in enumerate(value):
            self._path.append(f"[{index}]")
            decoded.append(_zero(type_.item) if item is None else self._value(type_.item, item))
            self._path.pop()
        return decoded

    def _map(self, type_: MapOf, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict | Pairs):
            raise self._mismatch(json_kind(value), go_type_name(type_))
        decoded: dict[str, Any] = {}
        for name, item in value.items():
            self._path.append(f".{name}")
            if name in decoded:
                self._complain("duplicate")
            decoded[name] = _zero(type_.value) if item is None else self._value(type_.value, item)
            self._path.pop()
        return decoded

    def _any_form(self, struct: Struct, value: Any) -> Any:
        """One of several JSON forms. Upstream reads it by hand, hence without a word about unknown fields."""
        chosen = _form_of(struct, value)
        if chosen is None:
            if any(isinstance(each.type, Scalar) for each in struct.own_fields):
                raise DecodeError("boolean or JSON schema expected")
            return None
        self._silent += 1
        decoded = self._value(chosen.type, value)
        self._silent -= 1
        return decoded

    def _complain(self, what: str) -> None:
        if self._silent or len(self.complaints) >= COMPLAINT_LIMIT:
            return
        self.complaints[f'{what} field "{"".join(self._path)[1:]}"'] = None


def _form_of(struct: Struct, value: Any) -> Field | None:
    for each in struct.own_fields:
        if isinstance(each.type, ListOf):
            fits = isinstance(value, list)
        elif isinstance(each.type, Scalar):
            fits = isinstance(value, bool)
        else:
            fits = isinstance(value, dict | Pairs)
        if fits:
            return each
    return None


def _is_empty(type_: Type, value: Any) -> bool:
    if isinstance(type_, Scalar):
        return is_empty(type_, value)
    return not value and isinstance(type_, ListOf | MapOf)


def _zero(type_: Type) -> Any:
    if isinstance(type_, Scalar):
        return zero(type_)
    return [] if isinstance(type_, ListOf) else {}
