"""Header lists of HTTP/2: nothing that is remembered of one request or response shows in another."""

import pytest

from tiphys.net.h2_engine import Headers
from tiphys.net.h2_fields import (
    FIELD_LIMIT_CHARACTERS,
    FIELDS_LIMIT,
    HEAD_LIMIT_BYTES,
    HEADS_LIMIT,
    VALUES_LIMIT,
    EncodedFields,
    Heads,
    response_block,
)
from tiphys.net.http import Connection, Request, Response, values_of

CONNECTION = Connection(protocol="h2")
DATE = (b"date", b"today")


def block(path: bytes, *fields: tuple[bytes, bytes], method: bytes = b"GET") -> Headers:
    return ((b":method", method), (b":scheme", b"https"), (b":authority", b"here"), (b":path", path), *fields)


def read(heads: Heads, fields: Headers) -> Request:
    request, size = heads.read(fields, CONNECTION)
    assert size == sum(len(name) + len(value) + 32 for name, value in fields)
    assert request.connection is CONNECTION
    return request


def test_what_requests_have_in_common_is_read_once() -> None:
    heads = Heads()
    for number in range(3):
        path, length = b"/%d?a=%d" % (number, number), b"%d" % number
        request = read(
            heads,
            block(path, (b"accept", b"text"), (b"content-length", length), (b"x", b"\xe4"), method=b"PUT"),
        )
        assert (request.method, request.path, request.query) == ("PUT", f"/{number}", {"a": [str(number)]})
        assert request.headers == {
            "host": "here",
            "accept": "text",
            "content-length": str(number),
            "x": "ä",
        }
    read(heads, block(b"/", (b"x", b"\xe4"), (b"accept", b"text"), method=b"PUT"))  # in another order
    assert len(heads) == 1


def test_requests_do_not_see_each_others_headers() -> None:
    heads = Heads()
    read(heads, block(b"/", (b"accept", b"text"))).headers["mine"] = "1"
    assert read(heads, block(b"/", (b"accept", b"text"))).headers == {"host": "here", "accept": "text"}
    assert read(heads, block(b"/", (b"accept", b"other"))).headers == {"host": "here", "accept": "other"}
    assert read(heads, block(b"/", (b"accept", b"text"), method=b"PUT")).method == "PUT"


@pytest.mark.parametrize("name", [b"authorization", b"cookie", b"proxy-authorization"])
def test_nothing_is_kept_of_who_asks(name: bytes) -> None:
    heads = Heads()
    for number in range(3):
        secret = b"Bearer %d" % number
        headers = read(heads, block(b"/", (name, secret))).headers
        assert headers == {"host": "here", name.decode(): secret.decode()}
        assert "Bearer" not in repr(heads._known)
    assert read(heads, block(b"/")).headers == {"host": "here"}


def test_what_is_repeated_is_joined_each_time() -> None:
    heads = Heads()
    for _ in range(2):
        request = read(
            heads,
            block(b"/p", (b"x", b"1"), (b"cookie", b"a=1"), (b"x", b"1"), (b"cookie", b"b=2"), (b"X", b"3")),
        )
        assert request.headers == {"host": "here", "x": "1, 1, 3", "cookie": "a=1; b=2"}
        assert values_of(request.headers["x"]) == ("1", "1", "3")
        assert request.target == "/p"
    assert len(heads) == 0
    request = read(heads, block(b"/", (b"x", b"1"), (b"X", b"2")))
    assert values_of(request.headers["x"]) == ("1", "2")


def test_the_authority_goes_before_the_host() -> None:
    heads = Heads()
    assert read(heads, block(b"/", (b"host", b"there"))).headers == {"host": "here"}
    without = ((b":method", b"GET"), (b":path", b"/"), (b":scheme", b"https"), (b"host", b"there"))
    assert read(heads, without).headers == {"host": "there"}


def test_what_is_remembered_of_requests_has_a_limit() -> None:
    heads = Heads()
    for number in range(HEADS_LIMIT + 10):
        request = read(heads, block(b"/", (b"x-request", b"%d" % number)))
        assert request.headers["x-request"] == str(number)
        assert len(heads) <= HEADS_LIMIT
    before = len(heads)
    large = b"x" * HEAD_LIMIT_BYTES
    assert read(heads, block(b"/", (b"large", large))).headers["large"] == large.decode()
    assert len(heads) == before


def test_a_response() -> None:
    response = Response(200, [("X-Name", "ä"), ("connection", "close"), ("x-name", "b")])
    for _ in range(2):
        assert response_block(response, DATE, 12) == [
            (b":status", b"200"),
            (b"x-name", b"\xe4"),
            (b"x-name", b"b"),
            DATE,
            (b"content-length", b"12"),
        ]
    assert response_block(Response(204), DATE, 0) == [(b":status", b"204"), DATE]
    assert response_block(Response(200), DATE, None) == [(b":status", b"200"), DATE]


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "\N{SNOWMAN}"])
def test_a_header_that_cannot_be_said(value: str) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match=r"line break|latin-1"):
            response_block(Response(200, [("x", value)]), DATE, 0)


def test_a_status_that_there_is_not() -> None:
    with pytest.raises(KeyError):
        response_block(Response(99), DATE, 0)


def test_fields_that_always_differ_do_not_push_the_others_out() -> None:
    encoded = EncodedFields()
    assert encoded["accept", "text"] == (b"accept", b"text")
    assert encoded["Upgrade", "x"] is None
    for number in range(10_000):
        assert encoded["audit-id", str(number)] == (b"audit-id", b"%d" % number)
    long = "x" * FIELD_LIMIT_CHARACTERS
    assert encoded["long", long] == (b"long", long.encode())
    assert len(encoded) == 2 + VALUES_LIMIT
    assert ("accept", "text") in encoded


def test_no_cookie_is_kept() -> None:
    fields = EncodedFields()
    for name in ("Set-Cookie", "set-cookie"):
        assert fields[name, "a=secret"] == (b"set-cookie", b"a=secret")
    assert not fields


def test_what_is_remembered_of_responses_has_a_limit() -> None:
    encoded = EncodedFields()
    for number in range(3 * FIELDS_LIMIT):
        for _ in range(2):
            assert encoded[f"x-{number}", "y"] == (b"x-%d" % number, b"y")
        assert len(encoded) <= FIELDS_LIMIT
