"""Objects changed by sets of fields: what is applied merges in, what is given up goes.

Nothing is changed in place, and whatever stays as it was is shared with the input, so that "nothing happened" is a test
of identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tiphys.machinery.apply.fieldset import FieldSet, is_member
from tiphys.machinery.apply.shapes import (
    DEDUCED,
    Granular,
    KeyedList,
    Shape,
    ValueSet,
    as_granular,
)
from tiphys.machinery.apply.typed import by_element, is_duplicate

_ABSENT: Any = object()
_TEXT = frozenset({str})


# Merging


def merge(shape: Shape, live: Any, applied: Any) -> Any:
    """`live` with everything that `applied` sets; `live` itself when it has all of it.

    Values that are equal in Python count as equal, so that without a schema true does not replace 1.
    """
    granular = as_granular(shape, applied) if shape is DEDUCED and isinstance(live, dict) else shape
    if isinstance(granular, Granular) and isinstance(applied, dict):
        return merge_map(granular, live if isinstance(live, dict) else None, applied)
    if isinstance(granular, KeyedList | ValueSet) and isinstance(applied, list):
        return _merge_list(granular, live if isinstance(live, list) else None, applied)
    if applied is None and live and not shape.atomic and isinstance(live, dict | list):
        return live  # sets nothing that is inside
    return live if live == applied and type(live) is type(applied) else applied


def merge_map(shape: Granular, live: dict[str, Any] | None, applied: dict[str, Any]) -> dict[str, Any]:
    if live is None:
        cleaned: dict[str, Any] = without_nulls(shape, applied)
        return cleaned
    if shape.plain_item is str and _TEXT.issuperset(map(type, applied.values())):
        texts = {**live, **applied}
        return live if texts == live else texts
    merged: dict[str, Any] | None = None
    declared = shape.fields
    for name, item in applied.items():
        before = live.get(name, _ABSENT)
        if before == item and type(before) is type(item):
            continue
        found = declared.get(name)
        below = found.shape if found is not None else shape.item or DEDUCED
        if before is _ABSENT:
            if item is None and shape.drops_null:
                continue
            after = without_nulls(below, item)
        else:
            after = merge(below, before, item)
            if after is before:
                continue
        if merged is None:
            merged = dict(live)
        if after is None and shape.drops_null:
            del merged[name]
        else:
            merged[name] = after
    return live if merged is None else merged


def without_nulls(shape: Shape, value: Any) -> Any:
    """A value that comes into being, without the nulls that its type cannot keep; the value itself when it has none."""
    if isinstance(value, dict):
        if not isinstance(shape, Granular):
            return value
        cleaned = {
            name: without_nulls(shape.below(name), item)
            for name, item in value.items()
            if item is not None or not shape.drops_null
        }
        same = len(cleaned) == len(value) and all(cleaned[name] is item for name, item in value.items())
        return value if same else cleaned
    if isinstance(value, list) and isinstance(shape, KeyedList):
        items = [without_nulls(shape.item, item) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    return value


def _merge_list(shape: KeyedList | ValueSet, live: list[Any] | None, applied: list[Any]) -> list[Any]:
    if not live:
        return applied if live is None or applied else live
    if live == applied:
        return live
    before, after = by_element(shape, live), by_element(shape, applied)
    if len(before) == len(live) == len(after) == len(applied) and list(before) == list(after):
        merged = [merge(shape.item, old, item) for old, item in zip(live, applied, strict=True)]
    else:
        merged = [
            item if source is None else _merge_item(shape, source, item)
            for source, item in _in_order(shape, live, before, after)
        ]
    same = len(merged) == len(live) and all(new is old for new, old in zip(merged, live, strict=True))
    return live if same else merged


def _merge_item(shape: KeyedList | ValueSet, live: Any, applied: Any) -> Any:
    if live is _ABSENT or is_duplicate(live):
        return without_nulls(shape.item, applied)
    return merge(shape.item, live, applied)


def _in_order(
    shape: KeyedList | ValueSet, live: list[Any], before: dict[str, Any], after: dict[str, Any]
) -> Iterator[tuple[Any, Any]]:
    """(live item or _ABSENT, applied item), or (None, live item) for what nobody applies, in the order of the result.

    Applied items come in the order in which they are applied. The others keep their place: each comes before the next
    applied item that it stood before in the live list.
    """
    shared = iter([element for element in after if element in before])
    wanted = next(shared, None)
    place = 0
    elements = [shape.element_of(item) for item in live]
    for element, item in after.items():
        while place < len(live) and elements[place] != element:
            head = elements[place]
            if head not in after:
                yield None, live[place]
            elif head == wanted:
                break
            place += 1
        yield before.get(element, _ABSENT), item
        if place < len(live) and elements[place] == element:
            place += 1
        if element == wanted:
            wanted = next(shared, None)
    for index in range(place, len(live)):
        if elements[index] not in after:
            yield None, live[index]


# Removing


def prune(shape: Shape, value: Any, given_up: FieldSet, held: Sequence[FieldSet]) -> Any:
    """`value` without the fields in `given_up` that none of `held` holds; `value` itself when nothing goes.

    An object is held, and given up, together with its fields; an element of a list, or a key of a map, only by itself:
    when it goes, all that is in it goes.
    """
    if isinstance(value, dict):
        granular = as_granular(shape, value)
        return _prune_map(granular, value, given_up, held) if isinstance(granular, Granular) else value
    if isinstance(value, list) and isinstance(shape, KeyedList | ValueSet):
        return _prune_list(shape, value, given_up, held)
    return value


def _prune_map(
    shape: Granular, value: dict[str, Any], given_up: FieldSet, held: Sequence[FieldSet]
) -> dict[str, Any]:
    pruned: dict[str, Any] | None = None
    for element, branch in given_up.items():
        name = element[2:]
        if name not in value or element[:2] != "f:":
            continue
        after = _prune_field(shape, name, value[name], branch, _below(held, element))
        if after is value[name]:
            continue
        if pruned is None:
            pruned = dict(value)
        if after is _ABSENT:
            del pruned[name]
        else:
            pruned[name] = after
    return value if pruned is None else pruned


def _prune_field(shape: Granular, name: str, item: Any, branch: FieldSet, held: Sequence[FieldSet]) -> Any:
    """What stays of a field; _ABSENT: nothing."""
    is_object = name in shape.fields
    if is_object:
        # An empty list is nobody's by its elements.
        goes = not held and (item != [] or is_member(branch))
    else:
        goes = is_member(branch) and not any(map(is_member, held))
    if goes:
        return _ABSENT
    return prune(shape.below(name), item, branch, held) if branch else item


def _prune_list(
    shape: KeyedList | ValueSet, value: list[Any], given_up: FieldSet, held: Sequence[FieldSet]
) -> list[Any]:
    pruned = []
    same = True
    for item in value:
        element = shape.element_of(item)
        branch = given_up.get(element)
        after = item
        if branch is not None:
            held_here = _below(held, element)
            if is_member(branch) and not any(map(is_member, held_here)):
                same = False
                continue
            if branch:
                after = prune(shape.item, item, branch, held_here)
                same = same and after is item
        pruned.append(after)
    return value if same else pruned


def _below(held: Sequence[FieldSet], element: str) -> list[FieldSet]:
    return [fields[element] for fields in held if element in fields]
