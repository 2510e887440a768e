"""What is below an object and not generic: one file each, one entry each.

SUBRESOURCES is looked up by (group, plural, subresource), then by ("", "", subresource); what is not there (`status`) goes the
generic way. VIRTUAL answers kinds of which nothing is stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tiphys.apiserver.call import Call
from tiphys.apiserver.subresources.binding import bind_pod, create_binding
from tiphys.apiserver.subresources.component_status import component_status
from tiphys.apiserver.subresources.ephemeral_containers import ephemeral_containers
from tiphys.apiserver.subresources.eviction import evict
from tiphys.apiserver.subresources.finalize import finalize_namespace
from tiphys.apiserver.subresources.kubelet_streams import attach, execute, port_forward
from tiphys.apiserver.subresources.pod_log import read_log
from tiphys.apiserver.subresources.proxying import proxy_node, proxy_pod, proxy_service
from tiphys.apiserver.subresources.reviews import (
    access_review,
    local_access_review,
    self_access_review,
    self_review,
    self_rules_review,
    token_review,
)
from tiphys.apiserver.subresources.scale import scale
from tiphys.apiserver.subresources.token import create_token
from tiphys.apiserver.usage.serving import usage_of_nodes, usage_of_pods
from tiphys.net.http import Response

Handler = Callable[[Call], Response | Awaitable[Response]]

SUBRESOURCES: dict[tuple[str, str, str], Handler] = {
    ("", "", "scale"): scale,
    ("", "pods", "binding"): bind_pod,
    ("", "pods", "eviction"): evict,
    ("", "pods", "log"): read_log,
    ("", "pods", "exec"): execute,
    ("", "pods", "attach"): attach,
    ("", "pods", "portforward"): port_forward,
    ("", "pods", "ephemeralcontainers"): ephemeral_containers,
    ("", "pods", "proxy"): proxy_pod,
    ("", "services", "proxy"): proxy_service,
    ("", "nodes", "proxy"): proxy_node,
    ("", "namespaces", "finalize"): finalize_namespace,
    ("", "serviceaccounts", "token"): create_token,
}

VIRTUAL: dict[str, Handler] = {
    # By the plural alone: `nodes` and `pods` are those of metrics.k8s.io, for the others are stored.
    "bindings": create_binding,
    "componentstatuses": component_status,
    "tokenreviews": token_review,
    "selfsubjectreviews": self_review,
    "subjectaccessreviews": access_review,
    "localsubjectaccessreviews": local_access_review,
    "selfsubjectaccessreviews": self_access_review,
    "selfsubjectrulesreviews": self_rules_review,
    "nodes": usage_of_nodes,
    "pods": usage_of_pods,
}
