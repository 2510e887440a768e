"""What /metrics says after some requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

from definitions import DEFINITIONS, GROUP, TABS, define
from served import MERGE_PATCH, Client, settle

from tiphys.api.resource import Resource
from tiphys.apiserver.call import Call
from tiphys.apiserver.endings import end
from tiphys.apiserver.server import APIServer
from tiphys.net.http import ByteStream, Request, Response
from tiphys.testing.clock import FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"


async def _samples(client: Client) -> dict[str, float]:
    answer = await client.call("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    lines = [line for line in answer.raw.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def _of(verb: str, scope: str, **more: str) -> str:
    labels = {
        "component": "apiserver", "group": "", "resource": "configmaps", "scope": scope, "subresource": "",
        "verb": verb, "version": "v1", **more,
    }  # fmt: skip
    return "{" + ",".join(f'{name}="{labels[name]}"' for name in sorted(labels)) + "}"


async def test_requests_are_counted_by_what_they_ask(client: Client, clock: FakeClock) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    await client.create(f"{MAPS}?dryRun=All", {"metadata": {"name": "b"}})
    await client.patch(f"{MAPS}/a", {"data": {"x": "y"}}, MERGE_PATCH)
    await client.call("GET", f"{MAPS}/missing")
    for _ in range(3):
        await client.get(f"{MAPS}/a")
    await client.get(MAPS)
    await client.get("/api/v1/configmaps")
    await client.call("GET", "/readyz")
    found = await _samples(client)
    total = "apiserver_request_total"
    assert found[total + _of("POST", "resource", code="201", dry_run="")] == 1
    assert found[total + _of("POST", "resource", code="201", dry_run="All")] == 1
    assert found[total + _of("PATCH", "resource", code="200", dry_run="")] == 1
    assert found[total + _of("GET", "resource", code="200", dry_run="")] == 3
    assert found[total + _of("GET", "resource", code="404", dry_run="")] == 1
    assert found[total + _of("LIST", "namespace", code="200", dry_run="")] == 1
    assert found[total + _of("LIST", "cluster", code="200", dry_run="")] == 1
    assert found["apiserver_request_duration_seconds_count" + _of("GET", "resource", dry_run="")] == 4
    assert found["apiserver_request_sli_duration_seconds_count" + _of("GET", "resource")] == 4
    assert found["apiserver_response_sizes_sum" + _of("GET", "resource")] > 300
    health = (
        'component="",dry_run="",group="",resource="",scope="",subresource="/readyz",verb="GET",version=""'
    )
    assert found[f'{total}{{code="200",{health}}}'] == 1
    # One is the server's own: since when the use of tokens in secrets is noted.
    assert found['apiserver_resource_objects{group="",resource="configmaps"}'] == 2
    assert found['apiserver_storage_objects{resource="flowschemas.flowcontrol.apiserver.k8s.io"}'] == 13
    step = 'operation="CREATE",rejected="false",type="validate"'
    assert found[f"apiserver_admission_step_admission_duration_seconds_count{{{step}}}"] > 0
    plugin = f'name="ResourceQuota",{step}'
    assert found[f"apiserver_admission_controller_admission_duration_seconds_count{{{plugin}}}"] > 0
    dispatched = (
        'apiserver_flowcontrol_dispatched_requests_total{flow_schema="exempt",priority_level="exempt"}'
    )
    before = found[dispatched]
    assert (await _samples(client))[dispatched] == before + 1


async def test_watches_are_counted_while_they_are_open(client: Client, clock: FakeClock) -> None:
    watch = await client.watch(f"{MAPS}?watch=1&resourceVersion=1")
    before = (await _samples(client)).get(
        'apiserver_watch_events_total{group="",resource="configmaps",version="v1"}', 0
    )
    await client.create(MAPS, {"metadata": {"name": "a"}})
    found = await _samples(client)
    assert found["apiserver_longrunning_requests" + _of("WATCH", "namespace")] == 1
    assert found['apiserver_watch_events_total{group="",resource="configmaps",version="v1"}'] == before + 1
    await clock.advance(100)
    watch.leave()
    found = await _samples(client)
    assert found["apiserver_longrunning_requests" + _of("WATCH", "namespace")] == 0
    assert found["apiserver_request_total" + _of("WATCH", "namespace", code="200", dry_run="")] == 1
    assert found["apiserver_request_duration_seconds_sum" + _of("WATCH", "namespace", dry_run="")] == 100
    assert "apiserver_request_sli_duration_seconds_count" + _of("WATCH", "namespace") not in found


async def test_clients_cannot_make_series(client: Client, server: APIServer) -> None:
    for number in range(50):
        await client.call("GET", f"/api/v1/nonsense{number}")
        await client.call("GET", f"/nonsense{number}")
        await client.call(f"VERB{number}", "/version")
    text = (await client.call("GET", "/metrics")).raw.decode()
    assert "nonsense" not in text
    assert "VERB" not in text
    assert len([line for line in text.splitlines() if line.startswith("apiserver_request_total")]) < 10


async def test_what_is_served_no_more_is_counted_as_what_never_was(client: Client) -> None:
    await define(client)
    known = "apiserver_request_total" + _of(
        "GET", "resource", group=GROUP, resource="crontabs", code="404", dry_run=""
    )
    unknown = "apiserver_request_total" + _of("GET", "", resource="", version="", code="404", dry_run="")
    assert (await client.call("GET", f"{TABS}/a")).status == 404
    before = await _samples(client)
    assert before[known] == 1
    await client.delete(f"{DEFINITIONS}/crontabs.{GROUP}")
    await settle()
    assert (await client.call("GET", f"{TABS}/a")).status == 404
    after = await _samples(client)
    assert (after[known], after[unknown]) == (1, before.get(unknown, 0) + 1)


async def test_what_this_is(client: Client) -> None:
    found = await _samples(client)
    [build] = [name for name in found if name.startswith("kubernetes_build_info")]
    assert 'minor="36"' in build
    assert found['kubernetes_feature_enabled{name="WatchList",stage="BETA"}'] == 1


async def test_streams_and_upgrades_are_open_until_they_end(server: APIServer) -> None:
    async def lines() -> AsyncIterator[bytes]:
        yield b"x"

    async def upgrade(stream: ByteStream) -> None:
        seen.append(_open(server))

    seen: list[str] = []
    target = "/api/v1/namespaces/default/pods/a/"
    call = Call(server, Request("GET", f"{target}log"))
    streamed = end(call, Response(200, [], lines()))
    assert _open(server).endswith(" 1")
    assert streamed.on_sent is not None
    streamed.on_sent()
    assert _open(server).endswith(" 0")
    upgraded = end(Call(server, Request("POST", f"{target}exec")), Response(101, [], upgrade=upgrade))
    assert upgraded.upgrade is not None
    await upgraded.upgrade(cast(ByteStream, None))
    assert [line.rpartition(" ")[2] for line in seen[0].splitlines()].count("1") == 1
    assert all(line.endswith(" 0") for line in _open(server).splitlines())


async def test_the_time_of_a_large_answer_runs_until_it_is_written(
    server: APIServer, client: Client, clock: FakeClock
) -> None:
    lists, took = (
        f"apiserver_request_duration_seconds_{kind}{_of('LIST', 'namespace', dry_run='')}"
        for kind in ("count", "sum")
    )
    call = Call(server, Request("GET", MAPS))  # from outside
    call.received_at = clock.monotonic()
    call.row = cast(Resource, server.scheme.by_resource("", "v1", "configmaps"))
    answer = end(call, Response(200, [], [b"x" * 60_000] * 2))
    await clock.advance(3)
    assert lists not in await _samples(client)
    assert answer.on_sent is not None
    answer.on_sent()
    found = await _samples(client)
    assert (found[lists], found[took]) == (1, 3)


def _open(server: APIServer) -> str:
    text = server.metrics.render().decode()
    return "\n".join(line for line in text.splitlines() if line.startswith("apiserver_longrunning_requests{"))


async def test_who_asks_and_what_they_may_do_is_counted(client: Client, clock: FakeClock) -> None:
    before = await _samples(client)
    await client.as_user("jane@example.com").call("GET", MAPS)
    await client.as_user("jane").call("GET", MAPS)
    await client.anonymous().call("GET", MAPS, authorization="Bearer nobody")
    found = await _samples(client)

    def more(name: str) -> float:
        return found.get(name, 0) - before.get(name, 0)

    assert more('authenticated_user_requests{username="email_id"}') == 1
    assert more('authenticated_user_requests{username="other"}') == 1
    assert more('authenticated_user_requests{username="admin"}') == 1  # who scrapes
    assert more('authentication_attempts{result="success"}') == 3
    assert more('authentication_attempts{result="failure"}') == 1
    assert more('authentication_duration_seconds_count{result="failure"}') == 1
    assert more('authorization_attempts_total{result="no-opinion"}') == 2
    assert more('authorization_attempts_total{result="allowed"}') == 1
    assert more('authorization_duration_seconds_count{result="no-opinion"}') == 2


async def test_addresses_and_ports_of_services_are_counted(client: Client) -> None:
    before = await _samples(client)
    spec = {"type": "NodePort", "ports": [{"port": 80}, {"port": 443, "name": "b"}]}
    spec["ports"][0]["name"] = "a"  # type: ignore[index]
    await client.create("/api/v1/namespaces/default/services", {"metadata": {"name": "s"}, "spec": spec})
    found = await _samples(client)
    for name, more in (("allocated", 1), ("available", -1)):
        series = f'kube_apiserver_clusterip_allocator_{name}_ips{{cidr="10.96.0.0/16"}}'
        assert found[series] - before[series] == more
        series = f"kube_apiserver_nodeport_allocator_{name}_ports"
        assert found[series] - before[series] == 2 * more
    assert before['kube_apiserver_clusterip_allocator_allocated_ips{cidr="10.96.0.0/16"}'] == 1
