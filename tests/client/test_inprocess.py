"""A transport without a wire: shared objects, and the pipeline for everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tiphys.api.resource import Resource
from tiphys.api.scheme import built_in
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcessTransport, LocalIdentity
from tiphys.client.request_metrics import RequestMetrics
from tiphys.client.resources import PODS
from tiphys.machinery.errors import StatusError, expired, not_found
from tiphys.machinery.metrics import Registry
from tiphys.net.http import Request, Response
from tiphys.testing.clock import FakeClock

Object = dict[str, Any]


class Local:
    """A LocalAPI of two pods."""

    def __init__(self) -> None:
        self.pods = [pod("a", app="web"), pod("b", app="db")]
        self.asked: list[Request] = []
        self.deliver: Callable[[str, Object], None] | None = None

    def handle(self, request: Request) -> Any:
        self.asked.append(request)
        if request.path.endswith("/slow"):
            return self._later()
        if request.method == "GET":
            return Response(404, [], orjson.dumps(not_found(PODS.group_resource, "x").status()))
        return Response(201, [], [b'{"kind":', b'"Pod"}'])

    async def _later(self) -> Response:
        await asyncio.sleep(0)
        return Response(200, [], b'{"kind": "Pod"}')

    def row(self, resource: Resource) -> Resource:
        found = built_in().by_resource(resource.group, resource.version, resource.plural)
        assert found is not None
        return found

    async def list_objects(self, resource: Any, namespace: str | None) -> tuple[list[Object], str]:
        return self.pods, "5"

    def watch_objects(
        self,
        resource: Any,
        namespace: str | None,
        resource_version: str,
        callback: Callable[[str, Object], None],
    ) -> Callable[[], None]:
        if resource_version == "1":
            raise expired("too old resource version: 1 (4)")
        self.deliver = callback

        def cancel() -> None:
            self.deliver = None

        return cancel


def pod(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "labels": labels}, "spec": {"nodeName": "n1"}}


@pytest.fixture
def local() -> Local:
    return Local()


@pytest.fixture
def transport(local: Local) -> InProcessTransport:
    return InProcessTransport(
        local, "system:kube-scheduler", ["system:authenticated"], user_agent="kube-scheduler/v1.36.2"
    )


async def test_requests_lists_and_watches_are_counted(local: Local) -> None:
    registry = Registry()
    metrics = RequestMetrics(registry, FakeClock())
    transport = InProcessTransport(local, "system:kube-scheduler", metrics=metrics)
    client = Client(transport)
    await client.create(PODS, pod("c"))
    await transport.list(PODS)
    watching = transport.watch(PODS, resource_version="5")
    opening = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(StatusError):
        await client.get(PODS, "x", "default")
    counted = registry.render().decode()
    for code, method, count in (("200", "GET", 2), ("404", "GET", 1), ("201", "POST", 1)):
        assert (
            f'rest_client_requests_total{{code="{code}",host="in-process",method="{method}"}} {count}'
            in counted
        )


async def test_lists_share_objects(local: Local, transport: InProcessTransport) -> None:
    listing = await transport.list(PODS)
    assert listing.items[0] is local.pods[0]
    assert listing.resource_version == "5"


async def test_lists_select(transport: InProcessTransport) -> None:
    listing = await Client(transport).list(
        PODS, label_selector="app in (db)", field_selector="metadata.name!=a"
    )
    assert [item["metadata"]["name"] for item in listing.items] == ["b"]


async def test_writes_go_through_the_pipeline_as_somebody(
    local: Local, transport: InProcessTransport
) -> None:
    assert await Client(transport).create(PODS, pod("c")) == {"kind": "Pod"}
    (asked,) = local.asked
    assert asked.context == LocalIdentity("system:kube-scheduler", ("system:authenticated",))
    assert asked.headers["user-agent"] == "kube-scheduler/v1.36.2"
    assert orjson.loads(asked.body)["metadata"]["name"] == "c"


async def test_errors_and_late_answers(transport: InProcessTransport) -> None:
    with pytest.raises(StatusError, match='pods "x" not found'):
        await Client(transport).get(PODS, "x", "default")
    assert await transport.request("GET", "/slow") == {"kind": "Pod"}


async def test_a_watch_delivers_and_ends(local: Local, transport: InProcessTransport) -> None:
    events = transport.watch(PODS, resource_version="5", query={"labelSelector": "app=web"})
    first = asyncio.create_task(anext(events))
    await asyncio.sleep(0)
    assert local.deliver is not None
    local.deliver("ADDED", pod("c", app="web"))
    local.deliver("MODIFIED", pod("a", app="db"))
    assert (await first).type == "ADDED"
    assert (await anext(events)).type == "DELETED"  # it no longer matches
    local.deliver("ERROR", expired("too old").status())
    with pytest.raises(StatusError, match="too old"):
        await anext(events)
    assert local.deliver is None


async def test_a_watch_from_too_long_ago_is_refused(transport: InProcessTransport) -> None:
    with pytest.raises(StatusError, match="too old resource version"):
        await anext(transport.watch(PODS, resource_version="1"))
