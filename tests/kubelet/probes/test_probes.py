"""Probes: what handlers find out, how results are counted, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from tiphys.kubelet.probes.handlers import Handlers, ProbeResult, port_of, url_of
from tiphys.kubelet.probes.prober import ProbeManager
from tiphys.kubelet.probes.verdicts import Tally, tally
from tiphys.kubelet.runtimes.interface import (
    ContainerStatus,
    DeadlineExceeded,
    ExecResult,
    NotFound,
)
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.net.http import Request, Response
from tiphys.net.server import Server
from tiphys.testing.clock import START, FakeClock

CONTAINER = {"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}


# Counting


def counted(given: Tally, results: str) -> list[bool]:
    """The verdict after each of the results: "+" a success, "-" a failure."""
    verdicts = []
    for result in results:
        given = given.count(succeeded=result == "+")
        verdicts.append(given.verdict)
    return verdicts


def test_readiness_begins_as_a_failure_and_turns_with_its_thresholds() -> None:
    probe = tally("readiness", {"failureThreshold": 2, "successThreshold": 2})
    assert not probe.verdict
    assert counted(probe, "++-+--+") == [False, True, True, True, True, False, False]


def test_liveness_begins_as_a_success() -> None:
    probe = tally("liveness", {"failureThreshold": 3})
    assert probe.verdict
    assert counted(probe, "--+---") == [True, True, True, True, True, False]


def test_startup_has_failed_only_after_its_failures() -> None:
    probe = tally("startup", {"failureThreshold": 2})
    assert not probe.has_failed
    once = probe.count(succeeded=False)
    assert not once.has_failed
    assert once.count(succeeded=False).has_failed
    assert not once.count(succeeded=True).has_failed


# Handlers


class Commands(SimulatedRuntime):
    """Answers exec_sync as it is told."""

    answer: ExecResult | Exception = ExecResult(b"", b"", 0)

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float
    ) -> ExecResult:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (ExecResult(b"fine", b"", 0), ProbeResult(succeeded=True, message="fine")),
        (ExecResult(b"", b"no\n", 2), ProbeResult(succeeded=False, message="no\n")),
        (NotFound("it is gone"), ProbeResult(succeeded=False, message="it is gone")),
        (
            DeadlineExceeded("late"),
            ProbeResult(succeeded=False, message="command timed out: 'a b' timed out after 1s"),
        ),
    ],
)
async def test_exec(answer: ExecResult | Exception, result: ProbeResult) -> None:
    runtime = Commands(FakeClock())
    runtime.answer = answer
    handler = {"exec": {"command": ["a", "b"]}}
    assert await Handlers(runtime).run(handler, CONTAINER, "id", "127.0.0.1", timeout_seconds=1) == result


@pytest.fixture
async def page() -> AsyncIterator[int]:
    """A web server whose path says what it answers; "slow" never does."""
    seen: list[Request] = []

    async def handle(request: Request) -> Response:
        seen.append(request)
        if request.path == "/slow":
            await asyncio.sleep(60)
        if request.path == "/header":
            return Response(200 if request.headers.get("x-own") == "1" else 400)
        return Response(int(request.path.strip("/") or 200))

    server = Server(handle)
    address = await server.listen(host="127.0.0.1", port=0)
    yield address.port
    await server.shutdown(grace_seconds=0)


async def get(port: int, path: str, timeout_seconds: float = 5, **more: Any) -> ProbeResult:
    handlers = Handlers(SimulatedRuntime(FakeClock()))
    handler = {"httpGet": {"port": port, "path": path, **more}}
    return await handlers.run(handler, CONTAINER, "id", "127.0.0.1", timeout_seconds=timeout_seconds)


@pytest.mark.parametrize(("status", "succeeded"), [(200, True), (302, True), (400, False), (500, False)])
async def test_http_statuses(page: int, status: int, succeeded: bool) -> None:
    result = await get(page, f"/{status}")
    assert result.succeeded == succeeded
    assert result.message == ("" if succeeded else f"HTTP probe failed with statuscode: {status}")


async def test_http_headers_are_sent(page: int) -> None:
    assert (await get(page, "header", httpHeaders=[{"name": "X-Own", "value": "1"}])).succeeded


async def test_http_takes_no_longer_than_it_may(page: int) -> None:
    result = await get(page, "/slow", timeout_seconds=0.05)
    assert not result.succeeded
    assert result.message == (
        f'Get "http://127.0.0.1:{page}/slow": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    )


async def test_nobody_listens() -> None:
    handlers = Handlers(SimulatedRuntime(FakeClock()))
    tcp = await handlers.run({"tcpSocket": {"port": 1}}, CONTAINER, "id", "127.0.0.1", timeout_seconds=5)
    assert tcp == ProbeResult(succeeded=False, message="dial tcp 127.0.0.1:1: connect: connection refused")
    http = await get(1, "/")
    assert http.message == 'Get "http://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused'


async def test_a_port_that_is_open(page: int) -> None:
    handlers = Handlers(SimulatedRuntime(FakeClock()))
    result = await handlers.run(
        {"tcpSocket": {"port": page}}, CONTAINER, "id", "127.0.0.1", timeout_seconds=5
    )
    assert result.succeeded


def test_ports_by_number_and_by_name() -> None:
    assert port_of(81, CONTAINER) == 81
    assert port_of("http", CONTAINER) == 8080
    assert port_of("82", CONTAINER) == 82
    with pytest.raises(ValueError, match="couldn't find port: none"):
        port_of("none", CONTAINER)


@pytest.mark.parametrize(
    ("action", "url"),
    [
        ({"port": 80}, ("http://10.0.0.2:80", "/")),
        ({"port": "http", "path": "x?y=1"}, ("http://10.0.0.2:8080", "/x?y=1")),
        ({"port": 443, "scheme": "HTTPS", "host": "fd00::1"}, ("https://[fd00::1]:443", "/")),
    ],
)
def test_urls(action: dict[str, Any], url: tuple[str, str]) -> None:
    assert url_of(action, CONTAINER, "10.0.0.2") == url


async def test_a_port_that_does_not_exist_says_nothing_about_the_container() -> None:
    handlers = Handlers(SimulatedRuntime(FakeClock()))
    result = await handlers.run({"httpGet": {"port": "none"}}, CONTAINER, "id", "::1", timeout_seconds=1)
    assert not result.is_known


# Probing


class Scripted(Handlers):
    """Handlers that do as told."""

    def __init__(self) -> None:
        super().__init__(SimulatedRuntime(FakeClock()))
        self.succeeds = True
        self.is_known = True
        self.asked: list[str] = []

    async def run(
        self, handler: Any, container: Any, container_id: str, ip: str, *, timeout_seconds: float
    ) -> ProbeResult:
        self.asked.append(handler["name"])
        return ProbeResult(self.succeeds, "why", self.is_known)


class Probing:
    """One container with the given probes, from the moment it runs."""

    def __init__(self, **probes: dict[str, Any]) -> None:
        self.clock = FakeClock()
        self.handlers = Scripted()
        self.woken = 0
        self.unhealthy: list[str] = []
        container = {
            "name": "web",
            **{f"{kind}Probe": {"name": kind, **probe} for kind, probe in probes.items()},
        }
        self.pod = {"metadata": {"uid": "u1"}, "spec": {"containers": [container]}}
        self.manager = ProbeManager(
            self.handlers, self.clock, self._wake, lambda pod, name, message: self.unhealthy.append(message)
        )
        self.manager.update(self.pod, {"c1": running("c1")}, ("10.0.0.2",))

    def _wake(self, uid: str) -> None:
        assert uid == "u1"
        self.woken += 1

    @property
    def health(self) -> Any:
        return self.manager.health("u1")["c1"]


def running(id: str) -> ContainerStatus:
    return ContainerStatus(id, "web", 0, "Running", START, START, None, 0, "", "", "", "", "", {}, {})


async def test_a_container_without_probes_is_not_asked_about() -> None:
    probing = Probing()
    assert probing.manager.health("u1") == {}


async def test_readiness_comes_and_goes() -> None:
    probing = Probing(readiness={"initialDelaySeconds": 5, "periodSeconds": 2, "failureThreshold": 2})
    await probing.clock.advance(4)
    assert (probing.health.ready, probing.health.started) == (False, True)
    assert probing.handlers.asked == []
    await probing.clock.advance(1)
    assert probing.health.ready
    assert probing.woken == 1
    probing.handlers.succeeds = False
    await probing.clock.advance(2)
    assert probing.health.ready
    await probing.clock.advance(2)
    assert not probing.health.ready
    assert probing.health.failure == ""
    assert probing.unhealthy == ["Readiness probe failed: why"] * 2
    probing.manager.forget("u1")


async def test_a_failed_liveness_probe_condemns_the_container() -> None:
    probing = Probing(
        liveness={"periodSeconds": 1, "failureThreshold": 3, "terminationGracePeriodSeconds": 4}
    )
    probing.handlers.succeeds = False
    await probing.clock.advance(1)
    assert probing.health.failure == ""
    await probing.clock.advance(1)
    assert probing.health.failure == "Container web failed liveness probe"
    assert probing.health.grace_seconds == 4
    await probing.clock.advance(10)
    assert len(probing.handlers.asked) == 3


async def test_nothing_else_is_asked_before_startup_is_over() -> None:
    probing = Probing(startup={"periodSeconds": 1, "failureThreshold": 30}, liveness={}, readiness={})
    probing.handlers.succeeds = False
    await probing.clock.advance(5)
    assert set(probing.handlers.asked) == {"startup"}
    assert (probing.health.started, probing.health.ready) == (False, False)
    probing.handlers.succeeds = True
    await probing.clock.advance(1)
    assert (probing.health.started, probing.health.ready) == (True, True)
    assert probing.handlers.asked.count("startup") == 7
    probing.manager.forget("u1")


async def test_a_broken_handler_counts_neither_way() -> None:
    probing = Probing(liveness={"periodSeconds": 1, "failureThreshold": 1})
    probing.handlers.succeeds = probing.handlers.is_known = False
    await probing.clock.advance(5)
    assert probing.health.failure == ""
    assert probing.unhealthy[0] == "Liveness probe errored and resulted in unknown state: why"
    probing.manager.forget("u1")


async def test_a_container_that_ended_is_not_asked_any_more() -> None:
    probing = Probing(readiness={"periodSeconds": 1})
    await probing.clock.advance(1)
    asked = len(probing.handlers.asked)
    probing.manager.update(probing.pod, {"c2": running("c2")}, ("10.0.0.2",))
    assert set(probing.manager.health("u1")) == {"c2"}
    assert not probing.manager.health("u1")["c2"].ready
    probing.manager.update(probing.pod, {}, ())
    await probing.clock.advance(5)
    assert len(probing.handlers.asked) == asked
