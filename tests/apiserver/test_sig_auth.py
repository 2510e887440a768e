"""The [sig-auth] entries of the conformance suite that need no containers, in their own order of steps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from minimal import minimal
from served import MERGE_PATCH, Client, Object

from tiphys.api.scheme import built_in
from tiphys.machinery.gvk import GroupVersionKind

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
CSR = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"


@pytest.mark.conformance("Certificates API [Privileged:ClusterAdmin] should support CSR API operations")
async def test_certificates_api_should_support_csr_api_operations(client: Client) -> None:
    groups = await client.get("/apis")
    assert "certificates.k8s.io" in [group["name"] for group in groups["groups"]]
    document = await client.get("/apis/certificates.k8s.io/v1")
    verbs = {each["name"]: set(each["verbs"]) for each in document["resources"]}
    everything = {"create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"}
    assert everything <= verbs["certificatesigningrequests"]
    for part in ("approval", "status"):
        assert verbs[f"certificatesigningrequests/{part}"] == {"get", "update", "patch"}
    row = built_in().by_kind(GroupVersionKind("certificates.k8s.io", "v1", "CertificateSigningRequest"))
    assert row is not None
    labelled = {**minimal(row), "metadata": {"generateName": "e2e-", "labels": {"test": "csr"}}}
    watch = await client.watch(f"{CSR}?watch=1&labelSelector=test%3Dcsr")
    one, two = await client.create(CSR, labelled), await client.create(CSR, labelled)
    name = one["metadata"]["name"]
    assert (await client.get(f"{CSR}/{name}"))["metadata"]["uid"] == one["metadata"]["uid"]
    assert len((await client.get(f"{CSR}?labelSelector=test%3Dcsr"))["items"]) == 2
    patched = await client.patch(f"{CSR}/{name}", {"metadata": {"annotations": {"patched": "true"}}})
    assert patched["metadata"]["annotations"] == {"patched": "true"}
    patched["metadata"]["annotations"]["updated"] = "true"
    updated = await client.put(f"{CSR}/{name}", patched)
    assert updated["metadata"]["annotations"] == {"patched": "true", "updated": "true"}
    condition = {"type": "Approved", "status": "True", "reason": "E2E", "message": "Set from an e2e test"}
    updated["status"] = {"conditions": [condition]}
    approved = await client.put(f"{CSR}/{name}/approval", updated)
    assert approved["status"]["conditions"][0]["type"] == "Approved"
    status = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"certificate": "AA=="}}
    signed = await client.patch(f"{CSR}/{name}/status", status, MERGE_PATCH)
    assert signed["status"]["certificate"] == "AA=="
    assert (await client.get(f"{CSR}/{name}/status"))["status"]["certificate"] == "AA=="
    await client.delete(f"{CSR}/{name}")
    assert (await client.call("GET", f"{CSR}/{name}")).status == 404
    await client.delete(f"{CSR}?labelSelector=test%3Dcsr")
    assert (await client.call("GET", f"{CSR}/{two['metadata']['name']}")).status == 404
    kinds = [kind for kind, _ in watch.events()]
    assert kinds[:2] == ["ADDED", "ADDED"]
    assert kinds[-2:] == ["DELETED", "DELETED"]


@pytest.mark.conformance(
    "ServiceAccounts ServiceAccountIssuerDiscovery should support OIDC discovery of service account issuer"
)
async def test_service_account_issuer_discovery(client: Client) -> None:
    """A pod that verifies its own token by these documents: what it needs of them, with the permissions that it has."""
    account = client.as_user(
        "system:serviceaccount:default:default", "system:serviceaccounts", "system:authenticated"
    )
    found = await account.call("GET", "/.well-known/openid-configuration")
    assert found.headers["content-type"] == "application/json"
    assert list(found.body) == [
        "issuer",
        "jwks_uri",
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
    ]
    keys = await account.call("GET", "/openid/v1/jwks")
    assert keys.headers["content-type"] == "application/jwk-set+json"
    assert keys.headers["cache-control"] == "public, max-age=3600"
    from tiphys.apiserver.authentication.jose import keys_of_set, parse

    made = await client.create(f"{ACCOUNTS}/default/token", {"spec": {}})
    token = parse(made["status"]["token"])
    assert token.claims["iss"] == found.body["issuer"]
    assert any(key.verify(token) for key in keys_of_set(json.loads(keys.raw)))
    assert (await client.anonymous().call("GET", "/openid/v1/jwks")).status == 403


@pytest.mark.conformance(
    "ServiceAccounts should create a serviceAccountToken and ensure a successful TokenReview"
)
async def test_should_create_a_service_account_token_and_ensure_a_successful_token_review(
    client: Client,
) -> None:
    await client.create(ACCOUNTS, {"metadata": {"name": "e2e"}})
    made = await client.create(f"{ACCOUNTS}/e2e/token", {"spec": {}})
    review = {"metadata": {"name": "review"}, "spec": {"token": made["status"]["token"]}}
    found = await client.create("/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert found["status"]["authenticated"] is True
    assert "error" not in found["status"]


@pytest.mark.conformance("ServiceAccounts should run through the lifecycle of a ServiceAccount")
async def test_should_run_through_the_lifecycle_of_a_service_account(client: Client) -> None:
    watch = await client.watch(f"{ACCOUNTS}?watch=1&labelSelector=test%3Dstatic")
    await client.create(ACCOUNTS, {"metadata": {"name": "e2e", "labels": {"test": "static"}}})
    await client.patch(f"{ACCOUNTS}/e2e", {"automountServiceAccountToken": False})
    listed = await client.get("/api/v1/serviceaccounts?labelSelector=test%3Dstatic")
    assert [each["automountServiceAccountToken"] for each in listed["items"]] == [False]
    await client.delete(f"{ACCOUNTS}?labelSelector=test%3Dstatic")
    assert [kind for kind, _ in watch.events()] == ["ADDED", "MODIFIED", "DELETED"]


@pytest.mark.conformance("ServiceAccounts should update a ServiceAccount")
async def test_should_update_a_service_account(client: Client) -> None:
    made = await client.create(ACCOUNTS, {"metadata": {"name": "e2e"}})
    assert "automountServiceAccountToken" not in made
    await client.put(f"{ACCOUNTS}/e2e", {**made, "automountServiceAccountToken": True})
    assert (await client.get(f"{ACCOUNTS}/e2e"))["automountServiceAccountToken"] is True


@pytest.mark.conformance("ServiceAccounts should allow opting out of API token automount")
@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounted"),
    [
        (None, None, True), (None, True, True), (None, False, False),
        (True, None, True), (True, True, True), (True, False, True),
        (False, None, False), (False, True, False), (False, False, False),
    ],
)  # fmt: skip
async def test_should_allow_opting_out_of_api_token_automount(
    client: Client, *, of_pod: bool | None, of_account: bool | None, mounted: bool
) -> None:
    def with_choice(obj: Object, choice: bool | None) -> Object:
        return obj if choice is None else {**obj, "automountServiceAccountToken": choice}

    await client.create(ACCOUNTS, with_choice({"metadata": {"name": "e2e"}}, of_account))
    spec: Any = {"serviceAccountName": "e2e", "containers": [{"name": "token-test", "image": "agnhost"}]}
    pod = await client.create(
        "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": with_choice(spec, of_pod)}
    )
    mounts = pod["spec"]["containers"][0].get("volumeMounts") or []
    wanted = ["/var/run/secrets/kubernetes.io/serviceaccount"] if mounted else []
    assert [mount["mountPath"] for mount in mounts] == wanted


@pytest.mark.conformance("SubjectReview should support SubjectReview API operations")
async def test_should_support_subject_review_api_operations(client: Client) -> None:
    await client.create(ACCOUNTS, {"metadata": {"name": "e2e"}})
    name = "system:serviceaccount:default:e2e"
    groups = ["system:authenticated", "system:serviceaccounts", "system:serviceaccounts:default"]
    attributes = {"verb": "list", "resource": "configmaps", "namespace": "default", "version": "v1"}
    spec = {"spec": {"user": name, "groups": groups, "resourceAttributes": attributes}}
    review = await client.create(f"{AUTHORIZATION}/subjectaccessreviews", spec)
    local = await client.create(f"{AUTHORIZATION}/namespaces/default/localsubjectaccessreviews", spec)
    answer = await client.call("GET", "/api/v1/namespaces/default/configmaps", impersonate_user=name)
    assert [review["status"]["allowed"], local["status"]["allowed"]] == [answer.status == 200] * 2
    assert answer.status == 403
