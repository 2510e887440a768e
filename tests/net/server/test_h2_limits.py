"""HTTP/2 on one connection, in memory: limits, greedy and broken peers, and the end."""

import asyncio

import ngh2
import pytest
from wire_peers import PATIENCE_SECONDS, Watches, echo

from conftest import MakeWire
from tiphys.net.h2_engine import MAX_CONCURRENT_STREAMS
from tiphys.net.http import Request, Response

# In memory, one loop is as good as the other.
pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


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
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not line.transport.aborted:
            await asyncio.sleep(0.01)
