"""Probes: what handlers find out, how results are counted, and when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tiphys.cluster.pki import Authority, Leaf
from tiphys.kubelet.metrics import ProbeMetrics
from tiphys.kubelet.probes.handlers import Handlers
from tiphys.kubelet.probes.prober import ProbeManager
from tiphys.kubelet.probes.results import ProbeResult
from tiphys.kubelet.probes.targets import port_of, url_of
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
from tiphys.net.tls import server_context
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
        (
            NotFound("it is gone", code="NotFound"),
            ProbeResult(
                succeeded=False, message="rpc error: code = NotFound desc = it is gone", is_known=False
            ),
        ),
        (
            DeadlineExceeded("late"),
            ProbeResult(succeeded=False, message='command timed out: "a b" timed out after 1s'),
        ),
        (
            ExecResult(b"x" * 10_000, b"y" * 10_000, 1),
            ProbeResult(succeeded=False, message="x" * 10_000 + "y" * 240),
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
        if request.path == "/to":
            return Response(302, [("location", request.target.partition("?")[2])], b"moved")
        if request.path == "/circle":
            return Response(307, [("location", "/circle")])
        if request.path == "/agent":
            sent = {name: request.headers.get(name) for name in ("user-agent", "accept", "host")}
            return Response(200, body=json.dumps(sent).encode())
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


@pytest.mark.parametrize(("status", "succeeded"), [(200, True), (204, True), (400, False), (500, False)])
async def test_http_statuses(page: int, status: int, succeeded: bool) -> None:
    result = await get(page, f"/{status}")
    assert result.succeeded == succeeded
    assert not result.warns
    assert result.message == ("" if succeeded else f"HTTP probe failed with statuscode: {status}")


async def test_redirects_are_followed_at_the_same_host(page: int) -> None:
    assert await get(page, "/to?/500") == ProbeResult(
        succeeded=False, message="HTTP probe failed with statuscode: 500"
    )
    assert await get(page, "/to?/200") == ProbeResult(succeeded=True)
    assert await get(page, "/to?/to?/to?/200") == ProbeResult(succeeded=True)


async def test_a_redirect_to_another_host_is_a_success_with_a_warning(page: int) -> None:
    result = await get(page, "/to?http://elsewhere.example/500")
    message = "Probe terminated redirects, Response body: moved"
    assert result == ProbeResult(succeeded=True, message=message, warns=True)
    assert (await get(page, "/304")).warns


async def test_redirects_in_a_circle(page: int) -> None:
    result = await get(page, "/circle")
    assert result == ProbeResult(succeeded=False, message='Get "/circle": stopped after 10 redirects')


async def test_http_headers_are_sent(page: int) -> None:
    assert (await get(page, "header", httpHeaders=[{"name": "X-Own", "value": "1"}])).succeeded


async def test_http_says_who_asks(page: int) -> None:
    told = json.loads((await get(page, "/agent")).message)
    assert told == {"user-agent": "kube-probe/1.36", "accept": "*/*", "host": f"127.0.0.1:{page}"}
    own = [{"name": "Host", "value": "own.example"}, {"name": "Accept", "value": ""}]
    own.append({"name": "User-Agent", "value": "me"})
    told = json.loads((await get(page, "/agent", httpHeaders=own)).message)
    assert told == {"user-agent": "me", "accept": None, "host": "own.example"}


async def test_https_to_a_server_without_it(page: int) -> None:
    result = await get(page, "/", scheme="HTTPS")
    assert (
        result.message == f'Get "https://127.0.0.1:{page}/": http: server gave HTTP response to HTTPS client'
    )


async def test_https_trusts_anybody(tmp_path: Path) -> None:
    authority = Authority(tmp_path, datetime.now().astimezone())
    authority.ensure([Leaf("web", "nobody.example")])
    context = server_context(str(authority.certificate("web")), str(authority.key("web")))

    async def handle(request: Request) -> Response:
        return Response(200)

    server = Server(handle, ssl_context=context)
    port = (await server.listen(host="127.0.0.1", port=0)).port
    assert (await get(port, "/", scheme="HTTPS")).succeeded
    await server.shutdown(grace_seconds=0)


async def test_a_server_that_hangs_up() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert (await get(port, "/")).message == f'Get "http://127.0.0.1:{port}/": EOF'
    server.close()


async def test_http_takes_no_longer_than_it_may(page: int) -> None:
    result = await get(page, "/slow", timeout_seconds=0.5)
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
    with pytest.raises(ValueError, match=r'strconv\.Atoi: parsing "none": invalid syntax'):
        port_of("none", CONTAINER)
    with pytest.raises(ValueError, match="invalid port number: 70000"):
        port_of("70000", CONTAINER)


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
        self.warns = False
        self.asked: list[str] = []

    async def run(
        self, handler: Any, container: Any, container_id: str, ip: str, *, timeout_seconds: float
    ) -> ProbeResult:
        self.asked.append(handler["name"])
        return ProbeResult(self.succeeds, "why", self.is_known, self.warns)


class Probing:
    """One container with the given probes, from the moment it runs."""

    def __init__(self, **probes: dict[str, Any]) -> None:
        self.clock = FakeClock()
        self.handlers = Scripted()
        self.woken = 0
        self.unhealthy: list[str] = []
        self.metrics = ProbeMetrics()
        container = {
            "name": "web",
            **{f"{kind}Probe": {"name": kind, **probe} for kind, probe in probes.items()},
        }
        self.pod: dict[str, Any] = {
            "metadata": {"uid": "u1", "name": "web", "namespace": "default"},
            "spec": {"containers": [container]},
        }
        self.start()

    def start(self, **pod: Any) -> None:
        """The kubelet starts; the container runs."""
        self.pod |= pod
        self.manager = ProbeManager(
            self.handlers,
            self.clock,
            self._wake,
            lambda pod, name, reason, message: self.unhealthy.append(f"{reason}: {message}"),
            random=Random(1),
            metrics=self.metrics,
        )
        self.update()

    def update(self) -> None:
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
    assert probing.unhealthy == ["Unhealthy: Readiness probe failed: why"] * 2
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
    await probing.clock.advance(0)
    assert len(probing.handlers.asked) == 3
    assert len(probing.unhealthy) == 1
    await probing.clock.advance(5)
    assert probing.health.failure == ""
    assert probing.unhealthy[0] == "Unhealthy: Liveness probe errored and resulted in unknown state: why"
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


async def test_a_success_that_warns() -> None:
    probing = Probing(readiness={"periodSeconds": 10})
    probing.handlers.warns = True
    await probing.clock.advance(0)
    assert probing.health.ready
    assert probing.unhealthy == ["ProbeWarning: Readiness probe warning: why"]
    probing.manager.forget("u1")


async def test_delays_count_from_the_containers_start_and_kubelets_do_not_ask_all_at_once() -> None:
    probing = Probing(readiness={"initialDelaySeconds": 5, "periodSeconds": 10})
    await probing.clock.advance(3)
    probing.manager.forget("u1")
    probing.start()
    await probing.clock.advance(1.9)
    assert probing.handlers.asked == []
    await probing.clock.advance(8)
    assert probing.handlers.asked == ["readiness"]
    probing.manager.forget("u1")


async def test_a_container_from_before_the_kubelets_start_is_as_it_was() -> None:
    probing = Probing(startup={}, readiness={"failureThreshold": 1, "periodSeconds": 1})
    probing.manager.forget("u1")
    await probing.clock.advance(3)
    reported = {"name": "web", "containerID": "containerd://c1", "started": True, "ready": True}
    probing.handlers.succeeds = False
    probing.handlers.asked.clear()
    probing.start(status={"containerStatuses": [reported]})
    assert (probing.health.started, probing.health.ready) == (True, True)
    await probing.clock.advance(1)
    assert set(probing.handlers.asked) == {"readiness"}
    assert not probing.health.ready
    probing.manager.forget("u1")


async def test_another_life_of_a_container_is_not_as_the_last_one_was() -> None:
    probing = Probing(readiness={})
    probing.manager.forget("u1")
    reported = {"name": "web", "containerID": "containerd://c0", "started": True, "ready": True}
    probing.start(status={"containerStatuses": [reported]})
    assert not probing.health.ready
    probing.manager.forget("u1")


async def test_a_pod_that_is_deleted_is_only_asked_whether_it_is_ready() -> None:
    probing = Probing(liveness={"periodSeconds": 1, "failureThreshold": 2}, readiness={"periodSeconds": 1})
    await probing.clock.advance(0)
    probing.handlers.succeeds = False
    await probing.clock.advance(1)
    probing.pod["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:10Z"
    probing.update()
    probing.handlers.asked.clear()
    await probing.clock.advance(5)
    assert set(probing.handlers.asked) == {"readiness"}
    assert probing.health.failure == ""
    assert not probing.health.ready
    probing.manager.forget("u1")


async def test_what_is_counted() -> None:
    probing = Probing(readiness={"periodSeconds": 1})
    await probing.clock.advance(1)
    probing.handlers.succeeds = False
    await probing.clock.advance(1)
    text = probing.metrics.registry.render().decode()
    labels = 'container="web",namespace="default",pod="web",pod_uid="u1",probe_type="Readiness"'
    assert f'prober_probe_total{{{labels},result="successful"}} 2' in text
    assert f'prober_probe_total{{{labels},result="failed"}} 1' in text
    assert 'prober_probe_duration_seconds_count{container="web",namespace="default",pod="web",' in text
    probing.manager.forget("u1")
    assert probing.metrics.registry.render() == b""


async def test_sidecars_are_asked_as_well() -> None:
    probing = Probing(readiness={"periodSeconds": 1})
    probing.manager.forget("u1")
    [container] = probing.pod["spec"].pop("containers")
    sidecar = {**container, "restartPolicy": "Always"}
    probing.start(spec={"initContainers": [sidecar], "containers": [{"name": "main"}]})
    await probing.clock.advance(0)
    assert probing.health.ready
    probing.manager.forget("u1")
