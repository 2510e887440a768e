"""The model of types: a Struct has Fields, a Field has a Type.

A type is one of Scalar, ListOf, MapOf, Reference (to a Struct, found when it is first needed, so that types may
refer to each other in circles) or a Struct itself (one without a name).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from tiphys.machinery.frozen import frozen


class ScalarKind(StrEnum):
    """Values that have no fields of ours. The word is the one in a `.types` file."""

    STRING = "string"
    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    DOUBLE = "double"
    BYTES = "bytes"
    """Base64 in JSON."""
    QUANTITY = "quantity"
    """`100m`, `1.5Gi`; a JSON number is taken too."""
    TIME = "time"
    """RFC 3339, whole seconds, UTC."""
    MICROTIME = "microtime"
    """RFC 3339, six digits of a second, UTC."""
    INT_OR_STRING = "intorstring"
    RAW = "raw"
    """An object of any kind, carried along (RawExtension)."""
    JSON = "json"
    """Any JSON value, carried along."""
    FIELDS = "fields"
    """A set of managed fields (FieldsV1), carried along."""


@frozen
class Scalar:
    kind: ScalarKind


@frozen
class ListOf:
    item: Type


@frozen
class MapOf:
    """A map with string keys."""

    value: Type


@frozen
class Reference:
    """A struct by its name. `find` raises LookupError for a name that does not exist."""

    name: str
    find: Callable[[str], Struct] = field(repr=False, compare=False)

    @property
    def struct(self) -> Struct:
        return self.find(self.name)


@frozen(kw_only=True)
class Field:
    """One row of a block. `name` is empty when the fields of the (struct) type belong to the outer one in JSON."""

    name: str
    number: int
    """In protobuf; 0: it has none."""
    type: Type
    required: bool = False
    pointer: bool = False
    """Go has a pointer: an explicit zero is not the same as nothing."""
    always: bool = False
    """Optional, but Go writes it even when it is empty (no `omitempty`)."""
    list_type: str = ""
    """"atomic", "set", "map" or nothing."""
    map_keys: tuple[str, ...] = ()
    """What names an element of a list of list type "map"."""
    map_type: str = ""
    """"atomic", "granular" or nothing: of a map, or of a field whose struct is changed only as a whole."""
    patch_strategies: tuple[str, ...] = ()
    """Of "merge", "replace", "retainKeys"."""
    merge_key: str = ""
    description: str = ""

    @property
    def keeps_zero(self) -> bool:
        """Whether "", 0, false, [] and {} are kept when a client sends them."""
        return self.required or self.pointer or self.always


@frozen
class Union:
    """Fields of which one may be set: JSON name → the value of the discriminator that goes with it."""

    discriminator: str
    members: Mapping[str, str]


@dataclass(eq=False, kw_only=True)
class Struct:
    """A block of fields. `name` is "core/v1.Pod"; identity is equality."""

    name: str
    own_fields: tuple[Field, ...]
    """In the order of the file, inlined ones as one field without a name."""
    is_object: bool = False
    """It has `kind` and `apiVersion`."""
    is_any: bool = False
    """Its JSON is one of its fields' values instead of an object (JSONSchemaPropsOrBool)."""
    map_type: str = ""
    """"atomic": wherever it is used, appliers own it as a whole."""
    unions: tuple[Union, ...] = ()
    description: str = ""

    @property
    def group_version(self) -> str:
        """The file it comes from, "core/v1"."""
        return self.name.rpartition(".")[0]

    @property
    def short_name(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def go_name(self) -> str:
        """As Go prints the type: the package of a group's types is named after the version ("v1.Pod")."""
        return self.name.rpartition("/")[2]

    @cached_property
    def fields(self) -> dict[str, Field]:
        """JSON name → field, those of inlined structs included, in the order in which Go writes them."""
        found = dict(_TYPE_META) if self.is_object else {}
        for each in self.own_fields:
            if each.name:
                found[each.name] = each
            else:
                found.update(_inlined(self, each).fields)
        return found

    def __repr__(self) -> str:
        return f"Struct({self.name!r})"


Type = Scalar | ListOf | MapOf | Reference | Struct

_TYPE_META = {
    name: Field(name=name, number=0, type=Scalar(ScalarKind.STRING), description=description)
    for name, description in (
        ("kind", "Which kind of object this is, such as Pod."),
        ("apiVersion", "Group and version of the kind, such as apps/v1; v1 alone for the core group."),
    )
}


def struct_of(type_: Type) -> Struct | None:
    """The struct that a type is or refers to; None for scalars, lists and maps."""
    if isinstance(type_, Reference):
        return type_.struct
    return type_ if isinstance(type_, Struct) else None


def _inlined(owner: Struct, each: Field) -> Struct:
    struct = struct_of(each.type)
    if struct is None:
        raise LookupError(f"{owner.name}: only a struct can be inlined")
    return struct
