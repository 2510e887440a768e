"""Checks what a client sends: first the fast gate, and only when that says no, the exact decoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from tiphys.machinery.frozen import frozen
from tiphys.machinery.schema.decoding import COMPLAINT_LIMIT, Decoder, Pairs
from tiphys.machinery.schema.errors import DecodeError
from tiphys.machinery.schema.gate import gate
from tiphys.machinery.schema.model import Struct

_gates: WeakKeyDictionary[Struct, Callable[[Any], bool]] = WeakKeyDictionary()


@frozen
class CheckResult:
    object: dict[str, Any]
    """In canonical form, without unknown fields: the given object itself when nothing had to be changed."""
    complaints: tuple[str, ...] = ()
    """`unknown field "spec.foo"`, `duplicate field "spec.bar"`, in the order of the document, at most 100."""


def check(struct: Struct, obj: Any, *, duplicates_source: bytes | None = None) -> CheckResult:
    """The canonical form of an object and what is wrong with its fields. DecodeError: a value has the wrong type.

    `duplicates_source` is the JSON that `obj` was just read from; without it repeated names cannot be seen. Nothing should
    have been added to `obj` since: it could stand for a name that was lost.
    What to do about complaints is the caller's (`fieldValidation`): Strict refuses, Warn warns, Ignore is silent.
    """
    passes = _gates.get(struct)
    if passes is None:
        passes = _gates[struct] = gate(struct)
    repeated = duplicates_source is not None and may_repeat_names(duplicates_source, obj)
    if not repeated and passes(obj):
        return CheckResult(obj)
    try:
        decoder = Decoder()
        decoded = decoder.decode(struct, obj)
        if repeated and duplicates_source is not None:
            # Only for its complaints: the caller may have added to `obj` what the document leaves out.
            decoder = Decoder()
            decoder.decode(struct, json.loads(duplicates_source, object_pairs_hook=Pairs))
    except RecursionError:
        raise DecodeError("json: exceeded max depth") from None
    return CheckResult(decoded, tuple(decoder.complaints))


def repeated_names(source: bytes, obj: Any) -> list[str]:
    """`duplicate field "spec.bar"` for every name that stands twice in one object of a JSON document, read as `obj`."""
    if not may_repeat_names(source, obj):
        return []
    found: dict[str, None] = {}
    try:
        _find_repeated(json.loads(source, object_pairs_hook=Pairs), "", found)
    except RecursionError:
        raise DecodeError("json: exceeded max depth") from None
    return list(found)


def _find_repeated(value: Any, path: str, found: dict[str, None]) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _find_repeated(item, f"{path}[{index}]", found)
    elif isinstance(value, Pairs):
        seen = set()
        for name, item in value.items():
            here = f"{path}.{name}" if path else name
            if name in seen and len(found) < COMPLAINT_LIMIT:
                found[f'duplicate field "{here}"'] = None
            seen.add(name)
            _find_repeated(item, here, found)


_WHITE_SPACE = b" \t\r\n"


def may_repeat_names(source: bytes, obj: Any) -> bool:
    """Whether a name was lost on reading: then quotes are missing when the object is written again.

    A quote inside a string is written as `\\"`, so it counts alike on both sides, unless it came as `\\u0022`.
    """
    try:
        written = orjson.dumps(obj)
    except TypeError:  # nested too deeply to be written again: let the exact decoder look
        return True
    if source.rstrip(_WHITE_SPACE) == written:  # As most clients write: counting takes longer than comparing.
        return False
    return source.count(b'"') != written.count(b'"') or b"\\u0022" in source
