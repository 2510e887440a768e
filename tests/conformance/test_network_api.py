"""What the suite asks of the API of Services and their kin, where no pod is needed: an API server is enough."""

from __future__ import annotations

import pytest
from served import MERGE_PATCH, Client, Object
from test_lifecycles import is_gone, lives

CORE = "/api/v1/namespaces/default"
SERVICES = f"{CORE}/services"
NETWORKING = "/apis/networking.k8s.io/v1"
DISCOVERY = "/apis/discovery.k8s.io/v1"
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}


async def is_discovered(client: Client, path: str, plural: str, *, status: bool = False) -> None:
    group = path.split("/")[2]
    groups = {each["name"]: each for each in (await client.get("/apis"))["groups"]}
    for each in (groups[group], await client.get(f"/apis/{group}")):
        assert "v1" in [version["version"] for version in each["versions"]]
    listed = {resource["name"] for resource in (await client.get(path))["resources"]}
    assert plural in listed
    assert not status or f"{plural}/status" in listed


async def has_a_status(client: Client, one: str, first: Object, second: Object) -> None:
    """It is patched, replaced and read by itself."""
    patched = await client.patch(f"{one}/status", {"status": first}, MERGE_PATCH)
    assert patched["status"] == first
    patched["status"] = second
    assert (await client.put(f"{one}/status", patched))["status"] == second
    assert (await client.get(f"{one}/status"))["status"] == second


@pytest.mark.conformance("EndpointSlice should support creating EndpointSlice API operations")
async def test_endpoint_slices(client: Client) -> None:
    await is_discovered(client, DISCOVERY, "endpointslices")
    body = {"addressType": "IPv4", "endpoints": [{"addresses": ["1.2.3.4", "5.6.7.8"]}]}
    await lives(client, f"{DISCOVERY}/namespaces/default/endpointslices", body)
    assert "items" in await client.get(f"{DISCOVERY}/endpointslices")


@pytest.mark.conformance("Ingress API should support creating Ingress API operations")
async def test_ingresses(client: Client) -> None:
    await is_discovered(client, NETWORKING, "ingresses", status=True)
    path = f"{NETWORKING}/namespaces/default/ingresses"
    await lives(client, path, {"spec": {"defaultBackend": BACKEND}})
    rule = {
        "host": "foo.bar.com",
        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]},
    }
    await client.create(path, {"metadata": {"name": "one"}, "spec": {"rules": [rule]}})
    ports = [{"port": 80, "protocol": "TCP"}]
    first, second = (
        {"loadBalancer": {"ingress": [{"ip": ip, "ports": ports}]}} for ip in ("169.1.1.1", "169.1.1.2")
    )
    await has_a_status(client, f"{path}/one", first, second)
    assert "items" in await client.get(f"{NETWORKING}/ingresses")


@pytest.mark.conformance("IngressClass API should support creating IngressClass API operations")
async def test_ingress_classes(client: Client) -> None:
    await is_discovered(client, NETWORKING, "ingressclasses")
    await lives(client, f"{NETWORKING}/ingressclasses", {"spec": {"controller": "example.com/controller"}})


@pytest.mark.conformance("ServiceCIDR and IPAddress API should support IPAddress API operations")
async def test_ip_addresses(client: Client) -> None:
    await is_discovered(client, NETWORKING, "ipaddresses")
    path, chosen = f"{NETWORKING}/ipaddresses", f"{NETWORKING}/ipaddresses?labelSelector=e2e%3Dyes"
    parent = {"parentRef": {"resource": "services", "namespace": "default", "name": "foo"}}

    def made(name: str) -> Object:
        return {"metadata": {"name": name, "labels": {"e2e": "yes"}}, "spec": parent}

    for name in ("192.168.2.1", "192.168.2.2"):
        assert (await client.create(path, made(name)))["metadata"]["name"] == name
        assert (await client.get(f"{path}/{name}"))["spec"] == parent
    listed = await client.get(chosen)
    assert len(listed["items"]) == 2
    watch = await client.watch(f"{chosen}&watch=1&resourceVersion={listed['metadata']['resourceVersion']}")
    one = f"{path}/192.168.2.1"
    patched = await client.patch(one, {"metadata": {"annotations": {"patched": "true"}}}, MERGE_PATCH)
    patched["metadata"]["annotations"]["updated"] = "true"
    updated = await client.put(one, patched)
    assert updated["metadata"]["annotations"] == {"patched": "true", "updated": "true"}
    assert watch.summary() == [("MODIFIED", "192.168.2.1")] * 2
    await client.delete(one)
    await is_gone(client, one)
    await client.delete(chosen)
    assert (await client.get(chosen))["items"] == []


@pytest.mark.conformance("ServiceCIDR and IPAddress API should support ServiceCIDR API operations")
async def test_service_cidrs(client: Client) -> None:
    await is_discovered(client, NETWORKING, "servicecidrs", status=True)
    path, chosen = f"{NETWORKING}/servicecidrs", f"{NETWORKING}/servicecidrs?labelSelector=e2e%3Dyes"
    for name, network in (("first", "10.196.196.0/24"), ("second", "10.197.197.0/24")):
        made = {"metadata": {"name": name, "labels": {"e2e": "yes"}}, "spec": {"cidrs": [network]}}
        assert (await client.create(path, made))["spec"]["cidrs"] == [network]
    listed = await client.get(chosen)
    watch = await client.watch(f"{chosen}&watch=1&resourceVersion={listed['metadata']['resourceVersion']}")
    patched = await client.patch(
        f"{path}/first", {"metadata": {"annotations": {"patched": "true"}}}, MERGE_PATCH
    )
    patched["metadata"]["annotations"]["updated"] = "true"
    await client.put(f"{path}/first", patched)
    assert watch.summary() == [("MODIFIED", "first")] * 2
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "e2e",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    states = [{"conditions": [{**condition, "message": text}]} for text in ("first", "second")]
    await has_a_status(client, f"{path}/first", *states)
    await client.delete(f"{path}/first")
    await is_gone(client, f"{path}/first")
    await client.delete(chosen)
    await is_gone(client, f"{path}/second")
    assert (await client.get(chosen))["items"] == []


