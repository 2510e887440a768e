"""Built-in types as the type checker of admission policies sees them (apiserver `pkg/cel/openapi`, SchemaDeclType).

Times are timestamps, an int-or-string and a quantity may be anything, objects that are carried along have no fields. A type that
contains itself (JSONSchemaProps) is of any type where it does: upstream gives such kinds up altogether.
"""

from __future__ import annotations

from tiphys.machinery.cel import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    list_of,
    map_of,
    object_type,
)
from tiphys.machinery.cel import Type as ExpressionType
from tiphys.machinery.schema.model import ListOf, MapOf, Scalar, ScalarKind, Struct, Type, struct_of

_SCALARS = {
    ScalarKind.STRING: STRING,
    ScalarKind.BOOL: BOOL,
    ScalarKind.INT32: INT,
    ScalarKind.INT64: INT,
    ScalarKind.DOUBLE: DOUBLE,
    ScalarKind.BYTES: BYTES,
    ScalarKind.TIME: TIMESTAMP,
    ScalarKind.MICROTIME: TIMESTAMP,
    ScalarKind.RAW: object_type("object", {}),
    ScalarKind.FIELDS: object_type("object", {}),
}


def expression_type(struct: Struct) -> ExpressionType:
    """The type of a kind's objects, for expressions that are checked and not run."""
    return _Maker().struct(struct, struct.short_name)


class _Maker:
    def __init__(self) -> None:
        self._around: list[Struct] = []

    def struct(self, struct: Struct, name: str) -> ExpressionType:
        if struct.is_any or struct in self._around:
            return DYN
        self._around.append(struct)
        fields = {each.name: self.type(each.type, f"{name}.{each.name}") for each in struct.fields.values()}
        self._around.pop()
        return object_type(name, fields)

    def type(self, this: Type, name: str) -> ExpressionType:
        if isinstance(this, Scalar):
            return _SCALARS.get(this.kind, DYN)
        if isinstance(this, ListOf):
            return list_of(self.type(this.item, f"{name}.@idx"))
        if isinstance(this, MapOf):
            return map_of(STRING, self.type(this.value, f"{name}.@elem"))
        struct = struct_of(this)
        assert struct is not None
        return self.struct(struct, name)
