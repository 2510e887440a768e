"""What a CertificateSigningRequest asks for, and what each of Kubernetes' signers lets through (`pkg/apis/certificates/helpers.go`)."""

from __future__ import annotations

import base64
from collections.abc import Collection
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from tiphys.client.transport import Object
from tiphys.machinery import meta

API_CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (API_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY)
_NODES, _NODE_PREFIX = "system:nodes", "system:node:"
_OPTIONAL = frozenset({"key encipherment"})
_CLIENT_USAGES = frozenset({"digital signature", "key encipherment", "client auth"})


def parse(csr: Object) -> x509.CertificateSigningRequest | None:
    """The PKCS #10 request; None when it is none."""
    try:
        return x509.load_pem_x509_csr(base64.b64decode((csr.get("spec") or {}).get("request") or ""))
    except ValueError:
        return None


def condition(csr: Object, kind: str) -> Object | None:
    for each in (csr.get("status") or {}).get("conditions") or ():
        if each.get("type") == kind:
            found: Object = each
            return found
    return None


def is_decided(csr: Object) -> bool:
    """Approved, denied or signed."""
    if (csr.get("status") or {}).get("certificate"):
        return True
    return condition(csr, "Approved") is not None or condition(csr, "Denied") is not None


def approved(csr: Object, message: str, now: datetime) -> Object:
    """The same request, approved by a program."""
    moment = meta.format_time(now)
    verdict = {
        "type": "Approved",
        "status": "True",
        "reason": "AutoApproved",
        "message": message,
        "lastUpdateTime": moment,
        "lastTransitionTime": moment,
    }
    status = csr.get("status") or {}
    return {**csr, "status": {**status, "conditions": [*(status.get("conditions") or ()), verdict]}}


def common_name(request: x509.CertificateSigningRequest) -> str:
    names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else ""


def refusal(request: x509.CertificateSigningRequest, usages: Collection[str], signer: str) -> str:
    """Why the signer must not sign it; empty when it may."""
    if signer == KUBELET_CLIENT:
        return _kubelet_client(request, set(usages))
    if signer == KUBELET_SERVING:
        return _kubelet_serving(request, set(usages))
    return _api_client(usages) if signer == API_CLIENT else ""


def _kubelet_client(request: x509.CertificateSigningRequest, usages: set[str]) -> str:
    if _organizations(request) != [_NODES]:
        return "subject organization is not system:nodes"
    for kind, name in (
        (x509.DNSName, "DNS"),
        (x509.RFC822Name, "Email"),
        (x509.IPAddress, "IP"),
        (x509.UniformResourceIdentifier, "URI"),
    ):
        if _alternatives(request, kind):
            return f"{name} subjectAltNames are not allowed"
    if not common_name(request).startswith(_NODE_PREFIX):
        return "subject common name does not begin with system:node:"
    return _match(usages, {"client auth", "digital signature"})


def _kubelet_serving(request: x509.CertificateSigningRequest, usages: set[str]) -> str:
    if _organizations(request) != [_NODES]:
        return "subject organization is not system:nodes"
    if not _alternatives(request, x509.DNSName) and not _alternatives(request, x509.IPAddress):
        return "DNS or IP subjectAltName is required"
    if _alternatives(request, x509.RFC822Name):
        return "Email subjectAltNames are not allowed"
    if _alternatives(request, x509.UniformResourceIdentifier):
        return "URI subjectAltNames are not allowed"
    wrong = _match(usages, {"digital signature", "server auth"})
    if wrong or common_name(request).startswith(_NODE_PREFIX):
        return wrong
    return "subject common name does not begin with system:node:"


def _match(usages: set[str], required: set[str]) -> str:
    if usages - _OPTIONAL == required:
        return ""
    return f"usages did not match [{' '.join(sorted(required | _OPTIONAL))}]"


def _api_client(usages: Collection[str]) -> str:
    for usage in usages:
        if usage not in _CLIENT_USAGES:
            return f"invalid usage for client certificate: {usage}"
    return "" if "client auth" in usages else "missing required usage for client certificate: client auth"


def _organizations(request: x509.CertificateSigningRequest) -> list[str]:
    found = request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return [str(each.value) for each in found]


def alternative_names(request: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        extension = request.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except x509.ExtensionNotFound:
        return []
    names: Any = extension.value
    return list(names)


def _alternatives(
    request: x509.CertificateSigningRequest, kind: type[x509.GeneralName]
) -> list[x509.GeneralName]:
    return [each for each in alternative_names(request) if isinstance(each, kind)]
