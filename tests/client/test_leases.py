"""One leader at a time, and signs of life."""

import asyncio
from random import Random

import pytest

from tiphys.client.client import Client
from tiphys.client.leases import NODE_LEASE_NAMESPACE, Heartbeat, LeaderElector
from tiphys.client.resources import LEASES
from tiphys.machinery.errors import service_unavailable
from tiphys.testing.api import FakeAPI
from tiphys.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def api(clock: FakeClock) -> FakeAPI:
    return FakeAPI(clock=clock)


def elector(api: FakeAPI, clock: FakeClock, identity: str) -> LeaderElector:
    return LeaderElector(
        Client(api), "kube-scheduler", "kube-system", identity, clock=clock, random=Random(1)
    )


def lease(api: FakeAPI) -> dict[str, object]:
    return api.objects(LEASES)[0]["spec"]


async def test_the_second_waits_until_the_first_is_silent_for_a_whole_lease(
    api: FakeAPI, clock: FakeClock
) -> None:
    first, second = elector(api, clock, "a"), elector(api, clock, "b")
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await clock.advance(14)
    assert not waiting.done()
    await clock.advance(10)
    assert waiting.done()
    assert lease(api)["holderIdentity"] == "b"
    assert lease(api)["leaseTransitions"] == 1


async def test_a_leader_that_renews_keeps_the_lease(api: FakeAPI, clock: FakeClock) -> None:
    first, second = elector(api, clock, "a"), elector(api, clock, "b")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(second.acquire())
    await clock.advance(120)
    assert first.is_leader
    assert not waiting.done()
    acquired, renewed = lease(api)["acquireTime"], lease(api)["renewTime"]
    assert acquired == "2026-01-01T00:00:00.000000Z"
    assert renewed == "2026-01-01T00:02:00.000000Z"
    holding.cancel()
    waiting.cancel()


async def test_a_leader_that_cannot_renew_stops_before_its_lease_ends(api: FakeAPI, clock: FakeClock) -> None:
    leader = elector(api, clock, "a")
    await leader.acquire()
    api.refuse(lambda method, path: "leases" in path, service_unavailable("down"))
    holding = asyncio.create_task(leader.hold())
    await clock.advance(12)
    assert holding.done()
    assert not leader.is_leader


async def test_a_released_lease_is_free_at_once(api: FakeAPI, clock: FakeClock) -> None:
    first, second = elector(api, clock, "a"), elector(api, clock, "b")
    await first.acquire()
    await first.release()
    await second.acquire()
    assert lease(api)["holderIdentity"] == "b"


async def test_a_lease_that_somebody_has_emptied_is_nobodys(api: FakeAPI, clock: FakeClock) -> None:
    first, second = elector(api, clock, "a"), elector(api, clock, "b")
    await first.acquire()
    client = Client(api)
    (found,) = api.objects(LEASES, "kube-system")
    await client.update(LEASES, {name: value for name, value in found.items() if name != "spec"})
    await first.release()
    await second.acquire()
    assert lease(api)["holderIdentity"] == "b"


async def test_a_node_renews_every_ten_seconds(api: FakeAPI, clock: FakeClock) -> None:
    heart = Heartbeat(Client(api), "n1", clock=clock, random=Random(1))
    heart.owner = {"metadata": {"name": "n1", "uid": "node-uid"}}
    task = asyncio.create_task(heart.run())
    await clock.advance(0)
    (found,) = api.objects(LEASES, NODE_LEASE_NAMESPACE)
    assert found["spec"] == {
        "holderIdentity": "n1",
        "leaseDurationSeconds": 40,
        "renewTime": "2026-01-01T00:00:00.000000Z",
    }
    assert found["metadata"]["ownerReferences"][0]["uid"] == "node-uid"
    writes = len(api.requests)
    await clock.advance(60)
    assert 5 <= len(api.requests) - writes <= 6
    task.cancel()


async def test_a_node_whose_server_was_away_goes_on(api: FakeAPI, clock: FakeClock) -> None:
    heart = Heartbeat(Client(api), "n1", clock=clock, random=Random(1))
    task = asyncio.create_task(heart.run())
    await clock.advance(0)
    api.refuse(lambda method, path: True, ConnectionRefusedError())
    await clock.advance(30)
    api.accept_all()
    await clock.advance(10)
    assert api.objects(LEASES)[0]["spec"]["renewTime"] > "2026-01-01T00:00:30"
    task.cancel()


async def test_a_lease_from_before_a_restart_is_taken_over(api: FakeAPI, clock: FakeClock) -> None:
    await Heartbeat(Client(api), "n1", clock=clock).renew()
    await clock.advance(100)
    await Heartbeat(Client(api), "n1", clock=clock).renew()
    assert api.objects(LEASES)[0]["spec"]["renewTime"] == "2026-01-01T00:01:40.000000Z"
