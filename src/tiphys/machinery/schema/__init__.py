"""What fields an object has: one model of types for all that must know them.

`model` is the vocabulary, `text` reads it from `.types` files, `registry` finds a type by name. From the same model come
`check` (what a client sends), `tiphys.machinery.protobuf` (the binary form), `patch` (how lists merge) and `openapi`
(what clients are told). Only the model is imported here: looking a kind up must cost next to nothing.
"""

from tiphys.machinery.schema.model import (
    Field,
    ListOf,
    MapOf,
    Reference,
    Scalar,
    ScalarKind,
    Struct,
    Type,
    Union,
    struct_of,
)
from tiphys.machinery.schema.registry import Types
from tiphys.machinery.schema.text import TypesError

__all__ = [
    "Field",
    "ListOf",
    "MapOf",
    "Reference",
    "Scalar",
    "ScalarKind",
    "Struct",
    "Type",
    "Types",
    "TypesError",
    "Union",
    "struct_of",
]
