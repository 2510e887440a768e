"""The control plane as one process: all controllers and the scheduler over the real API server, and a hollow kubelet."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tiphys.api.resource import Resource
from tiphys.apiserver.bootstrap import bootstrap
from tiphys.apiserver.local import LocalAPI
from tiphys.apiserver.server import APIServer, Settings
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcessTransport
from tiphys.client.reflector import Informers
from tiphys.client.resources import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    SERVICEACCOUNTS,
    SERVICES,
    VALIDATINGADMISSIONPOLICIES,
)
from tiphys.client.transport import STRATEGIC_MERGE_PATCH
from tiphys.controllers import catalog
from tiphys.machinery import meta
from tiphys.scheduler.run import Scheduler
from tiphys.store.memory import MemoryStore
from tiphys.testing.clock import FakeClock

Object = dict[str, Any]
MASTERS = ("system:masters", "system:authenticated")


class Plane:
    """The API server with everything beside it."""

    def __init__(self, server: APIServer, clock: FakeClock) -> None:
        self.clock = clock
        self._local = LocalAPI(server)
        self.client = Client(InProcessTransport(self._local, "admin", MASTERS))
        self.informers = Informers(self.client, clock=clock)
        self._tasks: list[asyncio.Task[None]] = []
        self._addresses: dict[str, str] = {}

    def _address_of(self, pod: str) -> str:
        return self._addresses.setdefault(pod, f"10.244.0.{len(self._addresses) + 2}")

    def _account(self, name: str) -> Client:
        """A client with just the rights of a controller's own account."""
        groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
        return Client(InProcessTransport(self._local, f"system:serviceaccount:kube-system:{name}", groups))

    def start(self) -> None:
        options = catalog.Options(root_ca="PEM")
        works = [
            catalog.run(
                entry.name, options, self.informers, clock=self.clock, client=self._account(entry.account)
            )
            for entry in catalog.enabled()
        ]
        works.append(
            Scheduler(self.informers, clock=self.clock, client=self.client, random=random.Random(1)).run()
        )
        self._tasks = [asyncio.create_task(work) for work in works]

    async def stop(self) -> None:
        for task in self._tasks:
            assert not task.done(), task
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.informers.stop()

    async def until(self, done: Callable[[], Any], seconds: int = 60) -> None:
        for _ in range(seconds * 2):
            await self.play_kubelet()
            await self.clock.advance(0.5)
            if done():
                return
        raise AssertionError("it did not come to that")

    def all(self, resource: Any, namespace: str | None = None) -> list[Object]:
        return list(self.informers.cache(resource).list(namespace))

    async def add_node(self, name: str) -> None:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name},
            "status": {
                "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                "conditions": [self._ready("KubeletReady")],
            },
        }
        await self.client.create(NODES, node)

    def _ready(self, reason: str = "") -> Object:
        now = meta.format_time(self.clock.now())
        more = {"reason": reason, "lastHeartbeatTime": now} if reason else {}
        return {"type": "Ready", "status": "True", "lastTransitionTime": now, **more}

    async def play_kubelet(self) -> None:
        """Bound pods become ready, and what is being deleted goes at once."""
        for pod in self.all(PODS):
            if not (pod.get("spec") or {}).get("nodeName"):
                continue
            name, namespace = meta.name(pod), meta.namespace(pod)
            if meta.is_deleting(pod):
                await self.client.delete(PODS, name, namespace, grace_period_seconds=0)
            elif not meta.is_condition_true(meta.conditions(pod), "Ready"):
                address = self._address_of(name)
                status = {
                    "phase": "Running",
                    "conditions": [self._ready()],
                    "podIP": address,
                    "podIPs": [{"ip": address}],
                }
                await self.client.patch(
                    PODS,
                    name,
                    {"status": status},
                    namespace,
                    content_type=STRATEGIC_MERGE_PATCH,
                    subresource="status",
                )


