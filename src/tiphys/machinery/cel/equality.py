"""Equality of values: by value across numeric types, false (no error) across other types.

NaN equals nothing, not even in a list; a bool is no number, although Python thinks so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.machinery.cel.measures import Walk
from tiphys.machinery.cel.types import LIST, MAP, OBJECT, Type

Equal = Callable[[Any, Any], bool]

_PLAIN = frozenset({str, bytes, bool, type(None)})


def equals(left: Any, right: Any) -> bool:
    left_class, right_class = left.__class__, right.__class__
    if left_class in _PLAIN:
        return left_class is right_class and left == right
    if right_class in _PLAIN:
        return False
    if left_class in (list, tuple, dict):
        return _equal_containers(left, right, Walk())
    return bool(left == right)


def _equals(left: Any, right: Any, walk: Walk) -> bool:
    if left.__class__ in (list, tuple, dict):
        return _equal_containers(left, right, walk)
    return equals(left, right)


def _equal_containers(left: Any, right: Any, walk: Walk) -> bool:
    if isinstance(left, dict):
        return isinstance(right, dict) and _equal_maps(left, right, walk)
    if not isinstance(right, list | tuple) or len(left) != len(right):
        return False
    walk.step(len(left))
    return all(_equals(one, other, walk) for one, other in zip(left, right, strict=True))


def _equal_maps(left: dict[Any, Any], right: dict[Any, Any], walk: Walk) -> bool:
    if len(left) != len(right):
        return False
    walk.step(len(left))
    return all(key in right and _equals(value, right[key], walk) for key, value in left.items())


def contains(needle: Any, haystack: Any) -> bool:
    """`needle in haystack`: an element of a list, a key of a map."""
    if isinstance(haystack, dict):
        return has_key(haystack, needle)
    if needle.__class__ is str:
        # Python's `in` compares a string with anything correctly, and fast.
        return needle in haystack
    return any(equals(needle, element) for element in haystack)


def has_key(entries: dict[Any, Any], key: Any) -> bool:
    if key.__class__ is str:
        return key in entries
    return bool(find_key(entries, key))


def find_key(entries: dict[Any, Any], key: Any) -> tuple[Any] | None:
    """The key as the map has it (1-tuple): `1`, `1u` and `1.0` are one, `1` and `true` are two."""
    try:
        if key not in entries:
            return None
    except TypeError:
        return None
    if key == 0 or key == 1:
        truth = key.__class__ is bool
        return next(
            ((other,) for other in entries if (other.__class__ is bool) == truth and equals(other, key)), None
        )
    return (key,)


# Lists that are sets or maps (x-kubernetes-list-type) are equal in any order.


def needs_order_of_schema(this: Type) -> bool:
    """Whether the equality of values of this type depends on list types."""
    if this.kind == LIST and this.list_type != "atomic":
        return True
    if this.kind == OBJECT:
        return any(needs_order_of_schema(field.type) for field in this.fields.values())
    return this.kind in (LIST, MAP) and any(needs_order_of_schema(each) for each in this.parameters)


def equality_of(this: Type) -> Equal:
    """The equality of values of a type, which may have lists in it that are sets or maps."""
    if not needs_order_of_schema(this):
        return equals
    if this.kind == OBJECT:
        return _object_equality(this)
    if this.kind == MAP:
        value_equal = equality_of(this.parameters[1])
        return lambda left, right: (
            _same_keys(left, right) and all(value_equal(value, right[key]) for key, value in left.items())
        )
    return _list_equality(this)


def _object_equality(this: Type) -> Equal:
    special = {
        field.name: equality_of(field.type)
        for field in this.fields.values()
        if needs_order_of_schema(field.type)
    }

    def equal(left: Any, right: Any) -> bool:
        return _same_keys(left, right) and all(
            special.get(key, equals)(value, right[key]) for key, value in left.items()
        )

    return equal


def _same_keys(left: Any, right: Any) -> bool:
    return isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys()


def _list_equality(this: Type) -> Equal:
    element_equal = equality_of(this.parameters[0])
    if this.list_type == "atomic":
        return lambda left, right: (
            len(left) == len(right)
            and all(element_equal(one, other) for one, other in zip(left, right, strict=True))
        )
    identity = identity_of(this)

    def equal(left: Any, right: Any) -> bool:
        if len(left) != len(right):
            return False
        by_identity = {identity(element): element for element in right}
        return all(
            (key := identity(element)) in by_identity and element_equal(element, by_identity[key])
            for element in left
        )

    return equal


def identity_of(this: Type) -> Callable[[Any], Any]:
    """What tells an element of a set or of a list of type map from the others."""
    keys = this.list_keys
    if this.list_type == "map":
        return lambda element: tuple(freeze(element.get(key)) for key in keys)
    return freeze


def freeze(value: Any) -> Any:
    """Something to hash that is equal exactly when the values are."""
    if isinstance(value, dict):
        return "map", frozenset((key, freeze(element)) for key, element in value.items())
    if isinstance(value, list | tuple):
        return "list", tuple(map(freeze, value))
    return (value.__class__ is bool, value)
