"""What probes and lifecycle hooks do: run a command, ask a web server, or knock at a port. Messages are upstream's."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from tiphys.kubelet.runtimes.interface import DeadlineExceeded, Runtime, RuntimeFailure
from tiphys.kubelet.spec import Object
from tiphys.net.client import ConnectError, HTTPClient, HTTPClientError

OUTPUT_LIMIT_BYTES = 10 * 1024
USER_AGENT = "kube-probe/1.36"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """`is_known` False: the handler itself broke; that counts neither way for liveness and readiness."""

    succeeded: bool
    message: str = ""
    is_known: bool = True


class Handlers:
    """Of one node. The process must be in the node's network namespace: it reaches pods by their addresses."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def run(
        self, handler: Object, container: Object, container_id: str, ip: str, *, timeout_seconds: float
    ) -> ProbeResult:
        """`handler` has one of exec, httpGet, tcpSocket. timeout_seconds 0: as long as it takes."""
        if "exec" in handler:
            return await self._exec(handler["exec"].get("command") or [], container_id, timeout_seconds)
        try:
            async with asyncio.timeout(timeout_seconds or None):
                if "httpGet" in handler:
                    return await _http_get(handler["httpGet"], container, ip)
                if "tcpSocket" in handler:
                    return await _connect(handler["tcpSocket"], container, ip)
        except TimeoutError:
            return ProbeResult(succeeded=False, message=_timeout_message(handler, container, ip))
        return ProbeResult(succeeded=False, message="missing probe handler", is_known=False)

    async def _exec(self, command: list[str], container_id: str, timeout_seconds: float) -> ProbeResult:
        try:
            result = await self._runtime.exec_sync(container_id, command, timeout_seconds)
        except DeadlineExceeded:
            text = f"command timed out: {' '.join(command)!r} timed out after {timeout_seconds:g}s"
            return ProbeResult(succeeded=False, message=text)
        except RuntimeFailure as error:
            return ProbeResult(succeeded=False, message=error.message)
        output = (result.stdout + result.stderr)[:OUTPUT_LIMIT_BYTES].decode(errors="replace")
        return ProbeResult(result.exit_code == 0, output)


def port_of(value: int | str, container: Object) -> int:
    """A port by number, or by the name that the container gives it. ValueError when it has no such port."""
    if isinstance(value, int):
        return value
    for port in container.get("ports") or ():
        if port.get("name") == value:
            return int(port["containerPort"])
    if value.isdecimal():
        return int(value)
    raise ValueError(f"couldn't find port: {value}")


def url_of(action: Object, container: Object, ip: str) -> tuple[str, str]:
    """(base URL, target) of an httpGet."""
    host = action.get("host") or ip
    host = f"[{host}]" if ":" in host else host
    scheme = (action.get("scheme") or "HTTP").lower()
    path = action.get("path") or "/"
    port = port_of(action["port"], container)
    return f"{scheme}://{host}:{port}", path if path.startswith("/") else f"/{path}"


async def _http_get(action: Object, container: Object, ip: str) -> ProbeResult:
    try:
        base, target = url_of(action, container, ip)
    except ValueError as error:
        return ProbeResult(succeeded=False, message=str(error), is_known=False)
    headers: list[tuple[str, str]] = [
        (header["name"], header["value"]) for header in action.get("httpHeaders") or ()
    ]
    named = {name.lower() for name, _ in headers}
    headers += [
        (name, value)
        for name, value in (("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Connection", "close"))
        if name.lower() not in named
    ]
    client = HTTPClient(base, ssl_context=trusting_anybody() if base.startswith("https") else None)
    try:
        answer = await client.request("GET", target, headers)
    except ConnectError as error:
        cause = _cause(error.__cause__) if isinstance(error.__cause__, OSError) else error.reason
        text = _dial_message(error.address, cause)
        return ProbeResult(succeeded=False, message=f'Get "{base}{target}": {text}')
    except (HTTPClientError, OSError) as error:
        return ProbeResult(succeeded=False, message=f'Get "{base}{target}": {error}')
    finally:
        await client.close()
    if 200 <= answer.status < 400:
        return ProbeResult(succeeded=True)
    return ProbeResult(succeeded=False, message=f"HTTP probe failed with statuscode: {answer.status}")


def trusting_anybody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _connect(action: Object, container: Object, ip: str) -> ProbeResult:
    host = action.get("host") or ip
    try:
        port = port_of(action["port"], container)
    except ValueError as error:
        return ProbeResult(succeeded=False, message=str(error), is_known=False)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
    except OSError as error:
        return ProbeResult(succeeded=False, message=_dial_message(f"{host}:{port}", _cause(error)))
    finally:
        connection.close()
    return ProbeResult(succeeded=True)


def _cause(error: OSError) -> str:
    """The kernel's word for it: event loops put others around it."""
    return os.strerror(error.errno) if error.errno else str(error)


def _dial_message(address: str, cause: str) -> str:
    return f"dial tcp {address}: connect: {cause.lower()}"


def _timeout_message(handler: Any, container: Object, ip: str) -> str:
    if "httpGet" in handler:
        base, target = url_of(handler["httpGet"], container, ip)
        return f'Get "{base}{target}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    action = handler["tcpSocket"]
    return f"dial tcp {action.get('host') or ip}:{port_of(action['port'], container)}: i/o timeout"
