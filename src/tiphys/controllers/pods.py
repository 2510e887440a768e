"""Facts about pods that several controllers go by, and pods made from a template. The rules are upstream's `controller_utils.go`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tiphys.client.transport import Object
from tiphys.controllers.actions import NORMAL, WARNING, Note
from tiphys.machinery import meta

CREATED = Note(NORMAL, "SuccessfulCreate", "Created pod: {name}")
CREATE_FAILED = Note(WARNING, "FailedCreate", "Error creating: {error}")
DELETED = Note(NORMAL, "SuccessfulDelete", "Deleted pod: {name}")
DELETE_FAILED = Note(WARNING, "FailedDelete", "Error deleting: {error}")
"""What those who make pods say of it, but for StatefulSets."""

FINISHED = ("Succeeded", "Failed")


def spec_of(obj: Object) -> dict[str, Any]:
    return obj.get("spec") or {}


def status_of(obj: Object) -> dict[str, Any]:
    return obj.get("status") or {}


def is_finished(pod: Object) -> bool:
    """Its containers ended and will not be started again."""
    return status_of(pod).get("phase") in FINISHED


def is_active(pod: Object) -> bool:
    """It counts as a replica: neither finished nor being deleted."""
    return not is_finished(pod) and not meta.is_deleting(pod)


def is_terminating(pod: Object) -> bool:
    """It is being deleted and its containers may still run."""
    return not is_finished(pod) and meta.is_deleting(pod)


def is_ready(pod: Object) -> bool:
    return meta.is_condition_true(meta.conditions(pod), "Ready")


def ready_time(pod: Object) -> datetime | None:
    """Since when it is ready; None when it is not, or nobody wrote down since when."""
    condition = meta.find_condition(meta.conditions(pod), "Ready")
    if condition is None or condition.get("status") != "True" or not condition.get("lastTransitionTime"):
        return None
    return meta.parse_time(condition["lastTransitionTime"])


def available_at(pod: Object, min_ready_seconds: int) -> datetime | None:
    """From when it counts as available: ready for `min_ready_seconds` on end. None while it is not ready."""
    if not is_ready(pod):
        return None
    since = ready_time(pod)
    if since is None:
        return None if min_ready_seconds else datetime.min.replace(tzinfo=UTC)
    return since + timedelta(seconds=min_ready_seconds)


def is_available(pod: Object, min_ready_seconds: int, now: datetime) -> bool:
    moment = available_at(pod, min_ready_seconds)
    return moment is not None and (min_ready_seconds == 0 or moment <= now)


def restarts(pod: Object) -> int:
    """The most restarts of any of its containers, sidecars included."""
    statuses = (
        *(status_of(pod).get("containerStatuses") or ()),
        *(status_of(pod).get("initContainerStatuses") or ()),
    )
    return max((status.get("restartCount", 0) for status in statuses), default=0)


def pod_from_template(template: Mapping[str, Any], owner: Object) -> Object:
    """A pod to create, named by the server after its owner, which controls it."""
    given = template.get("metadata") or {}
    metadata: dict[str, Any] = {
        field: given[field] for field in ("labels", "annotations", "finalizers") if given.get(field)
    }
    metadata |= {
        "generateName": f"{meta.name(owner)}-",
        "namespace": meta.namespace(owner),
        "ownerReferences": [meta.controller_reference(owner)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
