"""For whom a node may have tokens of its pods' accounts: for whom the pods themselves want some, and whomever an administrator allows.

Part of NodeRestriction. The audience is asked of the authorizers as if it were a resource:
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from __future__ import annotations

from collections.abc import Awaitable

from tiphys.api.core.volumes import MIGRATED
from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.authorization.interface import Decision
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.gvk import GroupResource
from tiphys.machinery.quoting import quote

VERB = "request-serviceaccounts-token-audience"
"""The verb by which a node is given audiences that none of its pods names; the resource is the audience."""


def check(attributes: Attributes, pod: Object) -> Awaitable[None] | None:
    """Whether the node may have the token that it asks for, for this pod of its own."""
    assert attributes.object is not None
    audiences = (attributes.object.get("spec") or {}).get("audiences") or [""]
    if len(audiences) > 1:
        raise attributes.forbidden("node may only request 0 or 1 audiences")
    [audience] = audiences
    try:
        if _names_audience(attributes, pod, audience):
            return None
    except StatusError as error:
        raise attributes.forbidden(f"error validating audience {quote(audience)}: {error.message}") from None
    return _ask(attributes, audience)


async def _ask(attributes: Attributes, audience: str) -> None:
    """An audience that no volume of the pod names: whether the node may ask for it all the same."""
    info = RequestInfo("", VERB, True, "", "v1", attributes.namespace, audience, "", attributes.name)
    decision = attributes.call.server.authorizer.authorize(attributes.user, info)
    if not isinstance(decision, Decision):
        decision = await decision
    if not decision.allowed:
        raise attributes.forbidden(
            f"audience {quote(audience)} not found in pod spec volume, "
            f"{attributes.user.name} is not authorized to request tokens for this audience"
        )


def _names_audience(attributes: Attributes, pod: Object, audience: str) -> bool:
    """Raises the first StatusError of a volume whose driver cannot be found, when no other names the audience."""
    problem: StatusError | None = None
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            wanted = source.get("serviceAccountToken")
            if wanted is not None and (wanted.get("audience") or "") == audience:
                return True
        try:
            driver = _driver(attributes, pod, volume)
            if driver and audience in _audiences_of(attributes, driver):
                return True
        except StatusError as error:
            problem = problem or error
    if problem is not None:
        raise problem
    return False


def _driver(attributes: Attributes, pod: Object, volume: Object) -> str:
    """The CSI driver of a volume; "" when it has none."""
    claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
    if (volume.get("ephemeral") or {}).get("volumeClaimTemplate"):
        claim = f"{pod['metadata']['name']}-{volume['name']}"
    if not claim:
        return _driver_of(volume)
    bound = find(attributes, "persistentvolumeclaims", attributes.namespace, claim)
    return _driver_of(
        find(attributes, "persistentvolumes", "", bound["spec"].get("volumeName") or "")["spec"]
    )


def _driver_of(source: Object) -> str:
    own: str = (source.get("csi") or {}).get("driver") or ""
    return own or next((driver for kind, driver in MIGRATED.items() if source.get(kind)), "")


def _audiences_of(attributes: Attributes, driver: str) -> list[str]:
    spec = find(attributes, "csidrivers", "", driver, group="storage.k8s.io").get("spec") or {}
    return [each.get("audience") or "" for each in spec.get("tokenRequests") or ()]


def find(attributes: Attributes, plural: str, namespace: str, name: str, *, group: str = "") -> Object:
    """Raises 404."""
    record = attributes.objects.cache(group, plural).get(namespace, name)
    if record is None:
        raise errors.not_found(GroupResource(group, plural), name)
    return record.object
