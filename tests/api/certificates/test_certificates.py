"""Certificate requests: who may write what of them, and what is refused; trust bundles."""

from base64 import b64encode

import pytest

from tiphys.api.certificates import pod_requests, prepare, validation

KIND = "certificates.k8s.io/v1 CertificateSigningRequest"
BUNDLE = "certificates.k8s.io/v1beta1 ClusterTrustBundle"
POD = "certificates.k8s.io/v1beta1 PodCertificateRequest"
PEM = b64encode(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n").decode()
GOOD = {"request": PEM, "signerName": "example.com/s", "usages": ["client auth"]}
TRUST = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({}, []),
        ({"signerName": "kubernetes.io/kube-apiserver-client", "expirationSeconds": 600}, []),
        (
            {"request": "AAAA"},
            ['spec.request: Invalid value: "AAAA": PEM block type must be CERTIFICATE REQUEST'],
        ),
        ({"usages": []}, ["spec.usages: Required value"]),
        ({"usages": ["signing", "signing"]}, ['spec.usages[1]: Duplicate value: "signing"']),
        ({"signerName": ""}, ["spec.signerName: Required value"]),
        (
            {"signerName": "kubernetes.io/legacy-unknown"},
            [
                'spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed via this API version'
            ],
        ),
        (
            {"signerName": "me"},
            [
                "spec.signerName: Invalid value: \"me\": must be a fully qualified domain and path of the form 'example.com/signer-name'"
            ],
        ),
        (
            {"expirationSeconds": 599},
            [
                "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"
            ],
        ),
    ],
)
def test_requests(refusals, change, messages):
    assert refusals(KIND, {"spec": {**GOOD, **change}}) == messages


def test_an_unknown_usage(refusals):
    (found,) = refusals(KIND, {"spec": {**GOOD, "usages": ["flying"]}})
    assert found.startswith(
        'spec.usages[0]: Unsupported value: "flying": supported values: "any", "cert sign"'
    )


APPROVED = {"type": "Approved", "status": "True"}
DENIED = {"type": "Denied", "status": "True"}


def request(*conditions, certificate=None, spec=GOOD):
    status = {"conditions": list(conditions)} if conditions else {}
    if certificate:
        status["certificate"] = certificate
    return {"metadata": {"name": "x"}, "spec": spec, "status": status}


def test_a_request_stays_as_it_was_made(written):
    old = written(KIND, {"spec": GOOD})
    new = written(KIND, {"spec": {**GOOD, "signerName": "example.com/other"}}, old=old)
    assert new["spec"] == old["spec"]


def test_an_approver_writes_conditions_only():
    new = request(APPROVED, certificate="AA==", spec={})
    prepare.approval(new, request())
    assert new == request(APPROVED)


def test_a_signer_cannot_approve():
    new = request(DENIED, {"type": "Failed", "status": "True"}, certificate="AA==")
    prepare.status(new, request(APPROVED))
    assert new["status"]["certificate"] == "AA=="
    assert [condition["type"] for condition in new["status"]["conditions"]] == ["Approved", "Failed"]


@pytest.mark.parametrize(
    ("new", "old", "messages"),
    [
        (request(APPROVED), request(), []),
        (
            request(APPROVED, DENIED),
            request(),
            [
                'status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'
            ],
        ),
        (
            request({"type": "Approved", "status": "False"}),
            request(),
            ['status.conditions[0].status: Unsupported value: "False": supported values: "True"'],
        ),
        (request(APPROVED, APPROVED), request(), ['status.conditions[1].type: Duplicate value: "Approved"']),
        (
            request(),
            request(DENIED),
            ['status.conditions: Forbidden: updates may not remove a condition of type "Denied"'],
        ),
        (
            request(certificate="Ag=="),
            request(certificate="AA=="),
            [
                'status.certificate: Invalid value: "<certificate data>": updates may not set certificate content if existing certificate content is not empty'
            ],
        ),
    ],
)
def test_conditions(new, old, messages):
    assert [str(error) for error in validation.status(new, old)] == messages


