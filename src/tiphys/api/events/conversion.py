"""Events of events.k8s.io are core events under other names: one object, kept as core/v1, seen through either group."""

from __future__ import annotations

from tiphys.api.resource import Conversion, FieldGetter, Object

NAME_IN_CORE = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
"""The field of events.k8s.io → the field of core; the others have one name."""
_NAME_HERE = {core: here for here, core in NAME_IN_CORE.items()}
# Core writes these also when they say nothing.
_ALWAYS_IN_CORE: Object = {
    "involvedObject": {},
    "source": {},
    "reportingComponent": "",
    "reportingInstance": "",
}


def to_core(event: Object) -> Object:
    renamed = {NAME_IN_CORE.get(field, field): value for field, value in event.items()}
    return {**_ALWAYS_IN_CORE, **renamed, "kind": "Event", "apiVersion": "v1"}


def from_core(event: Object) -> Object:
    renamed = {_NAME_HERE.get(field, field): value for field, value in event.items() if value != ""}
    return {**renamed, "kind": "Event", "apiVersion": "events.k8s.io/v1"}


def selectable_fields(core: dict[str, FieldGetter]) -> dict[str, FieldGetter]:
    """Core's selectable fields under the names they have here; selectors read the stored object, so the getters stay."""
    renamed: dict[str, FieldGetter] = {}
    for path, getter in core.items():
        first, dot, rest = path.partition(".")
        if first != "source":  # a field of core only
            renamed[_NAME_HERE.get(first, first) + dot + rest] = getter
    return renamed


EVENT = Conversion(to_stored=to_core, from_stored=from_core)
