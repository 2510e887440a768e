"""The form of a configuration file: which fields there are, and of what type; what does not fit is named by its place.

FORM = {"kind": str, "rules": [{"level": str, "users": [str]}]}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Form = Any
"""A type, several of them, a list with the form of its items, or a dict with the forms of its fields."""
ANY = object


def misfits(value: Any, form: Form, where: str = "") -> Iterator[str]:
    """What is wrong, each in a line. null is as good as nothing."""
    if value is None:
        return
    if isinstance(form, dict):
        if not isinstance(value, dict):
            yield _another(where, "an object")
            return
        for name, inner in value.items():
            place = f"{where}.{name}" if where else str(name)
            if name in form:
                yield from misfits(inner, form[name], place)
            else:
                yield f'unknown field "{place}"'
    elif isinstance(form, list):
        if not isinstance(value, list):
            yield _another(where, "a list")
            return
        for position, item in enumerate(value):
            yield from misfits(item, form[0], f"{where}[{position}]")
    elif form is not ANY and (not isinstance(value, form) or (form is int and isinstance(value, bool))):
        yield _another(where, _WORDS.get(form, "of another type"))


_WORDS = {str: "a string", int: "a number", bool: "true or false", dict: "an object"}


def _another(where: str, wanted: str) -> str:
    return f'"{where}" must be {wanted}' if where else f"it must be {wanted}"
