"""Certificate requests: who may write what of them, and what is refused; trust bundles."""

from base64 import b64encode

import pytest

from tiphys.api.certificates import prepare, validation

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
    assert refusals(POD, {"spec": {**good, "podUID": ""}}) == ["spec.podUID: Required value"]
    assert len(refusals(POD, {"spec": {**good, "podUID": "v"}}, old={"spec": good})) == 1
