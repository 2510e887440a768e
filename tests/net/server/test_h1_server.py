"""HTTP/1.1 as a client sees it: requests and their answers."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from wire_peers import PATIENCE_SECONDS, echo

from conftest import Serve
from tiphys.net.http import Request, Response


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
    site = await serve(echo, tls=tls)
    used = await site.h1()
    used.get("/")
    assert (await used.answer()).status == 200
    site.limit(idle_timeout_seconds=0.05)
    used.get("/")
    assert (await used.answer()).status == 200
    unused = await site.h1()
    assert await used.to_end() == b""
    assert await unused.to_end() == b""


async def test_a_running_handler_is_not_idle(serve: Serve) -> None:
    running, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        running.set()
        await go_on.wait()
        return echo(request)

    site = await serve(slow, idle_timeout_seconds=1)
    peer = await site.h1()
    peer.get("/")
    await asyncio.wait_for(running.wait(), PATIENCE_SECONDS)
    idle = await site.h1()
    assert await idle.to_end() == b""
    go_on.set()
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
