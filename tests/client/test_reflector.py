"""A cache that stays equal to the API server through ends, failures and 410 Gone."""

import asyncio
from itertools import pairwise
from random import Random

import pytest

from tiphys.client.client import Client
from tiphys.client.reflector import Backoff, Informers, Reflector
from tiphys.client.resources import CONFIGMAPS, PODS
from tiphys.machinery.errors import service_unavailable
from tiphys.testing.api import FakeAPI
from tiphys.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def api(clock: FakeClock) -> FakeAPI:
    return FakeAPI(clock=clock)


def configmap(name: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "default"}}


async def test_it_lists_then_follows(api: FakeAPI, clock: FakeClock) -> None:
    api.put(CONFIGMAPS, configmap("a"))
    reflector = Reflector(Client(api), CONFIGMAPS, clock=clock)
    task = asyncio.create_task(reflector.run())
    await reflector.wait_synced()
    assert reflector.cache.has_synced
    assert len(reflector.cache) == 1
    api.put(CONFIGMAPS, configmap("b"))
    await Client(api).delete(CONFIGMAPS, "a", "default")
    await clock.advance(0)
    assert [obj["metadata"]["name"] for obj in reflector.cache.list()] == ["b"]
    assert reflector.cache.resource_version == api.resource_version
    task.cancel()


async def test_it_resumes_a_watch_that_ended_without_listing_again(api: FakeAPI, clock: FakeClock) -> None:
    reflector = Reflector(Client(api), CONFIGMAPS, clock=clock)
    task = asyncio.create_task(reflector.run())
    await reflector.wait_synced()
    await clock.advance(0)
    api.refuse(lambda method, path: method == "LIST", AssertionError("listed again"))
    api.disconnect()
    api.put(CONFIGMAPS, configmap("a"))
    await clock.advance(0)
    assert len(reflector.cache) == 1
    assert not task.done()
    task.cancel()


async def test_it_lists_again_when_history_is_gone(api: FakeAPI, clock: FakeClock) -> None:
    reflector = Reflector(Client(api), CONFIGMAPS, clock=clock)
    task = asyncio.create_task(reflector.run())
    await reflector.wait_synced()
    await clock.advance(0)
    api.put(CONFIGMAPS, configmap("a"))
    api.compact()
    api.disconnect()
    await clock.advance(0)
    assert len(reflector.cache) == 1
    task.cancel()


async def test_it_backs_off_while_the_server_fails(api: FakeAPI, clock: FakeClock) -> None:
    tries: list[float] = []

    def failing(method: str, path: str) -> bool:
        tries.append(clock.monotonic())
        return True

    api.refuse(failing, service_unavailable("not yet"))
    reflector = Reflector(Client(api), CONFIGMAPS, clock=clock, random=Random(7))
    task = asyncio.create_task(reflector.run())
    await clock.advance(600)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert 0.8 <= gaps[0] <= 1.6
    assert 1.6 <= gaps[1] <= 3.2
    assert max(gaps) <= 60
    assert len(tries) < 30
    api.accept_all()
    await clock.advance(60)
    assert reflector.cache.has_synced
    task.cancel()


async def test_connection_errors_are_retried_too(api: FakeAPI, clock: FakeClock) -> None:
    api.refuse(lambda method, path: method == "WATCH", ConnectionResetError("reset"), once=True)
    reflector = Reflector(Client(api), CONFIGMAPS, clock=clock)
    task = asyncio.create_task(reflector.run())
    await clock.advance(5)
    api.put(CONFIGMAPS, configmap("a"))
    await clock.advance(0)
    assert len(reflector.cache) == 1
    task.cancel()


async def test_selected_objects_leave_the_cache_when_they_no_longer_match(
    api: FakeAPI, clock: FakeClock
) -> None:
    api.put(PODS, {"metadata": {"name": "a", "namespace": "default", "labels": {"app": "web"}}})
    reflector = Reflector(Client(api), PODS, clock=clock, label_selector="app=web")
    task = asyncio.create_task(reflector.run())
    await reflector.wait_synced()
    assert len(reflector.cache) == 1
    api.put(PODS, {"metadata": {"name": "a", "namespace": "default", "labels": {"app": "db"}}})
    await clock.advance(0)
    assert len(reflector.cache) == 0
    task.cancel()


async def test_one_kind_has_one_reflector(api: FakeAPI, clock: FakeClock) -> None:
    informers = Informers(Client(api), clock=clock)
    assert informers.cache(PODS) is informers.cache(PODS)
    assert informers.watched(CONFIGMAPS) is None
    await informers.wait_synced()
    assert informers.view.list(PODS) == []
    await informers.drop(PODS)
    assert informers.watched(PODS) is None
    await informers.stop()


async def test_a_fault_in_a_reflector_is_reported(api: FakeAPI, clock: FakeClock) -> None:
    failures: list[BaseException] = []
    informers = Informers(Client(api), clock=clock, on_failure=failures.append)
    api.refuse(lambda method, path: True, RuntimeError("a bug"))
    informers.cache(PODS)
    await clock.advance(0)
    assert str(failures[0]) == "a bug"
    await informers.stop()


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(Random(1), first=1, longest=4)
    delays = [backoff.next_seconds() for _ in range(5)]
    for delay, least in zip(delays, [1, 2, 4, 4, 4], strict=True):
        assert least <= delay <= 2 * least
    backoff.reset()
    assert backoff.next_seconds() <= 2
