"""Every kind of identity tries every way to more power; the test lists what came through, and nothing may."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from forbidden import ATTEMPTS, NOT_FOR_ACCOUNTS, NOT_FOR_NODES, Attempt
from identities import Visitor, good, impersonators, nobodies, node, prepare, strangers
from served import Client, Object

from tiphys.apiserver.server import APIServer


@pytest.fixture
async def account(client: Client) -> Object:
    """What there is to steal, and an account that may not."""
    found = await prepare(client)
    for namespace in ("theirs", "kube-system"):
        secret = {"metadata": {"name": "password"}, "data": {"key": "c2VjcmV0"}}
        await client.create(f"/api/v1/namespaces/{namespace}/secrets", secret)
    for name in ("n1", "n2"):
        await client.create("/api/v1/nodes", {"metadata": {"name": name}})
    await client.create("/api/v1/namespaces/theirs/serviceaccounts", {"metadata": {"name": "default"}})
    pod = {
        "metadata": {"name": "web"},
        "spec": {"nodeName": "n2", "containers": [{"name": "c", "image": "i"}]},
    }
    await client.create("/api/v1/namespaces/theirs/pods", pod)
    return found


async def came_through(
    server: APIServer, visitors: Iterable[Visitor], attempts: Iterable[Attempt], *allowed: int
) -> list[str]:
    """Every answer that is none of those which turn somebody away."""
    attempts = list(attempts)
    return [
        f"{visitor.name}: {attempt.method} {attempt.target}: {status}"
        for visitor in visitors
        for attempt in attempts
        if (status := await _status(server, visitor, attempt)) not in allowed
    ]


async def _status(server: APIServer, visitor: Visitor, attempt: Attempt) -> int:
    return await visitor.call(server, attempt.method, attempt.target, attempt.body, **attempt.headers)


async def test_the_attempts_are_such_as_succeed_for_an_administrator(client: Client, account: Object) -> None:
    """Or at least come to a handler: a table of paths that nobody serves would prove nothing."""
    refused = [
        attempt
        for attempt in (*ATTEMPTS, *NOT_FOR_ACCOUNTS, *NOT_FOR_NODES)
        if attempt.method == "GET"
        and "watch" not in attempt.target
        and (await client.call(attempt.method, attempt.target)).status in (401, 403)
    ]
    assert refused == []


async def test_worthless_credentials(server: APIServer, account: Object) -> None:
    attempts = (*ATTEMPTS, *NOT_FOR_ACCOUNTS, Attempt("GET", "/version", None))
    assert await came_through(server, strangers(server, account), attempts, 401) == []


async def test_nobody(server: APIServer, account: Object) -> None:
    assert await came_through(server, nobodies(), (*ATTEMPTS, *NOT_FOR_ACCOUNTS), 403) == []


async def test_an_account_outside_of_its_namespace(server: APIServer, account: Object) -> None:
    visitor = good(server, account)
    assert await visitor.call(server, "GET", "/api/v1/namespaces/mine/secrets") == 200
    assert await came_through(server, [visitor], (*ATTEMPTS, *NOT_FOR_ACCOUNTS), 403) == []


async def test_an_account_that_would_be_somebody_else(server: APIServer, account: Object) -> None:
    attempts = (*ATTEMPTS, Attempt("GET", "/api/v1/namespaces/mine/secrets", None))
    assert await came_through(server, impersonators(server, account), attempts, 403) == []


async def test_a_node_beyond_its_pods(server: APIServer, account: Object) -> None:
    # Nodes may ask who may what, and write the status of pods: NOT_FOR_NODES tries that on another node's pod.
    theirs = ("localsubjectaccessreviews", "/pods/web/status")
    attempts = [
        each
        for each in (*ATTEMPTS, *NOT_FOR_NODES)
        if not each.target.endswith(theirs) or each in NOT_FOR_NODES
    ]
    assert await node().call(server, "GET", "/api/v1/nodes/n1") == 200
    assert await came_through(server, [node()], attempts, 403) == []


@pytest.mark.parametrize("upgrade", ["websocket", "SPDY/3.1", ""])
async def test_who_may_only_look_opens_no_connection(
    server: APIServer, client: Client, account: Object, upgrade: str
) -> None:
    """GET is how a WebSocket begins: it takes `create` as POST does, whatever `get` allows."""
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/mine"
    streams = ["pods/exec", "pods/attach", "pods/portforward"]
    rule = {"apiGroups": [""], "resources": ["pods", *streams], "verbs": ["get", "list", "watch"]}
    role = await client.get(f"{rbac}/roles/app")
    await client.put(f"{rbac}/roles/app", {**role, "rules": [rule]})
    spec = {"serviceAccountName": "app", "containers": [{"name": "c", "image": "i"}]}
    await client.create("/api/v1/namespaces/mine/pods", {"metadata": {"name": "web"}, "spec": spec})
    base = "/api/v1/namespaces/mine/pods/web"
    headers = {"connection": "Upgrade", "upgrade": upgrade} if upgrade else {}
    visitor = good(server, account)
    assert await visitor.call(server, "GET", base) == 200
    attempts = [
        Attempt(method, f"{base}/{target}", None)
        for method in ("GET", "POST")
        for target in (
            "exec?command=id&stdout=true",
            "exec?command=id&stdin=true&tty=true",
            "attach?stdout=true",
            "portforward?ports=80",
            "portforward",
        )
    ]
    opening = Visitor(visitor.name, {**visitor.headers, **headers})
    assert await came_through(server, [opening], attempts, 403) == []


async def test_nothing_was_changed_on_the_way(server: APIServer, client: Client, account: Object) -> None:
    """A refusal that comes after the deed would be none."""
    before = server.store.revision
    visitors = [*nobodies(), *impersonators(server, account), good(server, account), node()]
    await came_through(server, visitors, (*ATTEMPTS,), 403)
    assert server.store.revision == before
