"""Requests and frames as a handler sees them."""

from tiphys.net.h1_fields import add_header
from tiphys.net.http import Address, Frame, Request, parse_query, values_of


def test_query() -> None:
    assert parse_query("a=1&b=x%20y+z&a=2&c&=d&&") == {"a": ["1", "2"], "b": ["x y z"], "c": [""], "": ["d"]}
    assert Request("GET", "/pods?labelSelector=a%3Db,c").query == {"labelSelector": ["a=b,c"]}
    assert Request("GET", "/pods").query == {}


def test_path_is_decoded_and_target_is_not() -> None:
    request = Request("GET", "/a%2Fb/c%20d?e=%2F")
    assert (request.path, request.target) == ("/a/b/c d", "/a%2Fb/c%20d?e=%2F")


def test_a_frame_is_framed_once() -> None:
    frame = Frame(b"0123456789")
    assert frame.chunk == b"a\r\n0123456789\r\n"
    assert frame.chunk is frame.chunk


def test_an_empty_frame_does_not_end_the_body() -> None:
    assert Frame(b"").chunk == b""


def test_addresses() -> None:
    assert [str(Address("::1", 6443)), str(Address("10.0.0.1", 80)), str(Address(path="/run/x"))] == [
        "[::1]:6443",
        "10.0.0.1:80",
        "unix:/run/x",
    ]


def test_a_header_that_is_sent_several_times_is_one_text_and_several_values() -> None:
    headers: dict[str, str] = {}
    add_header(headers, "x-group", "a, b")
    assert values_of(headers["x-group"]) == ("a, b",)
    for value in ("c", "", "d, e"):
        add_header(headers, "x-group", value)
    assert headers["x-group"] == "a, b, c, , d, e"
    assert values_of(headers["x-group"]) == ("a, b", "c", "", "d, e")
    for value in ("a=1", "b=2"):
        add_header(headers, "cookie", value)
    assert headers["cookie"] == "a=1; b=2"
