"""NamespaceExists and NamespaceAutoProvision: what is in a namespace needs one; or makes it."""

from __future__ import annotations

from tiphys.apiserver.admission.attributes import CONNECT, CREATE, Attributes
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError, is_already_exists
from tiphys.machinery.gvk import GroupResource

_NAMESPACES = GroupResource("", "namespaces")


class NamespaceExists:
    name = "NamespaceExists"

    def validate(self, attributes: Attributes) -> None:
        if attributes.operation != CONNECT and _is_missing(attributes):
            raise errors.not_found(_NAMESPACES, attributes.namespace)


class NamespaceAutoProvision:
    name = "NamespaceAutoProvision"

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation != CREATE or attributes.dry_run or not _is_missing(attributes):
            return
        server = attributes.call.server
        row = server.scheme.by_resource("", "v1", "namespaces")
        assert row is not None
        call = server.internal_call(row, "", "")
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": attributes.namespace}}
        try:
            await server.writes.create(call, namespace)
        except StatusError as error:
            if not is_already_exists(error):
                raise attributes.forbidden(error.message) from None


def _is_missing(attributes: Attributes) -> bool:
    if not attributes.row.namespaced or not attributes.namespace:
        return False
    return attributes.objects.cache("", "namespaces").get("", attributes.namespace) is None
