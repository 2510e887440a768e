"""For people who test against Kubernetes: `Cluster`, and the pytest fixtures over it. docs/testing.md is the page for newcomers.

    from tiphys.testing import Cluster

Public: what is named in `__all__`. The rest of this package is what Tiphys' own tests use (FakeAPI, FakeClock, World, golden stories), which
may change from day to day. Nothing is imported before it is used: the pytest plugin is loaded in every run, also where nobody needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiphys.machinery.errors import StatusError
    from tiphys.testing.access import Identity
    from tiphys.testing.asynchronous import AsyncCluster
    from tiphys.testing.cluster import Cluster, Snapshot
    from tiphys.testing.links import ClusterError
    from tiphys.testing.namespace import Namespace
    from tiphys.testing.requests import RecordedRequest

__all__ = [
    "AsyncCluster",
    "Cluster",
    "ClusterError",
    "Identity",
    "Namespace",
    "RecordedRequest",
    "Snapshot",
    "StatusError",
]

_HOMES = {
    "AsyncCluster": "tiphys.testing.asynchronous",
    "Cluster": "tiphys.testing.cluster",
    "ClusterError": "tiphys.testing.links",
    "Identity": "tiphys.testing.access",
    "Namespace": "tiphys.testing.namespace",
    "RecordedRequest": "tiphys.testing.requests",
    "Snapshot": "tiphys.testing.cluster",
    "StatusError": "tiphys.machinery.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
