"""What is wrong with a workload. Wording and places are upstream's (`pkg/apis/apps/validation`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tiphys.api.core.validation.objects import always_restarted, replica_counts
from tiphys.api.core.validation.pod_specs import pod_annotations, pod_template
from tiphys.api.resource import Object
from tiphys.api.validation import (
    NO_MATCH,
    Errors,
    annotation_map,
    at_most_100_percent,
    dns_label,
    immutable,
    int_or_percent,
    int_or_percent_value,
    label_map,
    label_selector,
    non_negative,
    not_decremented,
    one_of,
    template_labels,
)
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import metadata
from tiphys.machinery.selectors import SelectorError, label_selector_from_dict

_SPEC = Path("spec")
_STATUS = Path("status")
_TEMPLATE = _SPEC.child("template")
_ROLLING = "RollingUpdate"
_MORE_THAN_REPLICAS = "cannot be greater than status.replicas"
TemplateCheck = Callable[[Object, Path], Errors]


def _counts(holder: Mapping[str, Any], path: Path, *fields: str) -> Errors:
    errors: Errors = []
    for field in fields:
        errors += non_negative(holder.get(field), path.child(field))
    return errors


def _selected_template(spec: Object, kind: str, check: TemplateCheck) -> Errors:
    """A selector that is there, is not empty, and selects the pods that the template makes."""
    selector, template = spec.get("selector"), spec.get("template") or {}
    here = _SPEC.child("selector")
    if selector is None:
        errors: Errors = [FieldError.required(here)]
    else:
        errors = label_selector(selector, here)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            errors.append(FieldError.invalid(here, selector, f"empty selector is invalid for {kind}"))
    try:
        compiled = label_selector_from_dict(selector)
    except SelectorError:
        return [*errors, FieldError.invalid(here, selector, "invalid label selector")]
    labels = template_labels(template)
    if not compiled.selects_everything and not compiled.matches(labels):
        place = _TEMPLATE.child("metadata", "labels")
        errors.append(FieldError.invalid(place, dict(labels), NO_MATCH))
    return errors + check(template, _TEMPLATE)


# Deployments and ReplicaSets


def deployment(new: Object, old: Object | None) -> Errors:
    spec = new["spec"]
    errors = _counts(spec, _SPEC, "replicas")
    errors += _selected_template(spec, "deployment", pod_template)
    errors += always_restarted(spec.get("template") or {}, _TEMPLATE.child("spec"), "ReplicaSet")
    errors += _deployment_strategy(spec.get("strategy") or {}, _SPEC.child("strategy"))
    errors += _counts(spec, _SPEC, "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        here = _SPEC.child("progressDeadlineSeconds")
        errors.append(FieldError.invalid(here, deadline, "must be greater than minReadySeconds"))
    return errors + _same_selector(new, old)


def _same_selector(new: Object, old: Object | None) -> Errors:
    if old is None:
        return []
    return immutable(new["spec"].get("selector"), old["spec"].get("selector"), _SPEC.child("selector"))


def _deployment_strategy(strategy: Object, path: Path) -> Errors:
    rolling = strategy.get("rollingUpdate")
    here = path.child("rollingUpdate")
    match strategy.get("type"):
        case "Recreate":
            if rolling is None:
                return []
            return [FieldError.forbidden(here, "may not be specified when strategy `type` is 'Recreate'")]
        case "RollingUpdate":
            if rolling is None:
                return [FieldError.required(here, "this should be defaulted and never be nil")]
            return _rolling_deployment(rolling, here)
    return [FieldError.not_supported(path, strategy, ("Recreate", _ROLLING))]


def _rolling_deployment(rolling: Object, path: Path) -> Errors:
    unavailable, surge = rolling.get("maxUnavailable") or 0, rolling.get("maxSurge") or 0
    here = path.child("maxUnavailable")
    errors = int_or_percent(unavailable, here) + int_or_percent(surge, path.child("maxSurge"))
    if int_or_percent_value(unavailable) == 0 and int_or_percent_value(surge) == 0:
        errors.append(FieldError.invalid(here, unavailable, "may not be 0 when `maxSurge` is 0"))
    return errors + at_most_100_percent(unavailable, here)


def deployment_status(new: Object, old: Object | None) -> Errors:
    status = new.get("status") or {}
    replicas = ("updatedReplicas", "readyReplicas", "availableReplicas")
    errors = _counts(
        status, _STATUS, "observedGeneration", "replicas", *replicas, "unavailableReplicas", "collisionCount"
    )
    errors += _at_most_replicas(status, *replicas)
    errors += _available_are_ready(status, "readyReplicas")
    return errors + _collisions(new, old)


def _at_most_replicas(status: Object, *fields: str) -> Errors:
    total = status.get("replicas") or 0
    return [
        FieldError.invalid(_STATUS.child(field), status[field], _MORE_THAN_REPLICAS)
        for field in fields
        if (status.get(field) or 0) > total
    ]


def _available_are_ready(status: Object, limit: str) -> Errors:
    available = status.get("availableReplicas") or 0
    if available <= (status.get("readyReplicas") or 0):
        return []
    return [
        FieldError.invalid(_STATUS.child("availableReplicas"), available, f"cannot be greater than {limit}")
    ]


def _collisions(new: Object, old: Object | None) -> Errors:
    after, before = (((obj or {}).get("status") or {}).get("collisionCount") for obj in (new, old))
    return not_decremented(after, before, _STATUS.child("collisionCount"))


def replica_set(new: Object, old: Object | None) -> Errors:
    spec = new["spec"]
    errors = _counts(spec, _SPEC, "replicas", "minReadySeconds")
    errors += _selected_template(spec, "deployment", pod_template)  # the noun is upstream's
    errors += always_restarted(spec.get("template") or {}, _TEMPLATE.child("spec"), "ReplicaSet")
    return errors + _same_selector(new, old)


def replica_set_status(new: Object, old: Object | None) -> Errors:
    return replica_counts(new.get("status") or {}, _STATUS)


# DaemonSets


def daemon_set(new: Object, old: Object | None) -> Errors:
    spec = new["spec"]
    errors = _selected_template(spec, "daemonset", pod_template)
    errors += always_restarted(spec.get("template") or {}, _TEMPLATE.child("spec"), "DaemonSet")
    errors += _counts(spec, _SPEC, "minReadySeconds", "revisionHistoryLimit")
    errors += _daemon_set_strategy(spec.get("updateStrategy") or {}, _SPEC.child("updateStrategy"))
    return errors + _same_selector(new, old)


def _daemon_set_strategy(strategy: Object, path: Path) -> Errors:
    match strategy.get("type"):
        case "OnDelete":
            return []
        case "RollingUpdate":
            here = path.child("rollingUpdate")
            rolling = strategy.get("rollingUpdate")
            return [FieldError.required(here)] if rolling is None else _rolling_daemon_set(rolling, here)
    return [FieldError.not_supported(path, strategy, (_ROLLING, "OnDelete"))]


def _rolling_daemon_set(rolling: Object, path: Path) -> Errors:
    errors: Errors = []
    values = {field: rolling.get(field) or 0 for field in ("maxUnavailable", "maxSurge")}
    for field, value in values.items():
        errors += int_or_percent(value, path.child(field))
    for field, value in values.items():
        errors += at_most_100_percent(value, path.child(field))
    unavailable, surge = (int_or_percent_value(value) != 0 for value in values.values())
    if unavailable and surge:
        detail = "may not be set when maxUnavailable is non-zero"
        errors.append(FieldError.invalid(path.child("maxSurge"), values["maxSurge"], detail))
    if not unavailable and not surge:
        errors.append(FieldError.required(path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
    return errors


def daemon_set_status(new: Object, old: Object | None) -> Errors:
    errors = _counts(
        new.get("status") or {},
        _STATUS,
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    )
    return errors + _collisions(new, old)


# StatefulSets

_CHANGEABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_FIXED = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def stateful_set(new: Object, old: Object | None) -> Errors:
    spec = new["spec"]
    errors = _pod_management(spec)
    if old is None and spec.get("serviceName"):
        errors += dns_label(spec["serviceName"], _SPEC.child("serviceName"))
    errors += _stateful_set_strategy(spec.get("updateStrategy") or {}, _SPEC.child("updateStrategy"))
    retention, here = (
        spec.get("persistentVolumeClaimRetentionPolicy"),
        _SPEC.child("persistentVolumeClaimRetentionPolicy"),
    )
    for event in ("whenDeleted", "whenScaled") if retention is not None else ():
        errors += one_of(retention.get(event), ("Retain", "Delete"), here.child(event))
    errors += _counts(spec, _SPEC, "replicas", "minReadySeconds", "revisionHistoryLimit")
    errors += non_negative((spec.get("ordinals") or {}).get("start"), _SPEC.child("ordinals.start"))
    errors += _selected_template(spec, "statefulset", _stateful_set_template)
    errors += always_restarted(spec.get("template") or {}, _TEMPLATE.child("spec"), "StatefulSet")
    if old is not None and _fixed_part(spec) != _fixed_part(old["spec"]):
        errors.append(FieldError.forbidden(_SPEC, _FIXED))
    return errors


def _fixed_part(spec: Object) -> Object:
    return {field: value for field, value in spec.items() if field not in _CHANGEABLE}


def _stateful_set_template(template: Object, path: Path) -> Errors:
    """Not the pod's spec: its mounts may refer to claims that are made later."""
    values = metadata(template)
    errors = label_map(values.get("labels"), path.child("labels"))
    errors += annotation_map(values.get("annotations"), path.child("annotations"))
    return errors + pod_annotations(template, path.child("annotations"))


