"""What it costs to be somebody: writes of a user whom RBAC lets, and those that a policy or a webhook is asked about.

What is compared takes turns, so that a machine that grows slower does so for both.
"""

from __future__ import annotations

import asyncio
import base64
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from bench import load
from bench.cluster import Ours
from bench.processes import cpu_seconds
from bench.rows.requests import CONFIG_MAPS_PATH, IN_FLIGHT, JSON
from bench.table import Figure, NotMeasured, Row
from tiphys.client import kubeconfig
from tiphys.cluster.pki import Authority, Leaf
from tiphys.net.http import Request, Response
from tiphys.net.server import Server
from tiphys.net.tls import server_context

USER = "bench-writer"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
POLICIES = f"{ADMISSION}/validatingadmissionpolicies"
BINDINGS = f"{ADMISSION}/validatingadmissionpolicybindings"
WEBHOOKS = f"{ADMISSION}/validatingwebhookconfigurations"
TURNS = 5
CREATES = 4_000
"""A turn: the kernel counts a process's time in hundredths of a second."""
ONE_BY_ONE = 300
CONFIG_MAP_RULE = {
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "operations": ["CREATE", "UPDATE"],
    "resources": ["configmaps"],
}

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """Many writes one way: `cpu` and `alone` are microseconds of one, of the server and of a client who sends one at a time."""

    per_second: float
    cpu: float
    alone: float


# Rows


def as_user(ours: Ours) -> Figure:
    """Creates of a user with one Role, beside the administrator's."""
    with _bound(ours) as user:
        turns = asyncio.run(_users(ours, [ours.kubeconfig, user]))
    admin, other = (statistics.median(turn.per_second for turn in each) for each in turns)
    return Figure(other, f"the administrator's {admin:,.0f}")


async def _users(ours: Ours, configs: list[Path]) -> list[list[Turn]]:
    clients = [await load.connect(config, 4) for config in configs]
    found: list[list[Turn]] = [[] for _ in configs]
    for _ in range(TURNS):
        for turns, connections in zip(found, clients, strict=True):
            turns.append(await _turn(ours, connections, alone=False))
    _close(*clients)
    return found


def policy(ours: Ours) -> Figure:
    """Microseconds of the server's that a policy of two rules adds to a create."""
    return asyncio.run(_policy(ours))


async def _policy(ours: Ours) -> Figure:
    connections = await load.connect(ours.kubeconfig, 4)
    await _send(connections, "POST", POLICIES, _two_rules())
    without, bound = [], []
    for _ in range(TURNS):
        without.append(await _turn(ours, connections))
        await _send(connections, "POST", BINDINGS, _binding())
        bound.append(await _turn(ours, connections))
        await _send(connections, "DELETE", f"{BINDINGS}/bench")
    await _send(connections, "DELETE", f"{POLICIES}/bench")
    _close(connections)
    cpu, alone = _added(without, bound)
    rates = [statistics.median(turn.per_second for turn in turns) for turns in (without, bound)]
    return Figure(cpu, f"latency {alone:+.0f} µs; {rates[0]:,.0f} → {rates[1]:,.0f}/s")


def webhook(ours: Ours) -> Figure:
    """Milliseconds that a validating webhook adds to a create, without those for which it had the review."""
    with _webhook(ours.scratch / "webhook") as served:
        return asyncio.run(_webhooked(ours, *served))


async def _webhooked(ours: Ours, url: str, bundle: str, own_seconds: Any) -> Figure:
    connections = await load.connect(ours.kubeconfig, 4)
    without, called, own = [], [], []
    for _ in range(TURNS):
        without.append(await _turn(ours, connections, many=False))
        await _send(connections, "POST", WEBHOOKS, _configuration(url, bundle))
        before = own_seconds.value
        called.append(await _turn(ours, connections, many=False))
        own.append((own_seconds.value - before) / ONE_BY_ONE * 1e6)
        await _send(connections, "DELETE", f"{WEBHOOKS}/bench")
    _close(connections)
    _, added = _added(without, called)
    its_own = statistics.median(own)
    return Figure((added - its_own) / 1000, f"its own {its_own / 1000:.2f} ms")


# Turns


async def _turn(
    ours: Ours, connections: list[load.Connection], *, many: bool = True, alone: bool = True
) -> Turn:
    body = orjson.dumps({"metadata": {"generateName": "access-"}, "data": {"value": "x" * 900}})

    async def creates(total: int, in_flight: int) -> load.Result:
        made = await load.run(
            connections,
            lambda number: ("POST", CONFIG_MAPS_PATH, body, JSON),
            total=total,
            in_flight=in_flight,
        )
        if made.failed:
            raise NotMeasured(f"{made.failed} of {total} creates failed")
        return made

    await creates(IN_FLIGHT, IN_FLIGHT)
    cpu = per_second = 0.0
    if many:
        before = cpu_seconds(ours.requests_pid)
        per_second = (await creates(CREATES, IN_FLIGHT)).per_second
        cpu = (cpu_seconds(ours.requests_pid) - before) / CREATES * 1e6
    median = (await creates(ONE_BY_ONE, 1)).percentile(0.5) * 1e6 if alone else 0.0
    return Turn(per_second, cpu, median)


