"""What surrounds every request: limits without fairness, time-outs, identifiers, cross-origin headers, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, cast

import pytest
from served import Client, running, settle

from tiphys.apiserver.server import APIServer
from tiphys.net.http import Response
from tiphys.testing.clock import FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"


class Stuck:
    """A store whose writes do not end until they are let go."""

    def __init__(self, server: APIServer) -> None:
        self._store = server.store
        self.futures: list[asyncio.Future[int]] = []
        server.writes._store = self  # type: ignore[assignment]

    def write(self, key: str, value: bytes | None, **expected: Any) -> asyncio.Future[int]:
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _create(client: Client, name: str, query: str = "") -> asyncio.Future[Response]:
    request = client.request("POST", f"{MAPS}{query}", {"metadata": {"name": name}})
    answer = client.server.handle(request)
    assert not isinstance(answer, Response), answer
    return asyncio.ensure_future(cast(Awaitable[Response], answer))


# Without fairness


@pytest.fixture
async def plain(clock: FakeClock, signing_key: bytes) -> AsyncIterator[APIServer]:
    async with running(
        clock, signing_key, fairness=False, max_requests_inflight=3, max_mutating_requests_inflight=2
    ) as server:
        binding = {
            "metadata": {"name": "joe"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "joe"}],
        }
        await Client(server).create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        yield server


async def test_so_many_at_once_and_administrators_always(plain: APIServer) -> None:
    stuck = Stuck(plain)
    joe = Client(plain).as_user("joe", "system:authenticated")
    held = [_create(joe, f"held-{number}") for number in range(2)]
    await settle()
    refused = await joe.call("POST", MAPS, {"metadata": {"name": "no"}})
    assert (refused.status, refused.raw) == (429, b"Too many requests, please try again later.\n")
    assert refused.headers["retry-after"] == "1"
    assert "x-kubernetes-pf-flowschema-uid" not in refused.headers
    assert (await joe.call("GET", MAPS)).status == 200  # reading has a limit of its own
    _create(Client(plain), "admin").cancel()
    held[0].cancel()
    await settle()
    again = _create(joe, "again")
    await settle()
    assert len(stuck.futures) == 3
    for one in (*held, again):
        one.cancel()
    metrics = (await Client(plain).call("GET", "/metrics")).raw.decode()
    assert 'apiserver_current_inflight_requests{request_kind="mutating"} 3' in metrics
    assert "apiserver_flowcontrol_" not in metrics


async def test_no_trace_of_fairness_without_it(plain: APIServer) -> None:
    admin = Client(plain)
    assert (await admin.call("GET", "/debug/api_priority_and_fairness/dump_queues")).status == 404
    assert b"priority-and-fairness" not in (await admin.call("GET", "/readyz?verbose")).raw
    assert (await admin.get("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"))["items"] == []


# Time-outs


async def test_a_write_that_takes_too_long(client: Client, server: APIServer, clock: FakeClock) -> None:
    Stuck(server)
    late = _create(client, "late")
    await clock.advance(59)
    assert not late.done()
    await clock.advance(2)
    answer = await late
    assert answer.status == 504
    status = cast(bytes, answer.body)
    assert b'"reason":"Timeout"' in status
    assert b"Timeout: request did not complete within requested timeout - context deadline exceeded" in status
    metrics = (await client.call("GET", "/metrics")).raw.decode()
    assert 'apiserver_request_terminations_total{code="504",component="apiserver",group="",' in metrics


async def test_a_client_may_ask_for_less_but_not_for_more(
    client: Client, server: APIServer, clock: FakeClock
) -> None:
    Stuck(server)
    less, more = _create(client, "less", "?timeout=5s"), _create(client, "more", "?timeout=10m")
    await clock.advance(6)
    assert (less.done(), more.done()) == (True, False)
    assert (await less).status == 504
    await clock.advance(55)
    assert (await more).status == 504


async def test_each_request_has_its_own_time(client: Client, server: APIServer, clock: FakeClock) -> None:
    stuck = Stuck(server)
    early = _create(client, "early")
    await settle()
    stuck.futures[0].set_exception(RuntimeError("no disk"))
    assert (await early).status == 500
    await clock.advance(20)
    gone, first = _create(client, "gone"), _create(client, "first")
    gone.cancel()
    await clock.advance(20)
    second, brief = _create(client, "second"), _create(client, "brief", "?timeout=30s")
    await clock.advance(25)
    assert [one.done() for one in (first, second, brief)] == [False, False, False]
    await clock.advance(10)
    assert [one.done() for one in (first, second, brief)] == [False, False, True]
    await clock.advance(10)
    assert [one.done() for one in (first, second)] == [True, False]
    third = _create(client, "third")
    await clock.advance(20)
    assert [one.done() for one in (second, third)] == [True, False]
    await clock.advance(40)
    assert {(await one).status for one in (first, second, third, brief)} == {504}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", 'invalid timeout specified in the request URL - time: missing unit in duration "5"'),
        ("soon", 'invalid timeout specified in the request URL - time: invalid duration "soon"'),
    ],
)
async def test_a_timeout_that_is_none(client: Client, text: str, message: str) -> None:
    answer = await client.call("GET", f"{MAPS}?timeout={text}")
    assert (answer.status, answer.body["message"]) == (400, message)
    watch = client.request("GET", f"{MAPS}?watch=1&timeout={text}")
    assert (await client.respond(watch)).status == 200  # long-running: nobody looks


# Headers


async def test_every_answer_can_be_found_again(client: Client) -> None:
    first, second = await client.call("GET", MAPS), await client.call("GET", "/nope")
    assert len({first.headers["audit-id"], second.headers["audit-id"]}) == 2
    assert len(first.headers["audit-id"]) == 36
    chosen = await client.call("GET", MAPS, audit_id="mine")
    assert chosen.headers["audit-id"] == "mine"
    for answer in (first, second, await client.call("GET", "/version"), await client.call("GET", "/livez")):
        assert answer.headers["cache-control"] == "no-cache, private"


async def test_cross_origin_requests(clock: FakeClock, signing_key: bytes, client: Client) -> None:
    plain = await client.call("GET", "/version", origin="https://example.com")
    assert not [name for name in plain.headers if name.startswith("access-control")]
    async with running(clock, signing_key, cors_allowed_origins=(r"//example\.com$",)) as server:
        nobody = Client(server).anonymous()
        preflight = await nobody.call("OPTIONS", "/api/v1/pods", origin="https://EXAMPLE.com")
        assert (preflight.status, preflight.raw) == (204, b"")
        assert preflight.headers["access-control-allow-origin"] == "https://EXAMPLE.com"
        assert preflight.headers["access-control-allow-methods"] == "POST, GET, OPTIONS, PUT, DELETE, PATCH"
        answer = await nobody.call("GET", "/api/v1/pods", origin="https://example.com")
        assert (answer.status, answer.headers["access-control-allow-credentials"]) == (403, "true")
        other = await nobody.call("GET", "/version", origin="https://example.com.evil.org")
        assert "access-control-allow-origin" not in other.headers


# The end


async def test_readiness_ends_first(clock: FakeClock, signing_key: bytes) -> None:
    async with running(clock, signing_key, shutdown_delay_seconds=5) as server:
        client = Client(server)
        watch = await client.watch(f"{MAPS}?watch=1")
        draining = asyncio.ensure_future(server.drain())
        await settle()
        ready = await client.call("GET", "/readyz")
        assert ready.status == 500
        assert ready.raw.endswith(b"[-]shutdown failed: reason withheld\nreadyz check failed\n")
        assert (await client.call("GET", "/livez")).status == 200
        assert (await client.call("GET", MAPS)).status == 200  # still taken
        assert watch.open
        await clock.advance(5)
        await draining
        await server.close()
        assert not watch.open
