"""How appliers own the parts of an object: which lists merge by keys, what is changed only as a whole.

A Shape is what server-side apply must know of a type. It is made lazily, from a built-in type (`shape_of`) or from the
schema of a custom resource (`structural.py`). The rules of built-in types are those of `x-kubernetes-list-type` and
`x-kubernetes-map-type`: a list without a type is atomic, a map or an object without one is granular (KEP-555, "Merge
strategy").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from tiphys.machinery.apply.fieldset import key_element, plain_key_element, value_element
from tiphys.machinery.schema.model import (
    Field,
    ListOf,
    MapOf,
    Scalar,
    ScalarKind,
    Struct,
    Type,
    struct_of,
)


class Form(Enum):
    """What JSON a value of an atomic shape must be."""

    ANY = "any"
    STRING = "string"
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    MAP = "map"
    LIST = "list"


class Shape:
    """One of the classes below."""

    __slots__ = ("__dict__", "__weakref__")
    atomic = False
    drops_null = False
    """Nulls mean nothing: Go's types cannot keep them. Custom resources can."""


class Atomic(Shape):
    """Owned as a whole: scalars, atomic lists and maps. `inside` is its shape if it were granular, to check what is in it."""

    __slots__ = ("form", "inside")
    atomic = True

    def __init__(self, form: Form = Form.ANY, inside: Callable[[], Shape] | None = None) -> None:
        self.form = form
        self.inside = inside


class FieldShape(NamedTuple):
    element: str
    """The field's path element, `f:spec`."""
    shape: Shape
    standing: bool
    """Go's zero value of the outer object has it, so nobody brings it into being: only what is in it is owned."""
    plain: type | None
    """The type of a value that needs no second look; None: each does."""

    @classmethod
    def of(cls, name: str, shape: Shape, *, standing: bool = False) -> FieldShape:
        return cls(f"f:{name}", shape, standing, plain_type(shape))


_PLAIN_TYPES = {Form.STRING: str, Form.NUMERIC: int, Form.BOOLEAN: bool}


def plain_type(shape: Shape) -> type | None:
    return _PLAIN_TYPES.get(shape.form) if isinstance(shape, Atomic) else None


class Granular(Shape):
    """An object or a map whose fields are owned one by one."""

    __slots__ = ("_make_fields", "_make_item", "drops_null", "strict")

    def __init__(
        self,
        fields: Callable[[], Mapping[str, FieldShape]] | None = None,
        item: Callable[[], Shape] | None = None,
        *,
        strict: bool = True,
        drops_null: bool = False,
    ) -> None:
        self._make_fields = fields
        self._make_item = item
        self.strict = strict
        """Fields that are not declared are refused when somebody applies them."""
        self.drops_null = drops_null

    @cached_property
    def fields(self) -> dict[str, FieldShape]:
        return dict(self._make_fields()) if self._make_fields is not None else {}

    @cached_property
    def item(self) -> Shape | None:
        """The shape of what stands under keys that are not declared; None: there should be none."""
        return self._make_item() if self._make_item is not None else None

    @cached_property
    def plain_item(self) -> type | None:
        """The type of the values of a map of scalars."""
        return plain_type(self.item) if self.item is not None and not self.fields else None

    @cached_property
    def flat(self) -> dict[tuple[Any, ...], tuple[dict[str, Any], dict[str, Any]]]:
        """What objects set in which nothing is nested, by their names and the types of their values: few forms, many
        objects. As an object, and as an element of a list."""
        return {}

    @cached_property
    def flat_whole(self) -> dict[tuple[str, ...], dict[str, Any]]:
        """As `flat`, of objects that came into being: their names say everything."""
        return {}

    def below(self, name: str) -> Shape:
        found = self.fields.get(name)
        return found.shape if found is not None else self.item or DEDUCED


_PLAIN_KEYS = frozenset({str, int})
_ELEMENTS = 1024
"""How many of its elements a list remembers."""


class KeyedList(Shape):
    """List type "map": an element is known by its keys. `defaults` stand in for keys that an element leaves out."""

    __slots__ = ("_elements", "_make_item", "defaults", "keys")

    def __init__(
        self, keys: tuple[str, ...], item: Callable[[], Shape], defaults: Mapping[str, Any] | None = None
    ) -> None:
        self.keys = tuple(sorted(keys))
        self._make_item = item
        self.defaults = dict(defaults or {})
        self._elements: dict[str, str] = {}

    @cached_property
    def item(self) -> Shape:
        return self._make_item()

    def element_of(self, item: Any) -> str:
        """The path element of an item. ValueError: it cannot be told from others."""
        if type(item) is dict and len(self.keys) == 1:  # nearly all lists, and most are known by a name
            value = item.get(self.keys[0])
            if type(value) is str:
                known = self._elements.get(value)
                if known is None:
                    known = plain_key_element(self.keys, (value,))
                    if len(self._elements) < _ELEMENTS:
                        self._elements[value] = known
                return known
        if not isinstance(item, dict):
            what = "a null element" if item is None else "non-map elements"
            raise ValueError(f"associative list with keys may not have {what}")
        values = tuple([item.get(name) for name in self.keys])
        if _PLAIN_KEYS.issuperset(map(type, values)):
            return plain_key_element(self.keys, values)
        found = {}
        for name in self.keys:
            if name in item:
                found[name] = item[name]
            elif name in self.defaults:
                found[name] = self.defaults[name]
        if not found:
            names = " ".join(f'"{name}"' for name in self.keys)
            raise ValueError(
                f"associative list with keys has an element that omits all key fields [{names}] "
                "(and doesn't have default values for any key fields)"
            )
        return key_element(found)


