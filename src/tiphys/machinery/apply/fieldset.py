"""Sets of field paths, in the form in which `metadata.managedFields` carries them (FieldsV1, KEP-555).

A set is the JSON object itself, so that reading one and writing one cost nothing:

    {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}}        metadata.labels and metadata.labels.app

A name in it is one element of a path:

    f:<name>        a field of an object, a key of a map
    k:<JSON object> the element of a list with these keys, sorted by name: k:{"containerPort":80,"protocol":"TCP"}
    v:<JSON value>  an element of a set
    i:<index>       the element at a place of a list (read, never made)

What stands below a name are the elements that follow. The path up to the name belongs to the set when `.` stands there
too, or nothing at all. Every set that these functions give is in upstream's order (`.`, f by name, k, v, i) and without
empty branches. Sets share their branches, with each other and with the objects they are in: never change one in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import orjson

from tiphys.machinery.quoting import format_float, quote

FieldSet: TypeAlias = "dict[str, FieldSet]"
FieldPath = tuple[str, ...]
"""The elements from the root on: ("f:spec", "f:replicas")."""

MEMBER = "."
_KINDS = ("f:", "k:", "v:", "i:")


class FieldSetError(ValueError):
    """What a client sent as `fieldsV1` is none."""


# Elements


def field_element(name: str) -> str:
    return f"f:{name}"


def key_element(keys: dict[str, Any]) -> str:
    """The element of a list by what its keys say."""
    return f"k:{_json({name: _number(value) for name, value in keys.items()})}"


@lru_cache(maxsize=8192)  # the same keys come again and again: names of containers, numbers of ports
def plain_key_element(names: tuple[str, ...], values: tuple[str | int, ...]) -> str:
    """`key_element` of keys whose values are strings and integers, no booleans (True would be found as 1)."""
    return key_element(dict(zip(names, values, strict=True)))


def value_element(value: Any) -> str:
    return f"v:{_json(_number(value))}"


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _number(value: Any) -> Any:
    """2.0 and 2 are one number, and Go writes it as 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def element_text(element: str) -> str:
    """An element inside an error message: `.spec`, `[name="web"]`, `[="a"]`, `[0]`."""
    kind, rest = element[:2], element[2:]
    if kind == "f:":
        return f".{rest}"
    if kind == "i:":
        return f"[{rest}]"
    value = orjson.loads(rest)
    if kind == "v:":
        return f"[={value_text(value)}]"
    return f"[{','.join(f'{name}={value_text(value[name])}' for name in value)}]"


def value_text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, list):
        return f"[{','.join(map(value_text, value))}]"
    if isinstance(value, dict):
        return "".join(f"{name}={value_text(item)}" for name, item in sorted(value.items()))
    return str(value)


def path_text(path: FieldPath) -> str:
    """A path as people read it: `.spec.containers[name="web"].image`."""
    return "".join(map(element_text, path))


# Reading


def parse(raw: Any) -> FieldSet:
    """A client's `fieldsV1` in canonical form; elements of kinds that nobody knows are left out. FieldSetError: no set."""
    if not isinstance(raw, dict):
        raise FieldSetError("fieldsV1 must be an object")
    found: FieldSet = {}
    for element, below in raw.items():
        if element == MEMBER or element[:2] not in _KINDS:
            if element != MEMBER and ":" not in element:
                raise FieldSetError(f"missing colon: {element}")
            continue
        branch = parse(below)
        if branch and MEMBER in below:
            branch = {MEMBER: {}, **branch}
        found[_canonical(element)] = branch
    return ordered(found)


def _canonical(element: str) -> str:
    kind, rest = element[:2], element[2:]
    if kind == "f:":
        return element
    try:
        value = orjson.loads(rest)
    except orjson.JSONDecodeError:
        raise FieldSetError(f"parsing value as json: {rest}") from None
    if kind == "v:":
        return value_element(value)
    if kind == "i:":
        if not isinstance(value, int) or isinstance(value, bool):
            raise FieldSetError(f"parsing value as index: {rest}")
        return element
    if not isinstance(value, dict):
        raise FieldSetError(f"parsing value as keys: {rest}")
    return key_element(value)


# Order


def ordered(level: FieldSet) -> FieldSet:
    """One level (not what is below it) in upstream's order."""
    if len(level) < 2:
        return level
    names = tuple(level)
    wanted = _in_order(names)
    return level if wanted is names or wanted == names else {name: level[name] for name in wanted}


@lru_cache(maxsize=4096)  # the same fields are there again and again
def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    wanted = sorted(names)
    if wanted[-1] >= "g":  # not only `.` and `f:`, whose order is that of their text
        wanted = sorted(names, key=_order)
    return tuple(wanted)


@lru_cache(maxsize=8192)
def _order(element: str) -> tuple[Any, ...]:
    kind, rest = element[:2], element[2:]
    if element == MEMBER:
        return (-1,)
    if kind == "f:":
        return (0, rest)
    value = orjson.loads(rest)
    if kind == "k:":
        return (1, [(name, _value_order(item)) for name, item in value.items()])
    return (2, _value_order(value)) if kind == "v:" else (3, value)


def _value_order(value: Any) -> tuple[int, Any]:
    """Numbers, strings, booleans, whatever else."""
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, int | float):
        return (0, value)
    return (1, value) if isinstance(value, str) else (3, _json(value))


