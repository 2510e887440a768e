"""Policies in the hands of the real kubectl: applied from YAML, refusing, warning, changing, printed and explained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from https import Secure, secure_server

POLICIES = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: replica-limit}
spec:
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  variables:
  - {name: most, expression: "int(params.data.most)"}
  validations:
  - expression: object.spec.replicas <= variables.most
    messageExpression: "'no more than ' + string(variables.most) + ' replicas'"
    reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: replica-limit}
spec:
  policyName: replica-limit
  paramRef: {name: limits, parameterNotFoundAction: Deny}
  validationActions: [ACTION]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: team}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}
  reinvocationPolicy: Never
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: |
        [
          JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("example.com/team"), value: "red"}
        ]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: team}
spec: {policyName: team}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: limits}
data: {most: "3"}
"""


LABELS = ("-o", "jsonpath={.metadata.labels}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, signing_key: bytes) -> Iterator[Secure]:
    with secure_server(Path(tmp_path_factory.mktemp("server")), signing_key) as found:
        yield found


def test_policies(server: Secure) -> None:
    denying = POLICIES.replace("ACTION", "Deny")
    server.kubectl("apply", "--server-side", "-f", "-", stdin=denying)
    refused = server.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=4", fails=True)
    assert refused == (
        'error: failed to create deployment: deployments.apps "web" is forbidden: '
        "ValidatingAdmissionPolicy 'replica-limit' with binding 'replica-limit' denied request: "
        "no more than 3 replicas\n"
    )
    server.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=3")
    assert server.kubectl("get", "deployment", "web", *LABELS) == '{"app":"web","example.com/team":"red"}'
    server.kubectl("apply", "--server-side", "-f", "-", stdin=POLICIES.replace("ACTION", "Warn"))
    patch = '{"spec":{"replicas":9}}'
    assert server.kubectl("patch", "deployment", "web", "-p", patch) == (
        "Warning: Validation failed for ValidatingAdmissionPolicy 'replica-limit' with binding 'replica-limit': "
        "no more than 3 replicas\ndeployment.apps/web patched\n"
    )
    rows = server.kubectl("get", "validatingadmissionpolicies,validatingadmissionpolicybindings").split("\n")
    assert [row.split()[:3] for row in rows[:2]] == [
        ["NAME", "VALIDATIONS", "PARAMKIND"],
        ["validatingadmissionpolicy.admissionregistration.k8s.io/replica-limit", "1", "v1/ConfigMap"],
    ]
    bad = POLICIES.replace("object.spec.replicas <=", "object.spec.replicas <==")
    said = server.kubectl(
        "apply", "--server-side", "-f", "-", stdin=bad.replace("ACTION", "Deny"), fails=True
    )
    assert "spec.validations[0].expression: Invalid value" in said
    assert "compilation failed: ERROR: <input>:1:24: Syntax error" in said
    assert "messageExpression" in server.kubectl("explain", "validatingadmissionpolicy.spec.validations")
