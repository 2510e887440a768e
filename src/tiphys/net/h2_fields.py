"""HTTP/2's header lists and what they say: those of requests read, those of responses written (RFC 9113 §8.3).

Both repeat themselves for ever: what requests have in common is read once, a field that many responses carry is encoded
once. What is kept of them has limits, for peers may invent fields.
"""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.machinery.frozen import frozen
from tiphys.net.h1_fields import SECRETS, add_header, header_name
from tiphys.net.h2_engine import Headers
from tiphys.net.http import Connection, Request, Response

Field = tuple[bytes, bytes]

# What a field counts beside its name and value (RFC 9113 §6.5.2).
_FIELD_BYTES = 32
_PATH_BYTES = len(b":path") + _FIELD_BYTES
_LENGTH_BYTES = len(b"content-length") + _FIELD_BYTES
_AUTHORIZATION_BYTES = len(b"authorization") + _FIELD_BYTES

HEADS_LIMIT = 512
# Larger heads are read each time.
HEAD_LIMIT_BYTES = 4096
FIELDS_LIMIT = 1024
# A name with more values than this says something else in every response, as `audit-id` does.
VALUES_LIMIT = 32
FIELD_LIMIT_CHARACTERS = 256

_STATUSES: dict[int, Field] = {status: (b":status", b"%d" % status) for status in range(100, 600)}
# Fields of HTTP/1.1's connections, not allowed here (RFC 9113 §8.2.2).
_CONNECTION_HEADERS = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection")
)


@frozen
class _Head:
    method: str
    target: str
    headers: dict[str, str]
    size: int


def _read(fields: Iterable[Field]) -> _Head:
    headers: dict[str, str] = {}
    method = target = ""
    size = 0
    for raw_name, raw_value in fields:
        size += len(raw_name) + len(raw_value) + _FIELD_BYTES
        value = raw_value.decode("latin-1")
        if raw_name == b":method":
            method = value
        elif raw_name == b":path":
            target = value
        elif raw_name == b":authority":
            headers["host"] = value
        elif raw_name[:1] != b":" and not (raw_name == b"host" and "host" in headers):
            add_header(headers, header_name(raw_name), value)
    return _Head(method, target, headers, size)


class Heads:
    """The heads of one server's requests. They differ in their path and the length of their body, and seldom in more. Of who asks
    nothing is kept that others could use."""

    def __init__(self) -> None:
        self._known: dict[frozenset[Field], _Head] = {}

    def __len__(self) -> int:
        return len(self._known)

    def read(self, block: Headers, connection: Connection) -> tuple[Request, int]:
        """A request without its body, and the size of its header list as RFC 9113 §6.5.2 counts it."""
        fields = dict(block)
        if len(fields) != len(block):  # Something is repeated, and its order matters.
            head = _read(block)
            return Request(head.method, head.target, head.headers, b"", connection), head.size
        path, length = fields.pop(b":path", b""), fields.pop(b"content-length", None)
        authorization = fields.pop(b"authorization", None)
        # A set, for clients in Go give their fields another order each time.
        common = frozenset(fields.items())
        head = self._known.get(common) or self._learn(common, fields)
        headers, size = head.headers.copy(), head.size + len(path) + _PATH_BYTES
        if length is not None:
            headers["content-length"] = length.decode("latin-1")
            size += len(length) + _LENGTH_BYTES
        if authorization is not None:
            headers["authorization"] = authorization.decode("latin-1")
            size += len(authorization) + _AUTHORIZATION_BYTES
        return Request(head.method, path.decode("latin-1"), headers, b"", connection), size

    def _learn(self, common: frozenset[Field], fields: dict[bytes, bytes]) -> _Head:
        head = _read(fields.items())
        if head.size <= HEAD_LIMIT_BYTES and SECRETS.isdisjoint(head.headers):
            if len(self._known) >= HEADS_LIMIT:
                self._known.clear()
            self._known[common] = head
        return head


class EncodedFields(dict[tuple[str, str], Field | None]):
    """Header fields of responses as HTTP/2 says them; None for those that it does not have. ValueError for a line break."""

    def __init__(self) -> None:
        self._names: dict[str, bytes] = {}
        self._values: dict[str, int] = {}

    def __missing__(self, field: tuple[str, str]) -> Field | None:
        name, value = field
        if not value.isprintable() and ("\n" in value or "\r" in value or "\0" in value):
            raise ValueError("a response header holds a line break")
        encoded_name = self._names.get(name)
        if encoded_name is not None:  # So many values that none is kept.
            return encoded_name, value.encode("latin-1")
        lower = name.lower()
        encoded: Field | None = None
        if lower not in _CONNECTION_HEADERS:
            encoded = lower.encode("latin-1"), value.encode("latin-1")
        if len(name) + len(value) <= FIELD_LIMIT_CHARACTERS and lower != "set-cookie":
            self._keep(field, encoded)
        return encoded

    def _keep(self, field: tuple[str, str], encoded: Field | None) -> None:
        if len(self) >= FIELDS_LIMIT:
            self.clear()
            self._names.clear()
            self._values.clear()
        self[field] = encoded
        name = field[0]
        self._values[name] = values = self._values.get(name, 0) + 1
        if values >= VALUES_LIMIT and encoded is not None:
            self._names[name] = encoded[0]


_encoded = EncodedFields().__getitem__


def response_block(response: Response, date: Field, length: int | None) -> list[Field]:
    """The header list of a response, with the length of its body. ValueError for a header that cannot be said, KeyError for a status."""
    status = response.status
    block: list[Field] = [_STATUSES[status], *filter(None, map(_encoded, response.headers)), date]
    if length is not None and status != 204:
        block.append((b"content-length", b"%d" % length))
    return block
