"""What the three protection controllers share: an object that is in use keeps its finalizer, and so stays.

Admission gives the finalizer to what is made; the controllers give it to what is older than that, and take it away when somebody wants
to delete the object and nobody uses it. Whether it is in use is all that differs.
"""

from __future__ import annotations

from tiphys.api.resource import Resource
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Plan, Update
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen


@frozen
class Use:
    """Whether somebody uses the object; looked at only when it is to go."""

    found: bool


def waits_to_go(obj: Object, finalizer: str) -> bool:
    """Somebody wants to delete it, and only its use keeps it."""
    return meta.is_deleting(obj) and finalizer in meta.finalizers(obj)


def protect(resource: Resource, obj: Object, finalizer: str, use: Use) -> Plan:
    finalizers = meta.finalizers(obj)
    if waits_to_go(obj, finalizer) and not use.found:
        left = [each for each in finalizers if each != finalizer]
        return _write(resource, obj, left, "nobody uses it")
    if not meta.is_deleting(obj) and finalizer not in finalizers:
        return _write(resource, obj, [*finalizers, finalizer], "has no finalizer")
    return NOTHING


def _write(resource: Resource, obj: Object, finalizers: list[str], reason: str) -> Plan:
    changed = {**obj, "metadata": {**obj["metadata"], "finalizers": finalizers}}
    return Plan((Update(resource, changed),), reason=reason)
