"""A connection that has ended is freed at once: with TLS each holds some 90 KB, and a server that is quiet collects no garbage for days."""

import asyncio
import gc
from collections.abc import Iterator

import pytest
from wire_peers import PATIENCE_SECONDS

from conftest import Serve
from tiphys.net.h1 import H1Connection
from tiphys.net.h2 import H2Connection
from tiphys.net.http import Request, Response
from tiphys.net.server import Greeter

KINDS = (Greeter, H1Connection, H2Connection)


def alive() -> int:
    return sum(type(each) in KINDS for each in gc.get_objects())


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def later(request: Request) -> Response:
    await asyncio.sleep(0)
    return Response(200, body=request.body)


@pytest.mark.parametrize("protocol", ["h1", "h2"])
async def test_nothing_keeps_what_has_ended(
    serve: Serve, tls: bool, protocol: str, no_collector: None
) -> None:
    site = await serve(later, tls=tls)
    before = alive()
    for _ in range(3):
        if protocol == "h1":
            h1 = await site.h1()
            h1.get("/x")
            assert (await h1.answer()).status == 200
            await h1.close()
        else:
            h2 = await site.h2()
            (answer,) = await h2.ended(h2.request("/x", "POST", body=b"y"))
            assert answer.body == b"y"
            await h2.close()
    # In the end the loop lets go of the last transport: in some turn of its own.
    async with asyncio.timeout(PATIENCE_SECONDS):
        while alive() > before:
            await asyncio.sleep(0.01)
