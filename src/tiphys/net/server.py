"""The HTTP server: listens, finds out which protocol a client speaks, and stops cleanly.

A connection is HTTP/2 if TLS agreed on it by ALPN, or if it begins with HTTP/2's preface (on cleartext, or from a
client that offers no ALPN at all); else it is HTTP/1.1. Made and ended by whoever owns the handler.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

from tiphys.net.deadline import Deadline
from tiphys.net.h1 import H1Connection
from tiphys.net.http import Address, Connection, Handler
from tiphys.net.service import ErrorHook, Limits, Service, TooLargeHook

if TYPE_CHECKING:
    from tiphys.net.h2 import H2Connection

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BACKLOG = 2048
# How long a closing TLS connection waits for the peer: to take what is still on its way, then for its part of the goodbye.
TLS_SHUTDOWN_TIMEOUT_SECONDS = 60.0
# A vanished client is noticed by TCP: probes as Go's listener sends them; unacknowledged data ends a connection after 30 s.
KEEPALIVE_SECONDS = 15
KEEPALIVE_PROBES = 9
UNACKNOWLEDGED_TIMEOUT_MILLISECONDS = 30_000

_DEFAULT = Limits()


class _Listener(Protocol):
    """What asyncio's Server and uvloop's have in common, as far as it is needed here."""

    def close(self) -> None: ...


class Server:
    """One handler behind any number of listening sockets.

    `on_too_large(request)` answers a request whose body is over the limit (the connection closes, or the stream ends);
    `on_error(request, exception)` answers one whose handler raised. Must be made on a running event loop.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        ssl_context: ssl.SSLContext | None = None,
        body_limit_bytes: int = _DEFAULT.body_bytes,
        header_limit_bytes: int = _DEFAULT.header_bytes,
        header_count_limit: int = _DEFAULT.header_count,
        header_timeout_seconds: float = _DEFAULT.header_timeout_seconds,
        body_timeout_seconds: float = _DEFAULT.body_timeout_seconds,
        idle_timeout_seconds: float = _DEFAULT.idle_timeout_seconds,
        on_too_large: TooLargeHook | None = None,
        on_error: ErrorHook | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        limits = Limits(
            body_bytes=body_limit_bytes,
            header_bytes=header_limit_bytes,
            header_count=header_count_limit,
            header_timeout_seconds=header_timeout_seconds,
            body_timeout_seconds=body_timeout_seconds,
            idle_timeout_seconds=idle_timeout_seconds,
        )
        self._service = Service(handler, limits, on_too_large=on_too_large, on_error=on_error, clock=clock)
        self._ssl_context = ssl_context
        self._listeners: list[_Listener] = []
        self._paths: list[str] = []

    async def listen(
        self,
        *,
        host: str | None = None,
        port: int | None = None,
        path: str | None = None,
        sock: socket.socket | None = None,
    ) -> Address:
        """Accept connections on host and port (0: any free one), a unix socket, or a socket that is bound already.

        Returns where. Raises OSError (EADDRINUSE, EACCES…). A unix socket speaks cleartext and is for its owner only.
        """
        if path is not None:
            sock = _unix_socket(path)
            self._paths.append(path)
        elif sock is None:
            sock = _tcp_socket(host, port or 0)
        address = _address(sock.getsockname())
        loop, limits = self._service.loop, self._service.limits
        if sock.family == socket.AF_UNIX:
            self._listeners.append(await loop.create_unix_server(self._accept, sock=sock, backlog=BACKLOG))
        elif self._ssl_context is None:
            self._listeners.append(await loop.create_server(self._accept, sock=sock, backlog=BACKLOG))
        else:
            listener = await loop.create_server(
                self._accept,
                sock=sock,
                backlog=BACKLOG,
                ssl=self._ssl_context,
                ssl_handshake_timeout=limits.header_timeout_seconds,
                ssl_shutdown_timeout=TLS_SHUTDOWN_TIMEOUT_SECONDS,
            )
            self._listeners.append(listener)
        return address

    def _accept(self) -> Greeter:
        return Greeter(self._service)

    @property
    def connection_count(self) -> int:
        return len(self._service.connections)

    async def shutdown(self, *, grace_seconds: float) -> None:
        """Stop accepting, end open streams cleanly, let running requests finish, then cut off what is left.

        Pushed streams (`Response.start`) end at once: last chunk, or END_STREAM and GOAWAY. Handlers, iterators and
        upgraded connections have `grace_seconds` to end.
        """
        service = self._service
        service.stopping = True
        for listener in self._listeners:
            listener.close()
        for path in self._paths:
            with suppress(FileNotFoundError):
                os.unlink(path)
        for connection in list(service.connections):
            connection.begin_shutdown()
        if not await service.emptied(grace_seconds):
            for connection in list(service.connections):
                connection.kill()
            await service.emptied(1.0)


