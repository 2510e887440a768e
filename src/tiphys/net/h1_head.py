"""The head of an HTTP/1.1 response as bytes (RFC 9112 §4, §5)."""

from __future__ import annotations

from http import HTTPStatus

from tiphys.net.http import Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


def status_line(status: int) -> str:
    return _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"


def response_head(response: Response, framing: str, date: str) -> bytes:
    """The head of `response`; `framing` is the server's own header lines, each ended. ValueError for a line break inside a header."""
    headers = response.headers
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise ValueError("a response header holds a line break")
    return f"{status_line(response.status)}{lines}{framing}date: {date}\r\n\r\n".encode("latin-1")


def has_header(response: Response, name: str) -> bool:
    return any(header.lower() == name for header, _ in response.headers)