def _pod_management(spec: Object) -> Errors:
    policy, here = spec.get("podManagementPolicy"), _SPEC.child("podManagementPolicy")
    if not policy:
        return [FieldError.required(here)]
    if policy in ("OrderedReady", "Parallel"):
        return []
    return [FieldError.invalid(here, policy, "must be 'OrderedReady' or 'Parallel'")]


def _stateful_set_strategy(strategy: Object, path: Path) -> Errors:
    rolling, here = strategy.get("rollingUpdate"), path.child("rollingUpdate")
    match strategy.get("type"):
        case None | "":
            return [FieldError.required(path)]
        case "OnDelete":
            if rolling is None:
                return []
            return [FieldError.invalid(here, rolling, "only allowed for updateStrategy 'RollingUpdate'")]
        case "RollingUpdate":
            return [] if rolling is None else _rolling_stateful_set(rolling, here)
    return [FieldError.invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")]


def _rolling_stateful_set(rolling: Object, path: Path) -> Errors:
    errors = _counts(rolling, path, "partition")
    unavailable, here = rolling.get("maxUnavailable"), path.child("maxUnavailable")
    if unavailable is None:
        return errors
    errors += int_or_percent(unavailable, here)
    if int_or_percent_value(unavailable) == 0:
        errors.append(FieldError.invalid(here, unavailable, "cannot be 0"))
    return errors + at_most_100_percent(unavailable, here)


def stateful_set_status(new: Object, old: Object | None) -> Errors:
    status = new.get("status") or {}
    replicas = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    errors = _counts(status, _STATUS, "replicas", *replicas, "observedGeneration", "collisionCount")
    errors += _at_most_replicas(status, *replicas)
    errors += _available_are_ready(status, "status.readyReplicas")
    return errors + _collisions(new, old)


# ControllerRevisions


def controller_revision(new: Object, old: Object | None) -> Errors:
    errors: Errors = []
    if new.get("data") is None:
        errors.append(FieldError.required(Path("data"), "data is mandatory"))
    errors += _counts(new, Path(), "revision")
    return errors if old is None else errors + immutable(new.get("data"), old.get("data"), Path("data"))
