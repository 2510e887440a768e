"""An API server inside the test for what is the API's alone, and one simulated cluster for what controllers and nodes do."""

import random
from collections.abc import AsyncIterator, Iterator

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from served import Client, running

from tiphys.testing import Cluster, Namespace
from tiphys.testing.clock import FakeClock


@pytest.fixture(scope="session")
def signing_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture
async def client(signing_key: bytes) -> AsyncIterator[Client]:
    """An administrator."""
    async with running(FakeClock(), signing_key) as server:
        yield Client(server)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Its time stands still, and passes while a test waits."""
    with Cluster(nodes=2, speed=0) as found:
        yield found


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    with cluster.namespace() as made:
        yield made


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """The same throws in every run."""
    return random.Random(request.node.name)
