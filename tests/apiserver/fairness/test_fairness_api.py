"""Fairness as clients meet it: the server's own objects, who waits, who is turned away, and what the tables say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, cast

import pytest
from served import Client, Object, Wire, running, settle

from tiphys.apiserver.authentication.tokens import Authenticated
from tiphys.apiserver.call import User
from tiphys.apiserver.fairness.controller import Fairness
from tiphys.apiserver.server import APIServer
from tiphys.net.http import Response
from tiphys.testing.clock import FakeClock

LEVELS = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations"
SCHEMAS = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
DUMPS = "/debug/api_priority_and_fairness"
AUTO_UPDATE = "apf.kubernetes.io/autoupdate-spec"


@pytest.fixture
async def small(clock: FakeClock, signing_key: bytes) -> AsyncIterator[APIServer]:
    """A server of ten seats, and a level `tenants` of one seat and two short queues."""
    async with running(
        clock, signing_key, max_requests_inflight=5, max_mutating_requests_inflight=5
    ) as server:
        admin = Client(server)
        await admin.create(LEVELS, level("tenants", shares=0, queues=1, length=2))
        await admin.create(SCHEMAS, schema("tenants", "tenants"))
        await admin.create(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            {
                "metadata": {"name": "tenants"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "cluster-admin",
                },
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "tenants"}],
            },
        )
        await settle()
        yield server


def level(name: str, *, shares: int, queues: int, length: int) -> Object:
    queuing = {"queues": queues, "handSize": 1, "queueLengthLimit": length}
    limits = {
        "nominalConcurrencyShares": shares,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    }
    return {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limits}}


def schema(name: str, level: str) -> Object:
    return {
        "metadata": {"name": name},
        "spec": {
            "priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": 50,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [
                {
                    "subjects": [{"kind": "Group", "group": {"name": "tenants"}}],
                    "resourceRules": [
                        {
                            "verbs": ["*"],
                            "apiGroups": ["*"],
                            "resources": ["*"],
                            "clusterScope": True,
                            "namespaces": ["*"],
                        }
                    ],
                }
            ],
        },
    }


class Held:
    """A write of a tenant that waits for the disk until it is let go."""

    def __init__(self, server: APIServer, name: str, user: str = "tenant") -> None:
        self.client = Client(server).as_user(user, "tenants")
        body = {"metadata": {"name": name}}
        request = self.client.request("POST", "/api/v1/namespaces/default/configmaps", body)
        answer = server.handle(request)
        self.task = asyncio.ensure_future(_answer(answer))


async def _answer(answer: Response | Awaitable[Response]) -> Response:
    return answer if isinstance(answer, Response) else await answer


# The server's own objects


async def test_what_the_server_keeps(client: Client) -> None:
    levels = {obj["metadata"]["name"]: obj for obj in (await client.get(LEVELS))["items"]}
    schemas = {obj["metadata"]["name"]: obj for obj in (await client.get(SCHEMAS))["items"]}
    assert set(levels) == {
        "catch-all", "exempt", "global-default", "leader-election", "node-high", "system", "workload-high",
        "workload-low",
    }  # fmt: skip
    assert len(schemas) == 13
    assert all(
        obj["metadata"]["annotations"] == {AUTO_UPDATE: "true"}
        for obj in (*levels.values(), *schemas.values())
    )
    assert levels["workload-low"]["spec"] == {
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": 100,
            "lendablePercent": 90,
            "limitResponse": {
                "type": "Queue",
                "queuing": {"queues": 128, "handSize": 6, "queueLengthLimit": 50},
            },
        },
    }
    [condition] = schemas["system-nodes"]["status"]["conditions"]
    assert condition.pop("lastTransitionTime")
    assert condition == {
        "type": "Dangling",
        "status": "False",
        "reason": "Found",
        "message": 'This FlowSchema references the PriorityLevelConfiguration object named "system" and it exists',
    }


async def test_mandatory_objects_are_put_right(client: Client, clock: FakeClock) -> None:
    await client.delete(f"{LEVELS}/catch-all")
    await client.patch(f"{SCHEMAS}/exempt", {"spec": {"matchingPrecedence": 7}})
    await clock.advance(61)
    assert (await client.get(f"{LEVELS}/catch-all"))["spec"]["limited"]["nominalConcurrencyShares"] == 5
    assert (await client.get(f"{SCHEMAS}/exempt"))["spec"]["matchingPrecedence"] == 1


async def test_suggested_objects_are_whose_the_annotation_says(client: Client, clock: FakeClock) -> None:
    changed = {"spec": {"limited": {"nominalConcurrencyShares": 77}}}
    theirs = {"metadata": {"annotations": {AUTO_UPDATE: "false"}}, **changed}
    unsaid = {"metadata": {"annotations": {AUTO_UPDATE: None}}, **changed}
    await client.patch(f"{LEVELS}/system", theirs)
    await client.patch(f"{LEVELS}/node-high", changed)
    await client.patch(f"{LEVELS}/workload-low", unsaid)
    await clock.advance(61)
    found = {obj["metadata"]["name"]: obj for obj in (await client.get(LEVELS))["items"]}

    def state(name: str) -> tuple[int, str]:
        limited = found[name]["spec"]["limited"]
        return limited["nominalConcurrencyShares"], found[name]["metadata"]["annotations"][AUTO_UPDATE]

    assert state("system") == (77, "false")
    assert state("node-high") == (40, "true")
    assert state("workload-low") == (77, "false")  # changed before anybody had said whose it is


async def test_what_is_kept_no_longer_is_removed(client: Client, clock: FakeClock) -> None:
    old = level("from-an-old-release", shares=3, queues=4, length=5)
    old["metadata"]["annotations"] = {AUTO_UPDATE: "true"}
    await client.create(LEVELS, old)
    await client.create(LEVELS, level("mine", shares=3, queues=4, length=5))
    await clock.advance(61)
    names = {obj["metadata"]["name"] for obj in (await client.get(LEVELS))["items"]}
    assert "mine" in names
    assert "from-an-old-release" not in names


async def test_a_schema_without_its_level_dangles(client: Client) -> None:
    await client.create(SCHEMAS, schema("lost", "nowhere"))
    await settle()
    [condition] = (await client.get(f"{SCHEMAS}/lost"))["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("True", "NotFound")
    assert condition["message"] == (
        'This FlowSchema references the PriorityLevelConfiguration object named "nowhere" but there is no such object'
    )
    await client.create(LEVELS, level("nowhere", shares=1, queues=1, length=1))
    await settle()
    [condition] = (await client.get(f"{SCHEMAS}/lost"))["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "Found")


# Classification


@pytest.mark.parametrize(
    ("user", "groups", "target", "expected"),
    [
        ("admin", ("system:masters", "system:authenticated"), "/api/v1/pods", "exempt"),
        ("joe", ("system:authenticated",), "/livez", "probes"),
        ("joe", ("system:authenticated",), "/version", "global-default"),
        ("system:node:a", ("system:nodes", "system:authenticated"), "/api/v1/nodes/a", "system-node-high"),
        ("system:node:a", ("system:nodes", "system:authenticated"), "/api/v1/pods", "system-nodes"),
        (
            "system:kube-scheduler",
            ("system:authenticated",),
            "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x",
            "system-leader-election",
        ),
        ("system:kube-scheduler", ("system:authenticated",), "/api/v1/pods", "kube-scheduler"),
        (
            "system:serviceaccount:kube-system:endpoint-controller",
            ("system:serviceaccounts", "system:authenticated"),
            "/api/v1/namespaces/a/endpoints/b",
            "endpoint-controller",
        ),
        (
            "system:serviceaccount:shop:robot",
            ("system:serviceaccounts", "system:authenticated"),
            "/api/v1/pods",
            "service-accounts",
        ),
        ("nobody", (), "/api/v1/pods", "catch-all"),
    ],
)
async def test_answers_say_how_a_request_was_classified(
    client: Client, user: str, groups: tuple[str, ...], target: str, expected: str
) -> None:
    answer = await client.as_user(user, *groups).call("GET", target)
    found = await client.get(f"{SCHEMAS}/{expected}")
    assert answer.headers["x-kubernetes-pf-flowschema-uid"] == found["metadata"]["uid"]
    of = await client.get(f"{LEVELS}/{found['spec']['priorityLevelConfiguration']['name']}")
    assert answer.headers["x-kubernetes-pf-prioritylevel-uid"] == of["metadata"]["uid"]


# Waiting


async def test_who_waits_and_who_is_turned_away(small: APIServer) -> None:
    held = [Held(small, f"held-{number}") for number in range(4)]
    last = await held[3].task
    assert (last.status, last.body) == (429, b"Too many requests, please try again later.\n")
    headers = dict(last.headers)
    assert headers["retry-after"] == "1"
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-kubernetes-pf-flowschema-uid"]
    done = [(await one.task).status for one in held[:3]]
    assert done == [201, 201, 201]
    gate = cast(Fairness, small.gate)
    assert gate.levels["tenants"].queues.idle


async def test_a_request_that_waits_for_too_long(small: APIServer, clock: FakeClock) -> None:
    stuck = _stop_writes(small)
    first, second = Held(small, "a"), Held(small, "b")
    await clock.advance(14)
    assert not second.task.done()
    await clock.advance(2)
    assert (await second.task).status == 429
    await clock.advance(45)
    late = await first.task
    assert late.status == 504
    assert b"Timeout: request did not complete within requested timeout" in cast(bytes, late.body)
    stuck.clear()
    gate = cast(Fairness, small.gate)
    assert gate.levels["tenants"].queues.idle


def _stop_writes(server: APIServer) -> list[Any]:
    """The store's answers never come."""
    kept: list[Any] = []

    class Stuck:
        def write(self, key: str, value: bytes | None, **expected: Any) -> asyncio.Future[int]:
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            kept.append(future)
            return future

        def __getattr__(self, name: str) -> Any:
            return getattr(server.store, name)

    server.writes._store = Stuck()  # type: ignore[assignment]
    return kept


