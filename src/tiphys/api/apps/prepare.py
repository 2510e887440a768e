"""What a write of a workload may not decide for itself (upstream's `pkg/registry/apps/*/strategy.go`)."""

from __future__ import annotations

from tiphys.api.resource import Object

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def deployment(new: Object, old: Object | None) -> None:
    """Annotations count as intent too: the controller copies them to ReplicaSets."""
    if old is None:
        return
    metadata, before = new["metadata"], old["metadata"]
    if (metadata.get("annotations") or {}) != (before.get("annotations") or {}):
        metadata["generation"] = before.get("generation", 0) + 1


def daemon_set(new: Object, old: Object | None) -> None:
    """A counter of templates that v1 shows as an annotation only; clients cannot set it."""
    if old is None:
        generation = max(_template_generation(new), 1)
    else:
        changed = new["spec"].get("template") != old["spec"].get("template")
        generation = _template_generation(old) + changed
    metadata = new["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), TEMPLATE_GENERATION: str(generation)}


def stateful_set(new: Object, old: Object | None) -> None:
    """While the gate MaxUnavailableStatefulSet is off, as it is in v1.36, a set that had no maxUnavailable gets none."""
    if old is not None and _rolling(old).get("maxUnavailable") is not None:
        return
    if "maxUnavailable" in (rolling := _rolling(new)):
        kept = {field: value for field, value in rolling.items() if field != "maxUnavailable"}
        new["spec"]["updateStrategy"] = {**new["spec"]["updateStrategy"], "rollingUpdate": kept}


def _rolling(obj: Object) -> Object:
    strategy = obj["spec"].get("updateStrategy") or {}
    return strategy.get("rollingUpdate") or {}


def _template_generation(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "")
    return int(text) if text.isascii() and text.isdecimal() else 0
