"""IPAddress objects follow the Services; ServiceCIDRs say where addresses come from."""

from __future__ import annotations

from served import Client, Object, settle

SERVICES = "/api/v1/namespaces/default/services"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"


def service(name: str, **spec: object) -> Object:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


async def names(client: Client) -> dict[str, str]:
    """Which Service has which address."""
    listed = (await client.get(ADDRESSES))["items"]
    return {item["metadata"]["name"]: item["spec"]["parentRef"]["name"] for item in listed}


async def test_the_servers_own_network_and_address_are_there(client: Client) -> None:
    cidr = await client.get(f"{CIDRS}/kubernetes")
    assert cidr["spec"]["cidrs"] == ["10.96.0.0/16"]
    (condition,) = cidr["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Ready", "True")
    address = await client.get(f"{ADDRESSES}/10.96.0.1")
    assert address["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    assert address["spec"]["parentRef"] == {
        "group": "",
        "resource": "services",
        "namespace": "default",
        "name": "kubernetes",
    }


async def test_it_comes_and_goes_with_its_service(client: Client) -> None:
    before = await names(client)
    made = (await client.create(SERVICES, service("a")))["spec"]["clusterIP"]
    assert await names(client) == {**before, made: "a"}
    await client.create(SERVICES, service("headless", clusterIP="None"))
    await client.patch(f"{SERVICES}/a", {"spec": {"type": "ExternalName", "externalName": "x.example.com"}})
    assert await names(client) == before
    await client.patch(f"{SERVICES}/a", {"spec": {"type": "ClusterIP", "externalName": None}})
    again = (await client.get(f"{SERVICES}/a"))["spec"]["clusterIP"]
    assert await names(client) == {**before, again: "a"}
    await client.delete(f"{SERVICES}/a")
    assert await names(client) == before


async def test_a_dry_run_takes_nothing(client: Client) -> None:
    before, revision = await names(client), client.server.store.revision
    wanted = service("a", clusterIP="10.96.0.77", type="NodePort", ports=[{"port": 80, "nodePort": 30077}])
    dry = await client.create(f"{SERVICES}?dryRun=All", wanted)
    assert dry["spec"]["clusterIP"] == "10.96.0.77"
    assert (await client.create(f"{SERVICES}?dryRun=All", service("b")))["spec"]["clusterIP"]
    assert (await names(client), client.server.store.revision) == (before, revision)
    await client.create(SERVICES, wanted)
    await client.delete(f"{SERVICES}/a?dryRun=All")
    assert (await names(client))["10.96.0.77"] == "a"


async def test_a_refused_service_takes_nothing(client: Client) -> None:
    before = await names(client)
    refused = await client.call("POST", SERVICES, service("a", clusterIP="10.96.0.77", sessionAffinity="Odd"))
    assert refused.status == 422
    assert await names(client) == before


async def test_an_address_that_somebody_made_is_not_given_to_a_service(client: Client) -> None:
    parent = {"resource": "gateways", "group": "example.com", "name": "g"}
    await client.create(ADDRESSES, {"metadata": {"name": "10.96.0.88"}, "spec": {"parentRef": parent}})
    answer = await client.call("POST", SERVICES, service("a", clusterIP="10.96.0.88"))
    assert answer.status == 422
    assert "provided IP is already allocated" in answer.body["message"]


async def test_a_network_more(client: Client) -> None:
    wanted = service("a", clusterIP="10.200.0.9")
    assert (await client.call("POST", SERVICES, wanted)).status == 422
    await client.create(CIDRS, {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.200.0.0/24"]}})
    assert (await client.call("POST", SERVICES, wanted)).status == 422  # it is not ready yet
    ready = {"type": "Ready", "status": "True", "reason": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    await client.patch(f"{CIDRS}/more/status", {"status": {"conditions": [{**ready, "message": ""}]}})
    assert (await client.create(SERVICES, wanted))["spec"]["clusterIP"] == "10.200.0.9"


async def test_what_a_crash_left_is_made_up_for(client: Client) -> None:
    made = (await client.create(SERVICES, service("a")))["spec"]["clusterIP"]
    stale = await client.get(f"{ADDRESSES}/10.96.0.1")
    orphan = {
        "metadata": {"name": "10.96.0.99", "labels": stale["metadata"]["labels"]},
        "spec": {"parentRef": {**stale["spec"]["parentRef"], "name": "gone"}},
    }
    await client.create(ADDRESSES, orphan)
    await client.server.addresses.repair()
    assert await names(client) == {"10.96.0.1": "kubernetes", made: "a"}


async def test_what_somebody_deletes_comes_again(client: Client) -> None:
    made = (await client.create(SERVICES, service("a")))["spec"]["clusterIP"]
    uid = (await client.get(f"{ADDRESSES}/{made}"))["metadata"]["uid"]
    await client.delete(f"{ADDRESSES}/{made}")
    await settle()
    assert await names(client) == {"10.96.0.1": "kubernetes", made: "a"}
    assert (await client.get(f"{ADDRESSES}/{made}"))["metadata"]["uid"] != uid
    await client.delete(f"{SERVICES}/a")
    await settle()
    assert await names(client) == {"10.96.0.1": "kubernetes"}
