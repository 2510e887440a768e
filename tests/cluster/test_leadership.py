"""The controllers and the scheduler act only while they have their leases, over the real API server."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from served import Client, running

from tiphys.apiserver.local import LocalAPI
from tiphys.apiserver.server import APIServer
from tiphys.cluster.components import SCHEDULER, Components
from tiphys.controllers.catalog import Options
from tiphys.machinery.clock import Clock
from tiphys.machinery.metrics import Registry
from tiphys.testing.clock import FakeClock

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
MANAGER = "kube-controller-manager"
WORKING = ["namespace-controller", SCHEDULER]


def key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def components(server: APIServer, clock: Clock, identity: str, metrics: Registry | None = None) -> Components:
    return Components(LocalAPI(server), clock, Options(), [WORKING[0]], metrics=metrics, identity=identity)


async def spec(client: Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"{LEASES}/{name}"))["spec"]
    return found


async def test_they_work_while_they_lead_and_make_room_when_they_go() -> None:
    clock, registry = FakeClock(), Registry()
    async with running(clock, key()) as server:
        client = Client(server)
        first = components(server, clock, "first", registry)
        first.start()
        await clock.advance(0.5)
        assert first.running == WORKING
        made = await spec(client, MANAGER)
        assert (made["holderIdentity"], made["leaseDurationSeconds"], made["leaseTransitions"]) == (
            "first",
            15,
            0,
        )
        assert (await spec(client, "kube-scheduler"))["holderIdentity"] == "first"
        await clock.advance(6)
        assert (await spec(client, MANAGER))["renewTime"] > made["renewTime"]
        text = registry.render().decode()
        assert 'leader_election_master_status{name="kube-scheduler"} 1' in text
        events = (await client.get("/api/v1/namespaces/kube-system/events"))["items"]
        assert {(each["source"]["component"], each["message"]) for each in events} == {
            (MANAGER, "first became leader"),
            ("default-scheduler", "first became leader"),
        }
        second = components(server, clock, "second")
        second.start()
        await clock.advance(60)
        assert second.running == []
        await first.stop()
        assert (await spec(client, MANAGER))["holderIdentity"] == ""
        await clock.advance(5)
        assert second.running == WORKING
        assert (await spec(client, MANAGER))["leaseTransitions"] == 1
        await second.stop()


async def test_who_loses_his_lease_stops() -> None:
    clock, registry = FakeClock(), Registry()
    async with running(clock, key()) as server:
        client = Client(server)
        ours = components(server, clock, "ours", registry)
        ours.start()
        await clock.advance(0.5)
        taken = {"spec": {"holderIdentity": "another", "leaseTransitions": 1}}
        await client.patch(f"{LEASES}/{MANAGER}", taken)
        await clock.advance(6)
        assert ours.running == [SCHEDULER]
        assert f'leader_election_master_status{{name="{MANAGER}"}} 0' in registry.render().decode()
        # The other one is silent: when his lease is over, it is ours again.
        await clock.advance(25)
        assert ours.running == WORKING
        await ours.stop()


async def test_after_a_crash_nobody_waits() -> None:
    """Who comes with the identity of the one before him knows that that one is gone."""
    clock = FakeClock()
    async with running(clock, key()) as server:
        first = components(server, clock, "same")
        first.start()
        await clock.advance(0.5)
        second = components(server, clock, "same")
        second.start()
        await clock.advance(0.1)
        assert second.running == WORKING
        await second.stop()
        await first.stop()
