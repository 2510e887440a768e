"""Hypothesis strategies: any object of a Struct, in canonical form, and the same with things that clients get wrong."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from tiphys.machinery import quantity
from tiphys.machinery.meta import format_micro_time, format_time
from tiphys.machinery.schema import Field, ListOf, MapOf, Scalar, ScalarKind, Struct, Type, Types, struct_of

SAMPLE = """
object Sample
  1   metadata                         Meta
  2   name                             string!
  3   label                            string
  4   note                             string?
  5   count                            int32
  6   total                            int64?
  7   ratio                            double?
  8   ready                            bool
  9   wanted                           bool?
  10  secret                           bytes
  11  amount                           quantity
  12  port                             intorstring
  13  seen                             time
  14  exact                            microtime
  15  extension                        raw
  16  default                          json
  17  fields                           fields
  18  numbers                          [int32]                set
  19  flags                            [bool]
  20  ratios                           [double]
  21  tags                             {string}
  22  amounts                          {quantity}
  23  blobs                            {bytes}
  24  extra                            {[string]}
  25  times                            {time}
  26  parts                            [Part]                 map=name merge=name
  27  named                            {Part}
  28  schema                           SchemaOrBool
  29  schemas                          SchemaOrList
  30  rules                            [string]               atomic always
  31  *                                Inline
  100 far                              string
  0   local                            string

type Meta
  1   name                             string
  2   labels                           {string}

type Part
  1   name                             string!
  2   part                             Part
  3   values                           [json]

type Inline
  1   inner                            string
  2   depth                            int64

type SchemaOrBool any
  1   allows                           bool
  2   schema                           Part

type SchemaOrList any
  1   schema                           Part
  2   items                            [Part]
"""


def sample() -> Struct:
    """A struct with every kind of field, read anew."""
    return Types({"test/v1": SAMPLE}.get).struct("test/v1.Sample")


_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
_JSON = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63) | _TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner, max_size=2),
    max_leaves=3,
)
_MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))
_INT32 = st.integers(-(2**31), 2**31 - 1)
_AMOUNTS = st.builds(
    lambda number, suffix: quantity.canonical(f"{number}{suffix}"),
    st.integers(-5000, 2**40),
    st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi", "n", "e3"]),
)
_SCALARS: dict[ScalarKind, st.SearchStrategy[Any]] = {
    ScalarKind.STRING: _TEXT,
    ScalarKind.BOOL: st.booleans(),
    ScalarKind.INT32: _INT32,
    ScalarKind.INT64: st.integers(-(2**63), 2**63 - 1),
    ScalarKind.DOUBLE: st.integers(-100, 100) | st.sampled_from([0.5, -2.25, 1e30]),
    ScalarKind.BYTES: st.binary(max_size=7).map(lambda data: base64.b64encode(data).decode()),
    ScalarKind.QUANTITY: _AMOUNTS,
    ScalarKind.TIME: _MOMENTS.map(format_time),
    ScalarKind.MICROTIME: _MOMENTS.map(format_micro_time),
    ScalarKind.INT_OR_STRING: _TEXT | _INT32,
    ScalarKind.RAW: _JSON,
    ScalarKind.JSON: _JSON,
    ScalarKind.FIELDS: st.dictionaries(_TEXT, _JSON, max_size=2),
}
_WITH_EMPTY = frozenset(
    (ScalarKind.TIME, ScalarKind.MICROTIME, ScalarKind.QUANTITY, ScalarKind.INT_OR_STRING)
) | frozenset((ScalarKind.RAW, ScalarKind.JSON, ScalarKind.FIELDS))
"""Kinds whose empty value Go writes although the field is optional."""


@st.composite
def canonical_objects(
    draw: st.DrawFn, struct: Struct, depth: int = 2, *, numbered: bool = False
) -> dict[str, Any]:
    """Any object as the apiserver stores it. `numbered`: only of fields that have a protobuf number."""
    found: dict[str, Any] = {}
    names = [name for name, field in struct.fields.items() if field.number or not numbered]
    for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=12)) if names else ():
        field = struct.fields[name]
        value = draw(_values(field.type, depth, numbered=numbered))
        if not value and not _may_be_empty(field, numbered=numbered) and not _is_struct(field.type, value):
            continue
        found[name] = value
    return found


def _may_be_empty(field: Field, *, numbered: bool) -> bool:
    if isinstance(field.type, Scalar) and field.type.kind in _WITH_EMPTY:
        return True
    # Protobuf has no empty lists, required or not.
    return field.keeps_zero and not (numbered and isinstance(field.type, ListOf | MapOf))


def _is_struct(type_: Type, value: Any) -> bool:
    return struct_of(type_) is not None and value != []


def _values(type_: Type, depth: int, *, numbered: bool) -> st.SearchStrategy[Any]:
    if isinstance(type_, Scalar):
        return _SCALARS[type_.kind]
    if isinstance(type_, ListOf):
        return st.lists(_values(type_.item, depth - 1, numbered=numbered), max_size=3 if depth > 0 else 0)
    if isinstance(type_, MapOf):
        values = _values(type_.value, depth - 1, numbered=numbered)
        return st.dictionaries(_TEXT, values, max_size=3 if depth > 0 else 0)
    struct = struct_of(type_)
    assert struct is not None
    if struct.is_any:
        return st.one_of([_values(each.type, depth, numbered=numbered) for each in struct.own_fields])
    return canonical_objects(struct, depth - 1, numbered=numbered) if depth > 0 else st.just({})


@st.composite
def careless_objects(draw: st.DrawFn, struct: Struct) -> Any:
    """An object in which some values were replaced by what clients send by mistake."""
    obj = draw(canonical_objects(struct))
    for _ in range(draw(st.integers(0, 3))):
        obj = _spoil(draw, obj)
    return obj


_MISTAKES = st.sampled_from(
    (
        *(None, "", 0, False, True, [], {}, [None], {"a": None}, "x", ["x"], {"x": 1}),
        *(1.0, 1.5, 2**31, 2**63, -1, 5, 1e400),
        *("1000m", "0.5", "2026-01-01T00:00:00.5+01:00", "2026-02-30T00:00:00Z"),
        *("QQ=", "QR==", "QUI=\n"),
    )
)


def _spoil(draw: st.DrawFn, value: Any) -> Any:
    """Goes down some way and puts a mistake there."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: _spoil(draw, value[name])}
    if isinstance(value, list) and value and draw(st.booleans()):
        return [_spoil(draw, value[0]), *value[1:]]
    if isinstance(value, dict) and draw(st.booleans()):
        return {**value, draw(_TEXT): draw(_MISTAKES)}
    return draw(_MISTAKES)
