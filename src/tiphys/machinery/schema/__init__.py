"""What fields an object has: one model of types for all that must know them.

`model` is the vocabulary, `text` reads it from `.types` files, `registry` finds a type by name. From the same model come
`checking` (what a client sends), `tiphys.machinery.protobuf` (the binary form), `patch` (how lists merge) and `openapi`
(what clients are told).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tiphys.machinery.schema.errors import DecodeError
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

if TYPE_CHECKING:
    from tiphys.machinery.schema.checking import CheckResult, check
    from tiphys.machinery.schema.patch import patch_schema

# Looking a kind up must cost next to nothing, so what needs libraries is imported when it is first used.
_LATER = {"CheckResult": "checking", "check": "checking", "patch_schema": "patch"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


__all__ = [
    "CheckResult",
    "DecodeError",
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
    "check",
    "patch_schema",
    "struct_of",
]
