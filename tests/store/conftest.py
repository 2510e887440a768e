from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tiphys.store.interface import Store
from tiphys.store.memory import MemoryStore
from tiphys.store.sqlite import SQLiteStore

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda directory: MemoryStore(),
    "sqlite-inline": lambda directory: SQLiteStore(directory / "store.db", writer="inline"),
    "sqlite-thread": lambda directory: SQLiteStore(directory / "store.db", writer="thread"),
}


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Every implementation of the interface in turn."""
    store = STORES[request.param](tmp_path)
    yield store
    await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"
