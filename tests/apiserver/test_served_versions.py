"""--runtime-config: which versions are served, and that objects outlive the switches."""

from __future__ import annotations

import re

import pytest
from served import Client, running

from tiphys.api.scheme import OPTIONAL_GROUPS, built_in
from tiphys.apiserver.features import POD_CERTIFICATE_REQUEST, is_on
from tiphys.apiserver.served_versions import served_scheme
from tiphys.apiserver.settings import ConfigurationError, Settings
from tiphys.store.memory import MemoryStore
from tiphys.testing.clock import FakeClock

Told = tuple[tuple[str, str], ...]
POLICIES = "/apis/admissionregistration.k8s.io/{}/mutatingadmissionpolicies"
MAP = {
    "metadata": {"name": "m"},
    "spec": {
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["configmaps"],
                }
            ]
        },
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": "Object{data: {'a': 'b'}}"},
            }
        ],
    },
}


def versions(*told: tuple[str, str]) -> set[str]:
    """The versions that are not stable and served all the same, as far as something of them is."""
    scheme = served_scheme(Settings(b"", optional_groups=OPTIONAL_GROUPS, runtime_config=told))
    assert {each.group for each in scheme.group_versions()} >= {"", "apps", "rbac.authorization.k8s.io"}
    return {str(each) for each in scheme.group_versions() if re.search("alpha|beta", each.version)}


def test_stages_versions_and_resources() -> None:
    everything = versions()
    assert "metrics.k8s.io/v1beta1" in everything
    assert versions(("api/all", "true")) == everything
    assert versions(("api/alpha", "false")) == {each for each in everything if "beta" in each}
    # What upstream's server serves when nobody tells it anything, and the metrics that another serves there.
    stable: Told = (("api/alpha", "false"), ("api/beta", "false"))
    assert versions(*stable) == {"metrics.k8s.io/v1beta1"}
    one_version: Told = (("api/all", "false"), ("resource.k8s.io/v1beta2", "true"))
    assert versions(*one_version) == {"metrics.k8s.io/v1beta1", "resource.k8s.io/v1beta2"}
    # Stages count in their order: all, stable, beta, alpha.
    assert versions(("api/beta", "true"), ("api/all", "false")) == {
        each for each in everything if "beta" in each
    }
    # A version, whatever the order in which it is told; and one resource of another.
    chosen = ("resource.k8s.io/v1beta2", "true")
    assert versions(chosen, *stable) == {"metrics.k8s.io/v1beta1", "resource.k8s.io/v1beta2"}
    one = ("certificates.k8s.io/v1beta1/clustertrustbundles", "true")
    told = Settings(b"", runtime_config=(*stable, one))
    rows = [
        row.plural for row in served_scheme(told) if str(row.group_version) == "certificates.k8s.io/v1beta1"
    ]
    assert rows == ["clustertrustbundles"]


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("nope.example.com/v1", "unknown api groups nope.example.com"),
        ("batch/v7alpha1", "group version batch/v7alpha1 that has not been registered"),
    ],
)
def test_what_is_not_there_is_said(key: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        served_scheme(Settings(b"", runtime_config=((key, "true"),)))
    assert str(raised.value) == f"--runtime-config: {complaint}"


async def test_objects_are_still_stored_in_versions_that_are_not_served(
    clock: FakeClock, signing_key: bytes
) -> None:
    class Kept(MemoryStore):
        async def close(self) -> None:
            """Another server comes."""

    store = Kept()
    async with running(clock, signing_key, store=store) as server:
        await Client(server).create(POLICIES.format("v1beta1"), MAP)
    stable = (("api/alpha", "false"), ("api/beta", "false"))
    async with running(clock, signing_key, store=store, runtime_config=stable) as server:
        client = Client(server)
        for version in ("v1alpha1", "v1beta1"):
            assert (await client.call("GET", POLICIES.format(version))).status == 404
        (found,) = (await client.get(POLICIES.format("v1")))["items"]
        assert found["metadata"]["name"] == "m"
        changed = await client.patch(f"{POLICIES.format('v1')}/m", {"metadata": {"labels": {"a": "b"}}})
        assert {each["apiVersion"] for each in changed["metadata"]["managedFields"]} == {
            "admissionregistration.k8s.io/v1beta1",
            "admissionregistration.k8s.io/v1",
        }
        groups = {group["name"]: group for group in (await client.get("/apis"))["groups"]}
        assert "internal.apiserver.k8s.io" not in groups
        assert [each["version"] for each in groups["admissionregistration.k8s.io"]["versions"]] == ["v1"]
        paths = (await client.get("/openapi/v3"))["paths"]
        assert not [path for path in paths if re.search("alpha|beta", path)]


def test_every_version_that_is_stored_is_known_when_only_stable_ones_are_served() -> None:
    scheme = served_scheme(Settings(b"", runtime_config=(("api/alpha", "false"), ("api/beta", "false"))))
    for row in scheme:
        assert scheme.stored_row(row).group_kind is not None
    assert len(scheme) < len(built_in())


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((), False),
        ((("AllBeta", "true"),), True),
        ((("AllAlpha", "true"),), False),
        ((("PodCertificateRequest", "true"),), True),
        ((("PodCertificateRequest", "false"), ("AllBeta", "true")), False),
    ],
)
def test_feature_gates(told: Told, expected: bool) -> None:
    assert is_on(Settings(b"", feature_gates=told), POD_CERTIFICATE_REQUEST) is expected


STATEFUL_SETS = "/apis/apps/v1/namespaces/default/statefulsets"
LABELS = {"app": "x"}


def stateful(**rolling: object) -> dict[str, object]:
    containers = [{"name": "c", "image": "i"}]
    spec = {
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": containers}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
    }
    return {"metadata": {"name": "web"}, "spec": spec}


async def test_a_field_behind_a_gate(clock: FakeClock, signing_key: bytes) -> None:
    class Kept(MemoryStore):
        async def close(self) -> None:
            """Another server comes."""

    store = Kept()
    one = f"{STATEFUL_SETS}/web"
    async with running(clock, signing_key, store=store) as server:
        client = Client(server)
        made = await client.create(STATEFUL_SETS, stateful(maxUnavailable=2))
        assert made["spec"]["updateStrategy"]["rollingUpdate"] == {"partition": 0}
    gate = (("MaxUnavailableStatefulSet", "true"),)
    async with running(clock, signing_key, store=store, feature_gates=gate) as server:
        client = Client(server)
        touched = await client.patch(one, {"metadata": {"labels": {"a": "b"}}})
        rolling = touched["spec"]["updateStrategy"]["rollingUpdate"]
        assert rolling == {"partition": 0, "maxUnavailable": 1}
        patch = {"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "50%"}}}}
        changed = await client.patch(one, patch)
        assert changed["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "50%"
    async with running(clock, signing_key, store=store) as server:
        client = Client(server)
        patch = {"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 3}}}}
        changed = await client.patch(one, patch)
        assert changed["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == 3