class Greeter(asyncio.Protocol):
    """The first protocol of every connection: makes way for the right one as soon as it is known."""

    __slots__ = ("_deadline", "_received", "_service", "_transport")

    def __init__(self, service: Service) -> None:
        self._service = service
        self._received = b""
        self._deadline: Deadline | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._service.stopping:
            self._transport.abort()
            return
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        protocol = tls.selected_alpn_protocol() if tls is not None else None
        if protocol is not None:
            self._make_way(http2=protocol == "h2")
            return
        self._service.add(self)
        self._deadline = Deadline(self._service.loop, self._transport.abort)
        self._deadline.set(self._service.limits.idle_timeout_seconds)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.startswith(PREFACE):
            self._make_way(http2=True)
        elif not PREFACE.startswith(self._received):
            self._make_way(http2=False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.end()
        self._service.discard(self)

    def _make_way(self, *, http2: bool) -> None:
        if self._deadline is not None:
            self._deadline.end()
        info = _describe(self._transport, http2=http2)
        successor = _speaker(http2=http2)(self._service, info)
        self._transport.set_protocol(successor)
        successor.connection_made(self._transport)
        self._service.discard(self)
        if self._received:
            successor.data_received(self._received)

    def flush(self) -> None:
        """Nothing is written before the protocol is known."""

    def begin_shutdown(self) -> None:
        self._transport.abort()

    kill = begin_shutdown


def _speaker(*, http2: bool) -> type[H1Connection | H2Connection]:
    """The protocol of a connection. HTTP/2 and its library are imported when the first client speaks it: not all servers meet one."""
    if not http2:
        return H1Connection
    from tiphys.net.h2 import H2Connection

    return H2Connection


def _describe(transport: asyncio.Transport, *, http2: bool) -> Connection:
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    return Connection(
        protocol="h2" if http2 else "h1",
        tls=tls is not None,
        peer_address=_address(transport.get_extra_info("peername")),
        peer_certificate=tls.getpeercert(binary_form=True) if tls is not None else None,
    )


def _address(name: object) -> Address:
    """A socket's or peer's name as the socket module gives it."""
    if isinstance(name, tuple):
        return Address(host=name[0], port=name[1])
    return Address(path=os.fsdecode(name)) if isinstance(name, str | bytes) else Address()


def _tcp_socket(host: str | None, port: int) -> socket.socket:
    """Bound, not yet listening. No host: all addresses, IPv6 too where the machine has it."""
    if host is None and socket.has_dualstack_ipv6():
        sock = socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
        )
    else:
        family = socket.AF_INET6 if host is not None and ":" in host else socket.AF_INET
        sock = socket.create_server((host or "0.0.0.0", port), family=family, backlog=BACKLOG)
    # Accepted sockets inherit these.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_TIMEOUT_MILLISECONDS)
    return sock


def _unix_socket(path: str) -> socket.socket:
    """Bound, for its owner only. Replaces a socket file that nobody listens on any more."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode) and not _answers(path):
            os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        os.chmod(path, 0o600)
    except OSError:
        sock.close()
        raise
    return sock


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(path) == 0
