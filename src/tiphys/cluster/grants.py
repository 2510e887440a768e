"""What a cluster grants beyond the roles of the API server: kubeadm's bindings for nodes that join and renew their certificates, and
what our own nodes need. Made at every start, and mended as the default roles are (`authorization/reconcile.py`).
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

JOINING = "system:bootstrappers:kubeadm:default-node-token"
_REQUESTS = "system:certificates.k8s.io:certificatesigningrequests"
RBAC = "rbac.authorization.k8s.io"


def grants() -> dict[str, list[Object]]:
    """Objects by plural."""
    group = {"apiGroup": RBAC, "kind": "Group"}
    joining, nodes = {**group, "name": JOINING}, {**group, "name": "system:nodes"}
    signer = {"kind": "ServiceAccount", "namespace": "kube-system", "name": "certificate-controller"}
    return {
        "clusterrolebindings": [
            _binding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", joining),
            _binding("kubeadm:node-autoapprove-bootstrap", f"{_REQUESTS}:nodeclient", joining),
            _binding("kubeadm:node-autoapprove-certificate-rotation", f"{_REQUESTS}:selfnodeclient", nodes),
            # For the nodes that the cluster made itself: decision 0030.
            _binding(
                "tiphys:kubelet-serving-approver",
                "system:certificates.k8s.io:kubelet-serving-approver",
                signer,
            ),
        ],
    }


def _binding(name: str, role: str, subject: Object) -> Object:
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }
