"""Whether an applied object fits its schema. The messages are upstream's (its merge library, `typed`), people search for them."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.apply.fieldset import element_text
from tiphys.machinery.apply.shapes import (
    DEDUCED,
    Atomic,
    Form,
    Granular,
    KeyedList,
    Shape,
    ValueSet,
    plain_type,
)
from tiphys.machinery.quoting import format_float, go_print, quote


def validate(shape: Shape, value: Any) -> list[str]:
    """What is wrong with an applied object, as `.spec.replicas: expected numeric (int or float), got …`."""
    found: list[str] = []
    _check(shape, value, (), found)
    return found


def fits(shape: Shape, value: Any) -> bool:
    """Whether nothing is wrong, without saying what."""
    if isinstance(shape, Atomic) and shape.form is Form.ANY:
        return True
    found: list[str] = []
    _check(shape, value, (), found)
    return not found


def joined(found: list[str]) -> str:
    """Several errors as one text."""
    return found[0] if len(found) == 1 else "\n  ".join(["errors:", *found])


_Path = tuple[str, ...]


def _complain(found: list[str], path: _Path, message: str) -> None:
    where = "".join(map(element_text, path))
    found.append(f"{where}: {message}" if where else message)


def _check(shape: Shape, value: Any, path: _Path, found: list[str]) -> None:
    if value is None or shape is DEDUCED:
        return
    if isinstance(shape, Granular):
        _check_map(shape, value, path, found)
    elif isinstance(shape, KeyedList | ValueSet):
        _check_list(shape, value, path, found)
    elif isinstance(shape, Atomic):
        _check_atomic(shape, value, path, found)


def _check_map(shape: Granular, value: Any, path: _Path, found: list[str]) -> None:
    if not isinstance(value, dict):
        _complain(found, path, f"expected map, got &{{{go_print(value)}}}")
        return
    declared = shape.fields
    other = shape.item
    for name, item in value.items():
        known = declared.get(name)
        if known is None:
            if other is not None:
                _check(other, item, (*path, f"f:{name}"), found)
            elif shape.strict:
                _complain(found, (*path, f"f:{name}"), "field not declared in schema")
        elif item is not None:
            _check(known.shape, item, (*path, known.element), found)


def _check_list(shape: KeyedList | ValueSet, value: Any, path: _Path, found: list[str]) -> None:
    if not isinstance(value, list):
        _complain(found, path, f"expected list, got &{{{go_print(value)}}}")
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        try:
            element = shape.element_of(item)
        except ValueError as error:
            _complain(found, path, f"element {index}: {error}")
            continue
        if element in seen:
            _complain(found, path, f"duplicate entries for key {element_text(element)}")
        seen.add(element)
        _check(shape.item, item, (*path, element), found)


def _check_atomic(shape: Atomic, value: Any, path: _Path, found: list[str]) -> None:
    form = shape.form
    if form is Form.ANY:
        return
    if form is Form.STRING:
        if not isinstance(value, str):
            _complain(found, path, f"expected string, got {_go_syntax(value)}")
    elif form is Form.NUMERIC:
        if isinstance(value, bool) or not isinstance(value, int | float):
            _complain(found, path, f"expected numeric (int or float), got {_go_syntax(value)}")
    elif form is Form.BOOLEAN:
        if not isinstance(value, bool):
            _complain(found, path, f"expected boolean, got {_go_syntax(value)}")
    elif form is Form.LIST:
        _check_atomic_list(shape, value, path, found)
    else:
        _check(shape.inside() if shape.inside is not None else DEDUCED, value, path, found)


def _check_atomic_list(shape: Atomic, value: Any, path: _Path, found: list[str]) -> None:
    if not isinstance(value, list):
        _complain(found, path, f"expected list, got &{{{go_print(value)}}}")
    elif shape.inside is not None:
        inside = shape.inside()
        plain = plain_type(inside)
        if plain is not None and {plain}.issuperset(map(type, value)):
            return
        for index, item in enumerate(value):
            _check(inside, item, (*path, f"i:{index}"), found)


def _go_syntax(value: Any) -> str:
    """A value as Go's `%#v` prints the pointer that its merge library holds it by."""
    return f"&value.valueUnstructured{{Value:{_go_literal(value)}}}"


def _go_literal(value: Any) -> str:
    if value is None:
        return "interface {}(nil)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(map(_go_literal, value))}}}"
    if isinstance(value, dict):
        items = ", ".join(f"{quote(name)}:{_go_literal(item)}" for name, item in sorted(value.items()))
        return f"map[string]interface {{}}{{{items}}}"
    return str(value)
