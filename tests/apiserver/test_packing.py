"""Large answers are compressed a piece at a time."""

from __future__ import annotations

import gzip

import orjson
from served import Client

from tiphys.apiserver.packing import GZIP_FROM_BYTES, Packer

MAPS = "/api/v1/namespaces/default/configmaps"


def test_a_large_answer_in_pieces() -> None:
    packer = Packer()
    pieces = [b"%d" % number * 1000 for number in range(200)]
    packed = [out for piece in pieces for out in packer.feed(piece)] + packer.end()
    assert gzip.decompress(b"".join(packed)) == b"".join(pieces)
    assert packer.headers == [("content-encoding", "gzip"), ("vary", "Accept-Encoding")]


def test_a_small_answer_stays_as_it_is() -> None:
    packer = Packer()
    assert packer.feed(b"x" * (GZIP_FROM_BYTES - 1)) == []
    assert packer.end() == [b"x" * (GZIP_FROM_BYTES - 1)]
    assert packer.headers == []


async def test_long_lists(client: Client) -> None:
    for number in range(250):
        data = {"metadata": {"name": f"m-{number}"}, "data": {"x": "y" * 1000}}
        await client.create(MAPS, data)
    plain = await client.get(MAPS)
    packed = await client.call("GET", MAPS, accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert orjson.loads(gzip.decompress(packed.raw)) == plain
    assert [name for name, _ in packed.headers.items()].count("content-encoding") == 1
    short = await client.call("GET", f"{MAPS}?limit=3", accept_encoding="gzip")
    assert "content-encoding" not in short.headers
