"""HTTP/1.1 requests out of bytes: what is accepted, what is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.net.h1_reader import RequestReader, State
from tiphys.net.http import Connection, Request
from tiphys.net.service import Limits


def read(*pieces: bytes, **limits: int) -> RequestReader:
    reader = RequestReader(Connection(), Limits(**limits))
    for piece in pieces:
        reader.feed(piece)
    return reader


def requests(reader: RequestReader) -> list[Request]:
    return [incoming.request for incoming in reader.ready]


def only(reader: RequestReader) -> Request:
    (request,) = requests(reader)
    return request


HOST = b"Host: here\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def test_a_whole_request() -> None:
    request = only(
        read(b"PUT /a%20b?x=1 HTTP/1.1\r\nHost: here\r\nX-Y: 1\r\nx-y: 2\r\nContent-Length: 3\r\n\r\nabc")
    )
    assert (request.method, request.target, request.path) == ("PUT", "/a%20b?x=1", "/a b")
    assert request.headers == {"host": "here", "x-y": "1, 2", "content-length": "3"}
    assert request.body == b"abc"


def test_cookies_are_one_string() -> None:
    assert (
        only(read(b"GET / HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n")).headers["cookie"]
        == "a=1; b=2"
    )


MALFORMED = {
    "length and chunked": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "differing lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": POST + b"Content-Length: +3\r\n\r\nabc",
    "an empty length": POST + b"Content-Length: \r\n\r\n",
    "a length beyond counting": POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "a bare CR in a value": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n",
    "a bare CR as a line's end": b"GET / HTTP/1.1\r\nHost: here\rX: b\r\n\r\n",
    "a bare LF": b"GET / HTTP/1.1\r\nHost: here\nX: b\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : here\r\n\r\n",
    "a NUL": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-1\r\n\r\n",
    "a huge chunk": CHUNKED + b"fffffffffffffffff\r\n\r\n",
    "a chunk without its end": CHUNKED + b"1\r\naXX0\r\n\r\n",
    "a chunk size ended by LF": CHUNKED + b"1\na\r\n0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "an unknown method": b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a control character in the target": b"GET /a\x01b HTTP/1.1\r\n" + HOST + b"\r\n",
    "a bad escape": b"GET /a%zz HTTP/1.1\r\n" + HOST + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("step", [None, 1], ids=["at once", "byte by byte"])
def test_malformed_is_refused(data: bytes, step: int | None) -> None:
    pieces = [data] if step is None else [data[i : i + step] for i in range(0, len(data), step)]
    reader = read(*pieces)
    assert reader.state is State.FAILED
    assert reader.failure is not None
    assert reader.failure.status in (400, 501)
    assert not reader.ready


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Expect: tea\r\nContent-Length: 1\r\n\r\n", 417),
    ],
)
def test_unsupported_is_refused(data: bytes, status: int) -> None:
    failure = read(data).failure
    assert failure is not None
    assert failure.status == status


def test_a_bad_escape_in_the_query_is_the_handlers_matter() -> None:
    assert only(read(b"GET /?x=%zz HTTP/1.1\r\nHost: h\r\n\r\n")).query == {"x": ["%zz"]}


def test_absolute_form() -> None:
    request = only(read(b"GET http://there:80/a?b=http://c HTTP/1.1\r\nHost: here\r\n\r\n"))
    assert (request.target, request.headers["host"]) == ("/a?b=http://c", "there:80")
    request = only(read(b"GET http://there?b HTTP/1.1\r\nHost: here\r\n\r\n"))
    assert (request.target, request.headers["host"]) == ("/?b", "there")


def test_pipelined_requests_before_a_malformed_one_are_kept() -> None:
    reader = read(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nnonsense\r\n\r\n")
    assert [request.path for request in requests(reader)] == ["/1", "/2"]
    assert reader.state is State.FAILED


def test_keep_alive() -> None:
    def keeps(version: str, header: str) -> bool:
        return read(f"GET / HTTP/{version}\r\nHost: h\r\n{header}\r\n".encode()).ready[0].keep_alive

    assert keeps("1.1", "")
    assert not keeps("1.1", "Connection: close\r\n")
    assert not keeps("1.0", "")
    assert keeps("1.0", "Connection: keep-alive\r\n")


def test_nothing_behind_connection_close_is_served() -> None:
    reader = read(
        b"GET /1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert [request.path for request in requests(reader)] == ["/1"]


def test_the_head_has_a_limit() -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n"
    assert only(read(head % (b"a" * 900), header_bytes=1000))
    failure = read(head % (b"a" * 1000), header_bytes=1000).failure
    assert failure is not None
    assert failure.status == 431


def test_the_target_counts_as_head() -> None:
    failure = read(b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"a" * 1000), header_bytes=1000).failure
    assert failure is not None
    assert failure.status == 431


def test_a_line_without_end_is_refused_while_it_comes() -> None:
    reader = read(b"GET / HTTP/1.1\r\nHost: h\r\nX: ", *[b"a" * 100] * 11, header_bytes=1000)
    assert reader.failure is not None
    assert reader.failure.status == 431


def test_too_many_headers() -> None:
    failure = read(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: 1\r\n" * 10 + b"\r\n", header_count=10).failure
    assert failure is not None
    assert failure.status == 431


def test_trailers_are_dropped_but_counted() -> None:
    assert only(read(CHUNKED + b"1\r\na\r\n0\r\nHost: evil\r\n\r\n")).headers["host"] == "here"
    failure = read(CHUNKED + b"0\r\n" + b"X: 1\r\n" * 10 + b"\r\n", header_count=10).failure
    assert failure is not None
    assert failure.status == 431


def test_an_announced_body_over_the_limit_is_refused_before_it_comes() -> None:
    reader = read(POST + b"Content-Length: 11\r\n\r\n", body_bytes=10)
    assert reader.failure is not None
    assert reader.failure.status == 413
    assert reader.failure.request is not None
    assert reader.failure.request.headers["content-length"] == "11"


def test_a_chunked_body_over_the_limit_is_refused() -> None:
    assert only(read(CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n", body_bytes=10)).body == b"0123456789"
    failure = read(CHUNKED + b"a\r\n0123456789\r\n1\r\n", b"x", body_bytes=10).failure
    assert failure is not None
    assert failure.status == 413


def test_expect_is_due_until_the_body_comes() -> None:
    head = POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    reader = read(head)
    assert reader.continue_wanted
    reader.feed(b"ab")
    assert not reader.continue_wanted
    assert only(reader).body == b"ab"
    assert not read(head + b"ab").continue_wanted
    assert not read(b"GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n").continue_wanted


UPGRADE = b"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"


def test_what_follows_an_upgrade_request_is_not_parsed() -> None:
    reader = read(b"POST /exec HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n\x80\x03", b"more")
    assert reader.ready[0].wants_upgrade
    assert reader.take_rest() == b"\x80\x03more"


def test_a_declined_upgrade_goes_on_with_http() -> None:
    reader = read(b"GET /1 HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n", b"GET /2 HTTP/1.1\r\n" + HOST + b"\r\n")
    assert [request.path for request in requests(reader)] == ["/1"]
    reader.decline_upgrade()
    assert [request.path for request in requests(reader)] == ["/1", "/2"]


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 4\r\n\r\nbody", b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"]
)
def test_an_upgrade_request_with_a_body_is_an_ordinary_one(framing: bytes) -> None:
    data = b"POST /1 HTTP/1.1\r\n" + HOST + UPGRADE + framing + b"GET /2 HTTP/1.1\r\n" + HOST + b"\r\n"
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        reader = read(*pieces)
        first, second = reader.ready
        assert (first.request.path, first.request.body, first.wants_upgrade) == ("/1", b"body", False)
        assert second.request.path == "/2"


def test_the_body_of_an_upgrade_request_has_its_limit() -> None:
    data = b"POST /1 HTTP/1.1\r\n" + HOST + UPGRADE + b"Content-Length: 11\r\n\r\n"
    failure = read(data, body_bytes=10).failure
    assert failure is not None
    assert failure.status == 413


VALID = (
    b"GET /1?a=b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n"
    + b"\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    + b"PUT /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
)


def summary(reader: RequestReader) -> list[tuple[str, str, dict[str, str], bytes]]:
    return [(r.method, r.target, r.headers, r.body) for r in requests(reader)]


@given(st.lists(st.integers(0, len(VALID)), max_size=8))
def test_how_the_bytes_are_cut_makes_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(VALID)]
    pieces = [VALID[start:end] for start, end in itertools.pairwise(edges)]
    assert summary(read(*pieces)) == summary(read(VALID))
    assert [body for *_, body in summary(read(VALID))] == [b"", b"hello", b"abcde"]


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_no_input_breaks_the_reader(pieces: list[bytes]) -> None:
    reader = read(*pieces)
    assert (reader.failure is None) == (reader.state is not State.FAILED)
