"""Printed columns of the core kinds that need only a few: configuration, events, namespaces, quotas, controllers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from tiphys.api.columns import (
    AGE,
    CONTAINERS,
    IMAGES,
    NAME,
    SELECTOR,
    age,
    container_cells,
    format_labels,
    since,
)
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name


def _name_age_and(column: Column, cell: Callable[[Object], Any]) -> Table:
    """Name, one cell of its own, Age: what most small kinds print."""

    def cells(obj: Object, now: datetime) -> list[Any]:
        return [name(obj), cell(obj), age(obj, now)]

    return Table((NAME, column, AGE), cells)


def _count(*fields: str) -> Callable[[Object], int]:
    return lambda obj: sum(len(obj.get(field) or ()) for field in fields)


NAMESPACE = _name_age_and(
    Column("Status", description="Active, or Terminating while what is in it is deleted."),
    lambda obj: (obj.get("status") or {}).get("phase") or "",
)
CONFIG_MAP = _name_age_and(Column("Data", description="Number of entries."), _count("data", "binaryData"))
SERVICE_ACCOUNT = _name_age_and(
    Column("Secrets", description="Number of secrets that pods of the account may use."), _count("secrets")
)


def _secret_cells(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), obj.get("type") or "", len(obj.get("data") or ()), age(obj, now)]


SECRET = Table(
    (
        NAME,
        Column("Type", description="What the secret is for."),
        Column("Data", description="Number of entries."),
        AGE,
    ),
    _secret_cells,
)


def _event_cells(obj: Object, now: datetime) -> list[Any]:
    target = obj.get("involvedObject") or {}
    kind = (target.get("kind") or "").lower()
    series = obj.get("series")
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last, count = obj.get("lastTimestamp") or first, obj.get("count") or 1
    if series is not None:
        last, count = series.get("lastObservedTime"), series.get("count") or 0
    return [
        since(last, now),
        obj.get("type") or "",
        obj.get("reason") or "",
        f"{kind}/{target['name']}" if target.get("name") else kind,
        target.get("fieldPath") or "",
        _event_source(obj),
        (obj.get("message") or "").strip(),
        since(first, now),
        count,
        name(obj),
    ]


def _event_source(obj: Object) -> str:
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else component


EVENT = Table(
    (
        Column("Last Seen", description="Time since the event was last seen."),
        Column("Type", description="Normal or Warning."),
        Column("Reason", description="A short word for what happened."),
        Column("Object", description="What the event is about."),
        Column("Subobject", priority=1, description="Part of the object, such as one container."),
        Column("Source", priority=1, description="Who reports the event."),
        Column("Message", description="What happened, in words."),
        Column("First Seen", priority=1, description="Time since the event was first seen."),
        Column("Count", priority=1, description="How often the event was seen."),
        Column("Name", priority=1, format="name", description=NAME.description),
    ),
    _event_cells,
)


def _resource_quota_cells(obj: Object, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    used = status.get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for resource, hard in sorted((status.get("hard") or {}).items()):
        column = limits if resource.startswith("limits.") else requests
        column.append(f"{resource}: {used.get(resource, '0')}/{hard}")
    return [name(obj), ", ".join(requests), ", ".join(limits), age(obj, now)]


RESOURCE_QUOTA = Table(
    (
        NAME,
        Column("Request", description="What is used and allowed, but for limits."),
        Column("Limit", description="What is used and allowed of limits."),
        AGE,
    ),
    _resource_quota_cells,
)


def _replication_controller_cells(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name(obj),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age(obj, now),
        *container_cells(spec.get("template")),
        format_labels(spec.get("selector")),
    ]


REPLICATION_CONTROLLER = Table(
    (
        NAME,
        Column("Desired", type="integer", description="Number of pods that there should be."),
        Column("Current", type="integer", description="Number of pods that there are."),
        Column("Ready", type="integer", description="Number of pods that are ready."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    _replication_controller_cells,
)


def _component_status_cells(obj: Object, now: datetime) -> list[Any]:
    status, message, error = "Unknown", "", ""
    for condition in obj.get("conditions") or ():
        if condition.get("type") != "Healthy":
            continue
        status = {"True": "Healthy", "False": "Unhealthy"}.get(condition.get("status", ""), "Unknown")
        message, error = condition.get("message") or "", condition.get("error") or ""
        break
    return [name(obj), status, message, error]


COMPONENT_STATUS = Table(
    (
        NAME,
        Column("Status", description="Whether the component is healthy."),
        Column("Message", description="What the component says about itself."),
        Column("Error", description="What went wrong."),
    ),
    _component_status_cells,
)
