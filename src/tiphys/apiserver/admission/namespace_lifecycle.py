"""NamespaceLifecycle: nothing is created in a namespace that does not exist or is going away, and some never go."""

from __future__ import annotations

from tiphys.apiserver.admission.attributes import CREATE, DELETE, UPDATE, Attributes
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.gvk import GroupResource

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
_NAMESPACES = GroupResource("", "namespaces")


class NamespaceLifecycle:
    name = "NamespaceLifecycle"

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        if attributes.operation == DELETE:
            return attributes.is_for("", "namespaces")
        row = attributes.row  # A review asks; it creates nothing.
        is_made = row.namespaced and row.plural != "localsubjectaccessreviews"
        return is_made and attributes.operation in (CREATE, UPDATE)

    def admit(self, attributes: Attributes) -> None:
        """First of all: that the namespace is missing is said before anything in it is missed."""
        if attributes.operation == DELETE:
            if attributes.name in IMMORTAL:
                raise errors.forbidden(_NAMESPACES, attributes.name, "this namespace may not be deleted")
            return
        namespace = attributes.namespace
        if not namespace:
            return
        record = attributes.objects.cache("", "namespaces").get("", namespace)
        if record is None:
            raise errors.not_found(_NAMESPACES, namespace)
        if attributes.operation == CREATE and record.object["metadata"].get("deletionTimestamp"):
            raise _terminating(attributes, namespace)


def _terminating(attributes: Attributes, namespace: str) -> StatusError:
    cause = f"unable to create new content in namespace {namespace} because it is being terminated"
    error = attributes.forbidden(cause)
    reason = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    error.details = {**(error.details or {}), "causes": [reason]}
    return error
