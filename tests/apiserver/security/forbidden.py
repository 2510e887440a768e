"""What nobody may do whom no rule allows it: a sample of every way to more power, one request a line.

A line is the method, the target and, after that, the body. `{theirs}` is a namespace of other people.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_CSR = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_HOOKS = "/apis/admissionregistration.k8s.io/v1"
_CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_CORE = "/api/v1/namespaces/theirs"
_SYSTEM = "/api/v1/namespaces/kube-system"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


class Attempt(NamedTuple):
    method: str
    target: str
    body: bytes | None

    @property
    def headers(self) -> dict[str, str]:
        return {"content_type": "application/merge-patch+json"} if self.method == "PATCH" else {}


def _attempts(lines: str) -> list[Attempt]:
    places = {
        "RBAC": _RBAC,
        "CSR": _CSR,
        "HOOKS": _HOOKS,
        "CRD": _CRD,
        "CORE": _CORE,
        "SYSTEM": _SYSTEM,
        "LEASES": _LEASES,
    }
    found = []
    for line in filter(None, map(str.strip, lines.splitlines())):
        method, target, *rest = line.split(" ", 2)
        word, slash, path = target.partition("/")
        where = f"{places[word]}{slash}{path}" if word in places else target
        body = rest[0].encode() if rest else b"{}" if method in ("POST", "PUT", "PATCH") else None
        if body is not None:
            orjson.loads(body)
        found.append(Attempt(method, where, body))
    return found


def _every_verb(collection: str, name: str) -> str:
    one = f"{collection}/{name}"
    return "\n".join(
        (
            f"GET {collection}",
            f"GET {collection}?watch=1",
            f"POST {collection}",
            f"DELETE {collection}",
            f"GET {one}",
            f"PUT {one}",
            f"PATCH {one}",
            f"DELETE {one}",
        )
    )


ATTEMPTS = _attempts(
    "\n".join(
        (
            _every_verb("CORE/secrets", "password"),
            _every_verb("SYSTEM/secrets", "password"),
            _every_verb("RBAC/clusterroles", "cluster-admin"),
            _every_verb("RBAC/clusterrolebindings", "cluster-admin"),
            _every_verb("RBAC/namespaces/kube-system/roles", "any"),
            _every_verb("RBAC/namespaces/theirs/rolebindings", "any"),
            _every_verb("HOOKS/validatingwebhookconfigurations", "any"),
            _every_verb("HOOKS/mutatingwebhookconfigurations", "any"),
            _every_verb("HOOKS/validatingadmissionpolicies", "any"),
            _every_verb("CRD", "widgets.example.com"),
            _every_verb("/apis/apiregistration.k8s.io/v1/apiservices", "v1.example.com"),
            _every_verb("LEASES", "kube-controller-manager"),
        )
    )
    + """
GET /api/v1/secrets
GET /api/v1/secrets?watch=1
GET /api/v1/watch/secrets
GET /api/v1/watch/namespaces/theirs/secrets/password
GET CORE/secrets?fieldSelector=metadata.name%3Dpassword
HEAD CORE/secrets/password
GET CORE/secrets/password?watch=1
GET CORE/pods/web/exec?command=id
POST CORE/pods/web/exec?command=id
GET CORE/pods/web/attach
POST CORE/pods/web/attach
GET CORE/pods/web/portforward?ports=80
POST CORE/pods/web/portforward?ports=80
GET CORE/pods/web/log
GET CORE/pods/web/proxy/
POST CORE/pods/web/proxy/
OPTIONS CORE/pods/web/proxy/
GET CORE/services/web/proxy/
PUT CORE/services/web/proxy/a/../b
GET /api/v1/nodes/n2/proxy/
GET /api/v1/nodes/n2/proxy/run/theirs/web/c?cmd=id
POST /api/v1/nodes/n2/proxy/exec/theirs/web/c
POST CORE/pods/web/eviction
POST CORE/pods/web/binding
POST CORE/bindings
PATCH CORE/pods/web/ephemeralcontainers
PATCH CORE/pods/web/resize
PUT CORE/pods/web/status
POST CORE/serviceaccounts/default/token {"spec":{}}
POST SYSTEM/serviceaccounts/default/token {"spec":{}}
PUT /api/v1/namespaces/theirs/finalize
DELETE /api/v1/namespaces/theirs
PATCH /api/v1/nodes/n2
PATCH /api/v1/nodes/n2/status
DELETE /api/v1/nodes/n2
DELETE /api/v1/nodes
PUT CSR/any/approval
PATCH CSR/any/approval
PUT CSR/any/status
DELETE CSR
POST /apis/authorization.k8s.io/v1/namespaces/theirs/localsubjectaccessreviews
GET /metrics
GET /debug/api_priority_and_fairness/dump_requests
GET /flagz
GET /statusz
GET /logs/
GET /configz
"""
)

NOT_FOR_ACCOUNTS = _attempts(
    """
POST CSR {"spec":{}}
GET CSR/any
GET CSR
GET /api/v1/nodes
POST /apis/authorization.k8s.io/v1/subjectaccessreviews
POST /apis/authentication.k8s.io/v1/tokenreviews {"spec":{"token":"x"}}
POST RBAC/namespaces/mine/rolebindings {"metadata":{"name":"up"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"ServiceAccount","name":"app"}]}
PATCH RBAC/namespaces/mine/rolebindings/app {"roleRef":{"name":"cluster-admin"}}
POST RBAC/namespaces/mine/roles {"metadata":{"name":"up"},"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}
DELETE RBAC/namespaces/mine/rolebindings
PATCH /api/v1/namespaces/mine {"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}
"""
)

NOT_FOR_NODES = _attempts(
    """
POST CORE/pods {"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i"}]}}
DELETE CORE/pods/web?gracePeriodSeconds=0
GET /api/v1/pods
GET /api/v1/nodes/n2
PUT /api/v1/nodes/n1 {"metadata":{"name":"n1","labels":{"node-restriction.kubernetes.io/a":"b"}}}
GET /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2
PATCH /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2
GET CORE/configmaps
PATCH CORE/pods/web/status {"status":{"phase":"Failed"}}
POST CORE/serviceaccounts/app/token {"spec":{}}
"""
)
