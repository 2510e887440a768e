"""The header fields of HTTP/1.1 requests, read once for all requests that have the same (as `h2_fields.py` does)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tiphys.net.http import repeated

Field = tuple[bytes, bytes]
"""Name and value, as they were sent."""

# What a field counts beside its name and value: ": " and the line's end.
_FIELD_BYTES = 4
_LENGTH, _AUTHORIZATION = b"Content-Length", b"Authorization"
# What shows who asks (WebSockets bear tokens in their protocols): kept for nobody longer than his request lasts.
SECRETS = frozenset({"authorization", "cookie", "proxy-authorization", "sec-websocket-protocol"})
HEADS_LIMIT = 512
# Larger heads are read each time.
HEAD_LIMIT_BYTES = 4096
# Header names repeat for ever; a bound, for a peer may invent them.
_NAMES: dict[bytes, str] = {}
_NAMES_LIMIT = 1024


class TooManyHosts(ValueError):
    """A request names its host twice."""


def header_name(raw: bytes) -> str:
    """A header's name in lower case."""
    name = _NAMES.get(raw)
    if name is None:
        name = raw.decode("latin-1").lower()
        if len(_NAMES) < _NAMES_LIMIT:
            _NAMES[raw] = name
    return name


def add_header(headers: dict[str, str], name: str, value: str) -> None:
    """Repeated fields are one list (RFC 9110 §5.3), cookies one string (RFC 6265 §5.4)."""
    if name in headers:
        value = repeated(headers[name], value, "; " if name == "cookie" else ", ")
    headers[name] = value


def field_bytes(name: bytes, value: bytes) -> int:
    return len(name) + len(value) + _FIELD_BYTES


def _read(fields: Iterable[Field]) -> tuple[dict[str, str], int]:
    headers: dict[str, str] = {}
    size = 0
    for raw_name, value in fields:
        size += field_bytes(raw_name, value)
        name = header_name(raw_name)
        if name == "host" and name in headers:
            raise TooManyHosts
        add_header(headers, name, value.decode("latin-1"))
    return headers, size


class Heads:
    """The headers of one process's requests. They differ in the length of the body, and seldom in more."""

    def __init__(self) -> None:
        self._known: dict[frozenset[Field], tuple[dict[str, str], int]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def read(self, fields: Sequence[Field]) -> tuple[dict[str, str], int]:
        """The headers by their lower-case names, and how many bytes they were. Raises TooManyHosts."""
        named = dict(fields)
        if len(named) != len(fields):  # Something is repeated, and its order matters.
            return _read(fields)
        length, authorization = named.pop(_LENGTH, None), named.pop(_AUTHORIZATION, None)
        common = frozenset(named.items())
        known, size = self._known.get(common) or self._learn(common, named)
        headers = known.copy()
        if length is not None:
            headers["content-length"] = length.decode("latin-1")
            size += field_bytes(_LENGTH, length)
        if authorization is not None:
            if "authorization" in headers:
                return _read(fields)
            headers["authorization"] = authorization.decode("latin-1")
            size += field_bytes(_AUTHORIZATION, authorization)
        return headers, size

    def _learn(self, common: frozenset[Field], named: dict[bytes, bytes]) -> tuple[dict[str, str], int]:
        head = _read(named.items())
        # One that writes a name in two ways is not kept: the order of its fields would be lost.
        if head[1] <= HEAD_LIMIT_BYTES and len(head[0]) == len(named) and SECRETS.isdisjoint(head[0]):
            if len(self._known) >= HEADS_LIMIT:
                self._known.clear()
            self._known[common] = head
        return head
