"""Defaults of the workloads, as upstream has them (`pkg/apis/apps/v1/defaults.go`)."""

from __future__ import annotations

from typing import Any

from tiphys.api.core.defaults.pods import pod_template
from tiphys.api.core.defaults.volumes import persistent_volume_claim
from tiphys.api.resource import Object

REVISION_HISTORY_LIMIT = 10
PROGRESS_DEADLINE_SECONDS = 600


def deployment(obj: Object) -> None:
    spec = _workload(obj)
    _missing(spec, "replicas", 1)
    strategy = spec.setdefault("strategy", {})
    _rolling_update(strategy, maxUnavailable="25%", maxSurge="25%")
    _missing(spec, "revisionHistoryLimit", REVISION_HISTORY_LIMIT)
    _missing(spec, "progressDeadlineSeconds", PROGRESS_DEADLINE_SECONDS)
    obj.setdefault("status", {})


def replica_set(obj: Object) -> None:
    spec = _workload(obj)
    _missing(spec, "replicas", 1)
    obj.setdefault("status", {}).setdefault("replicas", 0)


def daemon_set(obj: Object) -> None:
    spec = _workload(obj)
    _rolling_update(spec.setdefault("updateStrategy", {}), maxUnavailable=1, maxSurge=0)
    _missing(spec, "revisionHistoryLimit", REVISION_HISTORY_LIMIT)
    status = obj.setdefault("status", {})
    for count in ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"):
        status.setdefault(count, 0)


def stateful_set(obj: Object) -> None:
    spec = _workload(obj)
    if not spec.get("podManagementPolicy"):
        spec["podManagementPolicy"] = "OrderedReady"
    _stateful_set_strategy(spec.setdefault("updateStrategy", {}))
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    for event in ("whenDeleted", "whenScaled"):
        if not retention.get(event):
            retention[event] = "Retain"
    _missing(spec, "replicas", 1)
    _missing(spec, "revisionHistoryLimit", REVISION_HISTORY_LIMIT)
    spec.setdefault("serviceName", "")
    for claim in spec.get("volumeClaimTemplates") or ():
        _claim_template(claim)
    status = obj.setdefault("status", {})
    status.setdefault("replicas", 0)
    status.setdefault("availableReplicas", 0)


def controller_revision(obj: Object) -> None:
    obj.setdefault("revision", 0)


def _workload(obj: Object) -> Object:
    spec: Object = obj.setdefault("spec", {})
    template = spec.get("template")
    if template is None:
        template = spec["template"] = {}
    pod_template(template)
    return spec


def _missing(spec: Object, field: str, value: Any) -> None:
    if spec.get(field) is None:
        spec[field] = value


def _rolling_update(strategy: Object, **limits: int | str) -> None:
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] != "RollingUpdate":
        return
    rolling_update = strategy.get("rollingUpdate")
    if rolling_update is None:
        rolling_update = strategy["rollingUpdate"] = {}
    for field, value in limits.items():
        _missing(rolling_update, field, value)


def _stateful_set_strategy(strategy: Object) -> None:
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    # With a type but no rollingUpdate nothing is added: upstream's rule since apps/v1beta2.
    rolling_update = strategy.get("rollingUpdate")
    if strategy["type"] == "RollingUpdate" and rolling_update is not None:
        _missing(rolling_update, "partition", 0)


def stateful_set_with_max_unavailable(obj: Object) -> None:
    """When the gate MaxUnavailableStatefulSet is on."""
    stateful_set(obj)
    rolling_update = obj["spec"]["updateStrategy"].get("rollingUpdate")
    if obj["spec"]["updateStrategy"]["type"] == "RollingUpdate" and rolling_update is not None:
        _missing(rolling_update, "maxUnavailable", 1)


def _claim_template(claim: Object) -> None:
    # A claim inside another object would lose its kind in Go; upstream writes it for clients that look for it.
    claim["apiVersion"] = "v1"
    claim["kind"] = "PersistentVolumeClaim"
    claim.setdefault("metadata", {})
    persistent_volume_claim(claim)
