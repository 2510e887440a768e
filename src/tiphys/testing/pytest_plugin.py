"""Fixtures over `Cluster`. pytest loads this in every run of an environment that has Tiphys: it imports nothing until a test asks.

    def test_it(tiphys):                 # a namespace of its own in the session's cluster
        tiphys.load("deployment.yaml")
        tiphys.wait_for("deployment/web", "Available")

With pytest-xdist every worker has a cluster of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tiphys.testing.cluster import Cluster
    from tiphys.testing.namespace import Namespace

TOLD = 20


@pytest.fixture(scope="session")
def tiphys_options() -> dict[str, Any]:
    """What the session's cluster is made with: override it in conftest.py to return keyword arguments of `tiphys.testing.Cluster`."""
    return {}


@pytest.fixture(scope="session")
def tiphys_cluster(tiphys_options: dict[str, Any]) -> Iterator[Cluster]:
    """A whole control plane for all tests of this session (with pytest-xdist: of this worker)."""
    from tiphys.testing.cluster import Cluster

    with Cluster(**tiphys_options) as cluster:
        yield cluster


@pytest.fixture
def tiphys(tiphys_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace for this test alone, gone with all that is in it afterwards."""
    with tiphys_cluster.namespace(request.node.name) as namespace:
        yield namespace


@pytest.fixture
def tiphys_restored(tiphys_cluster: Cluster) -> Iterator[Cluster]:
    """The session's cluster, every object of which is afterwards as it was before; rules of pods and faults are forgotten, too."""
    before = tiphys_cluster.snapshot()
    yield tiphys_cluster
    tiphys_cluster.faults.clear()
    tiphys_cluster.pods.forget()
    tiphys_cluster.restore(before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A failed test's report tells what its namespace has told."""
    outcome = yield
    namespace = getattr(item, "funcargs", {}).get("tiphys")
    report = outcome.get_result()  # type: ignore[attr-defined]
    if namespace is None or call.when != "call" or not report.failed:
        return
    try:
        told = _events(namespace)
        refused = _refused(item.funcargs["tiphys_cluster"], namespace)  # type: ignore[attr-defined]
    except Exception as error:  # A cluster that cannot answer must not hide why the test failed.
        report.sections.append(("tiphys", f"the cluster does not answer: {error}"))
        return
    report.sections.append((f"events of namespace {namespace}", "\n".join(told) or "none"))
    if refused:
        report.sections.append((f"refused requests in namespace {namespace}", "\n".join(refused)))


def _events(namespace: Namespace) -> list[str]:
    found = namespace.list("events")
    found.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
    return [
        f"{event['involvedObject']['kind']}/{event['involvedObject']['name']}: "
        f"{event['type']} {event['reason']}: {event.get('message', '')}"
        for event in found[-TOLD:]
    ]


def _refused(cluster: Cluster, namespace: Namespace) -> list[str]:
    """What clients asked for and did not get."""
    return [
        f"{asked.status} {asked.user} ({asked.user_agent}): {asked.method} {asked.path}"
        for asked in cluster.requests(namespace=namespace.name)
        if asked.status >= 400
    ][-TOLD:]
