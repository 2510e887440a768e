"""What a compiled program finds at hand: the functions it calls, conversion of JSON, choice of overloads."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from tiphys.machinery.cel import conversions, operations, types
from tiphys.machinery.cel.charges import counter
from tiphys.machinery.cel.declarations import Overload
from tiphys.machinery.cel.equality import contains
from tiphys.machinery.cel.errors import CelRuntimeError, CostExceeded, no_such_overload
from tiphys.machinery.cel.measures import length, traverse
from tiphys.machinery.cel.types import LIST, MAP, Type
from tiphys.machinery.cel.values import NONE, Failed, Optional, bound

MISSING = object()


def unbound(name: str) -> CelRuntimeError:
    return CelRuntimeError(f"no such attribute(s): {name}")


def absorbed(error: Exception) -> Exception:
    """An error that `||` or `&&` may yet make irrelevant. To run out of cost never is."""
    if isinstance(error, CostExceeded | RecursionError | MemoryError):
        raise error
    return error


def given(value: Any) -> Sequence[Any]:
    """What `?value` adds to a list."""
    if not isinstance(value, Optional):
        raise no_such_overload()
    return (value.value,) if value.present else ()


def given_pair(key: Any, value: Any) -> Sequence[Any]:
    """What `?key: value` adds to a map."""
    return [(key, each) for each in given(value)]


def insert_all(made: dict[Any, Any], more: Any) -> None:
    for key, value in more.items():
        operations.insert(made, key, value)


class Dispatcher:
    """Chooses the overload by the operands' classes. Gives the result and the cost."""

    __slots__ = ("chosen", "overloads")

    def __init__(self, overloads: list[Overload]) -> None:
        self.overloads = overloads
        self.chosen: dict[tuple[type, ...], tuple[Callable[..., Any], Callable[..., int]]] = {}

    def __call__(self, *operands: Any) -> tuple[Any, int]:
        classes = tuple(map(type, operands))
        chosen = self.chosen.get(classes)
        if chosen is None:
            chosen = self.chosen[classes] = self.choose(operands)
        implementation, cost = chosen
        result = implementation(*operands)
        return result, cost(*operands, result)

    def choose(self, operands: tuple[Any, ...]) -> tuple[Callable[..., Any], Callable[..., int]]:
        for overload in self.overloads:
            if overload.accepts(operands):
                return overload.implementation, counter(overload.charge, len(operands))
        raise no_such_overload()


# What stands in an object as JSON, and is something else to an expression.


def _timestamp(value: Any) -> Any:
    return _from_text(value, conversions.string_to_timestamp)


def _duration(value: Any) -> Any:
    return _from_text(value, conversions.string_to_duration)


def _bytes(value: Any) -> Any:
    return _from_text(value, _decoded)


def _from_text(value: Any, convert: Callable[[str], Any]) -> Any:
    return convert(value) if value.__class__ is str else value


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CelRuntimeError("illegal base64 data") from None


def _double(value: Any) -> Any:
    return float(value) if value.__class__ is int else value


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "double": _double,
    "timestamp": _timestamp,
    "duration": _duration,
    "bytes": _bytes,
}


def conversion(this: Type) -> Callable[[Any], Any] | None:
    """How to read a value of this type out of JSON; None: as it is."""
    if this.reader is not None:
        return this.reader
    if not this.parameters:
        return _SCALARS.get(this.name)
    if this.kind == LIST and (element := _inner(this.parameters[0])):
        return _each(element)
    if this.kind == MAP and (value := _inner(this.parameters[1])):
        return _each_value(value)
    return None


def _inner(this: Type) -> Callable[[Any], Any] | None:
    # A list of doubles may stay a list of ints: they are converted when they are taken out.
    return None if this is types.DOUBLE else conversion(this)


@lru_cache(maxsize=256)
def _each(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: [convert(element) for element in value] if isinstance(value, list | tuple) else value


@lru_cache(maxsize=256)
def _each_value(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: (
        {key: convert(each) for key, each in value.items()} if isinstance(value, dict) else value
    )


NAMES: dict[str, Any] = {
    "__builtins__": {},
    "CostExceeded": CostExceeded,
    "Exception": Exception,
    "Failed": Failed,
    "KeyError": KeyError,
    "MISSING": MISSING,
    "NONE": NONE,
    "Optional": Optional,
    "absorbed": absorbed,
    "add_sets": operations.add_sets,
    "bound": bound,
    "checked_int": conversions.checked_int,
    "contains": contains,
    "dict": dict,
    "elements": operations.elements,
    "entries": operations.entries,
    "enumerate": enumerate,
    "given": given,
    "given_pair": given_pair,
    "index": operations.index,
    "index_list": operations.index_list,
    "index_optional": operations.index_optional,
    "insert": operations.insert,
    "insert_all": insert_all,
    "iter": iter,
    "len": len,
    "length": length,
    "min": min,
    "next": next,
    "numbered": operations.numbered,
    "present": operations.present,
    "select_optional": operations.select_optional,
    "traverse": traverse,
    "truth": operations.truth,
    "unbound": unbound,
}
