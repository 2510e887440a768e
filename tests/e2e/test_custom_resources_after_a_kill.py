"""The control plane dies (kill -9) between the steps of a definition's life, on a real store in real processes."""

from __future__ import annotations

import json
from typing import Any

from e2e_cluster import Cluster, wait_for
from weather import component, kill

GROUP = "example.com"


def definition(plural: str, kind: str) -> str:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return json.dumps(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {"plural": plural, "kind": kind},
                "versions": [version],
            },
        }
    )


def custom(kind: str, name: str, **metadata: Any) -> str:
    return json.dumps({"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name, **metadata}})


def die(cluster: Cluster) -> None:
    """The supervisor brings the control plane back."""
    kill(component(cluster, "control-plane"))
    wait_for(
        lambda: cluster.kubectl("get", "--raw", "/readyz", check=False).returncode == 0,
        "the API server",
    )


def test_definitions_survive_a_control_plane_that_is_killed(hollow: Cluster) -> None:
    # Made, and at once no more there to establish it.
    hollow.kubectl("create", "-f", "-", input=definition("earlies", "Early"))
    die(hollow)
    hollow.kubectl("wait", "--for=condition=Established", f"crd/earlies.{GROUP}", "--timeout=300s")
    hollow.kubectl("create", "-f", "-", input=custom("Early", "one"))
    # Served from the first request on.
    die(hollow)
    assert hollow.get("earlies.example.com", "one")["metadata"]["name"] == "one"
    # Terminating, with an object that is held.
    held = custom("Early", "held", finalizers=["example.com/hold"])
    hollow.kubectl("create", "-f", "-", input=held)
    hollow.kubectl("delete", "crd", f"earlies.{GROUP}", "--wait=false")
    die(hollow)
    refused = hollow.kubectl("create", "-f", "-", input=custom("Early", "late"), check=False)
    assert "create not allowed while custom resource definition is terminating" in refused.stderr
    patch = '{"metadata":{"finalizers":null}}'
    hollow.kubectl("patch", "earlies", "held", "--type=merge", "-p", patch)
    wait_for(
        lambda: hollow.kubectl("get", "crd", f"earlies.{GROUP}", check=False).returncode != 0,
        "the end of the definition",
    )
