"""Bodies that are made while they go out (`Gradual`): whole, no faster than they are read, and visibly broken when their making fails."""

import asyncio
from collections.abc import Iterator

import ngh2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_peers import PATIENCE_SECONDS

from conftest import MakeWire, Serve
from tiphys.net.exchange import SLICE_BYTES, SLICES_A_TURN, cut
from tiphys.net.h2 import STREAM_QUEUE_BYTES
from tiphys.net.http import Gradual, Request, Response

PARTS = [b"a", b"", b"b" * 50_000, b"", b"", b"c" * 200_000, *[b"d" * 60_000] * 20, b"", b"e"]


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 16))
def test_cut_are_the_same_parts_none_too_large(parts: list[bytes], size: int) -> None:
    found = list(cut(parts, size))
    assert b"".join(found) == b"".join(parts)
    assert all(len(part) <= size for part in found)
    assert [part for part in found if not part] == [part for part in parts if not part]


def answering(made: list[bytes], parts: list[bytes] = PARTS, *, fails: bool = False) -> Response:
    def make() -> Iterator[bytes]:
        for part in parts:
            made.append(part)
            yield part
        if fails:
            raise ValueError("no more")

    return Response(200, [("content-type", "text/plain")], Gradual(make()))


@pytest.mark.parametrize("protocol", ["h1", "h2"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_it_arrives_whole(serve: Serve, protocol: str, method: str) -> None:
    made: list[bytes] = []
    responses: list[Response] = []

    def answer(request: Request) -> Response:
        responses.append(answering(made))
        return responses[-1]

    site = await serve(answer, tls=protocol == "h2")
    for _ in range(2):
        made.clear()
        if protocol == "h1":
            peer = await site.h1()
            peer.get("/", method=method)
            found = await peer.answer(without_body=method == "HEAD")
        else:
            h2 = await site.h2()
            (found,) = await h2.ended(h2.request("/", method))
        body = responses[-1].body
        assert isinstance(body, Gradual)
        assert found.status == 200
        if method == "HEAD":
            assert (found.body, made, body.size_bytes) == (b"", [], 0)
        else:
            assert found.body == b"".join(PARTS)
            assert body.size_bytes == len(found.body)


async def test_nobody_makes_more_than_is_read(wire: MakeWire) -> None:
    made: list[bytes] = []
    line = wire(lambda request: answering(made, [b"x" * SLICE_BYTES] * 1000), window_bytes=65535, manual=True)
    line.settle()
    stream = line.get("/")
    await line.turn(50)
    most = STREAM_QUEUE_BYTES // SLICE_BYTES + SLICES_A_TURN + 1
    assert 0 < len(made) <= most
    line.client.engine.reset_stream(stream, ngh2.ErrorCode.CANCEL)
    await line.turn(5)
    assert len(made) <= most


async def test_an_empty_part_ends_the_turn(wire: MakeWire) -> None:
    made: list[bytes] = []
    line = wire(lambda request: answering(made, [b"x", b"", b"y", b"", b"z"]), window_bytes=65535)
    line.settle()
    stream = line.get("/")
    line.settle()
    seen = [len(made)]
    for _ in range(4):
        await asyncio.sleep(0)
        seen.append(len(made))
    assert seen[:3] == [2, 4, 5]
    await line.turn(5)
    assert line.client.answers[stream].body == b"xyz"


async def test_a_failure_on_the_way_is_seen(serve: Serve) -> None:
    told = asyncio.Event()

    def answer(request: Request) -> Response:
        response = answering([], [b"x" * 50_000] * 20, fails=True)
        response.on_sent = told.set
        return response

    site = await serve(answer)
    peer = await site.h1()
    peer.get("/")
    with pytest.raises(asyncio.IncompleteReadError):
        await peer.answer()
    await asyncio.wait_for(told.wait(), PATIENCE_SECONDS)


async def test_a_failure_on_the_way_resets_the_stream_alone(wire: MakeWire) -> None:
    line = wire(lambda request: answering([], [b"x" * 50_000] * 20, fails=request.path == "/bad"))
    line.settle()
    bad, good = line.get("/bad"), line.get("/good")
    await line.turn(60)
    assert line.client.answers[bad].reset == ngh2.ErrorCode.INTERNAL_ERROR
    assert line.client.answers[good].body == b"x" * 1_000_000
