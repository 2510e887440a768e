"""Long lists are made a part at a time: they say the same as ever, and others have their turn meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import cast

import orjson
import pytest
from served import PROTOBUF, Client, Object

from tiphys.api.types import TYPES
from tiphys.apiserver.authentication.tokens import Authenticated
from tiphys.apiserver.call import User
from tiphys.apiserver.registry.reads import PACED_FROM, TURN_SECONDS
from tiphys.machinery.protobuf import decode_envelope, encode_envelope
from tiphys.net.http import Gradual, Request, Response
from tiphys.testing.clock import FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"
COUNT = PACED_FROM + 77
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
NAMES = [f"m-{number:04d}" for number in range(COUNT)]


class BusyClock(FakeClock):
    """Time passes whenever somebody looks: as if everything took half a turn."""

    def monotonic(self) -> float:
        self._elapsed += TURN_SECONDS / 2
        return super().monotonic()


@pytest.fixture
def clock() -> FakeClock:
    return BusyClock()


@pytest.fixture
async def filled(client: Client) -> Client:
    for name in NAMES:
        await client.create(MAPS, {"metadata": {"name": name}, "data": {"x": "y"}})
    return client


async def test_every_form_says_the_same(filled: Client) -> None:
    plain = await filled.get(MAPS)
    assert [item["metadata"]["name"] for item in plain["items"]] == NAMES
    some = await filled.get(f"{MAPS}?limit=3")
    assert some["items"] == plain["items"][:3]
    table = await filled.get(MAPS, accept=TABLE)
    assert [row["cells"][0] for row in table["rows"]] == NAMES
    few = await filled.get(f"{MAPS}?limit=3", accept=TABLE)
    assert few["rows"] == table["rows"][:3]
    assert few["columnDefinitions"] == table["columnDefinitions"]
    metadata = await filled.get(MAPS, accept=METADATA)
    assert [item["metadata"] for item in metadata["items"]] == [item["metadata"] for item in plain["items"]]


@pytest.mark.parametrize("query", ["", "?limit=0", "?limit=5", "?labelSelector=none=such"])
async def test_protobuf_is_byte_for_byte_what_it_is_at_once(filled: Client, query: str) -> None:
    plain = await filled.get(MAPS + query)
    binary = await filled.call("GET", MAPS + query, accept=PROTOBUF)
    assert binary.raw == encode_envelope(TYPES.struct("core/v1.ConfigMapList"), plain)
    _, decoded = decode_envelope(binary.raw, lambda version, kind: TYPES.struct("core/v1.ConfigMapList"))
    assert len(decoded.get("items") or ()) == len(plain["items"])


@pytest.mark.parametrize("accept", ["application/json", TABLE, METADATA, PROTOBUF])
async def test_others_have_their_turn(filled: Client, accept: str) -> None:
    listing = asyncio.ensure_future(
        cast(Awaitable[Response], filled.server.handle(filled.request("GET", MAPS, accept=accept)))
    )
    turns = 0
    while not listing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > COUNT // 64, "a part in a turn, when each takes as long as that"
    assert (await listing).status == 200


async def test_what_goes_outside_is_made_while_it_goes(filled: Client) -> None:
    for turn, query in enumerate(("", f"?limit={PACED_FROM + 5}", "?labelSelector=!none")):
        for accept in ("application/json", TABLE, METADATA):
            inside, before = await filled.call("GET", MAPS + query, accept=accept), sizes(filled)
            answer = await filled.respond(from_outside(filled, MAPS + query, accept=accept))
            assert isinstance(answer.body, Gradual)
            await filled.create(MAPS, {"metadata": {"name": f"m-0000-{turn}-{len(accept)}"}})
            await filled.delete(f"{MAPS}/{NAMES[-turn - 1]}")
            parts = list(answer.body)
            assert b"" in parts, "others have their turn"
            assert _timeless(orjson.loads(b"".join(parts))) == _timeless(inside.body)
            await filled.create(MAPS, {"metadata": {"name": NAMES[-turn - 1]}})
            assert sizes(filled) == before
            assert answer.on_sent is not None
            answer.on_sent()
            assert sizes(filled) == before + len(b"".join(parts))


def _timeless(shown: Object) -> Object:
    """The busy clock goes on between two tables."""
    return {**shown, "rows": [{**row, "cells": row["cells"][:-1]} for row in shown.get("rows", ())]}


def sizes(client: Client) -> float:
    """Bytes of all lists so far."""
    lines = client.server.metrics.render().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("apiserver_response_sizes_sum")
        and 'verb="LIST"' in line
        and '"configmaps"' in line
    )


async def test_what_must_be_whole_first(filled: Client) -> None:
    for headers in ({"accept_encoding": "gzip"}, {"accept": PROTOBUF}):
        answer = await filled.respond(from_outside(filled, MAPS, **headers))
        assert isinstance(answer.body, bytes | list)


def from_outside(client: Client, target: str, **headers: str) -> Request:
    client.server.token_readers.append(lambda token, audiences: Authenticated(User("a", ("system:masters",))))
    request = client.request("GET", target, authorization="Bearer x", **headers)
    request.context = None
    return request


async def test_short_lists_need_no_task(client: Client) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    answer = client.server.handle(client.request("GET", MAPS))
    assert isinstance(answer, Response)
    assert isinstance(answer.body, bytes)
