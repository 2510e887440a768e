"""What a creation owns, remembered by the form of the object: many objects are made, of few forms.

Who creates an object owns all that it sets. Which fields those are depends on the names in it, on which of its values are
empty, and on the elements of its lists; not on what stands in it otherwise.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import orjson

from tiphys.machinery.apply.fieldset import FieldSet

KNOWN_LIMIT = 256
NAMES_LIMIT = 64
LIST_LIMIT_BYTES = 4096
_LEAVES = frozenset({str, int, float, bool})
Form = Hashable


class Creations:
    """The fields of objects that were created, by form. One for each path of each kind."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[Form, FieldSet] = {}

    def find(self, form: Form) -> FieldSet | None:
        return self._known.get(form)

    def remember(self, form: Form, fields: FieldSet) -> None:
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        self._known[form] = fields


def form_of(obj: dict[str, Any]) -> Form | None:
    """Equal for objects whose creation owns the same fields. None: too large to be worth it."""
    if len(obj) > NAMES_LIMIT:
        return None
    names, values = tuple(obj), obj.values()
    if all(values) and _LEAVES.issuperset(map(type, values)):
        return names
    form: list[Any] = [names]
    for name, value in obj.items():
        if type(value) is str and value:
            continue  # most of them, and its name says all
        if not value:
            below: Any = type(value)
        elif type(value) is dict:
            below = form_of(value)
        elif type(value) is list:
            below = _form_of_list(value)
        else:
            continue
        if below is None:
            return None
        form.append((name, below))
    return tuple(form)


def _form_of_list(items: list[Any]) -> Form | None:
    """All that stands in it: any of it may be what an element is known by."""
    written = orjson.dumps(items)
    return written if len(written) <= LIST_LIMIT_BYTES else None
