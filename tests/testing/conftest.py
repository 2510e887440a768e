"""Clusters as users have them: one of each kind for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tiphys.testing import Cluster, Namespace


@pytest.fixture(scope="session")
def thread_cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def process_cluster() -> Iterator[Cluster]:
    with Cluster(subprocess=True) as cluster:
        yield cluster


@pytest.fixture(params=["thread", "process"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    found: Cluster = request.getfixturevalue(f"{request.param}_cluster")
    return found


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    with cluster.namespace(request.node.name) as made:
        yield made
