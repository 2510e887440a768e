"""OwnerReferencesPermissionEnforcement: whoever has an object deleted with another one must be allowed to delete it.

And whoever makes an owner wait for its dependents (`blockOwnerDeletion`) must be allowed to put finalizers on that owner.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from tiphys.apiserver.authorization.interface import Decision
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery import meta
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.machinery.quoting import quote

Reference = dict[str, Any]


class OwnerReferencesPermissionEnforcement:
    name = "OwnerReferencesPermissionEnforcement"

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation not in (CREATE, UPDATE) or attributes.object is None:
            return
        if attributes.is_for("", "pods", "status"):
            return  # Its own rules keep a status from changing owners.
        owners = _owners(attributes.object)
        before = _owners(attributes.old) if attributes.old is not None else []
        if owners == before:
            return
        if attributes.operation == UPDATE:
            await self._check_deletion(attributes)
        blocking = _newly_blocking(owners, before)
        if blocking and not (await _may(attributes, _finalizers("*", "*", "*", "*"))).allowed:
            for owner in blocking:
                await self._check_owner(attributes, owner)

    async def _check_deletion(self, attributes: Attributes) -> None:
        row, name = attributes.row, attributes.name
        asked = RequestInfo(
            "",
            "delete",
            True,
            row.group,
            row.version,
            attributes.namespace,
            row.plural,
            attributes.subresource,
            name,
        )
        decision = await _may(attributes, asked)
        if not decision.allowed:
            raise attributes.forbidden(
                f"cannot set an ownerRef on a resource you can't delete: {decision.reason}, <nil>"
            )

    async def _check_owner(self, attributes: Attributes, owner: Reference) -> None:
        version, kind = owner.get("apiVersion", ""), owner.get("kind", "")
        group, _, bare = version.rpartition("/")
        row = attributes.call.server.scheme.by_kind(GroupVersionKind(group, bare, kind))
        if row is None:
            raise attributes.forbidden(
                f"cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {version} "
                f"Kind {kind}: no matches for kind {quote(kind)} in version {quote(version)}"
            )
        namespace = attributes.namespace if row.namespaced else ""
        asked = _finalizers(row.group, row.version, row.plural, owner.get("name", ""), namespace)
        decision = await _may(attributes, asked)
        if not decision.allowed:
            raise attributes.forbidden(
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: "
                f"{decision.reason}, <nil>"
            )


def _owners(obj: Object) -> list[Reference]:
    return [dict(each) for each in meta.owner_references(obj)]


def _newly_blocking(owners: list[Reference], before: list[Reference]) -> list[Reference]:
    blocked = {each.get("uid") for each in before if each.get("blockOwnerDeletion")}
    return [each for each in owners if each.get("blockOwnerDeletion") and each.get("uid") not in blocked]


def _finalizers(group: str, version: str, plural: str, name: str, namespace: str = "") -> RequestInfo:
    return RequestInfo("", "update", True, group, version, namespace, plural, "finalizers", name)


async def _may(attributes: Attributes, asked: RequestInfo) -> Decision:
    decision = attributes.call.server.authorizer.authorize(attributes.user, asked)
    return decision if isinstance(decision, Decision) else await decision
