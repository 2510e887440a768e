"""What the server tells of itself: version, discovery, media types that a kind cannot be shown in."""

from __future__ import annotations

import re

import pytest
from served import Client

KNOWN = {
    "": {"v1": "namespaces"},
    "admissionregistration.k8s.io": {"v1": "validatingwebhookconfigurations"},
    "apiextensions.k8s.io": {"v1": "customresourcedefinitions"},
    "apiregistration.k8s.io": {"v1": "apiservices"},
    "apps": {"v1": "deployments"},
    "authentication.k8s.io": {"v1": "tokenreviews"},
    "authorization.k8s.io": {"v1": "selfsubjectaccessreviews"},
    "autoscaling": {"v1": "horizontalpodautoscalers", "v2": "horizontalpodautoscalers"},
    "batch": {"v1": "jobs"},
    "certificates.k8s.io": {"v1": "certificatesigningrequests"},
    "coordination.k8s.io": {"v1": "leases"},
    "discovery.k8s.io": {"v1": "endpointslices"},
    "events.k8s.io": {"v1": "events"},
    "networking.k8s.io": {"v1": "ingresses"},
    "node.k8s.io": {"v1": "runtimeclasses"},
    "policy": {"v1": "poddisruptionbudgets"},
    "scheduling.k8s.io": {"v1": "priorityclasses"},
    "storage.k8s.io": {"v1": "csinodes"},
}


@pytest.mark.conformance("server version should find the server version")
async def test_the_version_is_numbers(client: Client) -> None:
    version = await client.get("/version")
    assert re.fullmatch("[1-9]", version["major"])
    assert re.fullmatch("[0-9]+", version["minor"])


@pytest.mark.conformance("Discovery should validate PreferredVersion for each APIGroup")
async def test_preferred_versions(client: Client) -> None:
    groups = (await client.get("/apis/"))["groups"]
    assert groups
    for group in groups:
        found = await client.get(f"/apis/{group['name']}/")
        assert found["preferredVersion"] in found["versions"]


@pytest.mark.conformance("Discovery should locate the groupVersion and a resource within each APIGroup")
@pytest.mark.parametrize("group", KNOWN)
async def test_known_resources(client: Client, group: str) -> None:
    for version, resource in KNOWN[group].items():
        found = await client.get(f"/apis/{group}/{version}" if group else f"/api/{version}")
        assert found["groupVersion"] == (f"{group}/{version}" if group else version)
        assert resource in [each["name"] for each in found["resources"]]


@pytest.mark.conformance(
    "Servers with support for Table transformation should return a 406 for a backend which does not implement metadata"
)
async def test_a_review_has_no_table(client: Client) -> None:
    review = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    answer = await client.call(
        "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review,
        accept="application/json;as=Table;v=v1;g=meta.k8s.io",
    )  # fmt: skip
    assert (answer.status, answer.body["reason"], answer.body["code"]) == (406, "NotAcceptable", 406)
