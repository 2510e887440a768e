"""What a test waits for: "Ready", "condition=Available=False", "jsonpath={.status.phase}=Running", or a function. Pure.

The words are those of `kubectl wait --for`, but that "Ready" alone is short for "condition=Ready".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
Test = Callable[[Any], Any]
"""Given the object (or the list), something true when it is as it should be."""


def read_condition(wanted: str | Test) -> tuple[Test, str]:
    """The test, and its name for messages. ValueError for a text that cannot be understood."""
    if callable(wanted):
        return wanted, getattr(wanted, "__name__", repr(wanted))
    kind, _, rest = wanted.partition("=")
    if kind == "jsonpath":
        return _at_path(rest), wanted
    name, _, status = (rest if kind == "condition" else wanted).partition("=")
    if not name:
        raise ValueError(f"{wanted!r} names no condition")
    return _has_condition(name, status or "True"), f"condition {name} is {status or 'True'}"


def _has_condition(name: str, status: str) -> Test:
    def test(obj: Object) -> bool:
        """Of the generation that is wanted now, where the status says of which one it is."""
        found = obj.get("status") or {}
        generation = (obj.get("metadata") or {}).get("generation", 0)
        for condition in found.get("conditions") or ():
            if str(condition.get("type", "")).lower() == name.lower():
                observed = condition.get("observedGeneration", found.get("observedGeneration"))
                is_current = observed is None or observed >= generation
                return is_current and str(condition.get("status", "")).lower() == status.lower()
        return False

    return test


def _at_path(text: str) -> Test:
    from tiphys.machinery.jsonpath import JSONPathError, parse_json_path

    path, braced, value = text.partition("}")
    if braced:
        expected = value.removeprefix("=") if value else None
        path = path.removeprefix("{")
    else:
        path, given, value = text.partition("=")
        expected = value if given else None
    try:
        parsed = parse_json_path(path)
    except JSONPathError as error:
        raise ValueError(f"{path!r} is no JSONPath: {error}") from None

    def test(obj: Object) -> bool:
        """Without a value: something is there."""
        return any(expected is None or _text(found) == expected for found in parsed.find(obj))

    return test


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
