"""Printed columns of the workloads. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import (
    AGE,
    CONTAINERS,
    IMAGES,
    NAME,
    NONE,
    SELECTOR,
    age,
    container_cells,
    format_label_selector,
    format_labels,
)
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import controller_of, name
from tiphys.machinery.selectors import SelectorError, label_selector_from_dict

_READY = Column("Ready", description="Number of ready pods, of those that there should be.")
_DESIRED = Column("Desired", type="integer", description="Number of pods that there should be.")
_CURRENT = Column("Current", type="integer", description="Number of pods that there are.")
_READY_COUNT = Column("Ready", type="integer", description="Number of pods that are ready.")


def _deployment_cells(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name(obj),
        _ready_of(spec, status),
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        age(obj, now),
        *container_cells(spec.get("template")),
        _selector(spec.get("selector")),
    ]


def _selector(selector: Object | None) -> str:
    try:
        return str(label_selector_from_dict(selector))
    except SelectorError:
        return "<invalid>"


def _ready_of(spec: Object, status: Object) -> str:
    return f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}"


DEPLOYMENT = Table(
    (
        NAME,
        _READY,
        Column("Up-to-date", description="Number of pods that are made from the current template."),
        Column("Available", description="Number of pods that have been ready for long enough."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    _deployment_cells,
)


def _replica_set_cells(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name(obj),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age(obj, now),
        *container_cells(spec.get("template")),
        format_label_selector(spec.get("selector")),
    ]


REPLICA_SET = Table(
    (NAME, _DESIRED, _CURRENT, _READY_COUNT, AGE, CONTAINERS, IMAGES, SELECTOR), _replica_set_cells
)


def _stateful_set_cells(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [name(obj), _ready_of(spec, status), age(obj, now), *container_cells(spec.get("template"))]


STATEFUL_SET = Table((NAME, _READY, AGE, CONTAINERS, IMAGES), _stateful_set_cells)


def _daemon_set_cells(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    template = spec.get("template") or {}
    return [
        name(obj),
        status.get("desiredNumberScheduled") or 0,
        status.get("currentNumberScheduled") or 0,
        status.get("numberReady") or 0,
        status.get("updatedNumberScheduled") or 0,
        status.get("numberAvailable") or 0,
        format_labels((template.get("spec") or {}).get("nodeSelector")),
        age(obj, now),
        *container_cells(template),
        format_label_selector(spec.get("selector")),
    ]


DAEMON_SET = Table(
    (
        NAME,
        Column("Desired", type="integer", description="Number of nodes that should run the pod."),
        Column("Current", type="integer", description="Number of nodes that run the pod and should."),
        _READY_COUNT,
        Column("Up-to-date", type="integer", description="Number of nodes that run the current template."),
        Column("Available", type="integer", description="Number of nodes whose pod is available."),
        Column("Node Selector", description="Labels of the nodes that should run the pod."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    _daemon_set_cells,
)


def _controller_revision_cells(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), _controller(obj), obj.get("revision") or 0, age(obj, now)]


def _controller(obj: Object) -> str:
    """`statefulset.apps/web`"""
    owner = controller_of(obj)
    if owner is None:
        return NONE
    group, slash, _ = owner.get("apiVersion", "").partition("/")
    kind = f"{owner.get('kind', '')}.{group}" if slash else owner.get("kind", "")
    return f"{kind.lower()}/{owner.get('name', '')}"


CONTROLLER_REVISION = Table(
    (
        NAME,
        Column("Controller", description="Owner of the revision."),
        Column("Revision", description="Number of the revision."),
        AGE,
    ),
    _controller_revision_cells,
)
