"""When kubelets are asked what is used: when somebody wants to know, and for some minutes after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import orjson
import pytest

from tiphys.api.core.kubelet_requests import NODE_HEADER
from tiphys.apiserver.usage.scraper import IDLE_SECONDS, Kubelet, Scraper
from tiphys.net.client import ClientResponse, ConnectError, HTTPClient
from tiphys.testing.clock import FakeClock


class FakeKubelets(HTTPClient):
    """All nodes' kubelets; `asked` has the names of those that were asked."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.asked: list[str] = []
        self.fails: set[str] = set()
        self.hangs: set[str] = set()
        self.pods: dict[str, list[str]] = {}

    async def request(self, method: str, target: str, headers: Any = (), *args: Any, **kw: Any) -> Any:
        node = headers[NODE_HEADER]
        self.asked.append(node)
        assert target == "/stats/summary?only_cpu_and_memory=true"
        if node in self.hangs:
            await asyncio.Event().wait()
        if node in self.fails:
            raise ConnectError(node, "refused")
        used = {
            "cpu": {"time": "2026-11-28T12:00:30Z", "usageNanoCores": 1},
            "memory": {"workingSetBytes": 1},
        }
        pods = [
            {
                "podRef": {"namespace": "default", "name": name},
                "containers": [{"name": "c", "startTime": "2026-11-28T12:00:00Z", **used}],
            }
            for name in self.pods.get(node, ())
        ]
        return ClientResponse(200, {}, orjson.dumps({"node": used, "pods": pods}))


class World:
    def __init__(self, patience_seconds: float = 60) -> None:
        self.clock = FakeClock()
        self.client = FakeKubelets()
        self.nodes = ["a", "b"]
        self.lost: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.scraper = Scraper(self._kubelets, self.clock, self._spawn, patience_seconds=patience_seconds)

    def _kubelets(self) -> list[Kubelet]:
        return [Kubelet(node, self.client, node not in self.lost) for node in self.nodes]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def want(self, *nodes: str, pod: str = "") -> None:
        await self.scraper.want(nodes, lambda node, reading: not pod or ("default", pod) in reading.pods)

    def asked(self) -> list[str]:
        """Since the last look."""
        found, self.client.asked = sorted(self.client.asked), []
        return found

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.close()


async def test_nobody_is_asked_for_nothing(world: World) -> None:
    await world.clock.advance(3600)
    assert world.asked() == []


async def test_the_first_who_wants_to_know_waits_for_the_answers(world: World) -> None:
    await asyncio.gather(world.want("a"), world.want("a", "b"))
    assert world.asked() == ["a", "b"]
    reading = world.scraper.reading("b")
    assert reading is not None
    assert reading.window_seconds == 1
    await world.want("a", "b")
    assert world.asked() == []


async def test_then_all_are_asked_every_fifteen_seconds_until_nobody_wants_to_know_any_more(
    world: World,
) -> None:
    await world.want("a")
    assert world.asked() == ["a"]
    await world.clock.advance(15)
    assert world.asked() == ["a", "b"]
    await world.clock.advance(15)
    reading = world.scraper.reading("a")
    assert reading is not None
    assert reading.window_seconds == 15
    await world.clock.advance(IDLE_SECONDS)
    world.asked()
    assert world.scraper.reading("a") is None
    await world.clock.advance(3600)
    assert world.asked() == []
    await world.want("a")
    assert world.asked() == ["a"]


async def test_a_pod_that_is_new_has_its_node_asked_again_a_second_later(world: World) -> None:
    await world.want("a", "b")
    world.asked()
    world.client.pods = {"a": ["web"]}
    await world.want("a", pod="web")
    assert world.asked() == []
    await world.clock.advance(1)
    await world.want("a", pod="web")
    assert world.asked() == ["a"]
    await world.clock.advance(1)
    await world.want("a", pod="web")
    assert world.asked() == []


async def test_a_kubelet_that_does_not_answer_leaves_the_others(world: World) -> None:
    world.client.fails = {"a"}
    await world.want("a", "b")
    assert world.scraper.reading("a") is None
    assert world.scraper.reading("b") is not None
    world.client.fails.clear()
    await world.want("a", "b")
    assert world.scraper.reading("a") is not None


async def test_a_silent_kubelet_is_not_asked_twice_at_once() -> None:
    world = World(patience_seconds=0.05)
    world.client.hangs = {"a"}
    await world.want("a")
    await world.want("a")
    assert world.asked() == ["a"]
    await world.close()


async def test_nobody_waits_for_a_node_that_is_not_ready(world: World) -> None:
    world.client.hangs = {"a"}
    world.lost = {"a"}
    await world.want("a", "b")
    assert world.asked() == ["a", "b"]
    assert world.scraper.reading("b") is not None


async def test_nodes_that_are_gone_are_forgotten(world: World) -> None:
    await world.want("a", "b")
    world.nodes = ["a"]
    await world.clock.advance(15)
    assert world.scraper.reading("b") is None
