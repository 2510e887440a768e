"""Options, terminal sizes, and the parsing that needs no connection."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.kubelet.streaming.channels import StreamOptions, TerminalSize, TerminalSizes
from tiphys.kubelet.streaming.handshake import negotiate_spdy
from tiphys.kubelet.streaming.port_forward import requested_ports
from tiphys.net.websocket import HandshakeError


def test_options_come_from_the_query() -> None:
    query = {"stdin": ["1"], "stdout": ["true"], "stderr": ["0"]}
    assert StreamOptions.from_query(query) == StreamOptions(stdin=True, stdout=True)


def test_a_terminal_has_no_stderr() -> None:
    query = {name: ["true"] for name in ("stdout", "stderr", "tty")}
    assert StreamOptions.from_query(query) == StreamOptions(stdout=True, tty=True)


@pytest.mark.parametrize("query", [{}, {"stdout": ["false"]}, {"tty": ["1"], "stderr": ["1"]}])
def test_some_stream_must_be_asked_for(query: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="you must specify at least 1 of stdin, stdout, stderr"):
        StreamOptions.from_query(query)


async def collect(sizes: TerminalSizes) -> list[TerminalSize]:
    return [size async for size in sizes]


@given(st.integers(1, 40))
def test_sizes_may_come_in_any_pieces(step: int) -> None:
    async def scenario() -> None:
        sizes = TerminalSizes()
        text = b'{"Width":80,"Height":24}\n{"Width": 100, "Height": 50}'
        for at in range(0, len(text), step):
            sizes.feed(text[at : at + step])
        sizes.end()
        assert await collect(sizes) == [TerminalSize(100, 50)]  # only the newest matters

    asyncio.run(scenario())


async def test_a_size_is_seen_as_it_comes() -> None:
    sizes = TerminalSizes()
    follow = aiter(sizes)
    for width in (80, 81):
        sizes.feed(b'{"Width":%d,"Height":24}' % width)
        assert await anext(follow) == TerminalSize(width, 24)


@pytest.mark.parametrize("bad", [b"[1]", b'{"Width":"wide"}', b'{"Width":-1}', b"{" * 70_000])
async def test_what_is_no_size_ends_the_sizes(bad: bytes) -> None:
    sizes = TerminalSizes()
    sizes.feed(bad)
    assert await asyncio.wait_for(collect(sizes), 60) == []


def test_ports_of_the_query() -> None:
    assert requested_ports({"port": ["80,443", "8080"]}) == [80, 443, 8080]
    assert requested_ports({"ports": ["80"]}) == [80]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, 'query parameter "port" is required'),
        ({"port": [""]}, 'query parameter "port" cannot be empty'),
        ({"port": ["http"]}, 'unable to parse "http" as a port'),
        ({"port": ["70000"]}, 'unable to parse "70000" as a port'),
        ({"port": ["0"]}, 'port "0" must be > 0'),
    ],
)
def test_bad_ports(query: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        requested_ports(query)


UPGRADE = {"connection": "Upgrade", "upgrade": "SPDY/3.1"}


def test_spdy_takes_the_clients_first_choice_that_we_have() -> None:
    headers = {**UPGRADE, "x-stream-protocol-version": "v9.channel.k8s.io, v3.channel.k8s.io,channel.k8s.io"}
    assert negotiate_spdy(headers, ["channel.k8s.io", "v3.channel.k8s.io"]) == "v3.channel.k8s.io"


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 400, "missing upgrade headers"),
        ({**UPGRADE, "upgrade": "h2c"}, 400, "missing upgrade headers"),
        (UPGRADE, 400, "X-Stream-Protocol-Version is required"),
        (
            {**UPGRADE, "x-stream-protocol-version": "x,y"},
            403,
            r"client supports \[x y\], server accepts \[a b\]",
        ),
    ],
)
def test_spdy_refusals(headers: dict[str, str], status: int, message: str) -> None:
    with pytest.raises(HandshakeError, match=message) as caught:
        negotiate_spdy(headers, ["a", "b"])
    assert caught.value.status == status
    assert (("X-Accepted-Stream-Protocol-Versions", "a") in caught.value.headers) == (status == 403)
