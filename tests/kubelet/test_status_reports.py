"""Reports of a pod's status that the API does not take: tried again in good time, and told of once."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from node_world import StrategicAPI

from tiphys.client.client import Client
from tiphys.client.resources import PODS
from tiphys.kubelet.reporter import Reporter
from tiphys.machinery.errors import StatusError
from tiphys.testing.clock import FakeClock

Object = dict[str, Any]


class World:
    """A pod in an API that may refuse what is reported."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = StrategicAPI(clock=self.clock)
        self.pod = self.api.put(
            PODS,
            {
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"containers": []},
                "status": {"phase": "Pending"},
            },
        )
        self.reporter = Reporter(Client(self.api), self.pod, self.clock)
        self.tries = 0

    def refuse(self, error: Exception) -> None:
        def is_report(method: str, path: str) -> bool:
            is_one = method == "PUT" and path.endswith("/status")
            self.tries += is_one
            return is_one

        self.api.accept_all()
        self.api.refuse(is_report, error)

    def relabel(self, value: str) -> None:
        """Somebody changes the pod, and the kubelet hears of it."""
        old = copy.deepcopy(self.api.objects(PODS)[0])
        old["metadata"]["labels"] = {"app": value}
        self.reporter.saw(self.api.put(PODS, old))

    @property
    def phase(self) -> str:
        return str(self.api.objects(PODS)[0]["status"]["phase"])

    async def settle(self) -> None:
        await self.clock.advance(0)


REFUSALS = [
    StatusError(422, "Invalid", 'Pod "web" is invalid'),
    StatusError(403, "Forbidden", 'pods "web" is forbidden'),
    StatusError(400, "BadRequest", 'admission webhook "w" denied the request'),
]
GRUDGES = [*REFUSALS, StatusError(500, "InternalError", "etcd"), OSError("connection refused")]


@pytest.mark.parametrize("error", REFUSALS)
async def test_what_is_refused_is_tried_every_ten_seconds(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.refuse(error)
    world.reporter.report({"phase": "Running"})
    await world.settle()
    assert world.tries == 1
    await world.clock.advance(60)
    assert world.tries == 7
    [record] = [each for each in caplog.records if "cannot report" in each.message]
    assert record.levelname == "ERROR"
    assert str(error) in record.message
    world.reporter.close()


async def test_another_status_is_tried_at_once_and_told_of_once_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.refuse(REFUSALS[0])
    world.reporter.report({"phase": "Running"})
    await world.settle()
    for _ in range(5):
        world.reporter.report({"phase": "Running"})
        await world.settle()
    assert world.tries == 1
    world.reporter.report({"phase": "Failed"})
    await world.settle()
    assert world.tries == 2
    assert len([each for each in caplog.records if "cannot report" in each.message]) == 2
    world.reporter.close()


async def test_another_pod_is_tried_at_once() -> None:
    world = World()
    world.refuse(REFUSALS[2])
    world.reporter.report({"phase": "Running"})
    await world.settle()
    world.api.accept_all()
    world.relabel("mended")
    await world.settle()
    assert world.phase == "Running"


async def test_a_pod_that_becomes_what_is_wanted_needs_no_report() -> None:
    world = World()
    world.refuse(REFUSALS[1])
    world.reporter.report({"phase": "Running"})
    await world.settle()
    world.reporter.saw({**world.pod, "metadata": {**world.pod["metadata"], "resourceVersion": "99"}, "status": {"phase": "Running"}})  # fmt: skip
    await world.settle()
    await world.clock.advance(60)
    assert world.tries == 1
    await world.reporter.flush()


async def test_a_status_that_comes_while_the_refused_one_is_asked_for_does_not_wait() -> None:
    world = World()
    world.refuse(REFUSALS[0])
    world.reporter.report({"phase": "Running"})
    await asyncio.sleep(0)
    world.reporter.report({"phase": "Failed"})
    await world.settle()
    assert world.tries in (1, 2)
    world.api.accept_all()
    await world.clock.advance(10)
    assert world.phase == "Failed"


@pytest.mark.parametrize("error", GRUDGES)
async def test_what_is_taken_at_last_is_there(error: Exception) -> None:
    world = World()
    world.refuse(error)
    world.reporter.report({"phase": "Running"})
    await world.clock.advance(25)
    assert world.phase == "Pending"
    world.api.accept_all()
    await world.clock.advance(10)
    assert world.phase == "Running"
    await world.reporter.flush()


async def test_a_server_that_is_away_is_soon_asked_again() -> None:
    world = World()
    world.refuse(OSError("connection refused"))
    world.reporter.report({"phase": "Running"})
    await world.clock.advance(4)
    assert world.tries == 3
    world.reporter.close()
