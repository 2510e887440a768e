"""HTTP/2 on one connection, in memory: what is written, when, and how much of it."""

import asyncio
from collections.abc import AsyncIterator

import ngh2
import pytest
from wire_peers import Watches, echo

from conftest import MakeWire
from tiphys.net.h2 import STREAM_QUEUE_BYTES
from tiphys.net.http import Frame, Request, Response

# In memory, one loop is as good as the other.
pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


async def test_requests_at_once(wire: MakeWire) -> None:
    line = wire(echo)
    streams = [line.get(f"/{i}") for i in range(20)]
    line.settle()
    assert [line.client.answers[stream].body for stream in streams] == [f"/{i}".encode() for i in range(20)]
    answer = line.client.answers[streams[3]]
    assert (answer.status, answer.headers["x-path"], answer.headers["content-length"]) == (200, "/3", "2")
    assert answer.ended


async def test_what_the_handler_sees(wire: MakeWire) -> None:
    seen: list[Request] = []
    line = wire(lambda request: seen.append(request) or echo(request))
    line.get("/a%20b?x=1", ("x-y", "1"), ("x-y", "2"), method="DELETE")
    line.settle()
    (request,) = seen
    assert (request.method, request.target, request.path, request.query) == (
        "DELETE",
        "/a%20b?x=1",
        "/a b",
        {"x": ["1"]},
    )
    assert request.headers == {"host": "here", "x-y": "1, 2"}
    assert request.connection.protocol == "h2"


async def test_answers_to_what_came_together_go_out_together(wire: MakeWire) -> None:
    line = wire(echo)
    line.settle()
    for _ in range(10):
        line.get("/")
    line.connection.data_received(line.client.engine.data_to_send())
    assert len(line.transport.writes) == 1


async def test_a_request_body(wire: MakeWire) -> None:
    line = wire(echo)
    body = bytes(range(256)) * 4000
    stream = line.client.request("/", "POST", body=body)
    await line.turn(50)
    assert line.client.answers[stream].body == body


async def test_a_head_of_pushed_streams_goes_out_before_any_data(wire: MakeWire) -> None:
    watches = Watches()
    line = wire(watches)
    stream = line.get("/")
    line.settle()
    assert line.client.answers[stream].status == 200


async def test_one_event_to_many_streams_is_one_write(wire: MakeWire) -> None:
    watches = Watches()
    line = wire(watches)
    streams = [line.get("/") for _ in range(100)]
    line.settle()
    frame = Frame(b"event\n")
    for sink in watches.sinks:
        sink.write(frame)
    assert line.transport.writes == []
    await asyncio.sleep(0)
    assert len(line.transport.writes) == 1
    line.settle()
    assert {line.client.answers[stream].body for stream in streams} == {b"event\n"}


async def test_a_sink_ends_cleanly(wire: MakeWire) -> None:
    watches = Watches()
    line = wire(watches)
    stream = line.get("/")
    line.settle()
    watches.sinks[0].write(b"last")
    watches.sinks[0].close()
    watches.sinks[0].write(b"nothing")
    await line.turn()
    answer = line.client.answers[stream]
    assert (answer.body, answer.ended, answer.reset, watches.closed) == (b"last", True, None, 1)


async def test_an_aborted_sink_is_reset(wire: MakeWire) -> None:
    watches = Watches()
    line = wire(watches)
    stream = line.get("/")
    line.settle()
    watches.sinks[0].abort()
    await line.turn()
    assert line.client.answers[stream].reset == ngh2.ErrorCode.INTERNAL_ERROR
    assert watches.closed == 1


async def test_a_cancelled_watch_closes_its_sink_only(wire: MakeWire) -> None:
    watches = Watches()
    line = wire(watches)
    first, second = line.get("/"), line.get("/")
    line.settle()
    line.client.engine.reset_stream(first, ngh2.ErrorCode.CANCEL)
    line.settle()
    assert [sink.closed for sink in watches.sinks] == [True, False]
    watches.sinks[0].write(b"dropped")
    watches.sinks[1].write(b"heard")
    await line.turn()
    assert (line.client.answers[second].body, watches.closed) == (b"heard", 1)


async def test_a_cancelled_request_cancels_its_handler(wire: MakeWire) -> None:
    cancelled = asyncio.Event()

    async def forever(request: Request) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return echo(request)

    line = wire(forever)
    stream = line.get("/")
    await line.turn()
    line.client.engine.reset_stream(stream, ngh2.ErrorCode.CANCEL)
    await line.turn()
    assert cancelled.is_set()


async def test_a_lost_connection_ends_everything_on_it(wire: MakeWire) -> None:
    watches = Watches()
    line = wire(watches)
    for _ in range(3):
        line.get("/")
    line.settle()
    line.connection.connection_lost(None)
    assert watches.closed == 3
    assert not line.service.connections


