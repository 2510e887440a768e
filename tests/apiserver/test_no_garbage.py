"""A request that is over is freed at once, with its body: nothing of it waits, in a ring of references, for the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from served import Client, settle

from tiphys.apiserver.call import Call
from tiphys.net.http import Request

MAPS = "/api/v1/namespaces/default/configmaps"
NAMED: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a"},
    "data": {"k": "v"},
}
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> int:
    return sum(type(each) in (Call, Request) for each in gc.get_objects())


CASES: dict[str, tuple[str, str, Any, dict[str, str], int]] = {
    "create": ("POST", MAPS, {"metadata": {"generateName": "b-"}}, {}, 201),
    "create again": ("POST", MAPS, NAMED, {}, 409),
    "invalid": ("POST", MAPS, {"metadata": {"name": "B"}}, {}, 422),
    "not JSON": ("POST", MAPS, b"{", {}, 400),
    "get": ("GET", f"{MAPS}/a", None, {}, 200),
    "not found": ("GET", f"{MAPS}/none", None, {}, 404),
    "no such resource": ("GET", "/api/v1/nothings", None, {}, 404),
    "list": ("GET", MAPS, None, {}, 200),
    "table": ("GET", MAPS, None, {"accept": TABLE}, 200),
    "update": ("PUT", f"{MAPS}/a", NAMED, {}, 200),
    "patch": (
        "PATCH",
        f"{MAPS}/a",
        {"data": {"k": "w"}},
        {"content_type": "application/merge-patch+json"},
        200,
    ),
    "apply": ("PATCH", f"{MAPS}/a?fieldManager=m&force=true", NAMED, {"content_type": APPLY}, 200),
    "dry run": ("DELETE", f"{MAPS}/a?dryRun=All", None, {}, 200),
    "delete all": ("DELETE", f"{MAPS}?fieldSelector=metadata.name%3Dnone", None, {}, 200),
    "path": ("GET", "/healthz", None, {}, 200),
    "metrics": ("GET", "/metrics", None, {}, 200),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_request_leaves_nothing(client: Client, name: str, no_collector: None) -> None:
    method, target, body, headers, status = CASES[name]
    await client.create(MAPS, NAMED)
    await settle()
    before = alive()
    for _ in range(3):
        answer = await client.call(method, target, body, **headers)
        assert answer.status == status, answer.body
        del answer
    await settle()
    assert alive() <= before


async def test_a_watch_that_has_ended_leaves_nothing(client: Client, no_collector: None) -> None:
    before = alive()
    watch = await client.watch(f"{MAPS}?watch=1")
    await client.create(MAPS, NAMED)
    watch.wire.close()
    del watch
    await settle()
    assert alive() <= before
