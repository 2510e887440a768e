"""Endpoints and EndpointSlices over a whole API: what no single plan shows."""

from typing import Any

from tiphys.client.resources import ENDPOINTS, ENDPOINTSLICES, NODES, PODS, SERVICES
from tiphys.controllers import endpoints, endpointslice, endpointslice_mirroring
from tiphys.machinery import meta
from tiphys.machinery.errors import forbidden
from tiphys.testing.world import World

Object = dict[str, Any]


def service(**spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "clusterIP": "10.96.0.7",
            "ipFamilies": ["IPv4"],
            "selector": {"app": "web"},
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}],
            **spec,
        },
    }


async def make_pods(world: World, numbers: range, *, ready: bool = True) -> None:
    for number in numbers:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"p{number:04}", "namespace": "default", "labels": {"app": "web"}},
            "spec": {"containers": [], "nodeName": "node-1"},
        }
        made = await world.client.create(PODS, pod)
        address = f"10.{number >> 8}.{number & 255}.9"
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
        world.set_pod(made, status=status)


async def begin(world: World) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}
    await world.client.create(NODES, node)
    await world.start(endpointslice.CONTROLLER, endpoints.CONTROLLER)


def sizes(world: World) -> list[int]:
    return sorted(len(slice["endpoints"]) for slice in world.api.objects(ENDPOINTSLICES))


def writes(world: World) -> int:
    return sum(method != "GET" and "endpoint" in path for method, path in world.api.requests)


async def test_a_hundred_are_in_a_slice_and_a_thousand_in_endpoints(world: World) -> None:
    await make_pods(world, range(1005))
    await world.client.create(SERVICES, service())
    await begin(world)
    assert sizes(world) == [5, *[100] * 10]
    [told] = world.api.objects(ENDPOINTS)
    assert len(told["subsets"][0]["addresses"]) == 1000
    assert meta.annotations(told)[endpoints.OVER_CAPACITY] == "truncated"

    before = writes(world)
    for pod in world.pods()[:10]:
        await world.client.delete(PODS, meta.name(pod), "default", grace_period_seconds=0)
    await world.settle()
    assert sum(sizes(world)) == 995
    [told] = world.api.objects(ENDPOINTS)
    assert len(told["subsets"][0]["addresses"]) == 995
    assert endpoints.OVER_CAPACITY not in meta.annotations(told)
    assert writes(world) > before


async def test_new_ones_go_into_a_slice_that_has_room(world: World) -> None:
    await make_pods(world, range(130))
    await world.client.create(SERVICES, service())
    await begin(world)
    assert sizes(world) == [30, 100]
    await make_pods(world, range(130, 140))
    await world.settle()
    assert sizes(world) == [40, 100]


async def test_nothing_is_written_for_what_endpoints_do_not_tell(world: World) -> None:
    await make_pods(world, range(2))
    await world.client.create(SERVICES, service())
    await begin(world)
    before = writes(world)
    for pod in world.pods():
        world.set_pod(pod, status={**pod["status"], "containerStatuses": []})
    await world.settle(3600)
    assert writes(world) == before


async def test_a_pod_leaves_when_its_labels_do(world: World) -> None:
    await make_pods(world, range(2))
    await world.client.create(SERVICES, service())
    await begin(world)
    [first, _] = world.pods()
    world.set_pod(first, metadata={**first["metadata"], "labels": {"app": "other"}})
    await world.settle()
    assert sizes(world) == [1]
    await world.client.patch(SERVICES, "web", {"spec": {"selector": {"app": "other"}}}, "default")
    await world.settle()
    [slice] = world.api.objects(ENDPOINTSLICES)
    assert [each["targetRef"]["name"] for each in slice["endpoints"]] == [meta.name(first)]


async def test_pods_of_a_node_that_comes_later(world: World) -> None:
    await make_pods(world, range(2))
    await world.client.create(SERVICES, service())
    await world.start(endpointslice.CONTROLLER)
    assert sizes(world) == [0]
    labels = {endpointslice.ZONE: "east"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1", "labels": labels}}
    await world.client.create(NODES, node)
    await world.settle()
    [slice] = world.api.objects(ENDPOINTSLICES)
    assert [each["zone"] for each in slice["endpoints"]] == ["east", "east"]


async def test_endpoints_go_with_their_service_and_others_stay(world: World) -> None:
    """Whoever writes Endpoints for no Service, or for one without a selector, keeps them."""
    own = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "own", "namespace": "default"}}
    label, value = endpoints.MANAGED_BY
    left = {**own, "metadata": {"name": "left", "namespace": "default", "labels": {label: value}}}
    await world.client.create(ENDPOINTS, own)
    await world.client.create(ENDPOINTS, left)
    await world.client.create(SERVICES, service())
    await begin(world)
    assert sorted(map(meta.name, world.api.objects(ENDPOINTS))) == ["own", "web"]
    await world.client.delete(SERVICES, "web", "default")
    await world.settle()
    assert list(map(meta.name, world.api.objects(ENDPOINTS))) == ["own"]


async def test_what_somebody_deletes_is_made_again(world: World) -> None:
    await make_pods(world, range(1))
    await world.client.create(SERVICES, service())
    await begin(world)
    [slice] = world.api.objects(ENDPOINTSLICES)
    await world.client.delete(ENDPOINTSLICES, meta.name(slice), "default")
    await world.client.delete(ENDPOINTS, "web", "default")
    await world.settle()
    assert sizes(world) == [1]
    assert len(world.api.objects(ENDPOINTS)) == 1


async def test_a_failure_is_told(world: World) -> None:
    error = forbidden(ENDPOINTS.group_resource, "web", "no room")
    world.api.refuse(lambda method, path: method == "POST" and "/endpoint" in path, error)
    await world.client.create(SERVICES, service())
    await begin(world)
    told = {(reason, message) for _, reason, message in world.events()}
    start = "Error updating Endpoint Slices for Service default/web: failed to create EndpointSlice"
    assert ("FailedToUpdateEndpointSlices", f"{start} for Service default/web: {error}") in told
    assert (
        "FailedToCreateEndpoint",
        f"Failed to create endpoint for service default/web: {error}",
    ) in told


async def test_endpoints_of_somebody_else_are_mirrored(world: World) -> None:
    own = service()
    del own["spec"]["selector"]
    ports = [{"port": 1, "protocol": "TCP"}]
    metadata = {"name": "web", "namespace": "default"}
    told = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
    await world.client.create(
        ENDPOINTS, {**told, "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": ports}]}
    )
    await begin(world)
    await world.start(endpointslice_mirroring.CONTROLLER)
    assert sizes(world) == []
    await world.client.create(SERVICES, own)
    await world.settle()
    assert sizes(world) == [1]
    addresses = [{"ip": f"10.{number >> 8}.{number & 255}.1"} for number in range(1001)]
    subsets = [{"addresses": addresses, "ports": ports}]
    await world.client.patch(ENDPOINTS, "web", {"subsets": subsets}, "default")
    await world.settle()
    assert sizes(world) == [1000]
    assert "TooManyAddressesToMirror" in {reason for _, reason, _ in world.events()}
    other = [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 2, "protocol": "TCP"}]}]
    for subsets in (other, other * 2):
        await world.client.patch(ENDPOINTS, "web", {"subsets": subsets}, "default")
        await world.settle()
    before = writes(world)
    await world.settle(3600)
    assert writes(world) == before
    assert sizes(world) == [1]
    await world.client.delete(ENDPOINTS, "web", "default")
    await world.settle()
    assert sizes(world) == []
