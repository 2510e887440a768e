"""What the deletion of a CustomResourceDefinition begins: its objects go first, and until then it stays.

Upstream's `pkg/registry/customresourcedefinition/etcd.go`: the first DELETE puts a finalizer and a condition on the definition, and
who cleans up takes the finalizer off.
"""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.machinery import meta

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
TERMINATING = "Terminating"


def holds(obj: Object) -> bool:
    """The first DELETE never removes a definition."""
    return not meta.is_deleting(obj)


def mark(obj: Object) -> Object:
    """A definition that has just been marked for deletion."""
    status = obj.get("status") or {}
    conditions = status.get("conditions") or []
    if meta.find_condition(conditions, TERMINATING) is not None:
        return obj
    moment = meta.deletion_time(obj)
    assert moment is not None
    message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    conditions = meta.set_condition(
        conditions, TERMINATING, "True", moment, reason="InstanceDeletionPending", message=message
    )
    finalizers = list(meta.finalizers(obj))
    if CLEANUP not in finalizers:
        finalizers.append(CLEANUP)
    return {
        **obj,
        "metadata": {**obj["metadata"], "finalizers": finalizers},
        "status": {**status, "conditions": conditions},
    }
