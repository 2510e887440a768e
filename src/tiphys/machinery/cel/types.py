"""The types of expressions, and the small language in which callers declare variables.

    object_type("Object", {"spec": object_type("Object.spec", {"replicas": INT, "names": list_of(STRING)})})

A `Type` describes what an expression yields. Sizes (`max_length`) are hints for the cost estimate and no part of
the type: two lists of strings are the same type, however long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tiphys.machinery.cel.names import escape
from tiphys.machinery.cel.values import Duration, Optional, Timestamp, UInt
from tiphys.machinery.frozen import frozen

# Kinds
PRIMITIVE, LIST, MAP, OBJECT, OPAQUE, TYPE, PARAMETER, WILDCARD = (
    "primitive",
    "list",
    "map",
    "object",
    "opaque",
    "type",
    "parameter",
    "wildcard",
)

# What a value of unknown length may have at most, when it comes with a request (3 MiB).
REQUEST_SIZE = 3 * 1024 * 1024


@dataclass(eq=False, slots=True)
class Type:
    """A type. Compare with `same`; values of the type are instances of `python` (where one class tells)."""

    kind: str
    name: str
    parameters: tuple[Type, ...] = ()
    fields: Mapping[str, Field] = field(default_factory=dict)
    python: tuple[type, ...] = ()
    # Hints for the estimate of cost: the most characters, bytes, elements or entries; None: unknown.
    max_length: int | None = None
    # x-kubernetes-list-type of a list: "atomic", "set" or "map" (then with its keys).
    list_type: str = "atomic"
    list_keys: tuple[str, ...] = ()
    # How to read it out of JSON, where the name alone does not say: a date is a timestamp too.
    reader: Callable[[Any], Any] | None = None

    def __str__(self) -> str:
        if self.parameters:
            return f"{self.name}({', '.join(map(str, self.parameters))})"
        return self.name

    def __repr__(self) -> str:
        return f"<{self}>"

    def __eq__(self, other: object) -> bool:
        """As values, types are equal by name: `type([1]) == list`."""
        return isinstance(other, Type) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


@frozen
class Field:
    """A property of an object: its name in the object (the identifier in expressions may be escaped) and type."""

    name: str
    type: Type


DYN = Type(WILDCARD, "dyn")
ERROR = Type(WILDCARD, "!error!")
INT = Type(PRIMITIVE, "int", python=(int,))
UINT = Type(PRIMITIVE, "uint", python=(UInt,))
DOUBLE = Type(PRIMITIVE, "double", python=(float,))
BOOL = Type(PRIMITIVE, "bool", python=(bool,))
STRING = Type(PRIMITIVE, "string", python=(str,))
BYTES = Type(PRIMITIVE, "bytes", python=(bytes,))
NULL = Type(PRIMITIVE, "null", python=(type(None),))
TIMESTAMP = Type(PRIMITIVE, "timestamp", python=(Timestamp,))
DURATION = Type(PRIMITIVE, "duration", python=(Duration,))
LIST_TYPES = (list, tuple)

SCALARS = (INT, UINT, DOUBLE, BOOL, NULL, TIMESTAMP, DURATION)


def string_of(max_length: int) -> Type:
    """A string of at most so many characters."""
    return Type(PRIMITIVE, "string", python=(str,), max_length=max_length)


def read_by(this: Type, reader: Callable[[Any], Any], *, max_length: int | None = None) -> Type:
    """A scalar type whose values have another form in JSON than usual."""
    return Type(this.kind, this.name, python=this.python, reader=reader, max_length=max_length)


def dyn_of(max_length: int) -> Type:
    """Any type; a string or list of it has at most so many elements."""
    return Type(WILDCARD, "dyn", max_length=max_length)


def bytes_of(max_length: int) -> Type:
    """Bytes, at most so many. In objects they are base64."""
    return Type(PRIMITIVE, "bytes", python=(bytes,), max_length=max_length)


def list_of(
    element: Type, *, max_length: int | None = None, list_type: str = "atomic", keys: Sequence[str] = ()
) -> Type:
    return Type(
        LIST,
        "list",
        (element,),
        python=LIST_TYPES,
        max_length=max_length,
        list_type=list_type,
        list_keys=tuple(keys),
    )


def map_of(key: Type, value: Type, *, max_length: int | None = None) -> Type:
    return Type(MAP, "map", (key, value), python=(dict,), max_length=max_length)


def optional_of(value: Type) -> Type:
    return Type(OPAQUE, "optional_type", (value,), python=(Optional,))


def type_of(target: Type) -> Type:
    """The type of a type: `int` is of type `type(int)`."""
    return Type(TYPE, "type", (target,), python=(Type,))


def object_type(name: str, properties: Mapping[str, Type], *, escapes: bool = True) -> Type:
    """An object with known properties. One whose name no identifier can spell is out of the reach of expressions.

    Without `escapes`, expressions spell all names as they are, `request.namespace` too.
    """
    fields = {}
    for property_name, property_type in properties.items():
        identifier = escape(property_name) if escapes else property_name
        if identifier is not None:
            fields[identifier] = Field(property_name, property_type)
    return Type(OBJECT, name, fields=fields, python=(dict,))


def opaque(name: str, python: type) -> Type:
    """A type of which expressions know only the functions that take it: `kubernetes.Quantity`.

    Values are instances of `python`. They should be equal by value; where they have a size, `len` is what costs go by.
    """
    made = Type(OPAQUE, name, python=(python,))
    _BY_CLASS[python] = made
    return made


def parameter(name: str) -> Type:
    return Type(PARAMETER, name)


def is_wildcard(this: Type) -> bool:
    return this.kind == WILDCARD


def is_optional(this: Type) -> bool:
    return this.name == "optional_type"


def same(left: Type, right: Type) -> bool:
    """Whether both are exactly one type."""
    if left is right:
        return True
    if left.kind != right.kind or left.name != right.name or len(left.parameters) != len(right.parameters):
        return False
    return all(same(one, other) for one, other in zip(left.parameters, right.parameters, strict=True))


# The identifiers that stand for types.
NAMED_TYPES: dict[str, Type] = {
    "int": INT,
    "uint": UINT,
    "double": DOUBLE,
    "bool": BOOL,
    "string": STRING,
    "bytes": BYTES,
    "null_type": NULL,
    "list": list_of(DYN),
    "map": map_of(DYN, DYN),
    "type": type_of(DYN),
    "optional_type": optional_of(DYN),
    "google.protobuf.Timestamp": TIMESTAMP,
    "google.protobuf.Duration": DURATION,
}

_TYPE_NAMES = {
    "null": "null_type",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
}


def value_name(this: Type) -> str:
    """The name by which a type is known as a value: `google.protobuf.Timestamp`."""
    return _TYPE_NAMES.get(this.name, this.name)


_BY_CLASS: dict[type, Type] = {
    int: INT,
    UInt: UINT,
    float: DOUBLE,
    bool: BOOL,
    str: STRING,
    bytes: BYTES,
    type(None): NULL,
    list: NAMED_TYPES["list"],
    tuple: NAMED_TYPES["list"],
    dict: NAMED_TYPES["map"],
    Timestamp: TIMESTAMP,
    Duration: DURATION,
    Optional: NAMED_TYPES["optional_type"],
    Type: NAMED_TYPES["type"],
}


def of_value(value: Any) -> Type:
    """The type of a value at run time. Whatever else a caller brings is a map."""
    return _BY_CLASS.get(value.__class__, NAMED_TYPES["map"])
