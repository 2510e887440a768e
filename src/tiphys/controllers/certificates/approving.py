"""Approves kubelets' requests for client certificates, when those who ask may have them (`pkg/controller/certificates/approver`).

Who may `create` `certificatesigningrequests/selfnodeclient` renews its own certificate; who may `…/nodeclient` gets a first one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tiphys.client.cache import View
from tiphys.client.client import Client
from tiphys.client.resources import CERTIFICATESIGNINGREQUESTS, SUBJECTACCESSREVIEWS
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Plan, Update
from tiphys.controllers.certificates.requests import (
    KUBELET_CLIENT,
    approved,
    common_name,
    is_decided,
    parse,
    refusal,
)
from tiphys.controllers.runner import Controller
from tiphys.machinery.frozen import frozen

_MESSAGES = {
    "selfnodeclient": "Auto approving self kubelet client certificate after SubjectAccessReview.",
    "nodeclient": "Auto approving kubelet client certificate after SubjectAccessReview.",
}


@frozen
class Observed:
    asks: tuple[str, ...] = ()
    """The permissions, any of which is enough."""
    granted: str = ""
    """The first one that they have who ask."""


def observe(csr: Object, view: View) -> Observed:
    spec = csr.get("spec") or {}
    if spec.get("signerName") != KUBELET_CLIENT or is_decided(csr):
        return Observed()
    request = parse(csr)
    if request is None or refusal(request, spec.get("usages") or (), KUBELET_CLIENT):
        return Observed()
    own = ("selfnodeclient",) if spec.get("username") == common_name(request) else ()
    return Observed((*own, "nodeclient"))


async def gather(csr: Object, observed: Observed, client: Client) -> Observed:
    """Asks whether they may who ask."""
    spec = csr.get("spec") or {}
    for permission in observed.asks:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": spec.get("username", ""),
                "uid": spec.get("uid", ""),
                "groups": spec.get("groups") or [],
                "extra": spec.get("extra") or {},
                "resourceAttributes": {
                    "group": "certificates.k8s.io",
                    "resource": "certificatesigningrequests",
                    "verb": "create",
                    "subresource": permission,
                },
            },
        }
        answer = await client.create(SUBJECTACCESSREVIEWS, review)
        if (answer.get("status") or {}).get("allowed"):
            return replace(observed, granted=permission)
    return observed


def plan(csr: Object, observed: Observed, now: datetime) -> Plan:
    if not observed.granted:
        return NOTHING
    changed = approved(csr, _MESSAGES[observed.granted], now)
    return Plan(
        (Update(CERTIFICATESIGNINGREQUESTS, changed, "approval"),),
        reason=f"who asks may {observed.granted}",
    )


CONTROLLER = Controller(
    name="certificatesigningrequest-approving-controller",
    kind=CERTIFICATESIGNINGREQUESTS,
    observe=observe,
    gather=gather,
    plan=plan,
)