@asynccontextmanager
async def running() -> AsyncIterator[Plane]:
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    clock, store = FakeClock(), MemoryStore()

    def no_kubelet(node: str, host: str, port: int) -> Any:
        raise AssertionError("nothing here talks to kubelets")

    server = APIServer(store, Settings(key), kubelet_client=no_kubelet, clock=clock, names=random.Random(1))
    server.start()
    await bootstrap(server)
    plane = Plane(server, clock)
    plane.start()
    try:
        yield plane
    finally:
        await plane.stop()
        await server.close()
        await store.close()


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with running() as plane:
        await plane.add_node("n1")
        await plane.until(lambda: plane.all(SERVICEACCOUNTS, "default"))
        yield plane


def deployment(image: str = "web:1", replicas: int = 3) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    }


def reason(plane: Plane, type: str = "Progressing") -> str:
    (web,) = plane.all(DEPLOYMENTS)
    return str((meta.find_condition(meta.conditions(web), type) or {}).get("reason", ""))


def complete(plane: Plane, revision: str) -> bool:
    (web,) = plane.all(DEPLOYMENTS) or [{}]
    status = web.get("status", {})
    return (
        meta.annotations(web).get("deployment.kubernetes.io/revision") == revision
        and status.get("observedGeneration") == meta.generation(web)
        and status.get("availableReplicas") == status.get("replicas") == status.get("updatedReplicas") == 3
        and reason(plane) == "NewReplicaSetAvailable"
    )


async def test_a_deployment_from_manifest_to_rollback_to_nothing(plane: Plane) -> None:
    await plane.client.create(DEPLOYMENTS, deployment())
    await plane.until(lambda: complete(plane, "1"))
    assert {pod["spec"]["nodeName"] for pod in plane.all(PODS)} == {"n1"}
    (web,) = plane.all(DEPLOYMENTS)
    assert meta.generation(web) == 1

    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "web:2"}]}}}}
    await plane.client.patch(DEPLOYMENTS, "web", patch, "default", content_type=STRATEGIC_MERGE_PATCH)
    await plane.until(lambda: complete(plane, "2"))
    assert len(plane.all(REPLICASETS)) == 2
    back = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "web:1"}]}}}}
    await plane.client.patch(DEPLOYMENTS, "web", back, "default", content_type=STRATEGIC_MERGE_PATCH)
    await plane.until(lambda: complete(plane, "3"))
    assert len(plane.all(REPLICASETS)) == 2

    events = (await plane.client.list(EVENTS)).items
    told = {
        (event["reason"], event["source"].get("component") or event["reportingComponent"]) for event in events
    }
    assert {
        ("ScalingReplicaSet", "deployment-controller"),
        ("SuccessfulCreate", "replicaset-controller"),
        ("Scheduled", "default-scheduler"),
    } <= told

    await plane.client.delete(DEPLOYMENTS, "web", "default", propagation="Foreground")
    await plane.until(lambda: not (plane.all(DEPLOYMENTS) or plane.all(REPLICASETS) or plane.all(PODS)))


def behind(plane: Plane) -> list[str]:
    """The ready addresses behind the service `web`: the same in either form."""
    slices = [each for each in plane.all(ENDPOINTSLICES) if meta.name(each).startswith("web-")]
    found = [end for slice in slices for end in slice["endpoints"] or () if end["conditions"]["ready"]]
    addresses = sorted(address for endpoint in found for address in endpoint["addresses"])
    told = [each for each in plane.all(ENDPOINTS) if meta.name(each) == "web"]
    subsets = [subset for each in told for subset in each.get("subsets") or ()]
    in_endpoints = sorted(each["ip"] for subset in subsets for each in subset.get("addresses") or ())
    return addresses if addresses == in_endpoints else []


def service(name: str, *ports: Object, app: str = "web") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": {"team": "a"}},
        "spec": {**({"selector": {"app": app}} if app else {}), "ports": list(ports)},
    }


