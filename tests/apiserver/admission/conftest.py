"""A webhook that all tests of admission may register."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from admission_hooks import allow
from webhook_server import Webhook, certificate, webhook


@pytest.fixture(scope="session")
def hook_identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    return certificate(Path(tmp_path_factory.mktemp("pki")), "127.0.0.1", "hook.default.svc")


@pytest.fixture
async def hook(hook_identity: tuple[ssl.SSLContext, str]) -> AsyncIterator[Webhook]:
    """It allows everything, unless it is told otherwise."""
    async with webhook(*hook_identity, allow) as found:
        yield found
