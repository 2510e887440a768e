"""grpc: the service's own word, by the gRPC health checking protocol (grpc.health.v1.Health/Check), without TLS.

The two messages have one field each, so that their bytes are written here.
"""

from __future__ import annotations

import asyncio

from tiphys.kubelet.probes.http_probe import USER_AGENT
from tiphys.kubelet.probes.results import ProbeResult
from tiphys.kubelet.probes.targets import authority
from tiphys.kubelet.spec import Object
from tiphys.machinery.quoting import format_duration, quote
from tiphys.net.grpc import Code, GRPCError, Terms
from tiphys.net.grpc_channel import Channel

METHOD = "/grpc.health.v1.Health/Check"
SERVING = 1
_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
RECONNECT_SECONDS = 0.1


async def check(action: Object, ip: str, timeout_seconds: float) -> ProbeResult:
    where, limit = authority(ip, action["port"]), format_duration(timeout_seconds)
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    channel = Channel((ip, int(action["port"])), Terms(authority=where, user_agent=USER_AGENT))
    try:
        try:
            async with asyncio.timeout_at(deadline):
                await _connect(channel)
        except TimeoutError:
            why = f"failed to connect service {quote(where)} within {limit}: context deadline exceeded"
            return ProbeResult(succeeded=False, message=f"timeout: {why}")
        left = max(deadline - asyncio.get_running_loop().time(), 0.001)
        try:
            request = request_bytes(action.get("service") or "")
            status = status_of(await channel.unary(METHOD, request, timeout_seconds=left))
        except GRPCError as error:
            return ProbeResult(succeeded=False, message=_failure(error, limit))
    finally:
        await channel.close()
    if status == SERVING:
        return ProbeResult(succeeded=True, message="service healthy")
    name = _STATUSES[status] if status < len(_STATUSES) else str(status)
    return ProbeResult(succeeded=False, message=f"service unhealthy (responded with {quote(name)})")


async def _connect(channel: Channel) -> None:
    """A server that does not listen yet may do so before the time is over."""
    while True:
        try:
            await channel.connect()
            return
        except GRPCError:
            await asyncio.sleep(RECONNECT_SECONDS)


def request_bytes(service: str) -> bytes:
    """HealthCheckRequest: `string service = 1`."""
    data = service.encode()
    return b"\x0a" + _varint(len(data)) + data if data else b""


def status_of(data: bytes) -> int:
    """HealthCheckResponse: `ServingStatus status = 1`."""
    return data[1] if data[:1] == b"\x08" and len(data) > 1 else 0


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _failure(error: GRPCError, limit: str) -> str:
    if error.code == Code.UNIMPLEMENTED:
        protocol = "the grpc health protocol (grpc.health.v1.Health)"
        return f"error: this server does not implement {protocol}: {error.details}"
    if error.code == Code.DEADLINE_EXCEEDED:
        return f"timeout: health rpc did not complete within {limit}"
    return f"error: health rpc probe failed: {error}"