async def test_a_service_has_its_pods_endpoints_and_none_after_it(plane: Plane) -> None:
    await plane.client.create(SERVICES, service("web", {"port": 80}))
    await plane.client.create(DEPLOYMENTS, deployment())
    await plane.until(lambda: len(behind(plane)) == 3)
    await plane.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 1}}, "default")
    await plane.until(lambda: len(behind(plane)) == 1)
    [slice] = [each for each in plane.all(ENDPOINTSLICES) if meta.name(each).startswith("web-")]
    assert slice["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
    await plane.client.delete(SERVICES, "web", "default")
    await plane.until(lambda: not behind(plane))
    await plane.until(lambda: not [each for each in plane.all(ENDPOINTSLICES) if "web" in meta.name(each)])
    assert not [each for each in plane.all(ENDPOINTS) if meta.name(each) == "web"]


async def test_nothing_is_written_when_nothing_changes(plane: Plane) -> None:
    ports = ({"name": "web", "port": 80}, {"name": "m", "port": 9, "protocol": "UDP"})
    await plane.client.create(SERVICES, service("web", *ports))
    await plane.client.create(SERVICES, service("empty", *ports, app="none"))
    await plane.client.create(SERVICES, service("own", *ports, app=""))
    subsets = [{"addresses": [{"ip": "10.9.9.9"}], "ports": [{"name": "web", "port": 80}]}]
    own = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "own", "namespace": "default"}}
    await plane.client.create(ENDPOINTS, {**own, "subsets": subsets})
    await plane.until(lambda: [each for each in plane.all(ENDPOINTSLICES) if "own-" in meta.name(each)])
    await plane.client.create(DEPLOYMENTS, deployment())
    await plane.until(lambda: complete(plane, "1") and len(behind(plane)) == 3)
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "n1", "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": "n1", "renewTime": "2036-01-01T00:00:00.000000Z"},
    }
    await plane.client.create(LEASES, lease)
    await plane.clock.advance(30)
    before = (await plane.client.list(NODES)).resource_version
    await plane.clock.advance(3600)
    assert (await plane.client.list(NODES)).resource_version == before


async def test_a_namespace_goes_with_all_that_is_in_it(plane: Plane) -> None:
    await plane.client.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
    )
    await plane.until(lambda: plane.all(CONFIGMAPS, "team") and plane.all(SERVICEACCOUNTS, "team"))
    web = deployment()
    web["metadata"]["namespace"] = "team"
    await plane.client.create(DEPLOYMENTS, web)
    await plane.until(lambda: len(plane.all(PODS, "team")) == 3)
    await plane.client.delete(NAMESPACES, "team")
    await plane.until(lambda: "team" not in map(meta.name, plane.all(NAMESPACES)))
    assert plane.all(PODS, "team") == plane.all(DEPLOYMENTS, "team") == plane.all(CONFIGMAPS, "team") == []


async def test_a_node_gets_its_range_and_a_lost_one_is_known(plane: Plane) -> None:
    await plane.until(lambda: plane.all(NODES)[0]["spec"].get("podCIDR") == "10.244.0.0/24")
    await plane.clock.advance(60)
    (node,) = plane.all(NODES)
    ready = meta.find_condition(meta.conditions(node), "Ready") or {}
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert [taint["key"] for taint in node["spec"]["taints"]] == ["node.kubernetes.io/unreachable"]


# Kinds that were made at run time

TAB = Resource(group="example.com", version="v1", kind="Tab", plural="tabs", namespaced=True)
"""What a client knows of such a kind."""


def tab(name: str, namespace: str = "default", **metadata: Any) -> Object:
    where = {"name": name, "namespace": namespace, **metadata}
    return {"apiVersion": "example.com/v1", "kind": "Tab", "metadata": where}


def owned_by(owner: Object) -> Object:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta.name(owner),
        "uid": meta.uid(owner),
    }
    return {"ownerReferences": [reference]}


async def define_tabs(plane: Plane) -> None:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object"}},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "tabs.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "tabs", "kind": "Tab"},
            "versions": [version],
        },
    }
    await plane.client.create(CUSTOMRESOURCEDEFINITIONS, definition)
    await plane.until(
        lambda: any(
            meta.is_condition_true(meta.conditions(each), "Established")
            for each in plane.all(CUSTOMRESOURCEDEFINITIONS)
        )
    )
    await plane.clock.advance(1)


