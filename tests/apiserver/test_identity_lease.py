"""By what an API server is known to be there, and what becomes of the leases of those that are not any more."""

from __future__ import annotations

import asyncio
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from served import Client, running

from tiphys.apiserver.identity_lease import LABEL, IdentityLease
from tiphys.testing.clock import FakeClock

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
NAME = "apiserver-abc"


def key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def lease(name: str, spec: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {**labels}}, "spec": spec}


async def names(client: Client) -> set[str]:
    return {each["metadata"]["name"] for each in (await client.get(LEASES))["items"]}


async def test_a_server_says_that_it_is_there_and_who_is_gone() -> None:
    clock = FakeClock()
    async with running(clock, key(), identity=NAME) as server:
        client = Client(server)
        servers = {LABEL: "kube-apiserver"}
        over = {
            "holderIdentity": "x",
            "leaseDurationSeconds": 3600,
            "renewTime": "2025-12-31T22:59:59.000000Z",
        }
        for each in (
            lease("over", over, **servers),
            lease("endless", {"holderIdentity": "x"}, **servers),
            lease("soon", {**over, "renewTime": "2025-12-31T23:00:05.000000Z"}, **servers),
            lease("of-somebody", over),
            lease("for-ever", {**over, "renewTime": "9999-12-31T23:59:59.000000Z"}, **servers),
        ):
            await client.create(LEASES, each)
        first = asyncio.create_task(IdentityLease(server, "here").run())
        await clock.advance(1)
        assert await names(client) == {NAME, "soon", "of-somebody", "for-ever"}
        made = await client.get(f"{LEASES}/{NAME}")
        assert made["metadata"]["labels"] == {LABEL: "kube-apiserver", "kubernetes.io/hostname": "here"}
        assert made["spec"]["holderIdentity"].startswith(f"{NAME}_")
        assert made["spec"]["leaseDurationSeconds"] == 3600
        await clock.advance(11)
        again = await client.get(f"{LEASES}/{NAME}")
        assert again["spec"]["renewTime"] > made["spec"]["renewTime"]
        assert again["spec"]["holderIdentity"] == made["spec"]["holderIdentity"]
        # Whoever takes it away, or its labels, learns that the server is there all the same.
        await client.delete(f"{LEASES}/{NAME}")
        await clock.advance(11)
        await client.patch(f"{LEASES}/{NAME}", {"metadata": {"labels": {LABEL: None}}})
        await clock.advance(11)
        assert (await client.get(f"{LEASES}/{NAME}"))["metadata"]["labels"][LABEL] == "kube-apiserver"
        await clock.advance(3600)
        assert await names(client) == {NAME, "of-somebody", "for-ever"}
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        server.spawn(IdentityLease(server, "here").run())
        await clock.advance(1)
        taken = await client.get(f"{LEASES}/{NAME}")
        assert taken["spec"]["holderIdentity"] != made["spec"]["holderIdentity"]
