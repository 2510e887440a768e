"""grpc probes, of a real gRPC server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from slow_door import slow_door

from tiphys.kubelet.probes.grpc_probe import request_bytes, status_of
from tiphys.kubelet.probes.handlers import Handlers
from tiphys.kubelet.probes.results import ProbeResult
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.testing.clock import FakeClock

STATUSES = {"": 1, "down": 2, "odd": 0}
CONTAINER = {"name": "web"}


class Health(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self) -> None:
        self.agents: list[str] = []

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method != "/grpc.health.v1.Health/Check":
            return None
        return grpc.unary_unary_rpc_method_handler(self._check)

    async def _check(self, request: bytes, context: Any) -> bytes:
        self.agents.append(dict(context.invocation_metadata())["user-agent"])
        service = request[2:].decode()
        if service == "slow":
            await asyncio.sleep(60)
        if service not in STATUSES:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        status = STATUSES[service]
        return bytes([8, status]) if status else b""


@pytest.fixture
async def service() -> AsyncIterator[tuple[int, Health]]:
    server, health = grpc.aio.server(), Health()
    server.add_generic_rpc_handlers((health,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port, health
    await server.stop(0)


async def ask(port: int, service: str | None = None, timeout_seconds: float = 10) -> ProbeResult:
    action = {"port": port, **({} if service is None else {"service": service})}
    handlers = Handlers(SimulatedRuntime(FakeClock()))
    return await handlers.run({"grpc": action}, CONTAINER, "id", "127.0.0.1", timeout_seconds=timeout_seconds)


async def test_a_service_that_serves(service: tuple[int, Health]) -> None:
    port, health = service
    assert await ask(port) == ProbeResult(succeeded=True, message="service healthy")
    assert await ask(port, "") == ProbeResult(succeeded=True, message="service healthy")
    assert all(agent.startswith("kube-probe/1.36") for agent in health.agents)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("down", 'service unhealthy (responded with "NOT_SERVING")'),
        ("odd", 'service unhealthy (responded with "UNKNOWN")'),
        ("none", "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"),
    ],
)
async def test_services_that_do_not(service: tuple[int, Health], name: str, message: str) -> None:
    assert await ask(service[0], name) == ProbeResult(succeeded=False, message=message)


async def test_one_that_takes_too_long(service: tuple[int, Health]) -> None:
    result = await ask(service[0], "slow", timeout_seconds=1)
    assert result.message == "timeout: health rpc did not complete within 1s"


async def test_one_that_is_slow_to_take_the_connection(service: tuple[int, Health]) -> None:
    async with slow_door(lambda: asyncio.open_connection("127.0.0.1", service[0])) as port:
        assert await ask(port) == ProbeResult(succeeded=True, message="service healthy")


async def test_a_server_without_the_protocol() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    result = await ask(port)
    await server.stop(0)
    what = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
    assert result.message == f"error: {what}: Method not found!"


async def test_nobody_listens() -> None:
    result = await ask(1, timeout_seconds=0.25)
    why = 'failed to connect service "127.0.0.1:1" within 250ms: context deadline exceeded'
    assert result == ProbeResult(succeeded=False, message=f"timeout: {why}")


def test_the_messages() -> None:
    assert request_bytes("") == b""
    assert request_bytes("a") == b"\x0a\x01a"
    assert request_bytes("x" * 300) == b"\x0a\xac\x02" + b"x" * 300
    assert [status_of(data) for data in (b"", b"\x08\x01", b"\x08\x02")] == [0, 1, 2]
