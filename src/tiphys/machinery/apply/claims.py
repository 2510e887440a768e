"""What is applied, and what its applier comes to own by it, remembered by its large parts.

Most of what is applied is applied again, to the same object or to others like it: what changes is a label, an annotation, one
of several parts. So what is read from a part is kept, by its JSON; and what is read from metadata by the names in it, since nobody
applies the same annotations twice but most apply the same names.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from tiphys.machinery.apply.fieldset import FieldSet, difference, ordered
from tiphys.machinery.apply.merging import merge, merge_map
from tiphys.machinery.apply.shapes import Granular, Shape
from tiphys.machinery.apply.target import UNOWNED, UNOWNED_METADATA_FIELDS, Object, Target
from tiphys.machinery.apply.typed import FieldReader

PARTS_LIMIT = 128
PART_LIMIT_BYTES = 64 << 10
FORMS_LIMIT = 256
NAMES_LIMIT = 64
SETTLED_LIMIT = 256
_TEXT = frozenset({str})


class Part:
    """A field of an object as it is applied."""

    __slots__ = ("fields", "has_nulls", "is_odd")

    def __init__(self, fields: FieldSet, reader: FieldReader) -> None:
        self.fields = fields
        """What is owned below it."""
        self.has_nulls = reader.has_nulls
        self.is_odd = reader.is_odd


class Claim(NamedTuple):
    """What somebody applies."""

    fields: FieldSet
    """What he comes to own."""
    has_nulls: bool
    is_odd: bool
    """Something may not fit the schema; `validation` knows what. Never False for what does not fit."""
    parts: dict[str, Part]
    """By field; metadata is none of them."""


_parts: dict[tuple[Shape, bytes], Part] = {}
_forms: dict[tuple[Any, ...], Part] = {}
_settled: dict[tuple[Part, bytes], None] = {}
"""Parts, and states of that field to which they add nothing."""


def read_claim(target: Target, applied: Object) -> Claim:
    """Raises ValueError for an element of a list that cannot be told from others."""
    shape = target.shape
    if not isinstance(shape, Granular):
        reader = FieldReader()
        fields = target.owned(reader.read(shape, applied))
        return Claim(fields, reader.has_nulls, reader.is_odd, {})
    fields = {}
    parts: dict[str, Part] = {}
    rest: Object = {}
    has_nulls = is_odd = False
    for name, value in applied.items():
        found = shape.fields.get(name)
        if found is None or type(value) is not dict or not value:
            if name not in UNOWNED:
                rest[name] = value
            continue
        if name == "metadata":
            part = _metadata(found.shape, value)
        else:
            part = _part(found.shape, value)
            parts[name] = part
        if part.fields or found.shape.atomic:
            fields[found.element] = part.fields
        has_nulls = has_nulls or part.has_nulls
        is_odd = is_odd or part.is_odd
    if rest:
        reader = FieldReader()
        fields.update(target.owned(reader.read_fields(shape, rest)))
        has_nulls, is_odd = has_nulls or reader.has_nulls, is_odd or reader.is_odd
    return Claim(target.written(ordered(fields)), has_nulls, is_odd, parts)


def _part(shape: Shape, value: Object) -> Part:
    try:
        key = shape, orjson.dumps(value)
    except TypeError:  # nested too deeply to be written
        return _read(shape, value)
    part = _parts.get(key)
    if part is None:
        part = _read(shape, value)
        if len(key[1]) <= PART_LIMIT_BYTES:
            if len(_parts) >= PARTS_LIMIT:
                _parts.clear()
            _parts[key] = part
    return part


def _read(shape: Shape, value: Object) -> Part:
    reader = FieldReader()
    return Part(reader.read(shape, value), reader)


def _metadata(shape: Shape, metadata: Object) -> Part:
    form = _form_of_metadata(shape, metadata)
    part = _forms.get(form) if form is not None else None
    if part is None:
        reader = FieldReader()
        fields = difference(reader.read(shape, metadata), UNOWNED_METADATA_FIELDS)
        part = Part(fields, reader)
        if form is not None:
            if len(_forms) >= FORMS_LIMIT:
                _forms.clear()
            _forms[form] = part
    return part


def _form_of_metadata(shape: Shape, metadata: Object) -> tuple[Any, ...] | None:
    """Equal for those that set the same fields: texts and maps of texts, of the same names. None: there is more in it."""
    form: list[Any] = [shape, *metadata]
    for value in metadata.values():
        if type(value) is str:
            form.append(None)
        elif (
            type(value) is dict and len(value) <= NAMES_LIMIT and _TEXT.issuperset(map(type, value.values()))
        ):
            form.append(tuple(value))
        else:
            return None
    return tuple(form) if len(form) <= NAMES_LIMIT else None


# Parts that add nothing


def merge_claim(shape: Shape, live: Object, applied: Object, parts: dict[str, Part]) -> Object:
    """As `merge`, of a whole object. `parts` are those of the claim: which of them add nothing to what state is remembered."""
    if not isinstance(shape, Granular):
        whole: Object = merge(shape, live, applied)
        return whole
    left = applied
    unknown: list[tuple[str, tuple[Part, bytes]]] = []
    for name, part in parts.items():
        key = _settled_key(part, live.get(name))
        if key is None:
            continue
        if key not in _settled:
            unknown.append((name, key))
            continue
        if left is applied:
            left = dict(applied)
        del left[name]
    merged = merge_map(shape, live, left)
    for name, key in unknown:
        if merged[name] is live[name]:
            if len(_settled) >= SETTLED_LIMIT:
                _settled.clear()
            _settled[key] = None
    return merged


def _settled_key(part: Part, live: Any) -> tuple[Part, bytes] | None:
    if type(live) is not dict:
        return None
    try:
        source = orjson.dumps(live)
    except TypeError:  # nested too deeply to be written
        return None
    return (part, source) if len(source) <= PART_LIMIT_BYTES else None
