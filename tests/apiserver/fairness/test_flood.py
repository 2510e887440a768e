"""A tenant floods the server over real connections; what keeps the cluster alive goes on."""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from https import Secure, secure_server

from tiphys.cluster.pki import Authority, Leaf
from tiphys.net.client import HTTPClient
from tiphys.net.tls import client_context

CONNECTIONS = 30
BEATS = 15
GIVEN_UP_SECONDS = 40  # without a beat for so long, a node is taken for dead
QUEUED = "request_queue_length_after_enqueue_count"
JSON = [("content-type", "application/json")]
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class Peer:
    """One user's connections."""

    def __init__(self, secure: Secure, name: str) -> None:
        pki = secure.home / "pki"
        self._context: ssl.SSLContext = client_context(
            ca_file=f"{pki}/ca.crt", cert_file=f"{pki}/{name}.crt", key_file=f"{pki}/{name}.key"
        )
        self._url = f"https://127.0.0.1:{secure.port}"
        self.client = self.another()

    def another(self) -> HTTPClient:
        return HTTPClient(self._url, ssl_context=self._context)

    async def send(self, method: str, target: str, body: Any = None, kind: str = "") -> tuple[int, Any]:
        headers = [("content-type", kind)] if kind else JSON
        data = orjson.dumps(body) if body is not None else b""
        answer = await self.client.request(method, target, headers, data, GIVEN_UP_SECONDS)
        return answer.status, orjson.loads(answer.body) if answer.body[:1] == b"{" else answer.body


@pytest.mark.slow
async def test_nodes_live_on_under_a_flood(tmp_path: Path, signing_key: bytes) -> None:
    limits = {"max_requests_inflight": 6, "max_mutating_requests_inflight": 6}
    with secure_server(tmp_path, signing_key, **limits) as secure:
        Authority(secure.home / "pki", datetime.now(UTC)).ensure(
            [
                Leaf("node", "system:node:a", ("system:nodes",)),
                Leaf("tenant", "tenant", ("tenants",)),
            ]
        )
        admin, node, tenant = (Peer(secure, name) for name in ("admin", "node", "tenant"))
        await _prepare(admin, node)
        counts: dict[int, int] = {}
        stop = asyncio.Event()
        beats: list[float] = []
        async with asyncio.timeout(GIVEN_UP_SECONDS * 5), asyncio.TaskGroup() as flood:
            for _ in range(CONNECTIONS):
                flood.create_task(_flood(tenant.another(), counts, stop))
            # The tenant asks for more than it has seats for: from here on the others are measured,
            # and for so long that it was made to wait all the while, however quick a beat is.
            while (before := await _metric(admin, QUEUED)) < 5:
                await asyncio.sleep(0.01)
            while len(beats) < BEATS or await _metric(admin, QUEUED) < before + BEATS:
                beats.append(await _beat(node, len(beats)))
            stop.set()
        assert max(beats) < GIVEN_UP_SECONDS  # idle, a beat takes some milliseconds
        assert set(counts) <= {200, 429}
        assert counts[200] > 0
        async with asyncio.timeout(GIVEN_UP_SECONDS):  # all seats come back
            while await _metric(admin, "current_executing_requests", level="global-default"):
                await asyncio.sleep(0.01)


async def _prepare(admin: Peer, node: Peer) -> None:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "tenants"}]
    binding = {"metadata": {"name": "tenants"}, "roleRef": role, "subjects": subjects}
    target = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    assert (await admin.send("POST", target, binding))[0] == 201
    for number in range(40):
        data = {"metadata": {"name": f"big-{number}"}, "data": {"x": "y" * 60_000}}
        assert (await admin.send("POST", "/api/v1/namespaces/default/configmaps", data))[0] == 201
    status, made = await node.send("POST", "/api/v1/nodes", {"metadata": {"name": "a"}})
    assert status == 201, made
    lease = {"metadata": {"name": "a"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 40}}
    status, made = await node.send("POST", LEASES, lease)
    assert status == 201, made


async def _flood(client: HTTPClient, counts: dict[int, int], stop: asyncio.Event) -> None:
    while not stop.is_set():
        answer = await client.request("GET", "/api/v1/configmaps", [], b"", GIVEN_UP_SECONDS)
        counts[answer.status] = counts.get(answer.status, 0) + 1


async def _beat(node: Peer, number: int) -> float:
    """What a kubelet does to stay alive: renews its lease, says how it is. Returns how many seconds both took."""
    began = time.monotonic()
    renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    patch = {"spec": {"renewTime": renewed}}
    status, answer = await node.send("PATCH", f"{LEASES}/a", patch, "application/merge-patch+json")
    assert status == 200, answer
    condition = {"type": "Ready", "status": "True", "reason": f"Beat{number}"}
    status, answer = await node.send(
        "PATCH",
        "/api/v1/nodes/a/status",
        {"status": {"conditions": [condition]}},
        "application/merge-patch+json",
    )
    assert status == 200, answer
    return time.monotonic() - began


async def _metric(admin: Peer, name: str, *, level: str = "") -> float:
    """The sum of a gauge of fairness over the schemas of a level, or of all."""
    _, text = await admin.send("GET", "/metrics")
    total = 0.0
    for line in text.decode().splitlines():
        if line.startswith(f"apiserver_flowcontrol_{name}{{") and f'priority_level="{level}' in line:
            total += float(line.rpartition(" ")[2])
    return total
