"""The plugins that are off unless somebody switches them on, and the file that tells them more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from served import Client, running

from tiphys.apiserver.admission.chain import Chain
from tiphys.apiserver.admission.configuration import read_configurations
from tiphys.apiserver.settings import ConfigurationError
from tiphys.machinery import yaml
from tiphys.testing.clock import FakeClock

CORE = "/api/v1/namespaces/default"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.fixture
def told(clock: FakeClock, signing_key: bytes, tmp_path: Path) -> Any:
    """A server with plugins switched on, told what stands in `configurations`."""

    @asynccontextmanager
    async def start(*plugins: str, **configurations: Any) -> AsyncIterator[Client]:
        settings: dict[str, Any] = {}
        if configurations:
            settings["admission_control_config_file"] = write(tmp_path, configurations)
        async with running(clock, signing_key, **settings) as server:
            server.writes.chain = Chain(
                enable=plugins,
                configurations=read_configurations(server.settings.admission_control_config_file),
            )
            yield Client(server)

    return start


def write(directory: Path, configurations: dict[str, Any]) -> str:
    plugins = [{"name": name, "configuration": told} for name, told in configurations.items()]
    whole = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins}
    (directory / "admission.yaml").write_bytes(yaml.dump(whole))
    return str(directory / "admission.yaml")


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


async def annotate(client: Client, **annotations: str) -> None:
    await client.patch("/api/v1/namespaces/default", {"metadata": {"annotations": annotations}})


async def refused(client: Client, target: str, body: Any, *, status: int = 403) -> str:
    answer = await client.call("POST", target, body)
    assert answer.status == status, answer.body
    message: str = answer.body["message"]
    return message


async def test_always_pulled(told: Any) -> None:
    async with told("AlwaysPullImages") as client:
        image = {"name": "v", "image": {"reference": "i", "pullPolicy": "Never"}}
        containers = [{"name": "c", "image": "i", "imagePullPolicy": "IfNotPresent"}]
        spec = {"initContainers": [{"name": "a", "image": "i"}], "volumes": [image], "containers": containers}
        made = await client.create(f"{CORE}/pods", pod("p", **spec))
        policies = [
            container["imagePullPolicy"]
            for field in ("initContainers", "containers")
            for container in made["spec"][field]
        ]
        assert policies == ["Always", "Always"]
        assert made["spec"]["volumes"][0]["image"]["pullPolicy"] == "Always"


async def test_tolerations_for_extended_resources(told: Any) -> None:
    async with told("ExtendedResourceToleration") as client:
        amount = {"example.com/b": "1", "example.com/a": "1", "cpu": "1"}
        containers = [{"name": "c", "image": "i", "resources": {"limits": amount, "requests": amount}}]
        held = {"key": "example.com/a", "operator": "Exists", "effect": "NoSchedule"}
        other = {"key": "x", "operator": "Exists"}
        made = await client.create(f"{CORE}/pods", pod("p", containers=containers, tolerations=[other, held]))
        found = [each for each in made["spec"]["tolerations"] if each.get("effect") != "NoExecute"]
        assert found == [other, held, {**held, "key": "example.com/b"}]


async def test_no_new_external_addresses(told: Any) -> None:
    def service(name: str, *addresses: str) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "externalIPs": list(addresses)}}

    async with told() as before:
        await before.create(f"{CORE}/services", service("old", "1.2.3.4", "1.2.3.5"))
        before.server.writes.chain = Chain(enable=("DenyServiceExternalIPs",))
        message = await refused(before, f"{CORE}/services", service("new", "1.2.3.4"))
        assert message == 'services "new" is forbidden: Use of external IPs is denied by admission control'
        await before.patch(f"{CORE}/services/old", {"spec": {"externalIPs": ["1.2.3.5"]}})
        answer = await before.call(
            "PATCH", f"{CORE}/services/old", {"spec": {"externalIPs": ["1.2.3.6"]}}, content_type=STRATEGIC
        )
        assert answer.status == 403
        await before.create(f"{CORE}/services", service("none"))


async def test_anti_affinity_is_about_nodes(told: Any) -> None:
    def apart(key: str) -> dict[str, Any]:
        term = {"topologyKey": key, "labelSelector": {"matchLabels": {"a": "b"}}}
        return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}

    async with told("LimitPodHardAntiAffinityTopology") as client:
        await client.create(f"{CORE}/pods", pod("good", affinity=apart("kubernetes.io/hostname")))
        assert await refused(client, f"{CORE}/pods", pod("bad", affinity=apart("zone"))) == (
            'pods "bad" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone '
            "but only key kubernetes.io/hostname is allowed"
        )


async def test_namespaces_are_made_or_missed(told: Any) -> None:
    body = {"metadata": {"name": "m"}}
    async with told("NamespaceAutoProvision") as client:
        target = "/api/v1/namespaces/fresh/configmaps"
        answer = await client.call("POST", f"{target}?dryRun=All", body)
        assert answer.status == 404
        await client.create(target, body)
        assert (await client.get("/api/v1/namespaces/fresh"))["status"]["phase"] == "Active"
        await client.create("/api/v1/nodes", {"metadata": {"name": "n"}})
    async with told("NamespaceExists") as client:
        message = await refused(client, "/api/v1/namespaces/none/configmaps", body, status=404)
        assert message == 'namespaces "none" not found'
        await client.create(f"{CORE}/configmaps", body)
        await client.delete(f"{CORE}/configmaps/m")


async def test_always_deny_and_always_admit(told: Any) -> None:
    async with told("AlwaysAdmit") as client:
        await client.create(f"{CORE}/configmaps", {"metadata": {"name": "m"}})
    async with told("AlwaysDeny") as client:
        assert await refused(client, f"{CORE}/configmaps", {"metadata": {"name": "m"}}) == (
            'configmaps "m" is forbidden: admission control is denying all modifications'
        )


async def test_node_selectors_of_a_namespace(told: Any) -> None:
    selectors = {"clusterDefaultNodeSelector": "pool=main", "default": "pool=main, disk=ssd, zone=a"}
    async with told("PodNodeSelector", PodNodeSelector={"podNodeSelectorPluginConfig": selectors}) as client:
        made = await client.create(f"{CORE}/pods", pod("p", nodeSelector={"disk": "ssd"}))
        assert made["spec"]["nodeSelector"] == {"pool": "main", "disk": "ssd"}
        assert await refused(client, f"{CORE}/pods", pod("q", nodeSelector={"pool": "x"})) == (
            'pods "q" is forbidden: pod node label selector conflicts with its namespace node label selector'
        )
        assert await refused(client, f"{CORE}/pods", pod("q", nodeSelector={"other": "x"})) == (
            'pods "q" is forbidden: pod node label selector labels conflict with its namespace whitelist'
        )
        await annotate(client, **{"scheduler.alpha.kubernetes.io/node-selector": "zone=a"})
        made = await client.create(f"{CORE}/pods", pod("z"))
        assert made["spec"]["nodeSelector"] == {"zone": "a"}
        await annotate(client, **{"scheduler.alpha.kubernetes.io/node-selector": "zone"})
        assert await refused(client, f"{CORE}/pods", pod("q"), status=500) == "invalid selector: [zone]"


async def test_tolerations_of_a_namespace(told: Any) -> None:
    gpu = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
    configured = {
        "apiVersion": "podtolerationrestriction.admission.k8s.io/v1alpha1",
        "kind": "Configuration",
        "default": [gpu],
        "whitelist": [gpu, {"key": "x", "operator": "Exists"}, {"operator": "Exists", "effect": "NoExecute"}],
    }
    async with told("PodTolerationRestriction", PodTolerationRestriction=configured) as client:
        narrow = {"key": "gpu", "operator": "Equal", "value": "a", "effect": "NoSchedule"}
        made = await client.create(f"{CORE}/pods", pod("p", tolerations=[narrow]))
        assert [each["key"] for each in made["spec"]["tolerations"]] == [
            "node.kubernetes.io/not-ready",
            "node.kubernetes.io/unreachable",
            "gpu",
        ]
        sized = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]
        message = await refused(client, f"{CORE}/pods", pod("q", containers=sized), status=500)
        conflict = "pod tolerations (possibly merged with namespace default tolerations) conflict with its"
        assert message == f"{conflict} cluster allowlist"
        prefix = "scheduler.alpha.kubernetes.io/"
        own = {
            f"{prefix}defaultTolerations": "[]",
            f"{prefix}tolerationsWhitelist": orjson.dumps([gpu]).decode(),
        }
        await annotate(client, **own)
        message = await refused(client, f"{CORE}/pods", pod("q"), status=500)
        assert message == f"{conflict} namespace allowlist"


async def test_events_are_limited(told: Any, clock: FakeClock) -> None:
    limits = [
        {"type": "Namespace", "qps": 1, "burst": 2},
        {"type": "SourceAndObject", "qps": 100, "burst": 100, "cacheSize": 1},
    ]
    group = "eventratelimit.admission.k8s.io/v1alpha1"
    configured = {"apiVersion": group, "kind": "Configuration", "limits": limits}

    def event(name: str) -> dict[str, Any]:
        involved = {"kind": "Pod", "namespace": "default", "name": "p"}
        return {"metadata": {"name": name}, "involvedObject": involved, "reason": "R", "message": "m"}

    async with told("EventRateLimit", EventRateLimit=configured) as client:
        await client.create(f"{CORE}/events", event("a"))
        await client.create(f"{CORE}/events", event("b"))
        assert await refused(client, f"{CORE}/events", event("c"), status=429) == (
            "Too many requests: limit reached on type Namespace for key default"
        )
        await client.create(f"{CORE}/events?dryRun=All", event("c"))
        await clock.advance(1)
        await client.create(f"{CORE}/events", event("c"))


async def test_owners_are_for_those_who_may_delete(told: Any) -> None:
    async with told("OwnerReferencesPermissionEnforcement") as client:
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "patch", "get"]}]
        await client.create(f"{RBAC}/clusterroles", {"metadata": {"name": "writer"}, "rules": rules})
        subjects = [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}]
        role = {"kind": "ClusterRole", "name": "writer", "apiGroup": "rbac.authorization.k8s.io"}
        binding = {"metadata": {"name": "ann"}, "subjects": subjects, "roleRef": role}
        await client.create(f"{RBAC}/clusterrolebindings", binding)
        owner = await client.create(f"{CORE}/pods", pod("owner"))
        reference = {"apiVersion": "v1", "kind": "Pod", "name": "owner", "uid": owner["metadata"]["uid"]}
        ann = client.as_user("ann")

        def owned(name: str, **more: Any) -> dict[str, Any]:
            return {"metadata": {"name": name, "ownerReferences": [{**reference, **more}]}}

        await ann.create(f"{CORE}/configmaps", owned("mine"))
        await ann.create(f"{CORE}/configmaps", {"metadata": {"name": "other"}})
        answer = await ann.call("PATCH", f"{CORE}/configmaps/other", owned("other"), content_type=STRATEGIC)
        assert answer.status == 403
        assert answer.body["message"] == (
            'configmaps "other" is forbidden: cannot set an ownerRef on a resource you can\'t delete: , <nil>'
        )
        await ann.patch(f"{CORE}/configmaps/other", {"metadata": {"labels": {"a": "b"}}})
        assert await refused(ann, f"{CORE}/configmaps", owned("x", blockOwnerDeletion=True)) == (
            'configmaps "x" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource '
            "you can't set finalizers on: , <nil>"
        )
        strange = owned("x", blockOwnerDeletion=True, apiVersion="example.com/v1", kind="Odd")
        assert await refused(ann, f"{CORE}/configmaps", strange) == (
            'configmaps "x" is forbidden: cannot set blockOwnerDeletion in this case because cannot find RESTMapping for '
            'APIVersion example.com/v1 Kind Odd: no matches for kind "Odd" in version "example.com/v1"'
        )
        await client.create(f"{CORE}/configmaps", strange)


def test_where_the_parts_of_a_configuration_are(tmp_path: Path) -> None:
    file = tmp_path / "admission.yaml"
    (tmp_path / "own.yaml").write_text("{apiVersion: v, kind: K}")
    head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
    file.write_text(
        f"{head}- {{name: A, path: own.yaml}}\n- {{name: B, configuration: {{a: b}}}}\n- name: C\n"
    )
    assert read_configurations(str(file)) == {"A": {"apiVersion": "v", "kind": "K"}, "B": {"a": "b"}}
    assert read_configurations("") == {}
    file.write_text("podNodeSelectorPluginConfig: {a: b=c}")
    assert read_configurations(str(file)) == {
        "PodNodeSelector": {"podNodeSelectorPluginConfig": {"a": "b=c"}}
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", "yaml"),
        ("[]", "it is no object"),
        (
            "{kind: K, apiVersion: v}",
            "it is K of v, not an AdmissionConfiguration of apiserver.config.k8s.io/v1",
        ),
        ("odd: 1", 'unknown field "odd"'),
        ("plugins: {}", "plugins: it is no list"),
        ("plugins: [{path: x}]", "plugins[0].name: Required value"),
        ("plugins: [{name: A, paths: x}]", 'unknown field "plugins[0].paths"'),
        ("plugins: [{name: A, configuration: 1}]", "plugins[0].configuration: it is no object"),
        ("plugins: [{name: A, path: none.yaml}]", "none.yaml: No such file or directory"),
    ],
)
def test_files_that_make_no_sense(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "admission.yaml"
    head = "" if text[0] in "[{" else "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"
    file.write_text(head + text)
    with pytest.raises(ConfigurationError) as raised:
        read_configurations(str(file))
    said = str(raised.value)
    assert said.startswith(f"--admission-control-config-file: {tmp_path}")
    assert complaint in said
    assert "\n" not in said
