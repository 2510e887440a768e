"""HTTP/1.1 as a client sees it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from wire_peers import PATIENCE_SECONDS

from conftest import Serve
from tiphys.net.http import ByteStream, Frame, Request, Response, Sink


def echo(request: Request) -> Response:
    return Response(200, [("X-Path", request.path)], request.body or request.target.encode())


class Watches:
    """A handler whose every answer is an open sink."""

    def __init__(self) -> None:
        self.sinks: list[Sink] = []
        self.closed = 0
        self.one_closed = asyncio.Event()

    def __call__(self, request: Request) -> Response:
        return Response(200, [("content-type", "application/json")], start=self.start)

    def start(self, sink: Sink) -> None:
        self.sinks.append(sink)
        sink.on_close = self.on_close

    def on_close(self) -> None:
        self.closed += 1
        self.one_closed.set()


@pytest.fixture(params=[False, True], ids=["cleartext", "tls"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_requests_one_after_the_other(serve: Serve, tls: bool) -> None:
    peer = await (await serve(echo, tls=tls)).h1()
    peer.get("/a")
    first = await peer.answer()
    assert (first.status, first.body, first.headers["x-path"]) == (200, b"/a", "/a")
    assert {"content-length", "date"} <= set(first.headers)
    peer.post("/b", b"body")
    assert (await peer.answer()).body == b"body"


async def test_pipelined_answers_come_in_order(serve: Serve, tls: bool) -> None:
    gate = asyncio.Event()

    async def late(request: Request) -> Response:
        await gate.wait()
        return Response(200, body=b"late")

    def handler(request: Request) -> Response:
        if request.path == "/late":
            return late(request)  # type: ignore[return-value]
        gate.set()
        return echo(request)

    peer = await (await serve(handler, tls=tls)).h1()
    for path in ("/late", "/1", "/2"):
        peer.get(path)
    gate.set()
    assert [(await peer.answer()).body for _ in range(3)] == [b"late", b"/1", b"/2"]


async def test_head_has_the_length_and_no_body(serve: Serve) -> None:
    async def lines() -> AsyncIterator[bytes]:
        yield b"never"

    bodies: dict[str, Response] = {
        "/small": Response(200, body=b"12345"),
        "/large": Response(200, body=[b"x" * 100_000] * 3),
        "/stream": Response(200, body=lines()),
        "/push": Response(200, start=lambda sink: sink.write(b"never")),
    }
    peer = await (await serve(lambda request: bodies[request.path])).h1()
    for path, length in (("/small", "5"), ("/large", "300000"), ("/stream", None), ("/push", None)):
        peer.get(path, method="HEAD")
        assert (await peer.answer(without_body=True)).headers.get("content-length") == length
    peer.get("/small")
    assert (await peer.answer()).body == b"12345"


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body(serve: Serve, status: int) -> None:
    peer = await (await serve(lambda request: Response(status, body=b"not sent"))).h1()
    for _ in range(2):
        peer.get("/")
        assert (await peer.answer(without_body=True)).status == status


async def test_expect_100_continue(serve: Serve) -> None:
    peer = await (await serve(echo)).h1()
    peer.get("/", "Content-Length: 3", "Expect: 100-continue", method="POST")
    assert (await peer.head()).status == 100
    peer.send(b"abc")
    assert (await peer.answer()).body == b"abc"


@pytest.mark.parametrize("framing", ["Content-Length: 11", "Transfer-Encoding: chunked"])
async def test_a_body_over_the_limit(serve: Serve, tls: bool, framing: str) -> None:
    def refuse(request: Request) -> Response:
        return Response(413, [("content-type", "application/json")], f"too large for {request.path}".encode())

    peer = await (await serve(echo, tls=tls, body_limit_bytes=10, on_too_large=refuse)).h1()
    peer.get("/pods", framing, method="POST")
    peer.send(b"b\r\n01234567890\r\n0\r\n\r\n" if "chunked" in framing else b"01234567890")
    answer = await peer.answer()
    assert (answer.status, answer.body, answer.headers["connection"]) == (
        413,
        b"too large for /pods",
        "close",
    )
    if not tls:  # Which cannot half-close: there the end comes when the client closes, or a little later.
        assert await peer.to_end() == b""


async def test_a_refused_client_may_go_on_sending_and_still_reads_the_answer(serve: Serve) -> None:
    peer = await (await serve(echo, body_limit_bytes=10)).h1()
    peer.post("/", b"x" * 1_000_000)
    assert (await peer.answer()).status == 413


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 2000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 2000, 408),
    ],
    ids=["smuggling", "malformed", "large head", "half a head"],
)
async def test_what_cannot_be_served_is_answered_and_closed(serve: Serve, data: bytes, status: int) -> None:
    seen: list[Request] = []
    site = await serve(
        lambda request: seen.append(request) or echo(request),
        header_limit_bytes=1000,
        header_timeout_seconds=0.05,
    )
    peer = await site.h1()
    peer.send(data)
    answer = await peer.answer()
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert await peer.to_end() == b""
    assert not seen


async def test_answers_before_a_malformed_request_are_not_lost(serve: Serve) -> None:
    async def later(request: Request) -> Response:
        await asyncio.sleep(0)
        return echo(request)

    peer = await (await serve(later)).h1()
    peer.get("/1")
    peer.send(b"nonsense\r\n\r\n")
    assert (await peer.answer()).body == b"/1"
    assert (await peer.answer()).status == 400
    assert await peer.to_end() == b""


async def test_a_body_that_does_not_come_times_out(serve: Serve) -> None:
    peer = await (await serve(echo, body_timeout_seconds=0.05)).h1()
    peer.get("/", "Content-Length: 10", method="POST")
    assert (await peer.answer()).status == 408
    assert await peer.to_end() == b""


async def test_a_drip_of_bytes_does_not_move_the_deadline(serve: Serve) -> None:
    peer = await (await serve(echo, header_timeout_seconds=0.1)).h1()

    async def drip() -> None:
        for byte in b"GET / HTTP/1.1\r\nHost: here\r\nX: " + b"a" * 10_000:
            peer.send(bytes([byte]))
            await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip())
    assert (await peer.answer()).status == 408
    dripping.cancel()


async def test_an_idle_connection_is_closed_without_a_word(serve: Serve, tls: bool) -> None:
    site = await serve(echo, tls=tls, idle_timeout_seconds=0.05)
    used, unused = await site.h1(), await site.h1()
    used.get("/")
    assert (await used.answer()).status == 200
    assert await used.to_end() == b""
    assert await unused.to_end() == b""


async def test_a_running_handler_is_not_idle(serve: Serve) -> None:
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.15)
        return echo(request)

    peer = await (await serve(slow, idle_timeout_seconds=0.05)).h1()
    peer.get("/")
    assert (await peer.answer()).status == 200


async def test_connection_close_is_obeyed(serve: Serve, tls: bool) -> None:
    peer = await (await serve(echo, tls=tls)).h1()
    peer.get("/", "Connection: close")
    answer = await peer.answer()
    assert (answer.body, answer.headers["connection"]) == (b"/", "close")
    assert await peer.to_end() == b""


async def test_a_vanishing_client_cancels_its_handler(serve: Serve, tls: bool) -> None:
    running, cancelled = asyncio.Event(), asyncio.Event()

    async def forever(request: Request) -> Response:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return echo(request)

    peer = await (await serve(forever, tls=tls)).h1()
    peer.get("/")
    await running.wait()
    await peer.close()
    await asyncio.wait_for(cancelled.wait(), PATIENCE_SECONDS)


async def test_a_future_is_an_answer_too(serve: Serve) -> None:
    waiting: list[asyncio.Future[Response]] = []

    def handler(request: Request) -> asyncio.Future[Response]:
        waiting.append(asyncio.get_running_loop().create_future())
        asyncio.get_running_loop().call_soon(waiting[0].set_result, Response(201, body=b"made"))
        return waiting[0]

    peer = await (await serve(handler)).h1()
    peer.get("/")
    answer = await peer.answer()
    assert (answer.status, answer.body) == (201, b"made")


async def test_a_failing_handler_is_a_500_and_the_connection_lives(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing_later(request: Request) -> Response:
        raise ValueError("later")

    def handler(request: Request) -> Response:
        if request.path == "/later":
            return failing_later(request)  # type: ignore[return-value]
        if request.path == "/none":
            return None  # type: ignore[return-value]
        if request.path == "/header":
            return Response(200, [("x", "a\r\nInjected: b")])
        raise ValueError("at once")

    peer = await (await serve(handler)).h1()
    for path in ("/now", "/later", "/none", "/header"):
        peer.get(path)
        answer = await peer.answer()
        assert answer.status == 500
        assert b"ValueError" not in answer.body
        assert "injected" not in answer.headers
    assert [record.getMessage() for record in caplog.records] == [
        f"the handler failed for GET {path}" for path in ("/now", "/later", "/none", "/header")
    ]


async def test_the_error_hook_answers(serve: Serve) -> None:
    def on_error(request: Request, error: Exception) -> Response:
        return Response(503, body=f"{request.path}: {error}".encode())

    def handler(request: Request) -> Response:
        raise ValueError("no")

    peer = await (await serve(handler, on_error=on_error)).h1()
    peer.get("/x")
    answer = await peer.answer()
    assert (answer.status, answer.body) == (503, b"/x: no")


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
    site = await serve(lambda request: Response(200, body=[b"x" * 65536] * 1000), idle_timeout_seconds=0.1)
    lazy = await site.h1()
    lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]
    lazy.get("/")
    await asyncio.wait_for(gone(site), PATIENCE_SECONDS)


async def gone(site: object) -> None:
    while site.server.connection_count:  # type: ignore[attr-defined]
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
