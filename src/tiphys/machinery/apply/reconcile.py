"""Owners that were written down under another schema: a map or list has become atomic, or granular, in between."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.apply.fieldset import MEMBER, FieldSet
from tiphys.machinery.apply.shapes import DEDUCED, Granular, KeyedList, Shape, ValueSet
from tiphys.machinery.apply.typed import by_element, fields_of


def reconcile(shape: Shape, fields: FieldSet, value: Any, *, expand: bool) -> FieldSet:
    """The fields under today's schema; `fields` itself when they fit.

    What is atomic now is owned as a whole by whoever owned a part of it. What was atomic and is granular now is owned in
    all its parts by who owned the whole: only where `expand` says so, since an updater may own an object without what is
    in it, but an applier never does.
    """
    if shape is DEDUCED or not fields:
        return fields
    result: FieldSet | None = None
    for element, branch in fields.items():
        if element == MEMBER:
            continue
        child, below = _child(shape, element, value)
        after = _reconcile_branch(child, branch, below, expand=expand)
        if after is not branch:
            if result is None:
                result = dict(fields)
            result[element] = after
    return fields if result is None else result


def _reconcile_branch(shape: Shape, branch: FieldSet, value: Any, *, expand: bool) -> FieldSet:
    if shape.atomic:
        return {} if branch else branch
    if branch:
        return reconcile(shape, branch, value, expand=expand)
    below = fields_of(shape, value) if expand and value and shape is not DEDUCED else {}
    return {MEMBER: {}, **below} if below else branch


def _child(shape: Shape, element: str, value: Any) -> tuple[Shape, Any]:
    """The shape of what an element names, and the value there (None: nothing)."""
    if isinstance(shape, Granular) and element.startswith("f:"):
        name = element[2:]
        return shape.below(name), value.get(name) if isinstance(value, dict) else None
    if isinstance(shape, KeyedList | ValueSet):
        items = by_element(shape, value) if isinstance(value, list) else {}
        return shape.item, items.get(element)
    return DEDUCED, None