async def test_a_client_that_goes_gives_its_place_up(small: APIServer) -> None:
    _stop_writes(small)
    held = [Held(small, f"held-{number}") for number in range(3)]
    await settle()
    queues = cast(Fairness, small.gate).levels["tenants"].queues
    assert (len(queues.running), queues.waiting) == (1, 2)
    held[1].task.cancel()
    await settle()
    assert (len(queues.running), queues.waiting) == (1, 1)
    held[0].task.cancel()
    await settle()
    assert (len(queues.running), queues.waiting) == (1, 0)
    held[2].task.cancel()
    await settle()
    assert queues.idle


async def test_a_large_answer_keeps_its_seat_until_it_is_sent(small: APIServer) -> None:
    admin = Client(small)
    for number in range(3):
        data = {"metadata": {"name": f"big-{number}"}, "data": {"x": "y" * 60_000}}
        await admin.create("/api/v1/namespaces/default/configmaps", data)
    tenant = admin.as_user("tenant", "tenants")
    request = tenant.request("GET", "/api/v1/configmaps")
    wire = small.handle(request)
    assert isinstance(wire, Response)
    queues = cast(Fairness, small.gate).levels["tenants"].queues
    assert queues.idle  # a client in this process has it all
    call_from_outside = tenant.request("GET", "/api/v1/configmaps")
    call_from_outside.context = None
    call_from_outside.connection.context = None
    small.token_readers.append(lambda token, audiences: _tenant())
    call_from_outside.headers["authorization"] = "Bearer x"
    answer = small.handle(call_from_outside)
    assert isinstance(answer, Response)
    assert len(queues.running) == 1
    assert answer.on_sent is not None
    answer.on_sent()
    assert queues.idle
    answer.on_sent()
    assert queues.idle


