"""The little cluster that controllers are tested in."""

from collections.abc import AsyncIterator

import pytest

from tiphys.testing.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.stop()
