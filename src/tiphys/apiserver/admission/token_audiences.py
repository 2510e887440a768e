"""For whom a node may have tokens of its pods' accounts: for whom the pods themselves want some, and whomever an administrator allows.

Part of NodeRestriction. The audience is asked of the authorizers as if it were a resource:
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import Attributes, Objects
from tiphys.apiserver.authorization.interface import Decision
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery.quoting import quote

VERB = "request-serviceaccounts-token-audience"


async def check(attributes: Attributes, pod: Object) -> None:
    assert attributes.object is not None
    audiences = (attributes.object.get("spec") or {}).get("audiences") or [""]
    if len(audiences) > 1:
        raise attributes.forbidden("node may only request 0 or 1 audiences")
    [audience] = audiences
    if audience in wanted_audiences(pod, attributes.objects):
        return
    asked = RequestInfo("", VERB, True, "", "v1", attributes.namespace, audience, "", attributes.name)
    decision = attributes.call.server.authorizer.authorize(attributes.user, asked)
    if not isinstance(decision, Decision):
        decision = await decision
    if not decision.allowed:
        raise attributes.forbidden(
            f"audience {quote(audience)} not found in pod spec volume, {attributes.user.name} is not authorized to request "
            "tokens for this audience"
        )


def wanted_audiences(pod: Object, objects: Objects) -> Iterator[str]:
    """ "" is the API server's own."""
    drivers = []
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "serviceAccountToken" in source:
                yield (source["serviceAccountToken"] or {}).get("audience") or ""
        if "csi" in volume:
            drivers.append(volume["csi"]["driver"])
        elif claim := _claim_name(pod, volume):
            drivers.append(_driver_of_claim(pod["metadata"].get("namespace", ""), claim, objects))
    for name in filter(None, drivers):
        record = objects.cache("storage.k8s.io", "csidrivers").get("", name)
        for request in (record.object["spec"].get("tokenRequests") or ()) if record is not None else ():
            yield request.get("audience") or ""


def _claim_name(pod: Object, volume: Object) -> str:
    if "persistentVolumeClaim" in volume:
        return str(volume["persistentVolumeClaim"]["claimName"])
    return f"{pod['metadata']['name']}-{volume['name']}" if "ephemeral" in volume else ""


def _driver_of_claim(namespace: str, name: str, objects: Objects) -> str:
    claim = objects.cache("", "persistentvolumeclaims").get(namespace, name)
    volume_name = claim.object["spec"].get("volumeName") if claim is not None else None
    if not volume_name:
        return ""
    volume = objects.cache("", "persistentvolumes").get("", volume_name)
    return str((volume.object["spec"].get("csi") or {}).get("driver") or "") if volume is not None else ""
