"""A policy in a whole control plane: it is checked by a controller, refuses people, and changes what controllers make."""

from __future__ import annotations

import json
from typing import Any

from e2e_cluster import Cluster, wait_for

ADMISSION = "admissionregistration.k8s.io/v1"


def manifest(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": ADMISSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def on(resource: str, group: str) -> dict[str, Any]:
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
    return {"resourceRules": [rule]}


def test_policies_in_a_cluster(hollow: Cluster) -> None:
    hollow.kubectl("create", "namespace", "policed")
    mine = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "policed"}}}
    validations = [
        {"expression": "object.spec.replicas < 5", "message": "fewer than five"},
        {"expression": "!has(object.spec.shape)", "message": "no shapes"},
    ]
    label = "Object{metadata: Object.metadata{labels: {'seen': 'yes'}}}"
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": label}}
    objects = [
        manifest(
            "ValidatingAdmissionPolicy",
            "few",
            matchConstraints=on("deployments", "apps"),
            validations=validations,
        ),
        manifest(
            "ValidatingAdmissionPolicyBinding",
            "few",
            policyName="few",
            validationActions=["Deny"],
            matchResources=mine,
        ),
        manifest(
            "MutatingAdmissionPolicy",
            "seen",
            matchConstraints=on("pods", ""),
            mutations=[mutation],
            reinvocationPolicy="Never",
        ),
        manifest("MutatingAdmissionPolicyBinding", "seen", policyName="seen", matchResources=mine),
    ]
    try:
        everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        hollow.kubectl("apply", "-f", "-", input=everything)
        wait_for(
            lambda: "typeChecking" in (hollow.get("validatingadmissionpolicy", "few").get("status") or {}),
            "the type check",
        )
        [warning] = hollow.get("validatingadmissionpolicy", "few")["status"]["typeChecking"][
            "expressionWarnings"
        ]
        assert warning["fieldRef"] == "spec.validations[1].expression"
        assert warning["warning"].startswith(
            "apps/v1, Kind=Deployment: ERROR: <input>:1:5: undefined field 'shape'"
        )
        web = ("create", "deployment", "web", "--image=nginx", "-n", "policed")
        refused = hollow.kubectl(*web, "--replicas=5", check=False)
        assert (
            "ValidatingAdmissionPolicy 'few' with binding 'few' denied request: fewer than five"
            in refused.stderr
        )
        hollow.kubectl(*web, "--replicas=2")
        hollow.kubectl("rollout", "status", "deployment/web", "-n", "policed", "--timeout=300s")
        pods = hollow.get("pods", "-n", "policed", "-l", "seen=yes,app=web")["items"]
        assert len(pods) == 2
    finally:
        kinds = ("validatingadmissionpolicy", "validatingadmissionpolicybinding")
        for kind in (*kinds, *(each.replace("validating", "mutating") for each in kinds)):
            hollow.kubectl("delete", kind, "--all")
        hollow.kubectl("delete", "namespace", "policed", "--wait=false")
