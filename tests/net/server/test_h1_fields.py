"""Header fields of HTTP/1.1: nothing that is remembered of one request shows in another."""

import pytest

from tiphys.net.h1_fields import HEAD_LIMIT_BYTES, HEADS_LIMIT, Heads, TooManyHosts
from tiphys.net.http import values_of

Fields = list[tuple[bytes, bytes]]
HOST = (b"Host", b"here")


def read(heads: Heads, fields: Fields) -> dict[str, str]:
    headers, size = heads.read(fields)
    assert size == sum(len(name) + len(value) + 4 for name, value in fields)
    return headers


def test_what_requests_have_in_common_is_read_once() -> None:
    heads = Heads()
    for number in range(3):
        length = (b"Content-Length", b"%d" % number)
        headers = read(heads, [HOST, (b"X-Y", b"\xe4"), length])
        assert headers == {"host": "here", "x-y": "ä", "content-length": str(number)}
    assert read(heads, [(b"X-Y", b"\xe4"), HOST]) == {"host": "here", "x-y": "ä"}
    assert len(heads) == 1


def test_requests_do_not_see_each_others_headers() -> None:
    heads = Heads()
    read(heads, [HOST])["mine"] = "1"
    assert read(heads, [HOST]) == {"host": "here"}
    assert read(heads, [(b"Host", b"there")]) == {"host": "there"}
    assert read(heads, [HOST, (b"content-length", b"1")])["content-length"] == "1"
    assert read(heads, [HOST, (b"content-length", b"2")])["content-length"] == "2"


@pytest.mark.parametrize(
    "name", [b"Authorization", b"authorization", b"Cookie", b"Sec-WebSocket-Protocol", b"Proxy-Authorization"]
)
def test_nothing_is_kept_of_who_asks(name: bytes) -> None:
    heads = Heads()
    for number in range(3):
        secret = b"Bearer %d" % number
        assert read(heads, [HOST, (name, secret)])[name.decode().lower()] == secret.decode()
        assert b"Bearer" not in repr(heads._known).encode()
    assert read(heads, [HOST]) == {"host": "here"}


def test_two_authorizations_are_seen() -> None:
    small, large = b"authorization", b"Authorization"
    for first, second in ((small, large), (large, small), (large, large)):
        headers = read(Heads(), [HOST, (first, b"a"), (second, b"b")])
        assert values_of(headers["authorization"]) == ("a", "b")


def test_what_is_repeated_is_joined_in_its_order() -> None:
    heads = Heads()
    for _ in range(2):
        headers = read(heads, [HOST, (b"X", b"1"), (b"X", b"1"), (b"Cookie", b"a=1"), (b"cookie", b"b=2")])
        assert headers == {"host": "here", "x": "1, 1", "cookie": "a=1; b=2"}
        assert values_of(read(heads, [HOST, (b"X", b"1"), (b"x", b"2")])["x"]) == ("1", "2")
        assert values_of(read(heads, [HOST, (b"x", b"2"), (b"X", b"1")])["x"]) == ("2", "1")
    assert len(heads) == 0


@pytest.mark.parametrize("second", [b"Host", b"host", b"HOST"])
def test_two_hosts_are_too_many(second: bytes) -> None:
    heads = Heads()
    for _ in range(2):
        with pytest.raises(TooManyHosts):
            heads.read([HOST, (second, b"here")])


def test_what_is_remembered_has_a_limit() -> None:
    heads = Heads()
    for number in range(HEADS_LIMIT + 10):
        assert read(heads, [HOST, (b"X", b"%d" % number)]) == {"host": "here", "x": str(number)}
        assert len(heads) <= HEADS_LIMIT
    before = len(heads)
    large = b"x" * HEAD_LIMIT_BYTES
    assert read(heads, [HOST, (b"X", large)])["x"] == large.decode()
    assert len(heads) == before
