"""grpc: the service's own word, by the gRPC health checking protocol (grpc.health.v1.Health/Check), without TLS.

The two messages have one field each, so that their bytes are written here. gRPC's library is loaded with the first such probe;
where containers run it is there already, for CRI.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tiphys.kubelet.probes.http_probe import USER_AGENT
from tiphys.kubelet.probes.results import ProbeResult
from tiphys.kubelet.probes.targets import authority
from tiphys.kubelet.spec import Object
from tiphys.machinery.quoting import format_duration, quote

if TYPE_CHECKING:
    import grpc.aio

METHOD = "/grpc.health.v1.Health/Check"
SERVING = 1
_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_GO_NAMES = {"CANCELLED": "Canceled", "OK": "OK"}


async def check(action: Object, ip: str, timeout_seconds: float) -> ProbeResult:
    import grpc
    import grpc.aio

    where, limit = authority(ip, action["port"]), format_duration(timeout_seconds)
    options = [
        ("grpc.primary_user_agent", USER_AGENT),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
    ]
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    async with grpc.aio.insecure_channel(_target(where), options=options) as channel:
        try:
            async with asyncio.timeout_at(deadline):
                await channel.channel_ready()
        except TimeoutError:
            why = f"failed to connect service {quote(where)} within {limit}: context deadline exceeded"
            return ProbeResult(succeeded=False, message=f"timeout: {why}")
        left = max(deadline - asyncio.get_running_loop().time(), 0.001)
        try:
            status = await _ask(channel, action.get("service") or "", left)
        except grpc.aio.AioRpcError as error:
            return ProbeResult(succeeded=False, message=_failure(error, limit))
    if status == SERVING:
        return ProbeResult(succeeded=True, message="service healthy")
    name = _STATUSES[status] if status < len(_STATUSES) else str(status)
    return ProbeResult(succeeded=False, message=f"service unhealthy (responded with {quote(name)})")


def _target(where: str) -> str:
    return f"ipv6:{where}" if where.startswith("[") else f"ipv4:{where}"


async def _ask(channel: grpc.aio.Channel, service: str, timeout_seconds: float) -> int:
    call: Any = channel.unary_unary(METHOD, request_serializer=request_bytes, response_deserializer=status_of)
    status: int = await call(service, timeout=timeout_seconds)
    return status


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


def _failure(error: grpc.aio.AioRpcError, limit: str) -> str:
    name, details = error.code().name, error.details() or ""
    if name == "UNIMPLEMENTED":
        protocol = "the grpc health protocol (grpc.health.v1.Health)"
        return f"error: this server does not implement {protocol}: {details}"
    if name == "DEADLINE_EXCEEDED":
        return f"timeout: health rpc did not complete within {limit}"
    told = _GO_NAMES.get(name) or "".join(word.capitalize() for word in name.split("_"))
    return f"error: health rpc probe failed: rpc error: code = {told} desc = {details}"
