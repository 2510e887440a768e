"""Who stands behind Services, as controllers say it in Endpoints and EndpointSlices, while real pods come and go.

Simulated pods have addresses of this machine's own, which are no endpoints.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from e2e_cluster import Cluster, wait_for
from pod_world import Object, PodWorld
from pod_world import pod as bare_pod

pytestmark = pytest.mark.real

NAMED = "kubernetes.io/service-name"


def service(name: str, selector: Object | None, *ports: Object) -> Object:
    spec: Object = {"ports": list(ports or ({"name": "http", "port": 80, "targetPort": 8080},))}
    if selector is not None:
        spec["selector"] = selector
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> Iterator[PodWorld]:
    yield from PodWorld.beside_others(cluster, "endpoints")


def pod(name: str, labels: Object, *ports: Object) -> Object:
    made = bare_pod(name, "sleep 100000", own={"ports": list(ports)}, terminationGracePeriodSeconds=0)
    made["metadata"]["labels"] = labels
    return made


def slices(found: list[Object], name: str) -> list[Object]:
    return [each for each in found if each["metadata"]["labels"].get(NAMED) == name]


def told(found: list[Object], name: str) -> set[tuple[str, str, int]]:
    """(pod, name of the port, port) as slices have it."""
    return {
        (endpoint["targetRef"]["name"], port["name"], port["port"])
        for each in slices(found, name)
        for endpoint in each.get("endpoints") or ()
        for port in each.get("ports") or ()
    }


def told_of_old(endpoints: Object) -> set[tuple[str, str, int]]:
    """The same, as Endpoints have it."""
    return {
        (address["targetRef"]["name"], port["name"], port["port"])
        for subset in endpoints.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset["ports"]
    }


def seen(world: PodWorld) -> tuple[list[Object], dict[str, Object]]:
    """All EndpointSlices, and Endpoints by name."""
    found = world.cluster.get("endpointslices,endpoints", "-n", world.namespace)["items"]
    endpoints = {each["metadata"]["name"]: each for each in found if each["kind"] == "Endpoints"}
    return [each for each in found if each["kind"] == "EndpointSlice"], endpoints


def until_told(world: PodWorld, name: str, *wanted: tuple[str, str, int]) -> None:
    """By both."""

    def is_told() -> bool:
        found, endpoints = seen(world)
        return (
            bool(slices(found, name))
            and told(found, name) == set(wanted)
            and name in endpoints
            and told_of_old(endpoints[name]) == set(wanted)
        )

    wait_for(is_told, f"{wanted} stand behind {name}")


def is_forgotten(world: PodWorld, name: str) -> None:
    world.kubectl("delete", "service", name)

    def is_gone() -> bool:
        found, endpoints = seen(world)
        return not slices(found, name) and name not in endpoints

    wait_for(is_gone, f"nobody tells of {name} any more")


@pytest.mark.conformance(
    "EndpointSlice should create and delete EndpointSlices for a Service with a selector that matches no pods"
)
@pytest.mark.conformance(
    "EndpointsController should create and delete Endpoints for a Service with a selector that matches no pods"
)
def test_a_service_of_nobody(world: PodWorld) -> None:
    world.create(service("nobody", {"does": "not-match-anything"}))
    until_told(world, "nobody")
    is_forgotten(world, "nobody")


@pytest.mark.conformance(
    "EndpointSlice should create Endpoints and EndpointSlices for Pods matching a Service"
)
@pytest.mark.conformance("EndpointsController should create Endpoints for Pods matching a Service")
def test_pods_behind_services(world: PodWorld) -> None:
    world.create(pod("pod1", {"foo": "bar", "baz": "qux"}, {"name": "example-name", "containerPort": 3000}))
    world.create(pod("pod2", {"foo": "bar"}, {"name": "example-name", "containerPort": 3001}))
    by_name = {"name": "example", "port": 80, "targetPort": "example-name", "protocol": "TCP"}
    by_number = {"name": "example-no-match", "port": 80, "targetPort": 3000, "protocol": "TCP"}
    world.create(service("int-port", {"foo": "bar", "baz": "qux"}, by_number))
    world.create(service("named-port", {"foo": "bar"}, by_name))
    until_told(world, "int-port", ("pod1", "example-no-match", 3000))
    until_told(world, "named-port", ("pod1", "example", 3000), ("pod2", "example", 3001))
    is_forgotten(world, "named-port")


@pytest.mark.conformance("Services should serve a basic endpoint from pods")
def test_endpoints_come_and_go_with_pods(world: PodWorld) -> None:
    world.create(service("basic", {"app": "web"}, {"name": "p", "port": 80, "targetPort": 80}))
    until_told(world, "basic")
    names = ("basic1", "basic2")
    for count, name in enumerate(names, 1):
        world.create(pod(name, {"app": "web"}, {"containerPort": 80}))
        until_told(world, "basic", *((each, "p", 80) for each in names[:count]))
    world.kubectl("delete", "pod", "basic1")
    until_told(world, "basic", ("basic2", "p", 80))
    world.kubectl("delete", "pod", "basic2")
    until_told(world, "basic")


@pytest.mark.conformance("Services should serve multiport endpoints from pods")
def test_endpoints_of_two_ports(world: PodWorld) -> None:
    ports = [{"name": f"portname{at}", "port": 79 + at, "targetPort": f"svc{at}"} for at in (1, 2)]
    world.create(service("multi", {"app": "multi"}, *ports))
    until_told(world, "multi")
    first, second = ("multi1", "portname1", 100), ("multi2", "portname2", 101)
    world.create(pod("multi1", {"app": "multi"}, {"name": "svc1", "containerPort": 100}))
    until_told(world, "multi", first)
    world.create(pod("multi2", {"app": "multi"}, {"name": "svc2", "containerPort": 101}))
    until_told(world, "multi", first, second)
    world.kubectl("delete", "pod", "multi1")
    until_told(world, "multi", second)
    world.kubectl("delete", "pod", "multi2")
    until_told(world, "multi")


@pytest.mark.conformance(
    "EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete"
)
def test_endpoints_by_hand_are_mirrored(world: PodWorld) -> None:
    def mirrored(*wanted: tuple[str, int]) -> None:
        def is_mirrored() -> bool:
            found = {
                (address, port["port"])
                for each in slices(seen(world)[0], "mine")
                for endpoint in each.get("endpoints") or ()
                for address in endpoint["addresses"]
                for port in each["ports"]
            }
            return found == set(wanted)

        wait_for(is_mirrored, f"slices say {wanted}")

    def endpoints(ip: str, port: int) -> Object:
        subset = {"addresses": [{"ip": ip}], "ports": [{"port": port}]}
        return {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "mine"}, "subsets": [subset]}

    world.create(service("mine", None))
    world.create(endpoints("10.1.2.3", 9090))
    mirrored(("10.1.2.3", 9090))
    world.kubectl("apply", "-f", "-", input=json.dumps(endpoints("10.2.3.4", 8080)))
    mirrored(("10.2.3.4", 8080))
    world.kubectl("delete", "endpoints", "mine")
    mirrored()


@pytest.mark.conformance("Service endpoints latency should not be very high")
def test_many_services_have_their_endpoints(world: PodWorld) -> None:
    world.create(pod("pause", {"app": "pause"}, {"containerPort": 80}))
    world.until("pause", lambda found: found["status"]["phase"] == "Running")
    port = {"name": "p", "port": 80, "targetPort": 80}
    names = [f"latency-{number}" for number in range(100)]
    world.create(*(service(name, {"app": "pause"}, port) for name in names))

    def have_all() -> bool:
        _, endpoints = seen(world)
        return all(
            name in endpoints and told_of_old(endpoints[name]) == {("pause", "p", 80)} for name in names
        )

    wait_for(have_all, "all of them have their endpoint")
