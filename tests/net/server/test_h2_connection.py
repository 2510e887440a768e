"""HTTP/2 on one connection, in memory: what is written, when, and how much of it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import ngh2
import pytest
from wire_peers import H2Client, MemoryTransport

from tiphys.net.h2 import STREAM_QUEUE_BYTES, H2Connection
from tiphys.net.h2_engine import MAX_CONCURRENT_STREAMS
from tiphys.net.http import Connection, Frame, Handler, Request, Response, Sink
from tiphys.net.service import Limits, Service


class Wire:
    """A client and a connection of the server with nothing but memory in between."""

    def __init__(self, handler: Handler, limits: Limits, *, window_bytes: int, manual: bool) -> None:
        self.client = H2Client(window_bytes=window_bytes, manual=manual)
        self.transport = MemoryTransport()
        self.service = Service(handler, limits)
        self.connection = H2Connection(self.service, Connection(protocol="h2"))
        self.connection.connection_made(self.transport)

    def settle(self) -> None:
        """Carry bytes both ways until there are none; the loop does not turn."""
        while True:
            data = self.transport.take()
            if data:
                self.client.hear(data)
            reply = self.client.engine.data_to_send()
            if reply and not self.transport.closed:
                self.connection.data_received(reply)
            if not data and not reply:
                return

    async def turn(self, times: int = 3) -> None:
        """Let the loop turn, and carry what comes."""
        for _ in range(times):
            self.settle()
            await asyncio.sleep(0)
        self.settle()

    def get(self, path: str, *headers: tuple[str, str], method: str = "GET") -> int:
        return self.client.request(path, method, *headers)


MakeWire = Callable[..., Wire]


@pytest.fixture
async def wire() -> AsyncIterator[MakeWire]:
    wires: list[Wire] = []

    def make(handler: Handler, *, window_bytes: int = 65535, manual: bool = False, **limits: float) -> Wire:
        wires.append(Wire(handler, Limits(**limits), window_bytes=window_bytes, manual=manual))  # type: ignore[arg-type]
        return wires[-1]

    yield make
    for one in wires:
        one.connection.connection_lost(None)


def echo(request: Request) -> Response:
    return Response(200, [("X-Path", request.path)], request.body or request.target.encode())


class Watches:
    def __init__(self) -> None:
        self.sinks: list[Sink] = []
        self.closed = 0

    def __call__(self, request: Request) -> Response:
        return Response(200, [("content-type", "application/json")], start=self.start)

    def start(self, sink: Sink) -> None:
        self.sinks.append(sink)
        sink.on_close = self.on_close

    def on_close(self) -> None:
        self.closed += 1


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


async def test_a_body_over_the_limit(wire: MakeWire) -> None:
    line = wire(echo, body_bytes=1000, linger_seconds=0)
    announced = line.client.request("/", "POST", ("content-length", "1001"), body=b"")
    unannounced = line.client.request("/", "POST", body=b"x" * 1001)
    within = line.client.request("/", "POST", body=b"y" * 1000)
    await line.turn()
    assert line.client.answers[announced].status == 413
    assert line.client.answers[announced].reset == ngh2.ErrorCode.NO_ERROR
    assert line.client.answers[unannounced].status == 413
    assert line.client.answers[within].body == b"y" * 1000


async def test_a_refused_upload_gives_the_connections_window_back(wire: MakeWire) -> None:
    line = wire(echo, body_bytes=1000)
    line.settle()
    before = line.client.engine.remote_window_size
    for _ in range(1500):
        line.client.request("/", "POST", body=b"x" * 50_000)
        line.settle()
    assert not line.transport.closed
    assert line.client.engine.remote_window_size > before // 3


async def test_uploads_beyond_the_budget_still_all_arrive(wire: MakeWire) -> None:
    line = wire(lambda request: Response(200, body=str(len(request.body)).encode()))
    streams = [line.client.request("/", "POST", body=b"x" * 2_500_000) for _ in range(20)]
    await line.turn(400)
    assert {line.client.answers[stream].body for stream in streams} == {b"2500000"}


async def test_expect_100_continue(wire: MakeWire) -> None:
    line = wire(echo)
    stream = line.client.request("/", "POST", ("expect", "100-continue"), body=b"")
    line.settle()
    assert line.client.informed == [100]
    line.client.engine.send_data(stream, b"abc", end_stream=True)
    line.settle()
    assert line.client.answers[stream].body == b"abc"


async def test_trailers_end_a_body(wire: MakeWire) -> None:
    line = wire(echo)
    stream = line.client.request("/", "POST", body=b"")
    line.client.engine.send_data(stream, b"abc")
    line.client.engine.send_trailers(stream, [(b"x", b"y")])
    line.settle()
    assert line.client.answers[stream].body == b"abc"


async def test_a_large_head_is_refused_and_the_connection_lives(wire: MakeWire) -> None:
    line = wire(echo, header_bytes=1000, header_count=20)
    large = line.get("/", ("x", "y" * 1000))
    many = line.get("/", *[(f"x{i}", "y") for i in range(20)])
    good = line.get("/good")
    line.settle()
    assert [line.client.answers[stream].status for stream in (large, many, good)] == [431, 431, 200]


async def test_a_bad_escape_is_refused(wire: MakeWire) -> None:
    line = wire(echo)
    stream = line.get("/a%zz")
    line.settle()
    assert line.client.answers[stream].status == 400


async def test_an_enormous_head_ends_the_connection(wire: MakeWire) -> None:
    line = wire(echo, header_bytes=1000)
    line.get("/", ("x", "y" * 10_000))
    line.settle()
    assert line.transport.closed


async def test_streams_are_limited(wire: MakeWire) -> None:
    watches = Watches()
    line = wire(watches)
    line.settle()
    assert line.client.settings[ngh2.Setting.MAX_CONCURRENT_STREAMS] == MAX_CONCURRENT_STREAMS == 250
    for _ in range(300):
        line.get("/")
    line.settle()
    assert len(watches.sinks) == 250


async def test_rapid_reset_ends_the_connection_and_spares_the_handler(wire: MakeWire) -> None:
    served: list[Request] = []
    line = wire(lambda request: served.append(request) or echo(request))
    line.settle()
    sent = 0
    while not line.transport.closed and sent < 5000:
        data = b""
        for _ in range(100):
            stream = line.get("/")
            data += line.client.engine.data_to_send()
            line.client.engine.reset_stream(stream, ngh2.ErrorCode.CANCEL)
            data += line.client.engine.data_to_send()
        sent += 100
        line.connection.data_received(data)
    assert line.transport.closed
    assert not served


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n" + b"x" * 24,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
    ],
    ids=["no preface", "no frames"],
)
async def test_a_broken_peer_is_sent_away(wire: MakeWire, data: bytes) -> None:
    line = wire(echo)
    line.connection.data_received(data)
    assert line.transport.closed
    assert b"\x07\x00\x00\x00\x00\x00" in line.transport.take()  # GOAWAY on stream 0


async def test_shutdown_ends_watches_and_lets_requests_finish(wire: MakeWire) -> None:
    watches, gate = Watches(), asyncio.Event()

    async def late(request: Request) -> Response:
        await gate.wait()
        return echo(request)

    line = wire(lambda request: watches(request) if request.path == "/watch" else late(request))
    watch, running = line.get("/watch"), line.get("/late")
    await line.turn()
    line.connection.begin_shutdown()
    await line.turn()
    assert (line.client.answers[watch].ended, line.client.answers[watch].reset) == (True, None)
    assert line.client.going_away == ngh2.ErrorCode.NO_ERROR
    assert not line.transport.closed
    gate.set()
    await line.turn()
    assert line.client.answers[running].body == b"/late"
    assert line.transport.closed


async def test_an_upload_that_does_not_come_times_out(wire: MakeWire) -> None:
    line = wire(echo, body_timeout_seconds=0, linger_seconds=0)
    stream = line.client.request("/", "POST", body=b"")
    line.settle()
    await asyncio.sleep(0.01)
    line.settle()
    assert line.client.answers[stream].status == 408


async def test_an_idle_connection_is_sent_away(wire: MakeWire) -> None:
    line = wire(echo, idle_timeout_seconds=0.01)
    line.settle()
    await asyncio.sleep(0.03)
    line.settle()
    assert line.client.going_away == ngh2.ErrorCode.NO_ERROR
    assert line.transport.closed


async def test_a_quiet_watch_is_not_idle_but_a_stalled_one_is_cut_off(wire: MakeWire) -> None:
    watches = Watches()
    line = wire(watches, idle_timeout_seconds=0.01, window_bytes=10, manual=True)
    line.get("/")
    line.settle()
    await asyncio.sleep(0.03)
    assert not line.transport.closed
    watches.sinks[0].write(b"more than the window")
    await asyncio.sleep(0.03)
    assert line.transport.aborted
