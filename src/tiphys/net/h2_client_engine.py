"""HTTP/2's framing, header compression and windows as a client needs them: what `h2_engine.py` is to the server.

Only these two files know ngh2. No I/O: bytes in, bytes out, calls to a Listener.
"""

from __future__ import annotations

from typing import Protocol

import ngh2
from ngh2 import events

from tiphys.net.h2_engine import EngineError, Headers

REFUSED_STREAM = int(ngh2.ErrorCode.REFUSED_STREAM)
ENHANCE_YOUR_CALM = int(ngh2.ErrorCode.ENHANCE_YOUR_CALM)
INADEQUATE_SECURITY = int(ngh2.ErrorCode.INADEQUATE_SECURITY)

STREAM_WINDOW_BYTES = 1 << 20
# Every stream of sixty-four can fill its own window, so that one that stalls never starves another.
CONNECTION_WINDOW_BYTES = 64 * STREAM_WINDOW_BYTES
HEADER_LIMIT_BYTES = 256 * 1024


class Listener(Protocol):
    def on_headers(self, stream_id: int, headers: Headers) -> None:
        """The head of the response, or its trailers; both may come as one."""

    def on_data(self, stream_id: int, data: bytes) -> None: ...

    def on_stream_closed(self, stream_id: int, error_code: int) -> None:
        """The response is whole (NO_ERROR), or the server has refused or cancelled it. Called once for each request."""

    def on_settings(self) -> None:
        """It is a server of HTTP/2 that answers."""

    def on_go_away(self) -> None:
        """The server takes no more requests; those under way go on."""


class ClientEngine:
    """One connection. Calls on a stream that is gone do nothing: its `on_stream_closed` says so."""

    __slots__ = ("_connection", "_listener")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        configuration = ngh2.Configuration(
            auto_window_update=False, max_inbound_header_list_size=HEADER_LIMIT_BYTES
        )
        self._connection = ngh2.Connection(ngh2.Role.CLIENT, configuration)
        self._connection.initiate_connection(
            {ngh2.Setting.ENABLE_PUSH: 0, ngh2.Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES}
        )
        self._connection.set_local_window_size(CONNECTION_WINDOW_BYTES)

    def request(self, headers: Headers) -> int:
        """The new stream. One more than the server takes at once waits here. Raises EngineError when the connection takes none."""
        try:
            stream_id: int = self._connection.send_request(headers)
        except ngh2.NGH2Error as error:
            raise EngineError(str(error)) from error
        return stream_id

    def send(self, stream_id: int, data: bytes, *, end: bool) -> None:
        try:
            self._connection.send_data(stream_id, data, end_stream=end)
        except ngh2.NGH2Error:
            pass

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Let the server send as much again."""
        try:
            self._connection.acknowledge_received_data(size, stream_id)
        except (ngh2.NGH2Error, ValueError):
            pass

    def cancel(self, stream_id: int) -> None:
        try:
            self._connection.reset_stream(stream_id)
        except ngh2.NGH2Error:
            pass

    def receive(self, data: bytes) -> None:
        try:
            self._connection.receive_data(data)
        except ngh2.NGH2Error as error:
            raise EngineError(str(error)) from error
        self._dispatch()

    def take(self, limit_bytes: int) -> bytes:
        """At most so much of what is to be sent now; b"" if nothing is, or the server's windows are full."""
        try:
            data: bytes = self._connection.data_to_send(limit_bytes)
        except ngh2.NGH2Error as error:
            raise EngineError(str(error)) from error
        self._dispatch()
        return data

    @property
    def finished(self) -> bool:
        """Nothing is left to be sent or received: the server has gone away, or was sent away for breaking the protocol."""
        return not (self._connection.want_read or self._connection.want_write)

    def _dispatch(self) -> None:
        listener = self._listener
        for event in self._connection.events():
            if isinstance(event, events.DataReceived):
                listener.on_data(event.stream_id, event.data)
            elif isinstance(event, events.ResponseReceived | events.TrailersReceived):
                listener.on_headers(event.stream_id, event.headers)
            elif isinstance(event, events.StreamClosed):
                listener.on_stream_closed(event.stream_id, event.error_code)
            elif isinstance(event, events.SettingsReceived):
                listener.on_settings()
            elif isinstance(event, events.GoAwayReceived):
                listener.on_go_away()
