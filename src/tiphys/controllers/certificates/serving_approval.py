"""Approves the requests for server certificates of the nodes that this cluster made itself. Upstream leaves that to people, or to
programs of theirs, because nobody else can know which addresses are a node's: for these nodes the cluster does (decision 0030).

Nothing else is approved, and nothing denied: a request for other names stays for `kubectl certificate approve`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from cryptography import x509

from tiphys.client.cache import View
from tiphys.client.resources import CERTIFICATESIGNINGREQUESTS
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Plan, Update
from tiphys.controllers.catalog import Options
from tiphys.controllers.certificates.requests import (
    KUBELET_SERVING,
    alternative_names,
    approved,
    common_name,
    is_decided,
    parse,
    refusal,
)
from tiphys.controllers.runner import Controller

_PREFIX, _GROUP = "system:node:", "system:nodes"


def observe(csr: Object, view: View) -> None:
    del csr, view


def make(options: Options) -> Controller[None]:
    """Without nodes of its own it approves nothing."""

    def plan(csr: Object, observed: None, now: datetime) -> Plan:
        if not is_of_own_node(csr, options.nodes):
            return NOTHING
        changed = approved(csr, "Auto approving kubelet serving certificate of a node of this cluster.", now)
        return Plan(
            (Update(CERTIFICATESIGNINGREQUESTS, changed, "approval"),), reason="its node is the cluster's own"
        )

    return Controller(
        name="kubelet-serving-approving-controller",
        kind=CERTIFICATESIGNINGREQUESTS,
        observe=observe,
        plan=plan,
    )


def is_of_own_node(csr: Object, nodes: Mapping[str, str]) -> bool:
    """Whether a node asks for itself, by its own name and address, and for nothing more."""
    spec = csr.get("spec") or {}
    if spec.get("signerName") != KUBELET_SERVING or is_decided(csr):
        return False
    user = spec.get("username", "")
    node = user.removeprefix(_PREFIX)
    if not user.startswith(_PREFIX) or _GROUP not in (spec.get("groups") or ()) or node not in nodes:
        return False
    request = parse(csr)
    if request is None or refusal(request, spec.get("usages") or (), KUBELET_SERVING):
        return False
    if common_name(request) != user:
        return False
    return all(_is_own(name, node, nodes[node]) for name in alternative_names(request))


def _is_own(name: x509.GeneralName, node: str, address: str) -> bool:
    if isinstance(name, x509.DNSName):
        return name.value == node
    return isinstance(name, x509.IPAddress) and str(name.value) == address
