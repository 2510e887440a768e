"""What the cluster of all these tests is made with. Without this file it is `Cluster()`: everything on, one simulated node."""

from typing import Any

import pytest


@pytest.fixture(scope="session")
def tiphys_options() -> dict[str, Any]:
    return {"nodes": 2}
