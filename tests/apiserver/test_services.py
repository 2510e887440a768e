"""Cluster IPs and node ports: given out, kept, shared by nobody, and free again."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from served import MERGE_PATCH, Client, Object, running

from tiphys.apiserver.allocators import SETTLE_SECONDS
from tiphys.testing.clock import FakeClock

SERVICES = "/api/v1/namespaces/default/services"


def service(name: str, port: int = 80, **spec: object) -> Object:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": port}], **spec}}


async def test_a_service_gets_an_address(client: Client) -> None:
    made = (await client.create(SERVICES, service("a")))["spec"]
    assert made["clusterIP"].startswith("10.96.")
    assert made["clusterIPs"] == [made["clusterIP"]]
    assert (made["ipFamilies"], made["ipFamilyPolicy"], made["type"]) == (
        ["IPv4"],
        "SingleStack",
        "ClusterIP",
    )


async def test_headless_and_external_ones_get_none(client: Client) -> None:
    headless = (await client.create(SERVICES, service("h", clusterIP="None")))["spec"]
    assert (headless["clusterIP"], headless["clusterIPs"]) == ("None", ["None"])
    external = {"metadata": {"name": "e"}, "spec": {"type": "ExternalName", "externalName": "example.com"}}
    assert "clusterIP" not in (await client.create(SERVICES, external))["spec"]


async def test_an_address_of_ones_own(client: Client) -> None:
    assert (await client.create(SERVICES, service("a", clusterIP="10.96.0.77")))["spec"][
        "clusterIP"
    ] == "10.96.0.77"
    taken = await client.call("POST", SERVICES, service("b", clusterIP="10.96.0.77"))
    assert (taken.status, taken.body["reason"]) == (422, "Invalid")
    assert taken.body["message"] == (
        'Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.77"]: failed to allocate IP 10.96.0.77: '
        "provided IP is already allocated"
    )
    await client.delete(f"{SERVICES}/a")
    assert (await client.call("POST", SERVICES, service("b", clusterIP="10.96.0.77"))).status == 201


async def test_addresses_outside_the_range_or_no_addresses(client: Client) -> None:
    for address in ("192.168.0.1", "10.96.0.0", "300.1.1.1", "x"):
        answer = await client.call("POST", SERVICES, service("a", clusterIP=address))
        assert (answer.status, answer.body["reason"]) == (422, "Invalid"), address


async def test_the_address_stays_through_updates(client: Client) -> None:
    made = await client.create(SERVICES, service("a"))
    address = made["spec"]["clusterIP"]
    without = service("a", port=81)
    replaced = await client.put(f"{SERVICES}/a", without)
    assert (replaced["spec"]["clusterIP"], replaced["spec"]["ports"][0]["port"]) == (address, 81)
    moved = await client.call(
        "PATCH", f"{SERVICES}/a", {"spec": {"clusterIP": "10.96.0.99"}}, content_type=MERGE_PATCH
    )
    assert moved.status == 422
    assert "may not change once set" in moved.body["message"]


async def test_node_ports(client: Client) -> None:
    made = (await client.create(SERVICES, service("a", type="NodePort")))["spec"]
    port = made["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    again = {
        "metadata": {"name": "b"},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]},
    }
    taken = await client.call("POST", SERVICES, again)
    assert (taken.status, taken.body["message"]) == (
        422,
        f'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated',
    )
    again["spec"]["ports"][0]["nodePort"] = 80
    outside = await client.call("POST", SERVICES, again)
    assert (outside.status, outside.body["message"]) == (
        422,
        'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. '
        "The range of valid ports is 30000-32767",
    )
    back = await client.patch(f"{SERVICES}/a", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in back["spec"]["ports"][0]


async def test_what_has_a_name_outside_has_no_port_of_nodes(client: Client) -> None:
    await client.create(SERVICES, service("a", type="NodePort"))
    named = {"spec": {"type": "ExternalName", "externalName": "www.example.com"}}
    back = await client.patch(f"{SERVICES}/a", named)
    assert back["spec"].keys() & {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} == set()
    assert "nodePort" not in back["spec"]["ports"][0]


async def test_one_port_in_two_protocols_has_one_node_port(client: Client) -> None:
    ports = [{"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53, "protocol": "TCP"}]
    made = await client.create(
        SERVICES, {"metadata": {"name": "dns"}, "spec": {"type": "NodePort", "ports": ports}}
    )
    first, second = made["spec"]["ports"]
    assert first["nodePort"] == second["nodePort"]


async def test_what_a_failed_write_took_is_free_at_once(client: Client) -> None:
    bad = service("Bad_Name", clusterIP="10.96.0.50")
    assert (await client.call("POST", SERVICES, bad)).status == 422
    await client.create(f"{SERVICES}?dryRun=All", service("dry", clusterIP="10.96.0.50"))
    assert (await client.create(SERVICES, service("good", clusterIP="10.96.0.50")))["spec"][
        "clusterIP"
    ] == "10.96.0.50"


async def test_services_made_at_once_share_nothing(client: Client, clock: FakeClock) -> None:
    made = await asyncio.gather(
        *(client.create(SERVICES, service(f"s{n}", type="NodePort")) for n in range(50))
    )
    assert len({each["spec"]["clusterIP"] for each in made}) == 50
    assert len({each["spec"]["ports"][0]["nodePort"] for each in made}) == 50
    await clock.advance(SETTLE_SECONDS)
    more = await client.create(SERVICES, service("more", type="NodePort"))
    assert more["spec"]["clusterIP"] not in {each["spec"]["clusterIP"] for each in made}


async def test_updates_at_once_share_nothing(client: Client) -> None:
    for number in range(20):
        await client.create(SERVICES, service(f"s{number}"))
    patch = {"spec": {"type": "NodePort"}}
    made = await asyncio.gather(*(client.patch(f"{SERVICES}/s{number}", patch) for number in range(20)))
    assert len({each["spec"]["ports"][0]["nodePort"] for each in made}) == 20


async def test_ports_that_are_none_are_refused_not_tripped_over(client: Client) -> None:
    for kind in ("NodePort", "LoadBalancer"):
        answer = await client.call(
            "POST", SERVICES, {"metadata": {"name": "a"}, "spec": {"type": kind, "ports": [{}, None]}}
        )
        assert (answer.status, answer.body["reason"]) == (422, "Invalid")
        await client.create(SERVICES, service(kind.lower(), type=kind))
        for ports in ([None], [{"port": 80}, {}]):
            changed = {"metadata": {"name": kind.lower()}, "spec": {"type": kind, "ports": ports}}
            assert (await client.call("PUT", f"{SERVICES}/{kind.lower()}", changed)).status == 422


KINDS = st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"])


@settings(max_examples=20, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 4), KINDS, st.booleans()), max_size=15))
async def test_no_two_services_ever_share(steps: list[tuple[int, str, bool]], signing_key: bytes) -> None:
    async with running(FakeClock(), signing_key) as server:
        client = Client(server)
        for number, kind, delete in steps:
            if delete:
                await client.call("DELETE", f"{SERVICES}/s{number}")
            elif (await client.call("POST", SERVICES, service(f"s{number}", type=kind))).status == 409:
                await client.patch(f"{SERVICES}/s{number}", {"spec": {"type": kind}})
        specs = [item["spec"] for item in (await client.get(SERVICES))["items"]]
        ports = [port["nodePort"] for spec in specs for port in spec["ports"] if port.get("nodePort")]
        assert len(ports) == len(set(ports))
        addresses = [spec["clusterIP"] for spec in specs]
        assert len(addresses) == len(set(addresses))
        wants_port = [spec for spec in specs if spec["type"] != "ClusterIP"]
        assert len(ports) == len(wants_port)
