"""CEL, the Common Expression Language, as Kubernetes uses it: CRD rules, admission policies, selectors.

    environment = Environment({"self": object_type("Object", {"replicas": INT})})
    program = environment.compile("self.replicas <= 5")     # CelError, with line and column
    program.evaluate({"self": {"replicas": 3}})             # True; CelRuntimeError

The way of an expression: `lexer` and `parser` make a tree (`syntax`, `macros`), `checker` finds the types, `generator`
writes Python that does just what is needed for them, and counts the cost. `estimate` bounds the cost beforehand. The
language is that of cel-spec; limits, messages and `library` are Kubernetes' (apiserver `pkg/cel`, cel-go).
Pure: no clock, no disk (but for the time zones that an expression names), no network.

What is named here is imported when it is first used: most servers never see an expression.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiphys.machinery.cel.declarations import Overload, function
    from tiphys.machinery.cel.environment import PER_CALL_LIMIT, Environment, Program
    from tiphys.machinery.cel.errors import CelError, CelRuntimeError, CostExceeded, Issue
    from tiphys.machinery.cel.library import Library
    from tiphys.machinery.cel.types import (
        BOOL,
        BYTES,
        DOUBLE,
        DURATION,
        DYN,
        INT,
        NULL,
        STRING,
        TIMESTAMP,
        UINT,
        Type,
        bytes_of,
        dyn_of,
        list_of,
        map_of,
        object_type,
        opaque,
        optional_of,
        read_by,
        string_of,
    )
    from tiphys.machinery.cel.values import NONE, Duration, Optional, Timestamp, UInt

__all__ = [
    "BOOL",
    "BYTES",
    "DOUBLE",
    "DURATION",
    "DYN",
    "INT",
    "NONE",
    "NULL",
    "PER_CALL_LIMIT",
    "STRING",
    "TIMESTAMP",
    "UINT",
    "CelError",
    "CelRuntimeError",
    "CostExceeded",
    "Duration",
    "Environment",
    "Issue",
    "Library",
    "Optional",
    "Overload",
    "Program",
    "Timestamp",
    "Type",
    "UInt",
    "bytes_of",
    "dyn_of",
    "function",
    "list_of",
    "map_of",
    "object_type",
    "opaque",
    "optional_of",
    "read_by",
    "string_of",
]

_HOMES = {
    "declarations": (
        "Overload",
        "function",
    ),
    "environment": (
        "PER_CALL_LIMIT",
        "Environment",
        "Program",
    ),
    "errors": (
        "CelError",
        "CelRuntimeError",
        "CostExceeded",
        "Issue",
    ),
    "library": ("Library",),
    "types": (
        "BOOL",
        "BYTES",
        "DOUBLE",
        "DURATION",
        "DYN",
        "INT",
        "NULL",
        "STRING",
        "TIMESTAMP",
        "UINT",
        "Type",
        "bytes_of",
        "dyn_of",
        "list_of",
        "map_of",
        "object_type",
        "opaque",
        "optional_of",
        "read_by",
        "string_of",
    ),
    "values": (
        "NONE",
        "Duration",
        "Optional",
        "Timestamp",
        "UInt",
    ),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