async def test_custom_resources_own_and_are_owned(plane: Plane) -> None:
    await define_tabs(plane)
    owner = await plane.client.create(TAB, tab("owner"))
    configmap = {"apiVersion": "v1", "kind": "ConfigMap"}
    middle = await plane.client.create(
        CONFIGMAPS, {**configmap, "metadata": {"name": "middle", "namespace": "default", **owned_by(owner)}}
    )
    await plane.client.create(TAB, tab("last", **owned_by(middle)))
    await plane.client.create(TAB, tab("free"))
    await plane.until(lambda: len(plane.all(TAB)) == 3)
    await plane.client.delete(TAB, "owner", "default")
    await plane.until(lambda: [meta.name(each) for each in plane.all(TAB)] == ["free"])
    assert not [each for each in plane.all(CONFIGMAPS, "default") if meta.name(each) == "middle"]


async def test_custom_resources_go_with_their_namespace_and_their_definition(plane: Plane) -> None:
    await define_tabs(plane)
    team = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
    await plane.client.create(NAMESPACES, team)
    await plane.client.create(TAB, tab("a", "team"))
    await plane.client.create(TAB, tab("b"))
    await plane.client.delete(NAMESPACES, "team")
    await plane.until(lambda: "team" not in [meta.name(each) for each in plane.all(NAMESPACES)])
    assert [meta.name(each) for each in (await plane.client.list(TAB)).items] == ["b"]
    await plane.client.delete(CUSTOMRESOURCEDEFINITIONS, "tabs.example.com")
    await plane.until(lambda: not plane.all(CUSTOMRESOURCEDEFINITIONS))
    # Nothing that follows all kinds stumbles over the one that is gone, and it may come back.
    await plane.clock.advance(60)
    await define_tabs(plane)
    assert (await plane.client.list(TAB)).items == []


async def test_a_policy_is_checked_against_custom_resources_as_they_are_published(plane: Plane) -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "boats", "kind": "Boat"}
    await plane.client.create(
        CUSTOMRESOURCEDEFINITIONS,
        {
            "metadata": {"name": "boats.sea.example.com"},
            "spec": {
                "group": "sea.example.com",
                "scope": "Namespaced",
                "names": names,
                "versions": [version],
            },
        },
    )
    await plane.clock.advance(1)
    rule = {
        "apiGroups": ["sea.example.com"],
        "apiVersions": ["v1"],
        "operations": ["*"],
        "resources": ["boats"],
    }
    expressions = ["object.spec.size > 1 && object.metadata.name == 'a'", "object.spec.depth > 1"]
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": each} for each in expressions],
    }
    await plane.client.create(VALIDATINGADMISSIONPOLICIES, {"metadata": {"name": "p"}, "spec": spec})

    def status() -> Any:
        return plane.all(VALIDATINGADMISSIONPOLICIES)[0].get("status") or {}

    await plane.until(lambda: status().get("observedGeneration"))
    [warning] = status()["typeChecking"]["expressionWarnings"]
    assert warning == {
        "fieldRef": "spec.validations[1].expression",
        "warning": "sea.example.com/v1, Kind=Boat: ERROR: <input>:1:12: undefined field 'depth'\n"
        " | object.spec.depth > 1\n | ...........^\n",
    }
    written = await plane.client.get(VALIDATINGADMISSIONPOLICIES, "p")
    owners = [(each["manager"], each["operation"]) for each in written["metadata"]["managedFields"]]
    assert ("validatingadmissionpolicy-status-controller", "Apply") in owners
    written["spec"]["validations"] = [{"expression": "object.spec.size > 1"}]
    await plane.client.update(VALIDATINGADMISSIONPOLICIES, written)
    await plane.until(lambda: status().get("observedGeneration") == 2)
    assert status() == {"observedGeneration": 2, "typeChecking": {}}
