"""metrics.k8s.io beside another server for it: whose APIService there is, and who may read."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from served import Client, running, settle

from tiphys.api.scheme import OPTIONAL_GROUPS
from tiphys.testing.clock import FakeClock

API = "/apis/metrics.k8s.io/v1beta1"
SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"
THEIRS = {
    "spec": {"service": {"namespace": "kube-system", "name": "metrics-server"}, "insecureSkipTLSVerify": True}
}


@pytest.fixture
async def client(clock: FakeClock, signing_key: bytes) -> AsyncIterator[Client]:
    async with running(clock, signing_key, optional_groups=OPTIONAL_GROUPS) as server:
        yield Client(server)


async def test_it_is_ours_while_nobody_else_serves_it(client: Client) -> None:
    assert (await client.get(f"{API}/nodes"))["items"] == []
    assert (await client.get(f"{API}/nodes"))["metadata"] == {}
    service = await client.get(SERVICE)
    assert "service" not in service["spec"]
    assert service["status"]["conditions"][0]["reason"] == "Local"


async def test_whoever_installs_a_server_has_his_way_until_he_takes_it_away(client: Client) -> None:
    await client.patch(SERVICE, THEIRS)
    await settle()
    answer = await client.call("GET", f"{API}/nodes")
    assert (answer.status, answer.raw) == (503, b"service unavailable\n")
    await client.delete(SERVICE)
    await settle()
    assert (await client.get(f"{API}/nodes"))["items"] == []
    assert "service" not in (await client.get(SERVICE))["spec"]


async def test_it_is_found_as_it_was_left_at_the_next_start(clock: FakeClock, signing_key: bytes) -> None:
    from tiphys.store.memory import MemoryStore

    class Kept(MemoryStore):
        async def close(self) -> None:
            """Another server comes."""

    store = Kept()
    async with running(clock, signing_key, store=store, optional_groups=OPTIONAL_GROUPS) as server:
        await Client(server).patch(SERVICE, THEIRS)
    async with running(clock, signing_key, store=store, optional_groups=OPTIONAL_GROUPS) as server:
        assert (await Client(server).get(SERVICE))["spec"]["service"]["name"] == "metrics-server"
        await Client(server).delete(SERVICE)
        await settle()
    off = (("metrics.k8s.io/v1beta1", "false"),)
    async with running(
        clock, signing_key, store=store, optional_groups=OPTIONAL_GROUPS, runtime_config=off
    ) as server:
        assert (await Client(server).call("GET", SERVICE)).status == 404
        assert (await Client(server).call("GET", f"{API}/nodes")).status == 404


async def test_viewers_may_read_it(client: Client) -> None:
    role = await client.get(
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:aggregated-metrics-reader"
    )
    added_to = {f"rbac.authorization.k8s.io/aggregate-to-{name}" for name in ("admin", "edit", "view")}
    assert {label for label in role["metadata"]["labels"] if "aggregate-to" in label} == added_to
    assert role["rules"] == [
        {"apiGroups": ["metrics.k8s.io"], "resources": ["nodes", "pods"], "verbs": ["get", "list", "watch"]}
    ]


async def test_nothing_else_can_be_done_with_it(client: Client) -> None:
    assert (await client.call("GET", f"{API}/nodes?watch=1")).status == 405
    assert (await client.call("POST", f"{API}/nodes", {})).status == 405
    assert (await client.call("DELETE", f"{API}/nodes/x")).status == 405
