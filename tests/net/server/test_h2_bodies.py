"""HTTP/2 on one connection, in memory: bodies that come along with their heads, later, in pieces, wrongly or never."""

import asyncio
import gc
import weakref
from dataclasses import replace

import ngh2
import pytest
from wire_peers import PATIENCE_SECONDS, Wire, echo

from conftest import MakeWire
from tiphys.net.http import Request, Response, Sink

# In memory, one loop is as good as the other.
pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


def _send(line: Wire) -> None:
    """What the client has to say, in one read of the server's."""
    line.connection.data_received(line.client.engine.data_to_send())


async def test_heads_first_and_then_bodies(wire: MakeWire) -> None:
    line = wire(echo)
    line.settle()
    streams = [line.client.request("/", "POST", body=b"%d" % number) for number in range(20)]
    _send(line)
    line.settle()
    assert [line.client.answers[stream].body for stream in streams] == [
        b"%d" % number for number in range(20)
    ]


async def test_a_body_in_another_read_than_its_head(wire: MakeWire) -> None:
    line = wire(echo)
    streams = [line.client.request("/", "POST", body=b"") for _ in range(3)]
    line.settle()
    for piece in (b"a", b"b"):
        for stream in streams:
            line.client.engine.send_data(stream, piece + b"%d" % stream, end_stream=piece == b"b")
        line.settle()
    assert {line.client.answers[stream].body for stream in streams} == {b"a1b1", b"a3b3", b"a5b5"}


async def test_a_body_of_two_frames_that_come_with_their_head(wire: MakeWire) -> None:
    line = wire(echo)
    line.settle()
    stream = line.client.request("/", "POST", body=b"x" * 20_000)
    _send(line)
    line.settle()
    assert line.client.answers[stream].body == b"x" * 20_000


async def test_a_body_of_nothing(wire: MakeWire) -> None:
    line = wire(echo)
    stream = line.client.request("/empty", "POST", body=b"")
    line.client.engine.send_data(stream, b"", end_stream=True)
    line.settle()
    assert line.client.answers[stream].body == b"/empty"


@pytest.mark.parametrize("together", [True, False])
async def test_a_body_of_another_length_than_was_announced(wire: MakeWire, together: bool) -> None:
    served: list[Request] = []
    line = wire(lambda request: served.append(request) or echo(request))
    line.settle()
    streams = []
    for length in ("2", "4"):
        stream = line.client.request("/", "POST", ("content-length", length), body=b"")
        if not together:
            line.settle()
        line.client.engine.send_data(stream, b"abc", end_stream=True)
        line.settle()
        streams.append(stream)
    good = line.client.request("/", "POST", ("content-length", "3"), body=b"abc")
    line.settle()
    resets = [line.client.answers[stream].reset for stream in streams]
    assert resets == [ngh2.ErrorCode.PROTOCOL_ERROR] * 2
    assert line.client.answers[good].body == b"abc"
    assert len(served) == 1


async def test_a_refused_head_whose_body_came_along(wire: MakeWire) -> None:
    line = wire(echo, header_bytes=1000, linger_seconds=0)
    line.settle()
    large = line.client.request("/", "POST", ("x", "y" * 1000), body=b"abc")
    bad = line.client.request("/a%zz", "POST", body=b"abc")
    _send(line)
    await line.turn()
    assert [line.client.answers[stream].status for stream in (large, bad)] == [431, 400]
    assert [line.client.answers[stream].reset for stream in (large, bad)] == [None, None]


async def test_expectations_of_bodies_that_came_along(wire: MakeWire) -> None:
    line = wire(echo)
    line.settle()
    stream = line.client.request("/", "POST", ("expect", "100-Continue"), body=b"abc")
    other = line.client.request("/", "POST", ("expect", "more"), body=b"abc")
    _send(line)
    line.settle()
    assert line.client.informed == [100]
    assert [line.client.answers[each].body for each in (stream, other)] == [b"abc", b"abc"]


async def test_trailers_without_a_body(wire: MakeWire) -> None:
    line = wire(echo)
    line.settle()
    stream = line.client.request("/trailed", "POST", body=b"")
    line.client.engine.send_trailers(stream, [(b"x", b"y")])
    _send(line)
    line.settle()
    assert line.client.answers[stream].body == b"/trailed"


