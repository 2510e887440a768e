"""Calls to one gRPC server for a thread that waits, over a unix socket. Whoever made the channel closes it."""

from __future__ import annotations

import socket
import threading
import time

from tiphys.net.grpc import Call, ClientCalls, Code, GRPCError, Terms
from tiphys.net.grpc_channel import deadline_exceeded, the_only_message, unreachable

READ_BYTES = 256 * 1024


class BlockingChannel:
    """One call at a time, over a unix socket; any thread may ask."""

    def __init__(self, path: str, terms: Terms = Terms()) -> None:
        self._path = path
        self._terms = terms
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._calls = ClientCalls(terms)

    def unary(self, path: str, request: bytes, *, timeout_seconds: float) -> bytes:
        """Raises GRPCError. The timeout counts from here, others' calls included."""
        deadline = time.monotonic() + timeout_seconds
        if not self._lock.acquire(timeout=timeout_seconds):
            raise deadline_exceeded()
        try:
            connection = self._connection(deadline)
            call = self._calls.begin(path, (), timeout_seconds, lambda: None)
            try:
                self._calls.send(call, request, end=True)
                self._carry(connection, call, deadline)
                return the_only_message(call)
            finally:
                self._calls.release(call)
        except TimeoutError:
            self._drop()
            raise deadline_exceeded() from None
        except OSError as error:
            self._drop()
            raise GRPCError(Code.UNAVAILABLE, f"error reading from server: {error}") from None
        finally:
            self._lock.release()

    def _connection(self, deadline: float) -> socket.socket:
        if self._socket is not None and self._calls.usable and not self._has_ended(self._socket):
            return self._socket
        self._drop()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(left_until(deadline))
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            raise unreachable(self._path, error) from None
        self._calls, self._socket = ClientCalls(self._terms), connection
        return connection

    def _has_ended(self, connection: socket.socket) -> bool:
        """Takes what has come since the last call."""
        connection.setblocking(False)
        try:
            while data := connection.recv(READ_BYTES):
                self._calls.receive(data)
            return True
        except BlockingIOError:
            return not self._calls.usable
        except OSError:
            return True

    def _carry(self, connection: socket.socket, call: Call, deadline: float) -> None:
        """To and fro until the call has ended."""
        while True:
            while data := self._calls.take():
                connection.settimeout(left_until(deadline))
                connection.sendall(data)
            if call.ended:
                return
            connection.settimeout(left_until(deadline))
            data = connection.recv(READ_BYTES)
            if data:
                self._calls.receive(data)
            else:
                self._calls.lose("error reading from server: EOF")

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        with self._lock:
            self._drop()


def left_until(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