def _tenant() -> Authenticated:
    return Authenticated(User("tenant", ("tenants",)))


async def test_a_watch_holds_its_seat_until_it_has_begun(small: APIServer) -> None:
    tenant = Client(small).as_user("tenant", "tenants")
    queues = cast(Fairness, small.gate).levels["tenants"].queues
    request = tenant.request(
        "GET", "/api/v1/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    )
    answer = small.handle(request)
    assert isinstance(answer, Response)
    assert len(queues.running) == 1
    wire = Wire()
    assert answer.start is not None
    answer.start(wire)
    assert len(queues.running) == 1
    await settle()
    assert queues.idle
    wire.close()
    other = await tenant.watch("/api/v1/configmaps?watch=1&resourceVersion=1")
    assert queues.idle
    assert other.open


async def test_long_running_requests_take_no_seat(small: APIServer) -> None:
    held = Held(small, "held")
    tenant = Client(small).as_user("tenant", "tenants")
    answer = await tenant.call("GET", "/api/v1/namespaces/default/pods/none/log")
    assert answer.status == 404  # not 429, though the only seat is taken
    await held.task


# Borrowing, tables, metrics


async def test_a_level_borrows_what_others_do_not_need(
    client: Client, server: APIServer, clock: FakeClock
) -> None:
    fairness = cast(Fairness, server.gate)
    queues = fairness.levels["global-default"].queues
    assert queues.limit < 600
    queues.advance(clock.monotonic())
    queues.seats_in_use += 300
    await clock.advance(10)
    assert queues.limit > 300
    queues.seats_in_use -= 300
    text = (await client.call("GET", "/metrics")).raw.decode()
    assert 'apiserver_flowcontrol_demand_seats_average{priority_level="global-default"} 300' in text
    assert 'apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-low"} 245' in text


async def test_tables(small: APIServer, clock: FakeClock) -> None:
    _stop_writes(small)
    held = [Held(small, f"held-{number}") for number in range(2)]
    await settle()
    admin = Client(small)
    levels = (await admin.call("GET", f"{DUMPS}/dump_priority_levels")).raw.decode().splitlines()
    assert levels[0] == (
        "PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, ExecutingRequests, "
        "DispatchedRequests, RejectedRequests, TimedoutRequests, CancelledRequests"
    )
    assert levels[7].split() == ["tenants,", "1,", "false,", "false,", "1,", "1,", "1,", "0,", "0,", "0"]
    assert levels[1].index("0,") == levels[0].index("ActiveQueues")
    queues = (await admin.call("GET", f"{DUMPS}/dump_queues")).raw.decode().splitlines()
    assert queues[0].split(", ")[0:2] == ["PriorityLevelName", "Index"]
    [row] = [line for line in queues if line.startswith("tenants")]
    assert row.replace(",", "").split() == [
        "tenants", "0", "1", "1", "1", "0.00300000ss", "1", "1", "0.00300000ss"
    ]  # fmt: skip
    requests = (await admin.call("GET", f"{DUMPS}/dump_requests?includeRequestDetails=1")).raw.decode()
    rows = [line.split(", ") for line in requests.splitlines() if line.startswith("tenants")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["tenants", "tenants", "-1", "-1", "tenant", "2026-01-01T00:00:00Z", "1", "0", "0s", "0001-01-01T00:00:00Z", "tenant",
         "create", "/api/v1/namespaces/default/configmaps", "default", "", "v1", "configmaps", ""],
        ["tenants", "tenants", "0", "0", "tenant", "2026-01-01T00:00:00Z", "1", "0", "0s", "0001-01-01T00:00:00Z", "tenant",
         "create", "/api/v1/namespaces/default/configmaps", "default", "", "v1", "configmaps", ""],
    ]  # fmt: skip
    for one in held:
        one.task.cancel()


async def test_a_level_that_is_deleted_ends_its_requests_first(small: APIServer, clock: FakeClock) -> None:
    held = [Held(small, f"held-{number}") for number in range(2)]
    admin = Client(small)
    await admin.delete(f"{LEVELS}/tenants")
    assert [(await one.task).status for one in held] == [201, 201]
    await settle()
    fairness = cast(Fairness, small.gate)
    await clock.advance(11)
    assert "tenants" not in fairness.levels


async def test_a_turn_that_comes_before_the_wait_has_begun(small: APIServer) -> None:
    first, second = Held(small, "first"), Held(small, "second")
    fairness = cast(Fairness, small.gate)
    queues = fairness.levels["tenants"].queues
    assert (len(queues.running), queues.waiting) == (1, 1)
    fairness.leave(next(iter(queues.running)))  # in the same turn of the loop: no task has begun
    assert (len(queues.running), queues.waiting) == (1, 0)
    assert (await asyncio.wait_for(second.task, 60)).status == 201
    await first.task
    assert queues.idle


async def test_of_two_of_the_same_groups_one_is_spoken_of_by_name(small: APIServer) -> None:
    """A schema that names a user is found for that user, whoever of the same groups asked the same before."""
    admin = Client(small)
    named = schema("named", "exempt")
    named["spec"]["matchingPrecedence"] = 40
    named["spec"]["rules"][0]["subjects"] = [{"kind": "User", "user": {"name": "ann"}}]
    await admin.create(SCHEMAS, named)
    await settle()
    uids = {name: (await admin.get(f"{SCHEMAS}/{name}"))["metadata"]["uid"] for name in ("tenants", "named")}
    for name, expected in (("bob", "tenants"), ("ann", "named"), ("cid", "tenants"), ("ann", "named")):
        answer = await admin.as_user(name, "tenants", "system:authenticated").call("GET", "/api/v1/pods")
        assert answer.headers["x-kubernetes-pf-flowschema-uid"] == uids[expected], name
    account = {"kind": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "default"}}
    named["spec"]["rules"][0]["subjects"] = [account]
    await admin.put(f"{SCHEMAS}/named", named)
    await settle()
    for name, expected in (("ann", "tenants"), ("system:serviceaccount:default:default", "named")):
        answer = await admin.as_user(name, "tenants", "system:authenticated").call("GET", "/api/v1/pods")
        assert answer.headers["x-kubernetes-pf-flowschema-uid"] == uids[expected], name
