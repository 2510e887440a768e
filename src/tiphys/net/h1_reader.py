"""HTTP/1.1 requests out of bytes: what is accepted, what is refused and how (RFC 9112).

No I/O: `feed` takes what came, `ready` holds the whole requests in order, `failure` says why nothing more is accepted.
`begun` counts the requests that have begun; `continue_wanted` says that the client waits for 100 (Continue).
llhttp (httptools), in its strict mode, already refuses what makes request smuggling: both Content-Length and
Transfer-Encoding, repeated Content-Length, folded lines, bare CR or LF, space before a colon. The rest is refused here.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from enum import Enum

import httptools

from tiphys.machinery.frozen import frozen
from tiphys.net.h1_fields import Field, Heads, TooManyHosts, field_bytes
from tiphys.net.http import Connection, Request
from tiphys.net.service import Limits

_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
REST_LIMIT_BYTES = 64 * 1024
# One for all connections: many clients send the same.
_heads = Heads()


def has_bad_escape(target: str) -> bool:
    """A path with a % that is not followed by two hexadecimal digits."""
    return "%" in target and _BAD_ESCAPE.search(target.partition("?")[0]) is not None


class State(Enum):
    IDLE = "between requests"
    HEAD = "in a head"
    BODY = "in a body"
    UPGRADE = "after a request that asks for an upgrade"
    FAILED = "refused"


@dataclass(slots=True)
class Incoming:
    """A whole request. `chunked_allowed`: the client knows the chunked coding (HTTP/1.1)."""

    request: Request
    keep_alive: bool
    chunked_allowed: bool
    wants_upgrade: bool = False


@frozen
class Failure:
    """Why the connection is refused. `request` for a body that is too large: its head."""

    status: int
    message: str
    request: Request | None = None


class _Refused(Exception):
    """Stops the parser; the reader's `failure` says why."""