@pytest.mark.conformance("Services should complete a service status lifecycle")
async def test_the_status_of_a_service(client: Client) -> None:
    ports = [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}]
    made = {
        "metadata": {"name": "web", "labels": {"e2e": "yes"}},
        "spec": {"type": "LoadBalancer", "ports": ports},
    }
    created = await client.create(SERVICES, made)
    version = created["metadata"]["resourceVersion"]
    watch = await client.watch(f"{SERVICES}?labelSelector=e2e%3Dyes&watch=1&resourceVersion={version}")
    one = f"{SERVICES}/web"
    assert (await client.get(f"{one}/status"))["status"] == {"loadBalancer": {}}
    balanced = {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}
    change = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": balanced}
    patched = await client.patch(f"{one}/status", change, MERGE_PATCH)
    assert patched["status"]["loadBalancer"]["ingress"][0]["ip"] == "203.0.113.1"
    assert patched["metadata"]["annotations"] == {"patchedstatus": "true"}
    condition = {
        "type": "StatusUpdate",
        "status": "True",
        "reason": "E2E",
        "message": "Set from a test",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    patched["status"]["conditions"] = [condition]
    assert (await client.put(f"{one}/status", patched))["status"]["conditions"] == [condition]
    whole = await client.patch(one, {"metadata": {"labels": {"test-service": "patched"}}}, MERGE_PATCH)
    assert whole["metadata"]["labels"]["test-service"] == "patched"
    assert whole["status"]["conditions"] == [condition], "which a patch of the rest leaves as it is"
    await client.delete(one)
    await is_gone(client, one)
    kinds = [kind for kind, _ in watch.summary()]
    assert (kinds[:3], kinds[-1]) == (["MODIFIED"] * 3, "DELETED")


@pytest.mark.conformance("Services should delete a collection of services")
async def test_a_collection_of_services(client: Client) -> None:
    for name, labels in (("a", {"e2e": "yes"}), ("b", {"e2e": "yes"}), ("c", {"e2e": "no"})):
        ports = [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}]
        await client.create(
            SERVICES, {"metadata": {"name": name, "labels": labels}, "spec": {"ports": ports}}
        )
    assert len((await client.get(f"{SERVICES}?labelSelector=e2e"))["items"]) == 3
    await client.delete(f"{SERVICES}?labelSelector=e2e%3Dyes")
    (left,) = (await client.get(f"{SERVICES}?labelSelector=e2e"))["items"]
    assert left["metadata"]["name"] == "c"


@pytest.mark.conformance("Services should find a service from listing all namespaces")
@pytest.mark.conformance("API Server should provide secure master service")
async def test_the_service_of_the_api_server(client: Client) -> None:
    found = [
        each
        for each in (await client.get("/api/v1/services"))["items"]
        if (each["metadata"]["namespace"], each["metadata"]["name"]) == ("default", "kubernetes")
    ]
    assert [(port["name"], port["port"]) for port in found[0]["spec"]["ports"]] == [("https", 443)]


@pytest.mark.conformance("API Server should have Endpoints and EndpointSlices pointing to API Server")
async def test_where_the_api_server_is(client: Client) -> None:
    endpoints = await client.get(f"{CORE}/endpoints/kubernetes")
    slices = f"{DISCOVERY}/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes"
    found = (await client.get(slices))["items"]
    assert found
    addresses = {address for each in found for one in each["endpoints"] for address in one["addresses"]}
    (subset,) = endpoints["subsets"]
    assert addresses == {each["ip"] for each in subset["addresses"]}
    for ports in (subset["ports"], found[0]["ports"]):
        assert [(port["name"], port["protocol"]) for port in ports] == [("https", "TCP")]


@pytest.mark.conformance("Endpoints should test the lifecycle of an Endpoint")
async def test_endpoints(client: Client) -> None:
    path, one = f"{CORE}/endpoints", f"{CORE}/endpoints/testservice"
    subset = {
        "addresses": [{"ip": "10.0.0.24"}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    }
    made = {"metadata": {"name": "testservice", "labels": {"e2e": "yes"}}, "subsets": [subset]}
    created = await client.create(path, made)
    version = created["metadata"]["resourceVersion"]
    everywhere = "/api/v1/endpoints?labelSelector=e2e%3Dyes"
    assert len((await client.get(everywhere))["items"]) == 1
    watch = await client.watch(f"{path}?labelSelector=e2e%3Dyes&watch=1&resourceVersion={version}")
    created["metadata"]["labels"]["test-service"] = "updated"
    updated = await client.put(one, created)
    assert (await client.get(one))["metadata"]["labels"] == updated["metadata"]["labels"]
    moved = {
        "addresses": [{"ip": "10.0.0.25"}],
        "ports": [{"name": "http-test", "port": 8080, "protocol": "TCP"}],
    }
    patched = await client.patch(one, {"subsets": [moved]}, MERGE_PATCH)
    assert (await client.get(one))["subsets"] == patched["subsets"] == [moved]
    await client.delete(f"{path}?labelSelector=e2e%3Dyes")
    await is_gone(client, one)
    assert [kind for kind, _ in watch.summary()] == ["MODIFIED", "MODIFIED", "DELETED"]
