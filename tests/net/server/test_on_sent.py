"""`Response.on_sent`: called once, whatever becomes of an answer."""

import asyncio
from collections.abc import Callable

import pytest
from wire_peers import PATIENCE_SECONDS

from conftest import Serve
from tiphys.net.http import Request, Response

LARGE = [b"x" * 50_000] * 20


class Told:
    """How often it was called."""

    def __init__(self) -> None:
        self.count = 0
        self.event = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self.event.set()


def _answers(told: Told) -> dict[str, Callable[[], Response]]:
    return {
        "/small": lambda: Response(200, body=b"x", on_sent=told),
        "/large": lambda: Response(200, body=LARGE, on_sent=told),
        "/broken": lambda: Response(200, [("x", "\r\n")], LARGE, on_sent=told),
    }


@pytest.mark.parametrize("path", ["/small", "/large", "/broken"])
@pytest.mark.parametrize("protocol", ["h1", "h2"])
async def test_when_it_is_sent(serve: Serve, path: str, protocol: str) -> None:
    told = Told()
    site = await serve(lambda request: _answers(told)[request.path](), tls=protocol == "h2")
    if protocol == "h1":
        peer = await site.h1()
        peer.get(path)
        answer = await peer.answer()
        assert answer.status == (500 if path == "/broken" else 200)
    else:
        h2 = await site.h2()
        (answer,) = await h2.ended(h2.request(path))
    await asyncio.wait_for(told.event.wait(), PATIENCE_SECONDS)
    assert told.count == 1


async def test_when_the_client_goes_first(serve: Serve) -> None:
    told, asked, go_on = Told(), asyncio.Event(), asyncio.Event()

    async def answer(request: Request) -> Response:
        asked.set()
        try:
            await go_on.wait()
        except asyncio.CancelledError:
            pass  # a handler that has gone too far to stop
        return Response(200, body=LARGE, on_sent=told)

    site = await serve(answer)
    peer = await site.h1()
    peer.get("/large")
    await asyncio.wait_for(asked.wait(), PATIENCE_SECONDS)
    await peer.close()
    await asyncio.wait_for(told.event.wait(), PATIENCE_SECONDS)
    assert told.count == 1


async def test_when_the_client_stops_reading(serve: Serve) -> None:
    told = Told()
    site = await serve(lambda request: Response(200, body=[b"x" * 65536] * 500, on_sent=told))
    peer = await site.h1()
    peer.get("/huge")
    await asyncio.sleep(0)
    await peer.close()
    await asyncio.wait_for(told.event.wait(), PATIENCE_SECONDS)
    assert told.count == 1