# Asking


def is_member(branch: FieldSet) -> bool:
    """Whether the path to this branch is in the set itself."""
    return not branch or MEMBER in branch


def has(fields: FieldSet, path: Sequence[str]) -> bool:
    branch: FieldSet | None = fields
    for element in path:
        branch = branch.get(element) if branch else None
        if branch is None:
            return False
    return bool(path) and branch is not None and is_member(branch)


def contains(fields: FieldSet, part: FieldSet) -> bool:
    """Whether every path of `part` is in `fields`."""
    for element, branch in part.items():
        if element == MEMBER:
            continue
        mine = fields.get(element)
        if mine is None:
            return False
        if mine is branch or not (mine or branch):
            continue
        if (is_member(branch) and not is_member(mine)) or not contains(mine, branch):
            return False
    return True


def paths(fields: FieldSet, prefix: FieldPath = ()) -> Iterator[FieldPath]:
    """All paths: level by level, first those that end here, then what is below, as upstream lists them."""
    for element, branch in fields.items():
        if element != MEMBER and is_member(branch):
            yield (*prefix, element)
    for element, branch in fields.items():
        if branch:
            yield from paths(branch, (*prefix, element))


def from_paths(wanted: Sequence[FieldPath]) -> FieldSet:
    fields: FieldSet = {}
    for path in wanted:
        branch: FieldSet = {}
        for element in reversed(path):
            branch = {element: branch}
        fields = union(fields, branch)
    return fields


def leaves(fields: FieldSet) -> FieldSet:
    """The paths below which the set has no other."""
    return {element: leaves(branch) for element, branch in fields.items() if element != MEMBER}


_SAME_LIMIT = 512
_same: dict[tuple[int, int], tuple[FieldSet, FieldSet]] = {}
"""Branches that were compared and found equal, by their ids, which are theirs as long as they are kept here."""


def same(one: FieldSet, other: FieldSet) -> bool:
    """Equality, of which the large branches are remembered: one and the same applier's come again with every object."""
    if one is other:
        return True
    if len(one) != len(other):
        return False
    for element, mine in one.items():
        theirs = other.get(element)
        if mine is theirs or (id(mine), id(theirs)) in _same:
            continue
        if theirs is None or mine != theirs:
            return False
        if len(_same) >= _SAME_LIMIT:
            _same.clear()
        _same[id(mine), id(theirs)] = (mine, theirs)
    return True


# Combining


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """Both; `one` itself when it has everything."""
    if not one or one is other:
        return other
    result: FieldSet | None = None
    grown = False
    for element, branch in other.items():
        if element == MEMBER:
            continue
        mine = one.get(element)
        if mine is None:
            both, grown = branch, True
        else:
            both = _union_branch(mine, branch)
            if both is mine:
                continue
        if result is None:
            result = dict(one)
        result[element] = both
    if result is None:
        return one
    return ordered(result) if grown else result


def _union_branch(mine: FieldSet, theirs: FieldSet) -> FieldSet:
    if mine is theirs or not (mine or theirs):
        return mine
    if not mine:
        return theirs if MEMBER in theirs else {MEMBER: {}, **theirs}
    if not theirs:
        return mine if MEMBER in mine else {MEMBER: {}, **mine}
    both = union(mine, theirs)
    return {MEMBER: {}, **both} if MEMBER in theirs and MEMBER not in both else both


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """The paths of `one` that are not in `other`, path by path: without `a`, `a.b` stays. `one` itself when all stay."""
    result: FieldSet | None = None
    for element in one.keys() & other.keys():
        if element == MEMBER:
            continue
        mine = one[element]
        rest = _difference_branch(mine, other[element])
        if rest is mine:
            continue
        if result is None:
            result = dict(one)
        if rest is None:
            del result[element]
        else:
            result[element] = rest
    return one if result is None else result


def _difference_branch(mine: FieldSet, theirs: FieldSet) -> FieldSet | None:
    """None: nothing is left."""
    gone = is_member(theirs)
    if not mine:
        return None if gone else mine
    rest = difference(mine, theirs)
    if gone and MEMBER in rest:
        rest = {element: branch for element, branch in rest.items() if element != MEMBER}
        return rest or None
    if len(rest) == 1 and MEMBER in rest:
        return {}
    return rest or None


def recursive_difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """The paths of `one` that are neither in `other` nor below one that is. `one` itself when all stay."""
    result: FieldSet | None = None
    for element in one.keys() & other.keys():
        if element == MEMBER:
            continue
        mine, theirs = one[element], other[element]
        rest: FieldSet | None = None
        if not is_member(theirs):
            rest = recursive_difference(mine, theirs)
            if rest is mine:
                continue
            if len(rest) == 1 and MEMBER in rest:
                rest = {}
            elif not rest:
                rest = None
        if result is None:
            result = dict(one)
        if rest is None:
            del result[element]
        else:
            result[element] = rest
    return one if result is None else result


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """The paths that are in both."""
    result: FieldSet = {}
    for element, mine in one.items():
        theirs = other.get(element)
        if theirs is None or element == MEMBER:
            continue
        both = is_member(mine) and (mine is theirs or is_member(theirs))
        below = intersection(mine, theirs) if mine and theirs else {}
        if below:
            result[element] = {MEMBER: {}, **below} if both else below
        elif both:
            result[element] = {}
    return result
