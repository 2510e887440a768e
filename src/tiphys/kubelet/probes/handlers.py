"""What probes do: run a command, ask a web server or a gRPC service, or knock at a port. Messages are upstream's (`pkg/probe`)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from tiphys.kubelet.probes.http_probe import http_get
from tiphys.kubelet.probes.results import ProbeResult, broken
from tiphys.kubelet.probes.targets import authority, dial_failure, port_of, url_of
from tiphys.kubelet.runtimes.interface import DeadlineExceeded, Runtime, RuntimeFailure
from tiphys.kubelet.spec import Object
from tiphys.machinery.quoting import format_duration, quote

OUTPUT_LIMIT_BYTES = 10 * 1024


class Handlers:
    """Of one node. The process must be in the node's network namespace: it reaches pods by their addresses."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def run(
        self, handler: Object, container: Object, container_id: str, ip: str, *, timeout_seconds: float
    ) -> ProbeResult:
        """`handler` has one of exec, httpGet, tcpSocket, grpc."""
        if "exec" in handler:
            return await self._exec(handler["exec"].get("command") or [], container_id, timeout_seconds)
        if "grpc" in handler:
            from tiphys.kubelet.probes.grpc_probe import check

            return await check(handler["grpc"], ip, timeout_seconds)
        try:
            async with asyncio.timeout(timeout_seconds):
                if "httpGet" in handler:
                    return await http_get(handler["httpGet"], container, ip)
                if "tcpSocket" in handler:
                    return await _connect(handler["tcpSocket"], container, ip)
        except TimeoutError:
            return ProbeResult(succeeded=False, message=_timeout_message(handler, container, ip))
        return broken(f"missing probe handler for container {container['name']}")

    async def _exec(self, command: list[str], container_id: str, timeout_seconds: float) -> ProbeResult:
        try:
            result = await self._runtime.exec_sync(container_id, command, timeout_seconds)
        except DeadlineExceeded:
            what = f"{quote(' '.join(command))} timed out after {format_duration(timeout_seconds)}"
            return ProbeResult(succeeded=False, message=f"command timed out: {what}")
        except RuntimeFailure as error:
            return broken(error.described)
        output = (result.stdout + result.stderr)[:OUTPUT_LIMIT_BYTES].decode(errors="replace")
        return ProbeResult(result.exit_code == 0, output)


async def _connect(action: Object, container: Object, ip: str) -> ProbeResult:
    host = action.get("host") or ip
    try:
        port = port_of(action["port"], container)
    except ValueError as error:
        return broken(str(error))
    try:
        address = await _address(host)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, (address, port))
    except OSError as error:
        return ProbeResult(succeeded=False, message=dial_failure(authority(host, port), error))
    return ProbeResult(succeeded=True)


async def _address(host: str) -> str:
    """Asks the resolver, in its thread, for names only."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return str(found[0][4][0])
    return host


def _timeout_message(handler: Object, container: Object, ip: str) -> str:
    if "httpGet" in handler:
        base, target = url_of(handler["httpGet"], container, ip)
        return f'Get "{base}{target}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    action = handler["tcpSocket"]
    return f"dial tcp {authority(action.get('host') or ip, port_of(action['port'], container))}: i/o timeout"
