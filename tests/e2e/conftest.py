"""Clusters that the end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_cluster import Cluster, running, wait_for
from registries import PRIVATE, CredentialPlugins
from weather import leftovers


@pytest.fixture(scope="session")
def credential_plugins(tmp_path_factory: pytest.TempPathFactory) -> CredentialPlugins:
    """Of the node that the session shares."""
    return CredentialPlugins(tmp_path_factory.mktemp("credentials"), PRIVATE)


@pytest.fixture(scope="session")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, credential_plugins: CredentialPlugins
) -> Iterator[Cluster]:
    """One node, real containers; the whole session shares it."""
    yield from running(tmp_path_factory.mktemp("real"), "e2e", *credential_plugins.options)


@pytest.fixture(scope="session")
def hollow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three simulated nodes: for what needs no containers."""
    yield from running(tmp_path_factory.mktemp("hollow"), "hollow", "--runtime", "simulated", "--nodes", "3")


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, with its default service account there."""
    name = request.node.name.replace("_", "-").replace("[", "-").replace("]", "").lower()[:60].strip("-")
    cluster.kubectl("create", "namespace", name)
    wait_for(
        lambda: cluster.kubectl("get", "serviceaccount", "default", "-n", name, check=False).returncode == 0,
        "the default service account",
    )
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that is not made yet; whatever the test does to it, purging it must leave nothing."""
    cluster = Cluster("storm", tmp_path)
    yield cluster
    cluster.tiphys("down", "--name", cluster.name, "--purge")
    assert leftovers(cluster) == []
