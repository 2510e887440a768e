"""The Service `kube-dns` is made once, and followed by its slice, over the real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tiphys.apiserver.bootstrap import bootstrap
from tiphys.apiserver.local import LocalAPI
from tiphys.apiserver.server import APIServer
from tiphys.apiserver.settings import Settings
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcessTransport
from tiphys.client.resources import ENDPOINTSLICES, SERVICES
from tiphys.cluster import dns_service
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.store.memory import MemoryStore


def no_kubelet(node: str, host: str, port: int) -> Any:
    raise AssertionError("nothing here talks to kubelets")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    store = MemoryStore()
    server = APIServer(store, Settings(key), kubelet_client=no_kubelet)
    server.start()
    await bootstrap(server)
    yield Client(InProcessTransport(LocalAPI(server), "admin", ("system:masters",)))
    await server.close()
    await store.close()


async def behind(client: Client) -> dict[str, str]:
    slice = await client.get(ENDPOINTSLICES, "kube-dns-nodes", "kube-system")
    return {each["nodeName"]: each["addresses"][0] for each in slice["endpoints"]}


async def test_it_is_made_and_made_again(client: Client) -> None:
    await dns_service.publish(client, {"n1": "10.90.0.11"})
    made = await client.get(SERVICES, "kube-dns", "kube-system")
    assert made["spec"]["clusterIP"] == "10.96.0.10"
    assert made["metadata"]["labels"]["k8s-app"] == "kube-dns"
    assert await behind(client) == {"n1": "10.90.0.11"}
    await dns_service.publish(client, {"n1": "10.90.0.11", "n2": "10.90.0.12"})
    assert await behind(client) == {"n1": "10.90.0.11", "n2": "10.90.0.12"}
    assert (await client.get(SERVICES, "kube-dns", "kube-system")) == made
    before = (await client.list(SERVICES)).resource_version
    await dns_service.publish(client, {"n1": "10.90.0.11", "n2": "10.90.0.12"})
    assert (await client.list(SERVICES)).resource_version == before


async def test_whoever_has_the_address_keeps_it(client: Client) -> None:
    spec = {"clusterIP": "10.96.0.10", "ports": [{"port": 1}]}
    own = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "own", "namespace": "default"},
        "spec": spec,
    }
    await client.create(SERVICES, own)
    await dns_service.publish(client, {"n1": "10.90.0.11"})
    with pytest.raises(StatusError) as caught:
        await client.get(SERVICES, "kube-dns", "kube-system")
    assert is_not_found(caught.value)