async def test_pending_bytes_are_what_the_peers_window_does_not_admit(wire: MakeWire) -> None:
    watches = Watches()
    line = wire(watches, window_bytes=1000, manual=True)
    slow, quick = line.get("/"), line.get("/")
    line.settle()
    watches.sinks[0].write(b"x" * 5000)
    watches.sinks[1].write(b"y" * 500)
    await line.turn()
    assert [sink.pending_bytes for sink in watches.sinks] == [4000, 0]
    assert len(line.client.answers[quick].body) == 500
    line.client.engine.acknowledge_received_data(1000, slow)
    await line.turn()
    assert watches.sinks[0].pending_bytes == 3000
    line.transport.buffered_bytes = 7
    assert watches.sinks[0].pending_bytes == 3007


async def test_a_full_transport_takes_nothing_more(wire: MakeWire) -> None:
    watches = Watches()
    line = wire(watches, window_bytes=1 << 20)
    stream = line.get("/")
    line.settle()
    line.connection.pause_writing()
    watches.sinks[0].write(b"x" * 1000)
    await line.turn()
    assert watches.sinks[0].pending_bytes == 1000
    line.connection.resume_writing()
    line.settle()
    assert watches.sinks[0].pending_bytes == 0
    assert line.client.answers[stream].body == b"x" * 1000


async def test_a_large_body_fills_the_stream_no_further_than_its_limit(wire: MakeWire) -> None:
    line = wire(lambda request: Response(200, body=[b"x" * 10_000] * 1000), window_bytes=1000, manual=True)
    stream = line.get("/")
    await line.turn(100)
    assert STREAM_QUEUE_BYTES <= line.connection.queued_bytes(stream) <= 2 * STREAM_QUEUE_BYTES


async def test_a_small_answer_overtakes_a_large_one(wire: MakeWire) -> None:
    responses = {"/large": Response(200, body=[b"x" * 10_000] * 300), "/small": Response(200, body=b"small")}
    line = wire(lambda request: responses[request.path], window_bytes=1 << 24)
    large = line.get("/large")
    await line.turn(2)
    small = line.get("/small")
    await line.turn(2)
    assert line.client.answers[small].ended
    assert 0 < len(line.client.answers[large].body) < 3_000_000
    await line.turn(400)
    answer = line.client.answers[large]
    assert (answer.ended, len(answer.body), answer.headers["content-length"]) == (
        True,
        3_000_000,
        "3000000",
    )


async def test_an_iterator_waits_for_the_peer(wire: MakeWire) -> None:
    given: list[int] = []

    async def lines() -> AsyncIterator[bytes]:
        for i in range(100):
            given.append(i)
            yield b"%05d" % i * 2000

    line = wire(lambda request: Response(200, body=lines()), window_bytes=1000, manual=True)
    stream = line.get("/")
    await line.turn(50)
    assert 0 < len(given) < 30
    line.client.engine.set_local_window_size(1 << 24)
    line.client.engine.set_local_window_size(1 << 24, stream_id=stream)
    await line.turn(400)
    answer = line.client.answers[stream]
    assert (answer.ended, answer.body) == (True, b"".join(b"%05d" % i * 2000 for i in range(100)))


async def test_head_and_bodiless_statuses(wire: MakeWire) -> None:
    responses = {
        "/200": Response(200, body=b"12345"),
        "/204": Response(204, body=b"no"),
        "/large": Response(200, body=[b"x" * 100_000]),
    }
    line = wire(lambda request: responses[request.path])
    streams = [line.get("/200", method="HEAD"), line.get("/204"), line.get("/large", method="HEAD")]
    await line.turn()
    answers = [line.client.answers[stream] for stream in streams]
    assert [(answer.headers.get("content-length"), answer.body, answer.ended) for answer in answers] == [
        ("5", b"", True),
        (None, b"", True),
        ("100000", b"", True),
    ]


async def test_an_upgrade_asks_for_http_1_1(wire: MakeWire) -> None:
    async def never(stream: object) -> None:
        raise AssertionError

    line = wire(lambda request: Response(101, upgrade=never))
    stream = line.get("/")
    await line.turn()
    assert line.client.answers[stream].reset == ngh2.ErrorCode.HTTP_1_1_REQUIRED


async def test_headers_of_a_connection_are_dropped(wire: MakeWire) -> None:
    line = wire(
        lambda request: Response(
            200, [("Connection", "close"), ("Transfer-Encoding", "chunked"), ("Good", "1")]
        )
    )
    stream = line.get("/")
    line.settle()
    assert set(line.client.answers[stream].headers) == {"good", "date", "content-length"}


async def test_a_header_with_a_line_break_is_a_500(wire: MakeWire, caplog: pytest.LogCaptureFixture) -> None:
    line = wire(lambda request: Response(200, [("x", "a\r\nb: c")]))
    stream = line.get("/")
    await line.turn()
    assert line.client.answers[stream].status == 500
