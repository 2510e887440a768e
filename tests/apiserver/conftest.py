"""A server of its own for every test, on a clock that the test moves."""

from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from served import Client, running

from tiphys.apiserver.server import APIServer
from tiphys.testing.clock import FakeClock


@pytest.fixture(scope="session")
def signing_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def server(clock: FakeClock, signing_key: bytes) -> AsyncIterator[APIServer]:
    async with running(clock, signing_key) as served:
        yield served


@pytest.fixture
def client(server: APIServer) -> Client:
    """An administrator."""
    return Client(server)
