"""What a write of a core object may not decide for itself: fields that are set, kept or dropped before validation.

These are upstream's strategies (`pkg/registry/core/*/strategy.go`). That a status is dropped on create and kept on update
is the generic registry's doing; what is here is particular to a kind.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.core import pod_resources
from tiphys.api.core.defaults.objects import NAMESPACE_LABEL
from tiphys.api.resource import Object

NAMESPACE_FINALIZER = "kubernetes"
GATED = "Scheduling is blocked due to non-empty scheduling gates"


RESIZED = tuple(
    f"spec.{containers}.*.{field}"
    for containers in ("containers", "initContainers")
    for field in ("resources", "resizePolicy")
)
"""What a write of `/resize` changes (upstream leaves the pod's own resources out, so nobody owns them by it)."""


def pod(new: Object, old: Object | None) -> None:
    spec = new["spec"]
    _mirror_service_account(spec)
    if old is not None:
        return
    new["status"] = {"phase": "Pending", "qosClass": pod_resources.qos_class(spec)}
    if spec.get("schedulingGates"):
        gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": GATED}
        new["status"]["conditions"] = [gated]
    labels = (new.get("metadata") or {}).get("labels") or {}
    for term in _pod_affinity_terms(spec.get("affinity") or {}):
        _merge_label_keys(term, labels)
    for constraint in spec.get("topologySpreadConstraints") or ():
        _merge_label_keys(constraint, labels)


def _mirror_service_account(spec: Object) -> None:
    """Admission may have filled in the new field only."""
    account = spec.get("serviceAccountName")
    if account:
        spec["serviceAccount"] = account
    else:
        spec.pop("serviceAccount", None)


def _pod_affinity_terms(affinity: Object) -> list[Object]:
    terms: list[Object] = []
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        preferred = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [each["podAffinityTerm"] for each in preferred if each.get("podAffinityTerm")]
        terms += rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return terms


def _merge_label_keys(holder: Object, labels: dict[str, str]) -> None:
    """`matchLabelKeys` become part of the selector, with the values that this pod has (KEP-3633, KEP-3243)."""
    selector = holder.get("labelSelector")
    if selector is None:  # selects nothing, with or without them
        return
    for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        for key in holder.get(field) or ():
            if key in labels:
                expression = {"key": key, "operator": operator, "values": [labels[key]]}
                selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), expression]


def pod_status(new: Object, old: Object | None) -> None:
    """Old kubelets leave fields out of a status that they must not change."""
    if old is None:
        return
    status, before = new.setdefault("status", {}), old.get("status") or {}
    for field in ("qosClass", "observedGeneration"):
        if not status.get(field) and before.get(field):
            status[field] = before[field]
    generations = {
        each.get("type"): each.get("observedGeneration") for each in before.get("conditions") or ()
    }
    for condition in status.get("conditions") or ():
        generation = generations.get(condition.get("type"))
        if generation and not condition.get("observedGeneration"):
            condition["observedGeneration"] = generation
    _keep(new["metadata"], old["metadata"], "ownerReferences")


def resize(new: Object, old: Object | None) -> None:
    """A write of `/resize` changes the resources of containers and of the pod, and nothing else."""
    if old is None:
        return
    spec = {**old["spec"]}
    for field in ("containers", "initContainers"):
        containers = _resized(new["spec"].get(field) or [], old["spec"].get(field) or [])
        if containers is None:  # added, removed or renamed: validation will say so
            return
        if containers:
            spec[field] = containers
    _keep(spec, new["spec"], "resources")
    new["spec"] = spec
    _keep(new, old, "status")


def _resized(new: list[Object], old: list[Object]) -> list[Object] | None:
    if [each.get("name") for each in new] != [each.get("name") for each in old]:
        return None
    result = []
    for container, before in zip(new, old, strict=True):
        changed = {**before}
        _keep(changed, container, "resources", "resizePolicy")
        result.append(changed)
    return result


def namespace(new: Object, old: Object | None) -> None:
    """`spec.finalizers` changes through `/finalize` only; the label with the name is always there."""
    spec = new.setdefault("spec", {})
    if old is None:
        finalizers = spec.get("finalizers") or []
        if NAMESPACE_FINALIZER not in finalizers:
            spec["finalizers"] = [*finalizers, NAMESPACE_FINALIZER]
        new["status"] = {"phase": "Active"}
    else:
        _keep(spec, old.get("spec") or {}, "finalizers")
    metadata = new["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), NAMESPACE_LABEL: metadata.get("name", "")}


def persistent_volume(new: Object, old: Object | None) -> None:
    if old is None:
        created = (new.get("metadata") or {}).get("creationTimestamp")
        new["status"] = {"phase": "Pending"}
        if created:
            new["status"]["lastPhaseTransitionTime"] = created


def persistent_volume_claim(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {"phase": "Pending"}
    spec = new.setdefault("spec", {})
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    # Two names of one thing: the older one knows no namespaces.
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif reference is not None and source is None and not reference.get("namespace"):
        spec["dataSource"] = {key: value for key, value in reference.items() if key != "namespace"}


def service_account(new: Object, old: Object | None) -> None:
    """A reference to a secret is its name."""
    if new.get("secrets"):
        new["secrets"] = [{"name": each.get("name", "")} for each in new["secrets"]]


def _keep(new: Object, old: Object, *fields: str) -> None:
    for field in fields:
        value: Any = old.get(field)
        if value is None:
            new.pop(field, None)
        else:
            new[field] = value
