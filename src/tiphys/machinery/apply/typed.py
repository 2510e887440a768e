"""What an object sets, and what differs between two states of it, as sets of field paths.

The rules are upstream's, as KEP-555 and the tests of its merge library show them: an applier owns leaves, the elements of
keyed lists and sets, and the keys of maps, but not the objects around them; who creates or updates owns the objects and
lists that came into being, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from itertools import compress, repeat
from operator import ne
from typing import Any, NamedTuple

from tiphys.machinery.apply.fieldset import MEMBER, FieldSet, ordered
from tiphys.machinery.apply.shapes import (
    DEDUCED,
    Deduced,
    Granular,
    KeyedList,
    Shape,
    ValueSet,
    as_granular,
)
from tiphys.machinery.apply.validation import fits


class Comparison(NamedTuple):
    changed: FieldSet
    """Added or modified."""
    removed: FieldSet


_SAME = Comparison({}, {})
_ABSENT: Any = object()
_NOTHING: frozenset[str] = frozenset()


# What an applied object sets


def fields_of(shape: Shape, value: Any) -> FieldSet:
    """What is set below a value, for whoever applies it. ValueError: an element of a list cannot be told from others."""
    return FieldReader().read(shape, value)


class FieldReader:
    """Reads what a value sets, and notes on the way whether it needs a closer look."""

    __slots__ = ("has_nulls", "is_odd")

    def __init__(self) -> None:
        self.has_nulls = False
        self.is_odd = False
        """Something may not fit the schema; `validation` knows what. Never False for what does not fit."""

    def read(self, shape: Shape, value: Any) -> FieldSet:
        if isinstance(value, dict):
            if isinstance(shape, Granular):
                return self._read_map(shape, value)
            if isinstance(shape, Deduced):
                granular = as_granular(shape, value)
                assert isinstance(granular, Granular)
                return self._read_map(granular, value)
        elif isinstance(value, list):
            if isinstance(shape, KeyedList):
                return self._read_list(shape, value)
            if isinstance(shape, ValueSet):
                return self._read_set(shape, value)
        if value is None:
            self.has_nulls = True
        elif not isinstance(shape, Deduced) and not fits(shape, value):
            self.is_odd = True
        return {}

    def _read_map(self, shape: Granular, value: dict[str, Any]) -> FieldSet:
        plain_item = shape.plain_item
        if plain_item is not None:
            if {plain_item}.issuperset(map(type, value.values())):
                return {f"f:{name}": {} for name in sorted(value)}
            return self.read_fields(shape, value)
        if shape.item is not None:
            return self.read_fields(shape, value)
        return self._read_object(shape, value)[0]

    def _read_object(self, shape: Granular, value: dict[str, Any]) -> tuple[FieldSet, FieldSet]:
        """What an object of declared fields sets, and the same as an element of a list."""
        form = (*value, *map(type, value.values()))
        known = shape.flat.get(form)
        if known is not None:
            return known
        odd, self.is_odd = self.is_odd, False
        fields = self.read_fields(shape, value)
        found = fields, {MEMBER: {}, **fields} if fields else {}
        if not self.is_odd and len(shape.flat) < _FLAT_FORMS and _PLAIN.issuperset(form[len(value) :]):
            shape.flat[form] = found
        self.is_odd |= odd
        return found

    def read_fields(self, shape: Granular, value: dict[str, Any]) -> FieldSet:
        """As `read`, of an object: nothing of it is remembered."""
        fields: FieldSet = {}
        find = shape.fields.get
        for name in sorted(value):
            item = value[name]
            found = find(name)
            if found is None:
                self._read_item(shape, name, item, fields)
                continue
            element, child, _, plain = found
            if plain is type(item):
                fields[element] = {}
                continue
            below = self.read(child, item)
            if below or child.atomic or _is_leaf(child, item):
                fields[element] = below
        return fields

    def _read_item(self, shape: Granular, name: str, item: Any, fields: FieldSet) -> None:
        """What stands under a key that is not declared: the key of a map, which is owned itself."""
        if shape.item is None and shape.strict:
            self.is_odd = True
        below = self.read(shape.item or DEDUCED, item)
        fields[f"f:{name}"] = {MEMBER: {}, **below} if below else {}

    def _read_list(self, shape: KeyedList, value: list[Any]) -> FieldSet:
        fields: FieldSet = {}
        inner = shape.item
        for item in value:
            element = shape.element_of(item)
            if element in fields:  # not to be told from each other: owned as one
                self.is_odd = True
                fields[element] = {}
            else:
                fields[element] = self._read_element(inner, item)
        return ordered(fields)

    def _read_element(self, shape: Shape, item: Any) -> FieldSet:
        if isinstance(shape, Granular) and shape.item is None and type(item) is dict:
            return self._read_object(shape, item)[1]
        below = self.read(shape, item)
        return {MEMBER: {}, **below} if below else {}

    def _read_set(self, shape: ValueSet, value: list[Any]) -> FieldSet:
        fields: FieldSet = {shape.element_of(item): {} for item in value}
        if len(fields) < len(value) or not all(fits(shape.item, item) for item in value):
            self.is_odd = True
        return ordered(fields)


_PLAIN = frozenset({str, int, bool})
_NESTED = frozenset({dict, list})
_FLAT_FORMS = 256


def _is_leaf(shape: Shape, value: Any) -> bool:
    """Whether a value without anything in it is set itself: an empty map is, an empty list of elements is not."""
    if isinstance(value, dict):
        return not value
    return not (isinstance(value, list) and isinstance(shape, KeyedList | ValueSet))


# What two states of an object differ in


def compare(shape: Shape, old: Any, new: Any) -> Comparison:
    """What differs below a value that both states have. ValueError: an element of a list cannot be told from others."""
    changed: FieldSet = {}
    removed: FieldSet = {}
    if shape is DEDUCED:
        shape = as_granular(shape, old, new)
    if isinstance(shape, Granular):
        before = old if isinstance(old, dict) else {}
        compare_maps(shape, (before, new if isinstance(new, dict) else {}), _NOTHING, changed, removed)
    elif isinstance(shape, KeyedList | ValueSet):
        items = old if isinstance(old, list) else (), new if isinstance(new, list) else ()
        _compare_lists(shape, items, changed, removed)
    if not changed and not removed:
        return _SAME
    return Comparison(ordered(changed), ordered(removed))


def compare_maps(
    shape: Granular,
    values: tuple[dict[str, Any], dict[str, Any]],
    skipped: Set[str],
    changed: FieldSet,
    removed: FieldSet,
) -> None:
    """Puts in what differs in the fields of two objects, or under the keys of two maps, but those that are skipped."""
    old, new = values
    declared = shape.fields
    for name, after in _not_equal(old, new):
        if name in skipped:
            continue
        before = old.get(name, _ABSENT)
        found = declared.get(name)
        if found is None:
            element, below = f"f:{name}", shape.item or DEDUCED
        else:
            element, below = found.element, found.shape
            if before is _ABSENT and found.standing:
                before = _standing_value(below, after)
                if before == after:
                    continue
        if before is _ABSENT:
            changed[element] = everything(below, after)
        elif below.atomic:
            changed[element] = {}
        else:
            _compare_value(element, below, (before, after), changed, removed)
    if old.keys() <= new.keys():
        return
    for name, before in old.items():
        if name not in new and name not in skipped:
            found = declared.get(name)
            if found is None:
                removed[f"f:{name}"] = everything(shape.item or DEDUCED, before)
            else:
                removed[found.element] = everything(found.shape, before)


def _not_equal(old: dict[str, Any], new: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """What of the new object is not the same in the old one: the rest, most of it, is passed over at C's speed."""
    return compress(new.items(), map(ne, map(old.get, new, repeat(_ABSENT)), new.values()))