class ValueSet(Shape):
    """List type "set": scalars, each there once."""

    __slots__ = ("item",)

    def __init__(self, item: Atomic) -> None:
        self.item = item

    @staticmethod
    def element_of(item: Any) -> str:
        """The path element of an item. ValueError: it is no scalar."""
        if isinstance(item, dict):
            raise ValueError("associative list without keys has an element that's a map type")
        if isinstance(item, list):
            raise ValueError("not supported: associative list with lists as elements")
        if item is None:
            raise ValueError("associative list without keys has an element that's an explicit null")
        return value_element(item)


class Deduced(Shape):
    """No schema: maps are granular, lists atomic, the rest is scalar."""

    __slots__ = ()


DEDUCED = Deduced()
ANYTHING = Atomic()
_DEDUCED_MAP = Granular(item=lambda: DEDUCED, strict=False)


def as_granular(shape: Shape, *values: Any) -> Shape:
    """A deduced shape by the values that are there: a map when all of them that are not null are maps, else atomic."""
    if shape is not DEDUCED:
        return shape
    return _DEDUCED_MAP if any(isinstance(value, dict) for value in values) else ANYTHING


# Built-in types

_SCALAR_FORMS = {
    ScalarKind.STRING: Form.STRING,
    ScalarKind.BYTES: Form.STRING,
    ScalarKind.BOOL: Form.BOOLEAN,
    ScalarKind.INT32: Form.NUMERIC,
    ScalarKind.INT64: Form.NUMERIC,
    ScalarKind.DOUBLE: Form.NUMERIC,
}
_SCALARS = {kind: Atomic(_SCALAR_FORMS.get(kind, Form.ANY)) for kind in ScalarKind}

# Keys that upstream's schema gives a default (`+default` in its types): they may be left out of what is applied.
_KEY_DEFAULTS: dict[str, dict[str, Any]] = {
    "core/v1.ContainerPort": {"protocol": "TCP"},
    "core/v1.ServicePort": {"protocol": "TCP"},
    "core/v1.LocalObjectReference": {"name": ""},
}
# Optional objects that Go's types hold by value.
_BY_VALUE = frozenset({"metadata", "spec", "status", "strategy", "updateStrategy"})

_shapes: WeakKeyDictionary[Struct, Granular] = WeakKeyDictionary()


def shape_of(struct: Struct) -> Granular:
    """The shape of an object of a built-in type, granular even where the type is atomic in other objects."""
    found = _shapes.get(struct)
    if found is None:
        found = _shapes[struct] = Granular(
            lambda: {name: _field_shape(field) for name, field in struct.fields.items()}, drops_null=True
        )
    return found


def _field_shape(field: Field) -> FieldShape:
    return FieldShape.of(field.name, _shape_of_field(field), standing=_is_standing(field))


def _is_standing(field: Field) -> bool:
    if isinstance(field.type, MapOf):
        return field.always
    if struct_of(field.type) is not None:
        return field.required or field.name in _BY_VALUE
    return field.required or field.always


def _shape_of_field(field: Field) -> Shape:
    type_ = field.type
    if isinstance(type_, ListOf):
        return _shape_of_list(type_, field)
    shape = _shape_of_type(type_, granular=field.map_type == "granular")
    if field.map_type != "atomic" or shape.atomic:
        return shape
    return Atomic(Form.MAP, lambda: shape)


def _shape_of_list(type_: ListOf, field: Field) -> Shape:
    item = type_.item
    if field.list_type == "map":
        struct = struct_of(item)
        defaults = _KEY_DEFAULTS.get(struct.name) if struct is not None else None
        keys = {name: value for name, value in (defaults or {}).items() if name in field.map_keys}
        return KeyedList(field.map_keys, lambda: _shape_of_type(item), keys)
    if field.list_type == "set" and isinstance(item, Scalar):
        return ValueSet(_SCALARS[item.kind])
    return Atomic(Form.LIST, lambda: _shape_of_type(item))


def _shape_of_type(type_: Type, *, granular: bool = False) -> Shape:
    if isinstance(type_, Scalar):
        # A whole object inside another is merged like one without a schema.
        return DEDUCED if type_.kind is ScalarKind.RAW else _SCALARS[type_.kind]
    if isinstance(type_, ListOf):
        item = type_.item
        return Atomic(Form.LIST, lambda: _shape_of_type(item))
    if isinstance(type_, MapOf):
        value = type_.value
        return Granular(item=lambda: _shape_of_type(value), drops_null=True)
    struct = struct_of(type_)
    assert struct is not None
    if struct.is_any:
        return DEDUCED
    shape = shape_of(struct)
    return Atomic(Form.MAP, lambda: shape) if struct.map_type == "atomic" and not granular else shape