class RequestReader:
    def __init__(self, connection: Connection, limits: Limits) -> None:
        self.ready: deque[Incoming] = deque()
        self.failure: Failure | None = None
        self.state = State.IDLE
        self.continue_wanted = False
        self.begun = 0
        self._connection = connection
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._rest = b""
        # A request that asks for an upgrade but has a body: llhttp stops before the body, so a second parser reads it.
        self._body_of: Request | None = None
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._fields: list[Field] = []
        self._headers: dict[str, str] = {}
        self._header_count = 0
        self._header_bytes = 0
        self._fed_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._keep_alive = True
        self._version = "1.1"

    def feed(self, data: bytes) -> None:
        """Parse. Nothing more is parsed after a failure or an upgrade request."""
        if self.state is State.UPGRADE:
            self._rest += data
            return
        if self.state is State.FAILED:
            return
        begun_earlier = self.state is State.HEAD
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._pause(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._fail(self.failure or Failure(400, str(error)))
        else:
            if begun_earlier and self.state is State.HEAD:
                self._count_unfinished_head(len(data))

    def end(self) -> None:
        """Let go of the parser, which holds this reader as the reader holds it."""
        self.state = State.FAILED
        self.ready.clear()
        del self._parser

    def _count_unfinished_head(self, size: int) -> None:
        """A line without an end is invisible to the header callbacks, so count what came."""
        self._fed_bytes += size
        if self._fed_bytes > self._limits.header_bytes:
            self._fail(Failure(431, "the request's head is too large"))

    def _fail(self, failure: Failure) -> None:
        self.state = State.FAILED
        self.failure = failure
        self.continue_wanted = False

    def _refuse(self, failure: Failure) -> None:
        self.failure = failure
        raise _Refused

    # An upgrade.

    def _pause(self, rest: bytes) -> None:
        """llhttp stops after the head of a request that asks for an upgrade."""
        # kubectl asks for SPDY by a POST that says that its body is empty.
        if self._headers.get("content-length", "0") != "0" or "transfer-encoding" in self._headers:
            self._read_body_apart(rest)
            return
        self.state = State.UPGRADE
        self.ready[-1].wants_upgrade = True
        self._rest = rest

    def _read_body_apart(self, rest: bytes) -> None:
        """The protocols that we upgrade to have no body in their request: the upgrade is ignored (RFC 9110 §7.8)."""
        incoming = self.ready.pop()
        length = self._headers.get("content-length")
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        self._parser = httptools.HttpRequestParser(self)
        self._body_of = incoming.request
        self.feed(f"POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode() + rest)

    @property
    def has_backlog(self) -> bool:
        """Enough is waiting to be served: read no more."""
        return bool(self.ready) or len(self._rest) > REST_LIMIT_BYTES

    def take_rest(self) -> bytes:
        """The bytes after a request that asked for an upgrade."""
        rest, self._rest = self._rest, b""
        return rest

    def decline_upgrade(self) -> None:
        """Go on with HTTP/1.1 behind a request that asked for an upgrade."""
        self._parser = httptools.HttpRequestParser(self)
        self.state = State.IDLE
        self.feed(self.take_rest())

    # httptools' callbacks.

    def on_message_begin(self) -> None:
        self._reset()
        self.begun += 1
        self.state = State.HEAD

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.state is State.HEAD:
            self._fields.append((name, value))
        else:  # A trailer: counted, not kept.
            self._header_bytes += field_bytes(name, value)
            self._header_count += 1
            self._check_header_size()

    def _check_header_size(self) -> None:
        size = self._header_bytes + len(self._url)
        if size > self._limits.header_bytes or self._header_count > self._limits.header_count:
            self._refuse(Failure(431, "the request's head is too large"))

    def on_headers_complete(self) -> None:
        self.state = State.BODY
        try:
            self._headers, self._header_bytes = _heads.read(self._fields)
        except TooManyHosts:
            self._refuse(Failure(400, "too many Host headers"))
        self._header_count = len(self._fields)
        if self._body_of is not None:
            self._headers = self._body_of.headers
            self._check_body_headers()
            return
        self._check_header_size()
        self._version = self._parser.get_http_version()
        self._keep_alive = self._parser.should_keep_alive()
        self._check_head()
        self._check_body_headers()

    def _check_head(self) -> None:
        headers = self._headers
        if self._version != "1.1" and self._version != "1.0":
            self._refuse(Failure(505, "unsupported protocol version"))
        if "host" not in headers and self._version == "1.1":
            self._refuse(Failure(400, "missing required Host header"))
        if "transfer-encoding" in headers:
            if self._version == "1.0":
                self._refuse(Failure(400, "Transfer-Encoding in an HTTP/1.0 request"))
            if headers["transfer-encoding"].lower() != "chunked":
                self._refuse(Failure(501, "unsupported transfer encoding"))

    def _check_body_headers(self) -> None:
        length = int(self._headers.get("content-length", "0"))
        if length > self._limits.body_bytes:
            self._refuse_body()
        expect = self._headers.get("expect")
        if expect is not None:
            if expect.lower() != "100-continue":
                self._refuse(Failure(417, "unsupported expectation"))
            self.continue_wanted = length > 0 or "transfer-encoding" in self._headers

    def _refuse_body(self) -> None:
        request = self._body_of or self._request(b"")
        self._refuse(Failure(413, "the request's body is too large", request))

    def on_body(self, data: bytes) -> None:
        self.continue_wanted = False
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.body_bytes:
            self._refuse_body()
        self._body.append(data)

    def on_message_complete(self) -> None:
        self.continue_wanted = False
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if self._body_of is None:
            request = self._request(body)
        else:
            request, self._body_of = self._body_of, None
            request.body = body
        self.ready.append(Incoming(request, self._keep_alive, self._version == "1.1"))
        self.state = State.IDLE
        self._body = []

    def _request(self, body: bytes) -> Request:
        target = self._url.decode("latin-1")
        if not target.startswith("/"):
            target = self._origin_form(target)
        if has_bad_escape(target):
            self._refuse(Failure(400, "invalid URL escape"))
        return Request(self._parser.get_method().decode(), target, self._headers, body, self._connection)

    def _origin_form(self, target: str) -> str:
        """`http://host/path` to `/path` with the host in its header (RFC 9112 §3.2.2); `*` and `host:port` stay."""
        scheme, found, rest = target.partition("://")
        if not found or not scheme.isalpha():
            return target
        end = min((index for index in (rest.find("/"), rest.find("?")) if index >= 0), default=len(rest))
        self._headers["host"] = rest[:end]
        path = rest[end:]
        return path if path.startswith("/") else "/" + path
