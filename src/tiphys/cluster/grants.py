"""What a cluster grants beyond the roles of the API server: kubeadm's bindings for nodes that join and renew their certificates, and
what our own nodes need. Made at every start, and mended as the default roles are (`authorization/reconcile.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiphys.cluster.blueprint import CLUSTER_DNS_USER, HOLLOW_KUBELET, KUBELET_CLIENT
from tiphys.cluster.pki import NODES

Object = dict[str, Any]

JOINING = "system:bootstrappers:kubeadm:default-node-token"
_REQUESTS = "system:certificates.k8s.io:certificatesigningrequests"
_CLUSTER_INFO = "kubeadm:bootstrap-signer-clusterinfo"
RBAC = "rbac.authorization.k8s.io"


def grants(simulated_nodes: Sequence[str] = ()) -> dict[str, list[Object]]:
    """Objects by plural."""
    names = {"apiGroup": RBAC, "kind": "User", "name": CLUSTER_DNS_USER}
    bindings = [*_of_nodes(), _of_the_api_server(), _binding(CLUSTER_DNS_USER, CLUSTER_DNS_USER, names)]
    roles: list[Object] = [
        _role("kubeadm:get-nodes", {"resources": ["nodes"], "verbs": ["get"]}),
        _names_role(),
    ]
    if simulated_nodes:
        roles.append(_hollow_role(simulated_nodes))
        user = {"apiGroup": RBAC, "kind": "User", "name": HOLLOW_KUBELET}
        bindings.append(_binding(HOLLOW_KUBELET, HOLLOW_KUBELET, user))
    anybody = {"apiGroup": RBAC, "kind": "User", "name": "system:anonymous"}
    cluster_info = {"resources": ["configmaps"], "resourceNames": ["cluster-info"], "verbs": ["get"]}
    return {
        "clusterroles": roles,
        "clusterrolebindings": bindings,
        "roles": [_role(_CLUSTER_INFO, cluster_info, "kube-public")],
        "rolebindings": [_binding(_CLUSTER_INFO, _CLUSTER_INFO, anybody, "kube-public")],
    }


def _names_role() -> Object:
    """What kubeadm grants to CoreDNS, but for what only that looks at."""
    seen = {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]}
    slices = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
    return {"metadata": {"name": CLUSTER_DNS_USER}, "rules": [seen, slices]}


def _hollow_role(nodes: Sequence[str]) -> Object:
    """One process is many nodes. It sees the pods of all of them; everything else it does as one of them, by impersonation, so that the
    node authorizer and NodeRestriction hold for each."""
    return {
        "metadata": {"name": HOLLOW_KUBELET},
        "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
            {
                "apiGroups": [""],
                "resources": ["users"],
                "verbs": ["impersonate"],
                "resourceNames": [f"system:node:{node}" for node in nodes],
            },
            {"apiGroups": [""], "resources": ["groups"], "verbs": ["impersonate"], "resourceNames": [NODES]},
        ],
    }


def _of_the_api_server() -> Object:
    """Kubelets ask what it may: as its certificate's user it may do everything with them, and nothing else."""
    user = {"apiGroup": RBAC, "kind": "User", "name": KUBELET_CLIENT}
    return _binding(f"tiphys:{KUBELET_CLIENT}", "system:kubelet-api-admin", user)


def _of_nodes() -> list[Object]:
    group = {"apiGroup": RBAC, "kind": "Group"}
    joining, nodes = {**group, "name": JOINING}, {**group, "name": NODES}
    signer = {"kind": "ServiceAccount", "namespace": "kube-system", "name": "certificate-controller"}
    return [
        _binding("kubeadm:get-nodes", "kubeadm:get-nodes", joining),
        _binding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", joining),
        _binding("kubeadm:node-autoapprove-bootstrap", f"{_REQUESTS}:nodeclient", joining),
        _binding("kubeadm:node-autoapprove-certificate-rotation", f"{_REQUESTS}:selfnodeclient", nodes),
        # For the nodes that the cluster made itself: decision 0030.
        _binding(
            "tiphys:kubelet-serving-approver",
            "system:certificates.k8s.io:kubelet-serving-approver",
            signer,
        ),
    ]


def _role(name: str, rule: Object, namespace: str = "") -> Object:
    return {"metadata": _metadata(name, namespace), "rules": [{"apiGroups": [""], **rule}]}


def _metadata(name: str, namespace: str) -> Object:
    return {"name": name, "namespace": namespace} if namespace else {"name": name}


def _binding(name: str, role: str, subject: Object, namespace: str = "") -> Object:
    """In a namespace it is to a Role there."""
    return {
        "metadata": _metadata(name, namespace),
        "roleRef": {"apiGroup": RBAC, "kind": "Role" if namespace else "ClusterRole", "name": role},
        "subjects": [subject],
    }
