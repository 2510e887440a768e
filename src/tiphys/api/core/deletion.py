"""What a delete of a core object means beyond removing it: time for containers to stop, a namespace's last tasks."""

from __future__ import annotations

from tiphys.api.resource import Object


def pod_grace_seconds(pod: Object) -> int:
    """Nothing runs of a pod that has no node, or that is over: it needs no time."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    seconds: int = spec.get("terminationGracePeriodSeconds") or 0
    return seconds


def namespace_has_finalizers(namespace: Object) -> bool:
    """`spec.finalizers` hold a namespace as `metadata.finalizers` hold any object."""
    return bool((namespace.get("spec") or {}).get("finalizers"))


def terminating_namespace(namespace: Object) -> Object:
    """From the moment of its delete a namespace takes no new objects."""
    return {**namespace, "status": {**(namespace.get("status") or {}), "phase": "Terminating"}}