def test_bundles_bear_the_name_of_their_signer(refusals):
    signed = {"spec": {"signerName": "example.com/s", "trustBundle": TRUST}}
    assert refusals(BUNDLE, {"spec": {"trustBundle": TRUST}}) == []
    assert refusals(BUNDLE, signed, name="example.com:s:one") == []
    assert refusals(BUNDLE, signed, name="one") == [
        'metadata.name: Invalid value: "one": ClusterTrustBundle for signerName example.com/s must be named with prefix example.com:s:'
    ]
    assert refusals(BUNDLE, {"spec": {"trustBundle": TRUST}}, name="a:b:c") == [
        'metadata.name: Invalid value: "a:b:c": ClusterTrustBundle without signer name must not have ":" in its name'
    ]
    assert len(refusals(BUNDLE, {"spec": {"trustBundle": "x"}})) == 1
    assert validation.bundle_name_rule("example.com:s:one") == []


def test_requests_of_pods(refusals, written):
    named = {"podName": "p", "serviceAccountName": "default", "nodeName": "n"}
    good = {"signerName": "example.com/s", **named, "podUID": "u", "serviceAccountUID": "u", "nodeUID": "u"}
    assert written(POD, {"spec": good})["spec"]["maxExpirationSeconds"] == 86400
    assert refusals(POD, {"spec": good}) == []
    assert refusals(POD, {"spec": {**good, "podUID": ""}}) == [
        'spec.podUID: Invalid value: "": must not be empty'
    ]
    assert refusals(POD, {"spec": {**good, "nodeUID": "u" * 129}}) == [
        "spec.nodeUID: Too long: may not be more than 128 bytes"
    ]
    for signer, seconds, longest in (
        ("example.com/s", 3599, 7862400),
        ("example.com/s", 7862401, 7862400),
        ("kubernetes.io/s", 86401, 86400),
        ("x.kubernetes.io/s", 86401, 86400),
    ):
        spec = {**good, "signerName": signer, "maxExpirationSeconds": seconds}
        assert refusals(POD, {"spec": spec}) == [
            f"spec.maxExpirationSeconds: Invalid value: {seconds}: must be in the range [3600, {longest}]"
        ]
    assert len(refusals(POD, {"spec": {**good, "podUID": "v"}}, old={"spec": good})) == 1


def verdict(kind, status="True"):
    return {
        "type": kind,
        "status": status,
        "reason": "R",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def said(status, before=None):
    errors = pod_requests.status({"status": status}, {"status": before or {}})
    return [str(error) for error in errors]


def test_answers_to_requests_of_pods():
    times = dict.fromkeys(("notBefore", "notAfter", "beginRefreshAt"), "2026-01-01T00:00:00Z")
    chain = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    issued = {"conditions": [verdict("Issued")], "certificateChain": chain, **times}
    assert said({}) == []
    assert said(issued) == []
    assert said(issued, issued) == []
    assert "immutable after PodCertificateRequest is issued, denied, or failed" in said({}, issued)[0]
    assert said({"conditions": [verdict("Denied")]}) == []
    assert (
        "non-condition status fields must be empty" in said({**issued, "conditions": [verdict("Failed")]})[0]
    )
    assert said({"conditions": [verdict("Issued"), verdict("Denied")]}) == [
        'status.conditions.[1].type: Invalid value: "Denied": '
        'There may be at most one condition with type "Issued", "Denied", or "Failed"'
    ]
    assert said({"conditions": [verdict("Issued", "False")]}) == [
        'status.conditions.[0].status: Unsupported value: "False": supported values: "True"'
    ]
    assert said({"conditions": [verdict("Other")]}) == [
        'status.conditions.[0].type: Unsupported value: "Other": supported values: "Issued", "Denied", "Failed"'
    ]
    assert "must contain at least one certificate" in said({**issued, "certificateChain": ""})[0]
    other = chain.replace("CERTIFICATE", "KEY")
    assert "must consist entirely of CERTIFICATE" in said({**issued, "certificateChain": chain + other})[0]
    assert said({"conditions": [verdict("Issued")], "certificateChain": chain}) == [
        "status.notBefore: Required value: must be present and consistent with the issued certificate",
        "status.notAfter: Required value: must be present and consistent with the issued certificate",
        "status.beginRefreshAt: Required value: must be present and in the range [notbefore+10min, notafter-10min]",
    ]