def _compare_lists(
    shape: KeyedList | ValueSet,
    values: tuple[Iterable[Any], Iterable[Any]],
    changed: FieldSet,
    removed: FieldSet,
) -> None:
    before, after = by_element(shape, values[0]), by_element(shape, values[1])
    for element, item in after.items():
        earlier = before.get(element, _ABSENT)
        if earlier is _ABSENT:
            changed[element] = everything(shape.item, item)
        elif earlier is not item and earlier != item:
            _compare_value(element, shape.item, (earlier, item), changed, removed)
    for element, item in before.items():
        if element not in after:
            removed[element] = everything(shape.item, item)


def _compare_value(
    element: str, shape: Shape, values: tuple[Any, Any], changed: FieldSet, removed: FieldSet
) -> None:
    """Two different values at one path."""
    old, new = values
    if isinstance(old, _Duplicates) or isinstance(new, _Duplicates):
        _compare_duplicates(element, shape, values, changed, removed)
        return
    granular = as_granular(shape, old, new)
    whole = granular.atomic or not (old or new)
    if not whole:
        found = compare(granular, old, new)
        # Of different kinds, which only happens without a schema.
        whole = old is not None and new is not None and type(old) is not type(new)
        if found.removed:
            removed[element] = found.removed
        if found.changed:
            changed[element] = {MEMBER: {}, **found.changed} if whole else found.changed
            return
    if whole:
        changed[element] = {}