def _added(without: list[Turn], those_with: list[Turn]) -> tuple[float, float]:
    """What the second way costs more: medians of the differences of neighbours."""
    pairs = list(zip(without, those_with, strict=True))
    return (
        statistics.median(after.cpu - before.cpu for before, after in pairs),
        statistics.median(after.alone - before.alone for before, after in pairs),
    )


async def _send(
    connections: list[load.Connection], method: str, target: str, body: Object | None = None
) -> None:
    content = b"" if body is None else orjson.dumps(body)
    result = await load.run(connections, lambda number: (method, target, content, JSON), total=1, in_flight=1)
    if result.failed:
        raise NotMeasured(f"{method} {target} failed")


def _close(*clients: list[load.Connection]) -> None:
    for connections in clients:
        for connection in connections:
            connection.close()


# What is in the way


@contextmanager
def _bound(ours: Ours) -> Iterator[Path]:
    """The kubeconfig of a user of a certificate, who may write ConfigMaps in one namespace."""
    pki = ours.requests_layout.pki
    authority = Authority(pki, datetime.now(UTC))
    authority.ensure([Leaf(USER, USER)])
    admin = kubeconfig.access(ours.kubeconfig)
    access = kubeconfig.Access(
        server=admin.server,
        certificate_authority=admin.certificate_authority,
        client_certificate=authority.certificate(USER).read_bytes(),
        client_key=authority.key(USER).read_bytes(),
    )
    path = ours.scratch / f"{USER}.kubeconfig"
    kubeconfig.save(path, kubeconfig.make(USER, access))
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create"]}
    role = {"metadata": {"name": USER}, "rules": [rule]}
    binding = {
        "metadata": {"name": USER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": USER},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": USER}],
    }
    asyncio.run(_each(ours, ("POST", f"{RBAC}/roles", role), ("POST", f"{RBAC}/rolebindings", binding)))
    yield path
    asyncio.run(
        _each(
            ours,
            ("DELETE", f"{RBAC}/rolebindings/{USER}", None),
            ("DELETE", f"{RBAC}/roles/{USER}", None),
        )
    )


async def _each(ours: Ours, *requests: tuple[str, str, Object | None]) -> None:
    connections = await load.connect(ours.kubeconfig)
    for request in requests:
        await _send(connections, *request)
    _close(connections)


def _two_rules() -> Object:
    rules = [
        "object.metadata.namespace != 'kube-system' || request.userInfo.username.startsWith('system:')",
        "!has(object.data) || object.data.all(key, size(object.data[key]) < 100000)",
    ]
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [CONFIG_MAP_RULE]},
        "validations": [{"expression": rule} for rule in rules],
    }
    return {"metadata": {"name": "bench"}, "spec": spec}


def _binding() -> Object:
    return {
        "metadata": {"name": "bench"},
        "spec": {"policyName": "bench", "validationActions": ["Deny"]},
    }


def _configuration(url: str, bundle: str) -> Object:
    hook = {
        "name": "bench.example.com",
        "clientConfig": {"url": url, "caBundle": bundle},
        "rules": [CONFIG_MAP_RULE],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return {"metadata": {"name": "bench"}, "webhooks": [hook]}


@contextmanager
def _webhook(home: Path) -> Iterator[tuple[str, str, Any]]:
    """A process that allows everything: its URL, whom to trust, and the seconds for which it has had reviews so far."""
    authority = Authority(home, datetime.now(UTC))
    authority.ensure([Leaf("webhook", "webhook", names=("127.0.0.1",), only_server=True)])
    spawn = multiprocessing.get_context("spawn")
    port, own_seconds = spawn.Value("i", 0), spawn.Value("d", 0.0)
    process = spawn.Process(target=serve, args=(home, port, own_seconds))
    process.start()
    try:
        while not port.value:
            if not process.is_alive():
                raise NotMeasured("the webhook does not come up")
            time.sleep(0.01)
        bundle = base64.b64encode(authority.certificate_file.read_bytes()).decode()
        yield f"https://127.0.0.1:{port.value}/validate", bundle, own_seconds
    finally:
        process.terminate()
        process.join()


def serve(home: Path, port: Any, own_seconds: Any) -> None:
    """The work of that process, until it is ended."""

    def handle(request: Request) -> Response:
        begun = time.perf_counter()
        review = orjson.loads(request.body)
        review["response"] = {"uid": review["request"]["uid"], "allowed": True}
        del review["request"]
        answer = Response(200, [("content-type", "application/json")], orjson.dumps(review))
        own_seconds.value += time.perf_counter() - begun
        return answer

    async def forever() -> None:
        context = server_context(*(str(home / name) for name in ("webhook.crt", "webhook.key", "ca.crt")))
        port.value = (await Server(handle, ssl_context=context).listen(host="127.0.0.1", port=0)).port
        await asyncio.Event().wait()

    asyncio.run(forever())


ROWS = [
    Row(f"create ConfigMap, {IN_FLIGHT} in flight, RBAC user", "/s", as_user, 3000, "more"),
    Row("a validating policy of two rules adds, CPU", "µs", policy, 50),
    Row("a validating webhook adds, without its own", "ms", webhook, 2),
]
