"""What a kubelet tells of its process to people and programs that look into it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tiphys.kubelet.access import KubeletAccess, Question, User
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.debugging import DebuggingPages
from tiphys.kubelet.kubelet import Dispatcher
from tiphys.kubelet.server import KubeletServer
from tiphys.net.http import Connection, Request, Response
from tiphys.testing.clock import FakeClock

JANE = User("jane", ("system:authenticated",))
SETTINGS = KubeletConfiguration(
    max_pods=7, eviction_hard={"memory.available": "1Gi", "nodefs.available": "5%"}
)


class Granting:
    """Reviews of a cluster where everybody may use these subresources of nodes."""

    def __init__(self, *subresources: str) -> None:
        self._subresources = subresources

    async def user_of(self, token: str) -> User | None:
        return JANE

    async def is_allowed(self, question: Question) -> bool:
        return question.subresource in self._subresources


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def server(clock: FakeClock, *subresources: str) -> KubeletServer:
    pages = DebuggingPages(SETTINGS, clock, {"hostname-override": "node-1"}).pages
    access = KubeletAccess(Granting(*subresources), clock)
    return KubeletServer(Dispatcher(), clock, access, configuration=SETTINGS, pages=pages)


async def ask(
    server: KubeletServer, target: str, *, method: str = "GET", body: bytes = b"", **headers: str
) -> tuple[int, str]:
    said = {"authorization": "Bearer jane's", **headers}
    response: Response = await server.handle(Request(method, target, said, body, connection=Connection()))
    assert isinstance(response.body, bytes)
    return response.status, response.body.decode()


def structured(kind: str) -> dict[str, str]:
    return {"accept": f"application/json;v=v1beta1;g=config.k8s.io;as={kind}"}


async def test_statusz(clock: FakeClock) -> None:
    asked = server(clock, "statusz")
    await clock.advance(3725)
    code, text = await ask(asked, "/statusz")
    assert code == 200
    assert text.startswith("\nkubelet statusz\nWarning: This endpoint is not meant to be machine parseable")
    assert "\nStarted: Thu Jan  1 00:00:00 UTC 2026\nUp: 1 hr 02 min 05 sec\n" in text
    assert "\nBinary version: 1.36.2\nEmulation version: 1.36\nPaths: /configz /flagz " in text
    found: Any = json.loads((await ask(asked, "/statusz", **structured("Statusz")))[1])
    assert (found["kind"], found["apiVersion"]) == ("Statusz", "config.k8s.io/v1beta1")
    assert found["metadata"] == {"name": "kubelet"}
    assert found["uptimeSeconds"] == 3725
    assert (await ask(asked, "/statusz", accept="application/json"))[0] == 406
    assert (await ask(asked, "/statusz/more"))[0] == 404


async def test_flagz(clock: FakeClock) -> None:
    asked = server(clock, "configz")
    code, text = await ask(asked, "/flagz")
    assert code == 200
    lines = text.splitlines()
    for line in (
        "kubelet flags",
        "max-pods=7",
        "eviction-hard=memory.available=1Gi,nodefs.available=5%",
        "enforce-node-allocatable=[pods]",
        "anonymous-auth=false",
        "authorization-mode=Webhook",
        "hostname-override=node-1",
        "topology-manager-policy=none",
    ):
        assert line in lines
    found: Any = json.loads((await ask(asked, "/flagz", **structured("Flagz")))[1])
    assert (found["kind"], found["flags"]["max-pods"]) == ("Flagz", "7")


async def test_who_may_see_them(clock: FakeClock) -> None:
    """Whoever may use all else of a node may not see its status: so it is upstream."""
    refused = "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[{}])"
    assert await ask(server(clock, "proxy", "configz"), "/statusz") == (403, refused.format("statusz"))
    assert await ask(server(clock, "proxy", "statusz"), "/flagz") == (403, refused.format("configz"))


@pytest.fixture
def level() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.mark.usefixtures("level")
async def test_a_log_that_says_more(clock: FakeClock) -> None:
    asked = server(clock, "proxy", "configz")
    code, text = await ask(asked, "/debug/flags/v", method="PUT", body=b"5")
    assert (code, text) == (200, "successfully set klog.logging.verbosity to 5")
    assert logging.getLogger().isEnabledFor(logging.DEBUG)
    assert "\nv=4\n" in (await ask(asked, "/flagz"))[1]
    await ask(asked, "/debug/flags/v", method="PUT", body=b"2")
    assert not logging.getLogger().isEnabledFor(logging.DEBUG)
    code, text = await ask(asked, "/debug/flags/v", method="PUT", body=b"loud")
    assert (code, text.partition(":")[0]) == (400, "failed set klog.logging.verbosity loud")
    assert await ask(asked, "/debug/flags/v") == (406, "unsupported http method")
    assert (await ask(asked, "/debug/pprof/"))[0] == 404
    assert (await ask(server(clock, "configz"), "/debug/flags/v", method="PUT", body=b"5"))[0] == 403
