"""Many bad requests to one server, from a seed: none makes it fail, and each is answered soon.

A failing test prints its seed and the request; `MALICE_SEED=… MALICE_REQUESTS=… pytest tests/apiserver/test_malice.py` begins elsewhere, or goes on for longer.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from definitions import DEFINITIONS, GROUP, TABS, define, definition, tab, version
from malice import JSON, Dice, Sent, expression, header, instance, listing, managed, patch, schema
from minimal import collection, minimal, name_of
from served import PROTOBUF, Client, Object, Wire, running, settle

from tiphys.api.scheme import built_in
from tiphys.api.types import TYPES
from tiphys.machinery.protobuf import encode_envelope
from tiphys.testing.clock import FakeClock

SEED = int(os.environ.get("MALICE_SEED", "1"))
REQUESTS = int(os.environ.get("MALICE_REQUESTS", "60"))
SOON_SECONDS = 10.0
"""Of computing, whoever else uses the machine: two hundred times what any of them takes."""
HANGS_SECONDS = 300

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
WEB: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"a": "b"}, "finalizers": ["example.com/a"]},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                "containers": [
                    {"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
                    {"name": "d", "image": "j", "env": [{"name": "A", "value": "1"}], "args": ["x", "x"]},
                ],
                "tolerations": [{"key": "k", "operator": "Exists"}],
            },
        },
    },
}


UPSTREAMS = (b"without impersonating a user",)
"""What upstream calls internal errors, too."""


class Stubborn(Exception):
    """A request that is still being worked on."""


@contextmanager
def bounded(what: str) -> Iterator[None]:
    """Breaks into what does not end."""

    def interrupt(*_: Any) -> None:
        raise Stubborn(what)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(HANGS_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


async def send(client: Client, sent: Sent) -> None:
    """One request, and of a watch what it begins with."""
    begun = time.process_time()
    try:
        response = await client.respond(client.request(sent.method, sent.target, sent.body, **sent.headers))
    except Exception as error:
        raise AssertionError(f"nothing caught {error!r}: {sent}") from error
    if response.start is not None:
        wire = Wire()
        response.start(wire)
        await settle()
        wire.close()
        body = bytes(wire.data)
    else:
        body = b"" if not isinstance(response.body, bytes) else response.body
    took = time.process_time() - begun
    assert took < SOON_SECONDS, f"{took:.1f} s: {sent}"
    assert response.status < 600
    if response.status == 500 or b'"code":500' in body:
        upstreams = any(words in body for words in UPSTREAMS)
        assert b'"reason":"InternalError"' not in body or upstreams, f"{body[:600]!r}: {sent}"


Theme = Callable[[Client, Dice], Any]


def play(signing_key: bytes, name: str, theme: Theme) -> None:
    for turn in range(3):
        seed = SEED * 1000 + turn

        async def go(seed: int = seed) -> None:
            async with running(FakeClock(), signing_key) as server:
                await theme(Client(server), Dice(seed))

        try:
            with bounded(f"{name}, seed {seed}"):
                asyncio.run(go())
        except Exception as error:
            raise AssertionError(f"MALICE_SEED={SEED}, {name}: {error}") from error


async def patches(client: Client, dice: Dice) -> None:
    await define(client, definition(version(subresources={"status": {}, "scale": SCALE})))
    targets = {f"{DEPLOYMENTS}/web": (DEPLOYMENTS, WEB), f"{TABS}/a": (TABS, tab("a", replicas=1))}
    for _ in range(REQUESTS):
        one = dice.one(list(targets))
        where, obj = targets[one]
        await client.call("POST", where, obj)
        current = await client.call("GET", one)
        below = dice.one(["", "", "", "/status", "/scale"])
        await send(client, patch(dice, one + below, current.body if dice.often(0.7) else obj))


SCALE = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}


async def owners(client: Client, dice: Dice) -> None:
    """managedFields that no server wrote, by update and by apply."""
    for _ in range(REQUESTS):
        await client.call("POST", DEPLOYMENTS, WEB)
        obj = orjson.loads(orjson.dumps(WEB))
        obj["metadata"]["managedFields"] = managed(dice, WEB)
        apply = dice.often(0.4)
        kind = "application/apply-patch+yaml" if apply else JSON
        target = f"{DEPLOYMENTS}/web{'?fieldManager=m&force=true' if apply else ''}"
        await send(
            client, Sent("PATCH" if apply else "PUT", target, orjson.dumps(obj), {"content_type": kind})
        )


LISTED = [
    "/api/v1/namespaces/default/configmaps", "/api/v1/pods", "/api/v1/events", "/api/v1/nodes", DEPLOYMENTS, "/api/v1/namespaces/default/secrets",
    "/apis/apps/v1/deployments", TABS, DEFINITIONS, "/apis/events.k8s.io/v1/events", "/api/v1/watch/pods", "/api/v1/componentstatuses",
]  # fmt: skip


async def lists(client: Client, dice: Dice) -> None:
    await define(client)
    for number in range(4):
        await client.create(LISTED[0], {"metadata": {"name": f"m{number}"}})
        await client.create(TABS, tab(f"t{number}"))
    real = (await client.get(f"{LISTED[0]}?limit=1"))["metadata"]["continue"]
    for _ in range(REQUESTS * 2):
        await send(client, listing(dice, dice.one(LISTED), real))


STORED = [row for row in built_in() if not row.virtual]


async def protobuf(client: Client, dice: Dice) -> None:
    for _ in range(REQUESTS * 2):
        row = dice.one(STORED)
        body = dice.garbled(encode_envelope(TYPES.struct(row.type), minimal(row)), dice.one([1, 1, 4]))
        one = f"{collection(row)}/{name_of(row)}"
        method, target = dice.one([("POST", collection(row)), ("PUT", one), ("DELETE", one), ("PATCH", one)])
        headers = {"content_type": PROTOBUF, "accept": header(dice)}
        await send(client, Sent(method, target, body, headers))


async def definitions(client: Client, dice: Dice) -> None:
    """Schemas with rules, and objects of what was accepted."""
    for number in range(REQUESTS):
        found = schema(dice)
        if isinstance(found, dict) and dice.often(0.9):
            found["type"] = "object"
        plural, kind = f"kinds{number}", f"Kind{number}"
        wanted = definition({**version(), "schema": {"openAPIV3Schema": found}}, plural=plural, kind=kind)
        if dice.often(0.2):
            wanted["spec"] = dice.mutated(wanted["spec"], 0.05)
        await send(client, Sent("POST", DEFINITIONS, orjson.dumps(wanted), {"content_type": JSON}))
        await settle()
        target = f"/apis/{GROUP}/v1/namespaces/default/{plural}"
        for _ in range(2):
            obj = instance(dice, found)
            obj = {**(obj if isinstance(obj, dict) else {}), "apiVersion": f"{GROUP}/v1", "kind": kind}
            obj["metadata"] = {"name": "a"}
            await send(client, Sent("POST", target, orjson.dumps(obj), {"content_type": JSON}))
            await send(client, Sent("GET", f"{target}/a", b"", {"accept": header(dice)}))
            await send(client, patch(dice, f"{target}/a", obj))
        if dice.often(0.5):
            await send(client, Sent("DELETE", f"{DEFINITIONS}/{plural}.{GROUP}"))
    for document in ("/openapi/v2", f"/openapi/v3/apis/{GROUP}/v1", f"/apis/{GROUP}/v1"):
        await send(client, Sent("GET", document))


async def expressions(client: Client, dice: Dice) -> None:
    """Rules of types that fit together now and then."""
    inner = {
        "a": {"type": "string", "maxLength": 10},
        "b": {"type": "integer"},
        "items": {"type": "array", "maxItems": 5, "items": {"type": "integer"}},
        "map": {"type": "object", "maxProperties": 3, "additionalProperties": {"type": "string"}},
    }
    sample = {"a": "aaa", "b": 0, "items": [1, 2, 0], "map": {"x": "y"}}
    for number in range(REQUESTS):
        rules = [{"rule": expression(dice, 4)}]
        spec = {"type": "object", "properties": inner, "x-kubernetes-validations": rules}
        found = {"type": "object", "properties": {"spec": spec}}
        plural, kind = f"kinds{number}", f"Kind{number}"
        wanted = definition({**version(), "schema": {"openAPIV3Schema": found}}, plural=plural, kind=kind)
        await send(client, Sent("POST", DEFINITIONS, orjson.dumps(wanted), {"content_type": JSON}))
        await settle()
        obj = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": "a"}, "spec": sample}
        target = f"/apis/{GROUP}/v1/namespaces/default/{plural}"
        await send(client, Sent("POST", target, orjson.dumps(obj), {"content_type": JSON}))
        await send(client, patch(dice, f"{target}/a", obj))


async def headers(client: Client, dice: Dice) -> None:
    targets = [
        *LISTED[:6],
        f"{LISTED[0]}/a",
        f"{DEPLOYMENTS}/web/scale",
        "/api",
        "/apis",
        "/version",
        "/openapi/v2",
        "/openapi/v3",
        "/metrics",
        "/healthz",
        "/",
        "/apis/apps/v1",
    ]
    await client.create(DEPLOYMENTS, WEB)
    await client.create(LISTED[0], {"metadata": {"name": "a"}})
    names = ["accept", "content_type", "accept_encoding", "if_none_match", "impersonate_user", "impersonate_group", "content_encoding", "user_agent", "origin", "connection", "upgrade", "range", "x_remote_user", "authorization"]  # fmt: skip
    for _ in range(REQUESTS * 2):
        sent = {name: header(dice) for name in dice.some(names, 3)}
        method = dice.one(["GET", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
        body = (
            dice.garbled(orjson.dumps({"metadata": {"name": "a"}}))
            if method in ("POST", "PUT", "PATCH")
            else b""
        )
        await send(client, Sent(method, dice.one(targets), body, sent))


THEMES = [patches, owners, lists, protobuf, definitions, expressions, headers]


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.__name__)
def test_no_request_breaks_the_server(signing_key: bytes, theme: Theme) -> None:
    play(signing_key, theme.__name__, theme)
