"""Which objects of a list or a watch the client asked for: label and field selectors over records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tiphys.api.resource import Resource
from tiphys.apiserver.records import Record
from tiphys.machinery import errors
from tiphys.machinery.frozen import frozen
from tiphys.machinery.selectors import (
    FieldSelector,
    LabelSelector,
    SelectorError,
    parse_field_selector,
    parse_label_selector,
)


@frozen
class Selection:
    """`matches` is None when everything matches; `name` is set when at most one object can."""

    matches: Callable[[Record], bool] | None = None
    name: str = ""
    canonical: str = ""
    """Equal for equal selections: requests that share it can share work."""


EVERYTHING = Selection()


def read_selection(row: Resource, query: dict[str, list[str]], name: str = "") -> Selection:
    """The selection of a request; `name` narrows it to one object. Raises 400 for a selector that cannot be read."""
    labels = query.get("labelSelector", ("",))[0]
    fields = query.get("fieldSelector", ("",))[0]
    if not labels and not fields:
        return named(name) if name else EVERYTHING
    label_selector = _labels(labels)
    field_selector = _fields(row, fields)
    selection = _select(row, label_selector, field_selector)
    wanted = field_selector.exact("metadata.name") if field_selector else None
    selection = replace(selection, name=wanted or "", canonical=f"{label_selector}|{field_selector}")
    return selection if not name else _both(selection, name)


def named(name: str) -> Selection:
    return Selection(lambda record: record.name == name, name, f"|metadata.name={name}")


def _both(selection: Selection, name: str) -> Selection:
    inner = selection.matches
    assert inner is not None
    matches = lambda record: record.name == name and inner(record)  # noqa: E731
    return Selection(matches, name, f"{selection.canonical},metadata.name={name}")


def _labels(text: str) -> LabelSelector | None:
    if not text:
        return None
    try:
        return parse_label_selector(text)
    except SelectorError as error:
        raise errors.bad_request(str(error)) from None


def _fields(row: Resource, text: str) -> FieldSelector | None:
    if not text:
        return None
    try:
        selector = parse_field_selector(text)
    except SelectorError as error:
        raise errors.bad_request(str(error)) from None
    for path in (requirement.field for requirement in selector.requirements):
        if (
            path != "metadata.name"
            and not (path == "metadata.namespace" and row.namespaced)
            and path not in row.selectable_fields
        ):
            raise errors.bad_request(f"field label not supported: {path}")
    return selector


def _select(row: Resource, labels: LabelSelector | None, fields: FieldSelector | None) -> Selection:
    getters = row.selectable_fields

    def value(record: Record) -> Callable[[str], str]:
        def get(path: str) -> str:
            if path == "metadata.name":
                return record.name
            if path == "metadata.namespace":
                return record.namespace
            return getters[path](record.object)

        return get

    def matches(record: Record) -> bool:
        if labels is not None and not labels.matches(record.labels):
            return False
        return fields is None or fields.matches(value(record))

    return Selection(matches)
