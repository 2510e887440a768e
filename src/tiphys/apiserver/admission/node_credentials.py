"""What a node may ask for: tokens and certificates of pods that run on it, and certificates of its own. Part of NodeRestriction."""

from __future__ import annotations

import base64
from collections.abc import Awaitable

from tiphys.api.resource import Object
from tiphys.apiserver.admission import token_audiences
from tiphys.apiserver.admission.attributes import CREATE, Attributes
from tiphys.apiserver.admission.token_audiences import find
from tiphys.apiserver.authorization.node import PREFIX
from tiphys.apiserver.authorization.pod_references import MIRROR
from tiphys.apiserver.features import POD_CERTIFICATE_REQUEST, is_on
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.quoting import quote

_OWN_SIGNERS = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")


# Tokens


def token(node: str, attributes: Attributes) -> Awaitable[None] | None:
    assert attributes.object is not None
    reference = (attributes.object.get("spec") or {}).get("boundObjectRef") or {}
    return token_audiences.check(attributes, _pod_of_token(node, attributes, reference))


def _pod_of_token(node: str, attributes: Attributes, reference: Object) -> Object:
    is_pod = (reference.get("apiVersion"), reference.get("kind")) == ("v1", "Pod")
    if not is_pod or not reference.get("name"):
        raise attributes.forbidden("node requested token not bound to a pod")
    uid = reference.get("uid")
    if not uid:
        raise attributes.forbidden("node requested token with a pod binding without a uid")
    pod = find(attributes, "pods", attributes.namespace, reference["name"])
    if pod["metadata"]["uid"] != uid:
        raise attributes.forbidden(
            f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
    if pod["spec"].get("nodeName") != node:
        raise attributes.forbidden("node requested token bound to a pod scheduled on a different node")
    return pod


# Certificates


def signing_request(node: str, attributes: Attributes) -> None:
    """For itself only."""
    if attributes.operation != CREATE:
        return
    assert attributes.object is not None
    spec = attributes.object["spec"]
    if spec.get("signerName") not in _OWN_SIGNERS:
        return
    try:
        names = _common_names(spec.get("request") or "")
    except ValueError as error:
        raise attributes.forbidden(f"unable to parse csr: {error}") from None
    if names != [f"{PREFIX}{node}"]:
        raise attributes.forbidden(f"can only create a node CSR with CN={PREFIX}{node}")


def _common_names(request: str) -> list[str]:
    """Of a PKCS#10 request in base64 PEM. Raises ValueError."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parsed = x509.load_pem_x509_csr(base64.b64decode(request))
    return [str(each.value) for each in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def pod_certificate(node: str, attributes: Attributes) -> None:
    """For pods that run on it, by the names and UIDs of everybody who takes part."""
    if not is_on(attributes.call.server.settings, POD_CERTIFICATE_REQUEST):
        raise attributes.forbidden("PodCertificateRequest feature gate is disabled")
    if attributes.operation != CREATE:
        raise attributes.forbidden(f"unexpected operation {attributes.operation}")
    assert attributes.object is not None
    spec = attributes.object["spec"]
    if spec["nodeName"] != node:
        raise attributes.forbidden(
            f"PodCertificateRequest.Spec.NodeName={quote(spec['nodeName'])}, "
            f"which is not the requesting node {quote(node)}"
        )
    called = quote(f"{attributes.namespace}/{spec['podName']}")
    its_node = _named(attributes, "nodes", "", node, f"node {quote(node)}")
    if its_node["metadata"]["uid"] != spec["nodeUID"]:
        raise errors.internal_error(
            f"PodCertificateRequest for pod {called} names node UID {quote(spec['nodeUID'])}, "
            f"inconsistent with the running node ({quote(its_node['metadata']['uid'])})"
        )
    pod = _named(attributes, "pods", attributes.namespace, spec["podName"], f"pod {called}")
    _check_pod(attributes, pod, called)
    _check_account(attributes, called)


def _check_pod(attributes: Attributes, pod: Object, called: str) -> None:
    assert attributes.object is not None
    spec = attributes.object["spec"]
    if pod["metadata"]["uid"] != spec["podUID"]:
        raise errors.internal_error(
            f"PodCertificateRequest for pod {called} contains pod UID ({quote(spec['podUID'])}) "
            f"which differs from running pod {quote(pod['metadata']['uid'])}"
        )
    if pod["spec"].get("nodeName") != spec["nodeName"]:
        raise attributes.forbidden(
            f"pod {called} is not running on node {quote(spec['nodeName'])} named in the PodCertificateRequest"
        )
    if MIRROR in (pod["metadata"].get("annotations") or {}):
        raise attributes.forbidden(f"pod {called} is a mirror pod")
    account = pod["spec"].get("serviceAccountName") or ""
    if spec["serviceAccountName"] != account:
        raise attributes.forbidden(
            f"PodCertificateRequest for pod {called} contains serviceAccountName "
            f"({quote(spec['serviceAccountName'])}) that differs from running pod ({quote(account)})"
        )


def _check_account(attributes: Attributes, called: str) -> None:
    assert attributes.object is not None
    spec = attributes.object["spec"]
    name = spec["serviceAccountName"]
    what = f"service account {quote(f'{attributes.namespace}/{name}')}"
    account = _named(attributes, "serviceaccounts", attributes.namespace, name, what)
    if account["metadata"]["uid"] != spec["serviceAccountUID"]:
        raise errors.internal_error(
            f"PodCertificateRequest for pod {called} names service account UID "
            f"{quote(spec['serviceAccountUID'])}, which differs from the running service account "
            f"({quote(account['metadata']['uid'])})"
        )


def _named(attributes: Attributes, plural: str, namespace: str, name: str, what: str) -> Object:
    """What a request names. Not to be there yet is no offence: it may be tried again."""
    try:
        return find(attributes, plural, namespace, name)
    except StatusError as error:
        raise errors.internal_error(
            f"while retrieving {what} named in the PodCertificateRequest: {error.message}"
        ) from None