async def test_what_is_cancelled_in_the_same_breath_is_not_served(wire: MakeWire) -> None:
    served: list[Request] = []
    line = wire(lambda request: served.append(request) or echo(request))
    line.settle()
    stream = line.client.request("/", "POST", body=b"abc")
    kept = line.client.request("/kept", "POST", body=b"abc")
    data = line.client.engine.data_to_send()
    line.client.engine.reset_stream(stream, ngh2.ErrorCode.CANCEL)
    line.connection.data_received(data + line.client.engine.data_to_send())
    line.settle()
    assert [request.path for request in served] == ["/kept"]
    assert line.client.answers[kept].body == b"abc"


async def test_bodies_that_came_along_give_the_windows_back(wire: MakeWire) -> None:
    line = wire(echo)
    line.settle()
    before = line.client.engine.remote_window_size
    for _ in range(10_000):
        line.client.request("/", "POST", body=b"x" * 16_000)
        line.settle()
    assert line.client.engine.remote_window_size > before // 3


async def test_uploads_that_do_not_come_time_out_and_others_do_not(wire: MakeWire) -> None:
    line = wire(echo, body_timeout_seconds=0.02, linger_seconds=0)
    for _ in range(2):
        first, second, third = (line.client.request("/", "POST", body=b"") for _ in range(3))
        line.settle()
        line.client.engine.send_data(first, b"abc", end_stream=True)
        line.client.engine.send_data(third, b"a")
        line.settle()
        assert line.client.answers[first].body == b"abc"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (line.client.answers[second].status and line.client.answers[third].status):
                await asyncio.sleep(0.005)
                line.settle()
        assert [line.client.answers[each].status for each in (first, second, third)] == [200, 408, 408]


async def test_a_late_upload_does_not_end_a_later_one(wire: MakeWire) -> None:
    line = wire(echo, body_timeout_seconds=0.02, linger_seconds=0)
    first = line.client.request("/", "POST", body=b"")
    line.settle()
    line.service.limits = replace(line.service.limits, body_timeout_seconds=PATIENCE_SECONDS)
    second = line.client.request("/", "POST", body=b"")
    line.settle()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not line.client.answers[first].status:
            await asyncio.sleep(0.005)
            line.settle()
    line.client.engine.send_data(second, b"abc", end_stream=True)
    line.settle()
    assert [line.client.answers[each].status for each in (first, second)] == [408, 200]


async def test_a_handler_that_answers_nothing(wire: MakeWire, caplog: pytest.LogCaptureFixture) -> None:
    async def nothing(request: Request) -> None:
        await asyncio.sleep(0)

    line = wire(lambda request: nothing(request) if request.path == "/later" else None)  # type: ignore[arg-type,return-value]
    streams = [line.get("/now"), line.get("/later")]
    await line.turn(10)
    assert [line.client.answers[stream].status for stream in streams] == [500, 500]
    assert "failed" in caplog.text


class _Writer:
    """Writes to one sink, and is held by it."""

    closed = 0

    def start(self, sink: Sink) -> None:
        sink.on_close = self.on_close

    def on_close(self) -> None:
        self.closed += 1


async def test_nothing_is_kept_of_a_cancelled_watch(wire: MakeWire) -> None:
    writers = [_Writer()]
    line = wire(lambda request: Response(200, start=writers[0].start))
    stream = line.get("/")
    line.settle()
    line.client.engine.reset_stream(stream, ngh2.ErrorCode.CANCEL)
    line.settle()
    assert writers[0].closed == 1
    writer = weakref.ref(writers.pop())
    gc.collect()
    assert writer() is None


async def test_an_answer_that_nobody_waits_for_any_more(wire: MakeWire) -> None:
    told = asyncio.Event()

    async def stubborn(request: Request) -> Response:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass  # gone too far to stop
        return Response(200, on_sent=told.set)

    line = wire(stubborn)
    stream = line.get("/")
    await line.turn()
    line.client.engine.reset_stream(stream, ngh2.ErrorCode.CANCEL)
    await line.turn()
    await asyncio.wait_for(told.wait(), PATIENCE_SECONDS)
    assert line.client.answers[stream].status == 0