def everything(shape: Shape, value: Any) -> FieldSet:
    """A value that came into being or went, and all that is in it: every object and list counts."""
    if isinstance(value, _Duplicates) or shape.atomic or not isinstance(value, dict | list):
        return {}
    if isinstance(shape, Granular) and isinstance(value, dict) and shape.item is None:
        names = tuple(value)
        known = shape.flat_whole.get(names)
        if known is None:
            known = _everything_below(shape, value)
            if len(shape.flat_whole) < _FLAT_FORMS and _PLAIN.issuperset(map(type, value.values())):
                shape.flat_whole[names] = known
        elif not _PLAIN.issuperset(map(type, value.values())):
            return _everything_below(shape, value)
        return known
    return _everything_below(shape, value)


def _everything_below(shape: Shape, value: Any) -> FieldSet:
    granular = as_granular(shape, value)
    below: FieldSet = {}
    if isinstance(granular, Granular) and isinstance(value, dict):
        find, item = granular.fields.get, granular.item or DEDUCED
        for name, each in value.items():
            found = find(name)
            element, child = (found.element, found.shape) if found is not None else (f"f:{name}", item)
            below[element] = everything(child, each) if type(each) in _NESTED else {}
    elif isinstance(granular, KeyedList | ValueSet) and isinstance(value, list):
        for element, each in by_element(granular, value).items():
            below[element] = everything(granular.item, each)
    return {MEMBER: {}, **ordered(below)} if below else {}


# The parts of two values, side by side


class _Duplicates(list[Any]):
    """Elements of a list that cannot be told from each other."""


def _standing_value(shape: Shape, after: Any) -> Any:
    """The zero value that is there before anybody says anything."""
    if isinstance(shape, Granular):
        return {}
    if isinstance(after, list):
        return None
    return type(after)() if shape.atomic and isinstance(after, str | bool | int | dict) else _ABSENT


def by_element(shape: KeyedList | ValueSet, items: Iterable[Any]) -> dict[str, Any]:
    """The items of a list by path element; those that share one come as a list of their own kind (see is_duplicate)."""
    found: dict[str, Any] = {}
    for item in items:
        element = shape.element_of(item)
        if element not in found:
            found[element] = item
        elif isinstance(found[element], _Duplicates):
            found[element].append(item)
        else:
            found[element] = _Duplicates([found[element], item])
    return found


def is_duplicate(item: Any) -> bool:
    return isinstance(item, _Duplicates)


def _compare_duplicates(
    element: str, shape: Shape, values: tuple[Any, Any], changed: FieldSet, removed: FieldSet
) -> None:
    """Elements that cannot be told from each other are owned as one, without what is in them."""
    old, new = values
    if isinstance(old, _Duplicates) and isinstance(new, _Duplicates):
        changed[element] = {}
    elif isinstance(new, _Duplicates):
        changed[element] = {}
        removed[element] = everything(shape, old)
    else:
        changed[element] = everything(shape, new)
        removed[element] = {}
