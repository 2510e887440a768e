"""Who may use the kubelet's API: what is asked, how often, and what is answered to those who may not."""

from __future__ import annotations

import asyncio

import pytest

from tiphys.kubelet.access import AccessSettings, KubeletAccess, Question, Refusal, User, subresources_of
from tiphys.machinery.errors import StatusError
from tiphys.net.http import Connection, Request
from tiphys.testing.clock import FakeClock

NODE = "node-1"
JANE = User("jane", ("system:authenticated",))
METRICS = Question(JANE, "get", "metrics", NODE)


class Cluster:
    """Reviews with a list of what is allowed."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        self.allowed = set(allowed)
        self.asked: list[tuple[str, str]] = []
        self.tokens = {"jane's": JANE}
        self.shown: list[str] = []
        self.is_down = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def user_of(self, token: str) -> User | None:
        self.shown.append(token)
        if self.is_down:
            raise ConnectionRefusedError
        return self.tokens.get(token)

    async def is_allowed(self, question: Question) -> bool:
        self.asked.append((question.verb, question.subresource))
        await self.answers.wait()
        if self.is_down:
            raise StatusError(503, "ServiceUnavailable", "down")
        return (question.verb, question.subresource) in self.allowed


def request(path: str, *, method: str = "GET", token: str = "jane's") -> Request:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return Request(method, path, headers, connection=Connection())


async def refusal(access: KubeletAccess, asked: Request) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        await access.check(asked, NODE)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize(
    ("path", "subresources"),
    [
        ("/stats/summary", ("stats",)),
        ("/metrics", ("metrics",)),
        ("/metrics/cadvisor", ("metrics",)),
        ("/logs/pods/", ("log",)),
        ("/checkpoint/default/web/main", ("checkpoint",)),
        ("/pods", ("pods", "proxy")),
        ("/runningpods/", ("pods", "proxy")),
        ("/healthz/ping", ("healthz", "proxy")),
        ("/configz", ("configz", "proxy")),
        ("/exec/default/web/main", ("proxy",)),
        ("/podsandmore", ("proxy",)),
        ("//pods", ("proxy",)),
        ("", ("proxy",)),
    ],
)
def test_what_a_path_is_about(path: str, subresources: tuple[str, ...]) -> None:
    assert subresources_of(path) == subresources


async def test_the_finer_permission_suffices_and_so_does_the_broader_one() -> None:
    for allowed in ("pods", "proxy"):
        cluster = Cluster(("get", allowed))
        await KubeletAccess(cluster, FakeClock()).check(request("/pods"), NODE)
        assert cluster.asked[-1] == ("get", allowed)


async def test_the_words_to_those_who_may_not() -> None:
    access = KubeletAccess(Cluster(), FakeClock())
    assert await refusal(access, request("/pods")) == (
        403,
        "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[pods proxy])",
    )
    assert await refusal(access, request("/exec/a/b/c", method="POST")) == (
        403,
        "Forbidden (user=jane, verb=create, resource=nodes, subresource(s)=[proxy])",
    )
    assert await refusal(access, request("/pods", token="")) == (401, "Unauthorized")
    assert await refusal(access, request("/pods", token="nobody's")) == (401, "Unauthorized")


async def test_nobody_in_particular() -> None:
    cluster = Cluster(("get", "healthz"))
    access = KubeletAccess(cluster, FakeClock(), AccessSettings(anonymous=True))
    await access.check(request("/healthz", token=""), NODE)
    assert await refusal(access, request("/pods", token="")) == (
        403,
        "Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource(s)=[pods proxy])",
    )
    # Who shows a bad token is not anonymous.
    assert await refusal(access, request("/healthz", token="bad")) == (401, "Unauthorized")


async def test_answers_are_kept_for_a_while() -> None:
    clock, cluster = FakeClock(), Cluster(("get", "metrics"))
    access = KubeletAccess(cluster, clock)
    for _ in range(3):
        await access.check(request("/metrics"), NODE)
        await refusal(access, request("/stats/summary"))
        await refusal(access, request("/metrics", token="nobody's"))
    assert (len(cluster.asked), len(cluster.shown)) == (2, 2)
    await clock.advance(31)
    await access.check(request("/metrics"), NODE)
    await refusal(access, request("/stats/summary"))
    assert (len(cluster.asked), len(cluster.shown)) == (3, 2)
    await clock.advance(120)
    await access.check(request("/metrics"), NODE)
    assert (len(cluster.asked), len(cluster.shown)) == (3, 3)
    await clock.advance(300)
    await access.check(request("/metrics"), NODE)
    assert len(cluster.asked) == 4


async def test_many_at_once_are_one_question() -> None:
    cluster = Cluster(("get", "metrics"))
    cluster.answers.clear()
    access = KubeletAccess(cluster, FakeClock())
    tasks = [asyncio.create_task(access.check(request("/metrics"), NODE)) for _ in range(20)]
    while not cluster.asked:
        await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    cluster.answers.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, *[type(None)] * 19]
    assert len(cluster.asked) == 1


async def test_nobody_answers() -> None:
    cluster = Cluster(("get", "metrics"))
    access = KubeletAccess(cluster, FakeClock())
    await access.check(request("/metrics"), NODE)
    cluster.is_down = True
    await access.check(request("/metrics"), NODE)
    assert await refusal(access, request("/stats/summary")) == (
        500,
        "Authorization error (user=jane, verb=get, resource=nodes, subresource=stats)",
    )
    assert await refusal(access, request("/metrics", token="another")) == (401, "Unauthorized")
    cluster.is_down = False
    assert (await refusal(access, request("/stats/summary")))[0] == 403
