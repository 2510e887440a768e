"""From results and errors to HTTP answers: the one place where a StatusError becomes a Status."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tiphys.api.resource import Object
from tiphys.api.types import schema_of
from tiphys.apiserver.call import Call
from tiphys.apiserver.negotiation import JSON, SERVED, WITHOUT_PROTOBUF, YAML, accepted
from tiphys.apiserver.packing import GZIP_FROM_BYTES, Packer, takes_gzip
from tiphys.machinery import yaml
from tiphys.machinery.errors import StatusError
from tiphys.machinery.quoting import quote
from tiphys.net.http import Response

_JSON = ("content-type", JSON)
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
WARNINGS_LIMIT_CHARACTERS = 4096
CUT_WARNING_CHARACTERS = 256
_CACHE = ("cache-control", "no-cache, private")


def json_response(value: Mapping[str, Any], status: int = 200) -> Response:
    return Response(status, [_JSON], orjson.dumps(value))


def text_response(text: str, status: int = 200) -> Response:
    return Response(status, [("content-type", "text/plain; charset=utf-8")], text.encode())


def plain_error(text: str, status: int) -> Response:
    """A refusal that is no Status, as Go's http.Error writes it."""
    headers = [("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")]
    return Response(status, headers, f"{text}\n".encode())


def plain_internal_error(target: str, problem: str) -> Response:
    """What goes wrong outside of all handlers, as upstream's filters say it."""
    text = f"Internal Server Error: {quote(target)}: {problem}"
    for character, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, written)
    return plain_error(text, 500)


def statement(call: Call, value: Object, status: int = 200) -> Response:
    """An object of the API that is not stored: a Status, a review. `restate` gives it the form that the client takes."""
    call.statement = value
    return Response(status, [_JSON], orjson.dumps(value))


def failure(call: Call | None, error: StatusError) -> Response:
    """The answer to a request that was refused."""
    status = error.status()
    if call is not None:
        call.statement = status
    headers = [_JSON, *((name.lower(), value) for name, value in error.headers.items())]
    return Response(error.code, headers, orjson.dumps(status))


def restate(call: Call, response: Response) -> None:
    """Says in YAML or protobuf what a statement says in JSON, once the audit log has read it. Who takes none of them gets JSON."""
    value, accept = call.statement, call.request.headers.get("accept", "")
    if value is None or not accept or accept in (JSON, "*/*"):
        return
    served = SERVED if call.row is None or schema_of(call.row).struct is not None else WITHOUT_PROTOBUF
    try:
        media = accepted(accept, served).media_type
        if media == JSON:
            return
        body = yaml.dump(value) if media == YAML else call.server.encode(value)
    except StatusError:
        return
    response.body = body
    response.headers = [each for each in response.headers if each != _JSON] + [("content-type", media)]


def finish(call: Call, response: Response) -> Response:
    """What every answer carries: warnings, no caching, and gzip for large ones when the client takes it."""
    headers = response.headers
    for name, _ in headers:
        if name == "cache-control":
            break
    else:
        headers.append(_CACHE)
    if call.warnings:
        headers += [("warning", f"299 - {_quoted(warning)}") for warning in _shortened(call.warnings)]
    body = response.body
    if response.status != 200 or (isinstance(body, bytes) and len(body) < GZIP_FROM_BYTES):
        return response
    if (
        response.start is None
        and response.upgrade is None
        and call.statement is None
        and takes_gzip(call.request)
    ):
        _compress(response)
    return response


def _shortened(warnings: Sequence[str]) -> Sequence[str]:
    """What fits into headers: all of them as they are, or else each one cut, until the limit is reached."""
    sayable = [text for text in warnings if not _CONTROLS.search(text)]
    if sum(map(len, sayable)) <= WARNINGS_LIMIT_CHARACTERS:
        return sayable
    kept, total = [], 0
    for text in sayable:
        if total >= WARNINGS_LIMIT_CHARACTERS:
            break
        kept.append(text[:CUT_WARNING_CHARACTERS])
        total += len(kept[-1])
    return kept


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _compress(response: Response) -> None:
    body = response.body
    if isinstance(body, bytes):
        pieces: list[bytes] = [body]
    elif isinstance(body, (list, tuple)):
        pieces = list(body)
    else:
        return
    if sum(map(len, pieces)) < GZIP_FROM_BYTES:
        return
    if any(name == "content-encoding" for name, _ in response.headers):
        return
    packer = Packer()
    response.body = [packed for piece in pieces for packed in packer.feed(piece)] + packer.end()
    response.headers += packer.headers
