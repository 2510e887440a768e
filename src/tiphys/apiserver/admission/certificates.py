"""Who may approve, sign and attest for which signer; and that nobody is certified into the administrators.

CertificateApproval, CertificateSigning, CertificateSubjectRestriction and ClusterTrustBundleAttest.
https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#authorization
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable

from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from tiphys.apiserver.authorization.interface import Decision
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery import errors
from tiphys.machinery.quoting import quote

GROUP = "certificates.k8s.io"
_REQUESTS, _POD_REQUESTS = "certificatesigningrequests", "podcertificaterequests"
_API_CLIENT = "kubernetes.io/kube-apiserver-client"


async def may(attributes: Attributes, verb: str, signer: str) -> bool:
    """Whether the user has a verb for a signer, by its name or by its domain ("example.com/*")."""
    for name in (signer, f"{signer.partition('/')[0]}/*"):
        info = RequestInfo("", verb, True, GROUP, "*", "", "signers", "", name)
        decision = attributes.call.server.authorizer.authorize(attributes.user, info)
        if not isinstance(decision, Decision):
            decision = await decision
        if decision.allowed:
            return True
    return False


class CertificateApproval:
    name = "CertificateApproval"

    def validate(self, attributes: Attributes) -> Awaitable[None] | None:
        if attributes.operation != UPDATE or not attributes.is_for(GROUP, _REQUESTS, "approval"):
            return None
        return self._check(attributes)

    async def _check(self, attributes: Attributes) -> None:
        assert attributes.old is not None
        signer = attributes.old["spec"].get("signerName", "")
        if not await may(attributes, "approve", signer):
            raise attributes.forbidden(f'user not permitted to approve requests with signerName "{signer}"')


class CertificateSigning:
    name = "CertificateSigning"

    def validate(self, attributes: Attributes) -> Awaitable[None] | None:
        if attributes.operation != UPDATE or attributes.subresource != "status":
            return None
        if attributes.is_for(GROUP, _POD_REQUESTS, "status"):
            return self._check_pod_request(attributes)
        return self._check(attributes) if attributes.is_for(GROUP, _REQUESTS, "status") else None

    async def _check_pod_request(self, attributes: Attributes) -> None:
        """Upstream asks where the object is written, and answers as for an object that is not valid."""
        assert attributes.old is not None
        signer = attributes.old["spec"]["signerName"]
        if not await may(attributes, "sign", signer):
            detail = (
                f'User {quote(attributes.user.name)} is not permitted to "sign" for signer {quote(signer)}'
            )
            path = errors.Path("spec").child("signerName")
            problem = errors.FieldError.forbidden(path, detail)
            raise errors.invalid(attributes.row.group_kind, attributes.name, [problem])

    async def _check(self, attributes: Attributes) -> None:
        assert attributes.old is not None
        assert attributes.object is not None
        before, after = attributes.old.get("status") or {}, attributes.object.get("status") or {}
        if all(before.get(field) == after.get(field) for field in ("certificate", "conditions")):
            return
        signer = attributes.old["spec"].get("signerName", "")
        if not await may(attributes, "sign", signer):
            raise attributes.forbidden(f'user not permitted to sign requests with signerName "{signer}"')


class CertificateSubjectRestriction:
    name = "CertificateSubjectRestriction"

    def validate(self, attributes: Attributes) -> None:
        if attributes.operation != CREATE or not attributes.is_for(GROUP, _REQUESTS):
            return
        assert attributes.object is not None
        spec = attributes.object["spec"]
        if spec.get("signerName") == _API_CLIENT and "system:masters" in _organizations(spec["request"]):
            raise attributes.forbidden(
                f"use of {_API_CLIENT} signer with system:masters group is not allowed"
            )


def _organizations(request: str) -> list[str]:
    """The O's of a PKCS#10 request in base64 PEM; what is none has been refused already."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parsed = x509.load_pem_x509_csr(base64.b64decode(request))
    return [str(each.value) for each in parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


class ClusterTrustBundleAttest:
    name = "ClusterTrustBundleAttest"

    def validate(self, attributes: Attributes) -> Awaitable[None] | None:
        if attributes.operation not in (CREATE, UPDATE):
            return None
        if not attributes.is_for(GROUP, "clustertrustbundles"):
            return None
        return self._check(attributes)

    async def _check(self, attributes: Attributes) -> None:
        assert attributes.object is not None
        signer = (attributes.object.get("spec") or {}).get("signerName", "")
        if signer and not await may(attributes, "attest", signer):
            raise attributes.forbidden(f'user not permitted to attest for signerName "{signer}"')
