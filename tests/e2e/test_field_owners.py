"""Who owns which fields in a cluster that works: the components call themselves what upstream's do."""

from __future__ import annotations

import json
from typing import Any

from e2e_cluster import Cluster, wait_for

WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "owned"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "owned"}},
        "template": {
            "metadata": {"labels": {"app": "owned"}},
            "spec": {"containers": [{"name": "main", "image": "busybox", "command": ["sleep", "3600"]}]},
        },
    },
}


def owners(cluster: Cluster, kind: str, *selection: str) -> set[tuple[str, str, str]]:
    """(manager, operation, subresource) of all entries of the objects."""
    told = cluster.kubectl("get", kind, *selection, "-o", "json", "--show-managed-fields").stdout
    items: list[Any] = json.loads(told)["items"]
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", ""))
        for item in items
        for entry in item["metadata"].get("managedFields", ())
    }


def test_components_own_what_they_write(hollow: Cluster) -> None:
    manifest = hollow.home / "owned.json"
    manifest.write_text(json.dumps(WEB))
    applied = hollow.kubectl("apply", "--server-side", "-f", str(manifest)).stdout
    assert applied == "deployment.apps/owned serverside-applied\n"
    selected = ("-l", "app=owned")
    wait_for(
        lambda: ("kubelet", "Update", "status") in owners(hollow, "pods", *selected), "the kubelet's status"
    )
    assert owners(hollow, "pods", *selected) == {
        ("kube-controller-manager", "Update", ""),
        ("kubelet", "Update", "status"),
    }
    assert owners(hollow, "deployments", "--field-selector=metadata.name=owned") == {
        ("kubectl", "Apply", ""),
        ("kube-controller-manager", "Update", "status"),  # and the annotation of its revision
    }
    assert {manager for manager, _, _ in owners(hollow, "nodes")} <= {"kubelet", "kube-controller-manager"}
    assert ("kube-controller-manager", "Update", "status") in owners(hollow, "replicasets", *selected)
    assert hollow.kubectl("apply", "--server-side", "-f", str(manifest)).stdout == applied
    hollow.kubectl("delete", "deployment", "owned")
