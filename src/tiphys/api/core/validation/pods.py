"""Pods: all of a new one; of an existing one, the little that may change, and through which path."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.api.core.pod_resources import qos_class
from tiphys.api.core.validation.containers import image_without_padding
from tiphys.api.core.validation.pod_specs import MIRROR_ANNOTATION, pod_annotations, pod_spec, pod_template
from tiphys.api.core.validation.scheduling import tolerations
from tiphys.api.resource import Object
from tiphys.api.validation import (
    Errors,
    difference,
    dns_subdomain,
    immutable,
    in_range,
    ip_address,
    qualified_name,
)
from tiphys.machinery.addresses import parse_address
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import annotations as annotations_of
from tiphys.machinery.meta import name

_SPEC = Path("spec")
_ANNOTATIONS = Path("metadata", "annotations")
_APP_ARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/"
_MAX_INT32 = 2**31 - 1
_UPDATABLE = (
    "`spec.containers[*].image`,"
    "`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def pod(new: Object, old: Object | None) -> Errors:
    return _create(new) if old is None else _update(new, old)


def _create(pod: Object) -> Errors:
    spec = pod["spec"]
    errors = _metadata_and_spec(pod)
    if spec.get("ephemeralContainers"):
        errors.append(FieldError.forbidden(_SPEC.child("ephemeralContainers"), "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        detail = "cannot be set until all schedulingGates have been cleared"
        errors.append(FieldError.forbidden(_SPEC.child("nodeName"), detail))
    return errors


def _metadata_and_spec(pod: Object) -> Errors:
    spec = pod["spec"]
    errors = pod_annotations(pod, _ANNOTATIONS)
    errors += pod_spec(spec, name(pod), _SPEC)
    if not spec.get("serviceAccountName"):
        errors += _tokens_without_account(spec)
    for field in ("containers", "initContainers"):
        for position, container in enumerate(spec.get(field) or ()):
            image = container.get("image") or ""
            if image != image.strip():
                errors += image_without_padding(container, _SPEC.child(field).index(position))
    return errors


def _tokens_without_account(spec: Object) -> Errors:
    return [
        FieldError.forbidden(
            _SPEC.child("volumes")
            .index(position)
            .child("projected", "sources")
            .index(number)
            .child("serviceAccountToken"),
            "must not be specified when serviceAccountName is not set",
        )
        for position, volume in enumerate(spec.get("volumes") or ())
        for number, source in enumerate((volume.get("projected") or {}).get("sources") or ())
        if source.get("serviceAccountToken") is not None
    ]


# Update


def _update(new: Object, old: Object) -> Errors:
    if new["spec"] == old["spec"]:  # it was checked when it came
        if annotations_of(new) == annotations_of(old):
            return []  # labels, finalizers: nothing of it is checked here
        errors = pod_annotations(new, _ANNOTATIONS)
        return errors + _annotation_changes(annotations_of(new), annotations_of(old))
    errors = _metadata_and_spec(new)
    errors += _annotation_changes(annotations_of(new), annotations_of(old))
    after, before = new["spec"], old["spec"]
    for field in ("containers", "initContainers"):
        if len(after.get(field) or ()) != len(before.get(field) or ()):
            detail = "pod updates may not add or remove containers"
            return [*errors, FieldError.forbidden(_SPEC.child(field), detail)]
    stop, faults = _active_deadline(after, before)
    errors += faults
    if stop:
        return errors
    errors += _only_added_tolerations(after.get("tolerations") or (), before.get("tolerations") or ())
    errors += _only_removed_gates(after.get("schedulingGates") or (), before.get("schedulingGates") or ())
    if after == before:
        return errors
    munged = _without_allowed_changes(after, before)
    if before.get("schedulingGates"):
        errors += _gated_changes(munged, before)
    if munged != before:
        detail = f"pod updates may not change fields other than {_UPDATABLE}\n{difference(before, munged)}"
        errors.append(FieldError.forbidden(_SPEC, detail))
    return errors


def _annotation_changes(new: Mapping[str, str], old: Mapping[str, str]) -> Errors:
    errors: Errors = []
    for key in sorted({key for key, _ in new.items() ^ old.items()}):
        verb = "remove or update" if key in old else "add"
        if key.startswith(_APP_ARMOR_PREFIX):
            errors.append(FieldError.forbidden(_ANNOTATIONS.key(key), f"may not {verb} AppArmor annotations"))
        if key == MIRROR_ANNOTATION:
            errors.append(
                FieldError.forbidden(_ANNOTATIONS.key(key), f"may not {verb} mirror pod annotation")
            )
    return errors


def _active_deadline(new: Object, old: Object) -> tuple[bool, Errors]:
    """It may be set, and shortened. (Is all further checking pointless?, what is wrong)"""
    after, before = new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")
    here = _SPEC.child("activeDeadlineSeconds")
    if after is None:
        if before is None:
            return False, []
        return False, [FieldError.invalid(here, None, "must not update from a positive integer to nil value")]
    errors = in_range(after, 0, _MAX_INT32, here)
    if not errors and before is not None and before < after:
        errors = [FieldError.invalid(here, after, "must be less than or equal to previous value")]
    return bool(errors), errors


def _only_added_tolerations(new: Iterable[Object], old: Iterable[Object]) -> Errors:
    here = _SPEC.child("tolerations")
    kept = [_without_seconds(each) for each in new]
    if any(_without_seconds(each) not in kept for each in old):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        return [FieldError.forbidden(here, detail)]
    return tolerations(new, here)


def _without_seconds(toleration: Object) -> Object:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _only_removed_gates(new: Iterable[Object], old: Iterable[Object]) -> Errors:
    known = {each.get("name") for each in old}
    return [
        FieldError.forbidden(
            _SPEC.child("schedulingGates").index(position).child("name"),
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'",
        )
        for position, gate in enumerate(new)
        if gate.get("name") not in known
    ]


_MUTABLE = ("activeDeadlineSeconds", "schedulingGates", "tolerations")


def _without_allowed_changes(new: Object, old: Object) -> Object:
    """The new spec with everything that may change put back to what it was."""
    munged = dict(new)
    for field in ("containers", "initContainers"):
        if new.get(field):
            munged[field] = [
                _put_back(each, before, "image") for each, before in zip(new[field], old[field], strict=True)
            ]
    munged = _put_back(munged, old, *_MUTABLE)
    grace = old.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and new.get("terminationGracePeriodSeconds") == 1:
        munged["terminationGracePeriodSeconds"] = grace
    return munged


def _put_back(new: Object, old: Object, *fields: str) -> Object:
    result = dict(new)
    for field in fields:
        if field in old:
            result[field] = old[field]
        else:
            result.pop(field, None)
    return result


def _gated_changes(munged: Object, old: Object) -> Errors:
    """A pod that waits at a gate may still be narrowed to fewer nodes (KEP-3838). Changes `munged`."""
    errors: Errors = []
    after, before = munged.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if after != before:
        if any(after.get(key) != value for key, value in before.items()):
            detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            errors.append(FieldError.invalid(_SPEC.child("nodeSelector"), after, detail))
        munged.update(_put_back(munged, old, "nodeSelector"))
        if "nodeSelector" not in old:
            munged.pop("nodeSelector", None)
    old_affinity, new_affinity = old.get("affinity") or {}, munged.get("affinity") or {}
    old_rules, new_rules = old_affinity.get("nodeAffinity"), new_affinity.get("nodeAffinity")
    if old_rules != new_rules:
        errors += _node_affinity_narrowed(new_rules or {}, old_rules or {})
        restored = _put_back(new_affinity, old_affinity, "nodeAffinity")
        if restored or "affinity" in old:
            munged["affinity"] = restored
        else:
            munged.pop("affinity", None)
    return errors


def _node_affinity_narrowed(new: Object, old: Object) -> Errors:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    before = (old.get(required) or {}).get("nodeSelectorTerms") or []
    after = (new.get(required) or {}).get("nodeSelectorTerms") or []
    here = _SPEC.child("affinity", "nodeAffinity", required, "nodeSelectorTerms")
    if before and len(before) != len(after):
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [FieldError.invalid(here, after, detail)]
    return [
        FieldError.invalid(
            here.index(position), later, "only additions are allowed (no mutations or deletions)"
        )
        for position, (earlier, later) in enumerate(zip(before, after, strict=False))
        if not _only_additions(later, earlier)
    ]


def _only_additions(new: Object, old: Object) -> bool:
    fields = ("matchExpressions", "matchFields")
    if not any(old.get(field) for field in fields) and any(new.get(field) for field in fields):
        return False  # a term that is empty matches nothing; one that is not would widen the choice
    return all(
        (new.get(field) or [])[: len(old.get(field) or [])] == (old.get(field) or []) for field in fields
    )


# Other paths


def ephemeral_containers(new: Object, old: Object | None) -> Errors:
    """A write of `/ephemeralcontainers`: containers may be added, never changed or taken away."""
    old = old or {"spec": {}}
    if MIRROR_ANNOTATION in annotations_of(old):
        return [FieldError.forbidden(Path(""), "static pods do not support ephemeral containers")]
    errors = _metadata_and_spec(new)
    here = _SPEC.child("ephemeralContainers")
    after = {each.get("name"): each for each in new["spec"].get("ephemeralContainers") or ()}
    for before in old["spec"].get("ephemeralContainers") or ():
        subject = f'existing ephemeral containers "{before.get("name")}"'
        now = after.get(before.get("name"))
        if now is None:
            errors.append(FieldError.forbidden(here, f"{subject} may not be removed\n"))
        elif now != before:
            detail = f"{subject} may not be changed\n{difference(before, now)}"
            errors.append(FieldError.forbidden(here, detail))
    return errors


def resize(new: Object, old: Object | None) -> Errors:
    """A write of `/resize` (KEP-1287): cpu and memory of running containers."""
    if old is None:
        return []
    if MIRROR_ANNOTATION in annotations_of(old):
        return [FieldError.forbidden(Path(""), "static pods cannot be resized")]
    if (old["spec"].get("os") or {}).get("name") == "windows":
        return [FieldError.forbidden(Path(""), "windows pods cannot be resized")]
    errors = _metadata_and_spec(new)
    before = (old.get("status") or {}).get("qosClass") or qos_class(old["spec"])
    if qos_class(new["spec"]) != before:
        detail = "Pod QOS Class may not change as a result of resizing"
        errors.append(FieldError.invalid(_SPEC, before, detail))
    for field in ("containers", "initContainers"):
        pairs = zip(new["spec"].get(field) or (), old["spec"].get(field) or (), strict=False)
        for position, (container, earlier) in enumerate(pairs):
            errors += _resized_container(container, earlier, field, position)
    if not errors and _without_compute(new["spec"]) != _without_compute(old["spec"]):
        errors.append(FieldError.forbidden(_SPEC, "only cpu and memory resources are mutable"))
    return errors


def _resized_container(new: Object, old: Object, field: str, position: int) -> Errors:
    if new == old:
        return []
    if field == "initContainers" and old.get("restartPolicy") != "Always":
        return [FieldError.forbidden(_SPEC, "resources for non-sidecar init containers are immutable")]
    here = _SPEC.child(field).index(position).child("resources")
    after, before = new.get("resources") or {}, old.get("resources") or {}
    errors = [
        FieldError.forbidden(here.child(kind), f"resource {kind} cannot be removed")
        for kind in ("requests", "limits")
        if (before.get(kind) or {}).keys() - (after.get(kind) or {}).keys()
    ]
    memory, memory_before = (each.get("limits", {}).get("memory") for each in (after, before))
    if memory is not None and memory_before is None and _memory_policy(new) == "NotRequired":
        detail = "memory limits cannot be added unless resizePolicy is RestartContainer"
        errors.append(FieldError.forbidden(here.child("limits").key("memory"), detail))
    return errors


def _memory_policy(container: Object) -> str:
    for policy in container.get("resizePolicy") or ():
        if policy.get("resourceName") == "memory":
            return policy.get("restartPolicy") or "NotRequired"
    return "NotRequired"


def _without_compute(spec: Object) -> Object:
    """The spec without what a resize may change: amounts of cpu and memory."""
    result = copy.deepcopy(spec)
    for holder in (result, *(result.get("containers") or ()), *(result.get("initContainers") or ())):
        resources = holder.get("resources") or {}
        for kind in ("requests", "limits"):
            amounts = resources.get(kind) or {}
            amounts.pop("cpu", None)
            amounts.pop("memory", None)
            if not amounts:
                resources.pop(kind, None)
        if not resources:
            holder.pop("resources", None)
    return result


def pod_template_object(new: Object, old: Object | None) -> Errors:
    """The kind PodTemplate."""
    return pod_template(new.get("template"), Path("template"))


def binding(new: Object, old: Object | None) -> Errors:
    target = new.get("target") or {}
    errors: Errors = []
    if target.get("kind") not in (None, "", "Node"):
        here = Path("target", "kind")
        errors.append(FieldError.not_supported(here, target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        errors.append(FieldError.required(Path("target", "name")))
    return errors


# Status

_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")
_STATUS = Path("status")


def pod_status(new: Object, old: Object | None) -> Errors:
    after, before = new.get("status") or {}, (old or {}).get("status") or {}
    errors = _annotation_changes(annotations_of(new), annotations_of(old or {}))
    for position, condition in enumerate(after.get("conditions") or ()):
        type = condition.get("type") or ""
        if type not in _SYSTEM_CONDITIONS:
            errors += qualified_name(type, Path("metadata", "conditions").index(position).child("Type"))
    nominated = after.get("nominatedNodeName")
    if nominated and nominated != before.get("nominatedNodeName"):
        errors += dns_subdomain(nominated, _STATUS.child("nominatedNodeName"))
    if before.get("qosClass"):
        errors += immutable(after.get("qosClass"), before["qosClass"], _STATUS.child("qosClass"))
    errors += _transitions(after, before, (old or new)["spec"])
    return errors + _addresses(after)


def _transitions(new: Object, old: Object, spec: Object) -> Errors:
    """A container that is done stays done, unless it is one that is restarted."""
    policy = spec.get("restartPolicy") or "Always"
    sidecars = {
        each["name"] for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"
    }
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    own = {each["name"] for each in containers if each.get("restartPolicy") or each.get("restartPolicyRules")}
    rules = [rule for each in containers for rule in each.get("restartPolicyRules") or ()]
    if any(rule.get("action") == "RestartAllContainers" for rule in rules):
        return []
    errors: Errors = []
    for field, rule in (
        ("containerStatuses", policy),
        ("initContainerStatuses", policy),
        ("ephemeralContainerStatuses", "Never"),
    ):
        if rule == "Always":
            continue
        states = {each.get("name"): each.get("state") or {} for each in new.get(field) or ()}
        for position, status in enumerate(old.get(field) or ()):
            container = status.get("name")
            terminated = (status.get("state") or {}).get("terminated")
            restarted = terminated is not None and terminated.get("exitCode") and rule == "OnFailure"
            if terminated is None or restarted or container in sidecars | own or container not in states:
                continue
            if states[container].get("terminated") is None:
                here = _STATUS.child(field).index(position).child("state")
                errors.append(FieldError.forbidden(here, "may not be transitioned to non-terminated state"))
    return errors


def _addresses(status: Object) -> Errors:
    host_ips = status.get("hostIPs") or []
    errors = _ip_list(status.get("podIPs") or [], _STATUS.child("podIPs"))
    if host_ips and status.get("hostIP") != host_ips[0].get("ip"):
        here = _STATUS.child("hostIPs").index(0).child("ip")
        errors.append(FieldError.invalid(here, host_ips[0].get("ip"), "must be equal to `hostIP`"))
    return errors + _ip_list(host_ips, _STATUS.child("hostIPs"))


def _ip_list(values: list[dict[str, Any]], path: Path) -> Errors:
    errors: Errors = []
    texts = [each.get("ip") or "" for each in values]
    for position, text in enumerate(texts):
        errors += ip_address(text, path.index(position))
    if errors or len(texts) < 2:
        return errors
    for position, text in enumerate(texts):
        if text in texts[:position]:
            errors.append(FieldError.duplicate(path.index(position), values[position]))
    families = {address.version for address in map(parse_address, texts) if address is not None}
    if len(families) != len(texts):
        errors.append(FieldError.invalid(path, values, "may specify no more than one IP for each IP family"))
    return errors
