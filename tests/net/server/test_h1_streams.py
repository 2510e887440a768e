"""HTTP/1.1 as a client sees it: large bodies, streams, sinks and upgrades."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from wire_peers import PATIENCE_SECONDS, Site, Watches, echo

from conftest import Serve
from tiphys.net.http import HANG_UP, ByteStream, Frame, Request, Response


async def test_a_large_body_of_pieces_arrives_whole(serve: Serve, tls: bool) -> None:
    pieces = [bytes([i % 251]) * 7000 for i in range(600)]
    peer = await (await serve(lambda request: Response(200, body=pieces), tls=tls)).h1()
    for _ in range(2):
        peer.get("/")
        assert (await peer.answer()).body == b"".join(pieces)


async def test_one_large_bytes_arrives_whole(serve: Serve, tls: bool) -> None:
    body = bytes(range(256)) * 20_000
    peer = await (await serve(lambda request: Response(200, body=body), tls=tls)).h1()
    peer.get("/")
    assert (await peer.answer()).body == body


class Counted(list[bytes]):
    """A list that counts what was taken out of it."""

    taken = 0

    def __iter__(self):  # type: ignore[no-untyped-def]
        self.taken = 0
        for piece in super().__iter__():
            self.taken += 1
            yield piece


async def test_a_client_that_does_not_read_holds_back_its_body_and_nobody_else(
    serve: Serve, tls: bool
) -> None:
    pieces = Counted([b"x" * 65536] * 1000)
    responses = {"/large": Response(200, body=pieces), "/small": Response(200, body=b"small")}
    site = await serve(lambda request: responses[request.path], tls=tls)
    lazy, other = await site.h1(), await site.h1()
    lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]
    lazy.get("/large")
    for _ in range(20):
        other.get("/small")
        assert (await other.answer()).body == b"small"
    lazy.writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert 0 < pieces.taken < 1000
    assert len((await lazy.answer()).body) == 65536 * 1000


async def test_a_client_that_never_reads_is_cut_off(serve: Serve) -> None:
    asked = asyncio.Event()

    def answer(request: Request) -> Response:
        site.limit(idle_timeout_seconds=0.1)
        asked.set()
        return Response(200, body=[b"x" * 65536] * 1000)

    site = await serve(answer)
    lazy = await site.h1()
    lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]
    lazy.get("/")
    await asyncio.wait_for(asked.wait(), PATIENCE_SECONDS)
    await asyncio.wait_for(gone(site), PATIENCE_SECONDS)


async def gone(site: Site) -> None:
    while site.server.connection_count:
        await asyncio.sleep(0.01)


async def test_an_iterator_is_streamed(serve: Serve, tls: bool) -> None:
    go_on = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield b"one\n"
        await go_on.wait()
        yield b""
        yield b"two\n"

    peer = await (await serve(lambda request: Response(200, body=lines()), tls=tls)).h1()
    peer.get("/")
    assert (await peer.head()).headers["transfer-encoding"] == "chunked"
    assert await peer.chunk() == b"one\n"
    go_on.set()
    assert [await peer.chunk(), await peer.chunk()] == [b"two\n", b""]


async def test_an_iterator_with_a_known_length_is_not_chunked(serve: Serve) -> None:
    async def lines() -> AsyncIterator[bytes]:
        yield b"12345"

    peer = await (await serve(lambda request: Response(200, [("Content-Length", "5")], lines()))).h1()
    peer.get("/")
    assert (await peer.answer()).body == b"12345"


async def test_a_vanishing_client_ends_the_iterator(serve: Serve) -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
        finally:
            ended.set()

    peer = await (await serve(lambda request: Response(200, body=endless()))).h1()
    peer.get("/")
    await peer.head()
    await peer.close()
    await asyncio.wait_for(ended.wait(), PATIENCE_SECONDS)


async def test_a_failing_iterator_is_visible_to_the_client(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"part"
        raise ValueError("no more")

    peer = await (await serve(lambda request: Response(200, body=failing()))).h1()
    peer.get("/")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await peer.answer()
    assert "the response stream failed" in caplog.text


async def test_http_1_0_streams_until_the_end_of_the_connection(serve: Serve) -> None:
    async def lines() -> AsyncIterator[bytes]:
        yield b"one\n"
        yield b"two\n"

    peer = await (await serve(lambda request: Response(200, body=lines()))).h1()
    peer.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    answer = await peer.head()
    assert "transfer-encoding" not in answer.headers
    assert await peer.to_end() == b"one\ntwo\n"


async def test_http_1_0_keeps_a_connection_alive_when_asked(serve: Serve) -> None:
    peer = await (await serve(echo)).h1()
    for _ in range(2):
        peer.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await peer.answer()).headers["connection"] == "keep-alive"


async def test_a_sink(serve: Serve, tls: bool) -> None:
    watches = Watches()
    peer = await (await serve(watches, tls=tls)).h1()
    peer.get("/watch")
    assert (await peer.head()).headers["transfer-encoding"] == "chunked"
    (sink,) = watches.sinks
    sink.write(b"one")
    sink.write(Frame(b"two"))
    sink.write(b"")
    assert [await peer.chunk(), await peer.chunk()] == [b"one", b"two"]
    sink.close()
    assert await peer.chunk() == b""
    sink.write(b"after the end")
    sink.close()
    assert watches.closed == 1
    peer.get("/watch")
    assert (await peer.head()).status == 200


async def test_what_a_sink_got_in_one_turn_is_one_write(serve: Serve) -> None:
    watches = Watches()
    peer = await (await serve(watches)).h1()
    peer.get("/")
    await peer.head()
    for data in (b"a", b"b", b"c"):
        watches.sinks[0].write(data)
    assert (
        await asyncio.wait_for(peer.reader.read(100), PATIENCE_SECONDS) == b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n"
    )


async def test_the_writer_hears_of_a_vanished_client(serve: Serve, tls: bool) -> None:
    watches = Watches()
    peer = await (await serve(watches, tls=tls)).h1()
    peer.get("/")
    await peer.head()
    await peer.close()
    await asyncio.wait_for(watches.one_closed.wait(), PATIENCE_SECONDS)
    assert (watches.closed, watches.sinks[0].closed) == (1, True)
    watches.sinks[0].write(b"nobody listens")


async def test_pending_bytes_tell_a_slow_peer(serve: Serve, tls: bool) -> None:
    watches = Watches()
    peer = await (await serve(watches, tls=tls)).h1()
    peer.get("/")
    await peer.head()
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    (sink,) = watches.sinks
    assert sink.pending_bytes == 0
    sink.write(b"x" * 20_000_000)
    await asyncio.sleep(0)
    assert sink.pending_bytes > 10_000_000
    sink.abort()
    assert (sink.pending_bytes, watches.closed) == (0, 1)
    peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await peer.chunk()


async def shout(stream: ByteStream) -> None:
    while data := await stream.read():
        await stream.write(data.upper())


UPGRADE = ("Connection: Upgrade", "Upgrade: shout")


async def test_an_upgrade_takes_the_connection_over(serve: Serve, tls: bool) -> None:
    peer = await (
        await serve(lambda request: Response(101, [("Upgrade", "shout")], upgrade=shout), tls=tls)
    ).h1()
    peer.get("/", *UPGRADE)
    peer.send(b"early ")
    answer = await peer.head()
    assert (answer.status, answer.headers["upgrade"], answer.headers["connection"]) == (
        101,
        "shout",
        "Upgrade",
    )
    assert await peer.exactly(6) == b"EARLY "
    peer.send(b"x" * 3_000_000)
    assert await peer.exactly(3_000_000) == b"X" * 3_000_000


async def test_an_upgraded_connection_closes_when_its_coroutine_ends(serve: Serve, tls: bool) -> None:
    async def greet(stream: ByteStream) -> None:
        await stream.write(b"bye")

    site = await serve(lambda request: Response(101, [("Upgrade", "shout")], upgrade=greet), tls=tls)
    peer = await site.h1()
    peer.get("/", *UPGRADE)
    await peer.head()
    assert await peer.to_end() == b"bye"
    await peer.close()
    await asyncio.wait_for(gone(site), PATIENCE_SECONDS)


async def test_an_upgrade_may_half_close(serve: Serve) -> None:
    peer = await (await serve(lambda request: Response(101, [("Upgrade", "shout")], upgrade=shout))).h1()
    peer.get("/", *UPGRADE)
    await peer.head()
    peer.send(b"last words")
    peer.writer.write_eof()
    assert await peer.to_end() == b"LAST WORDS"


async def test_an_upgrade_that_the_handler_declines(serve: Serve) -> None:
    peer = await (await serve(echo)).h1()
    peer.get("/1", *UPGRADE)
    peer.get("/2")
    assert [(await peer.answer()).body, (await peer.answer()).body] == [b"/1", b"/2"]


async def test_an_upgrade_that_the_client_did_not_ask_for(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await (await serve(lambda request: Response(101, upgrade=shout))).h1()
    peer.get("/")
    assert (await peer.answer()).status == 500


@pytest.mark.parametrize("later", [False, True])
async def test_a_request_can_be_hung_up_on(serve: Serve, tls: bool, later: bool) -> None:
    async def hang_up(request: Request) -> Response:
        return HANG_UP

    site = await serve(hang_up if later else lambda request: HANG_UP, tls=tls)
    peer = await site.h1()
    peer.get("/")
    assert await peer.to_end() == b""
