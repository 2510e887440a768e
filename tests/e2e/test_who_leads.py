"""Who leads in a cluster, and that its API server is there, as kubectl shows it."""

from __future__ import annotations

from datetime import datetime

import pytest
from e2e_cluster import Cluster, wait_for

pytestmark = pytest.mark.real

LABEL = "apiserver.kubernetes.io/identity"


def test_the_leases_of_a_control_plane(cluster: Cluster) -> None:
    def leases() -> dict[str, dict[str, object]]:
        found = cluster.get("leases", "-n", "kube-system")["items"]
        return {each["metadata"]["name"]: each["spec"] for each in found}

    before = leases()
    leading = {name: before[name] for name in ("kube-controller-manager", "kube-scheduler")}
    assert len({spec["holderIdentity"] for spec in leading.values()}) == 1
    (server,) = cluster.get("leases", "-n", "kube-system", "-l", f"{LABEL}=kube-apiserver")["items"]
    assert server["metadata"]["name"].startswith("apiserver-")
    assert server["spec"]["holderIdentity"].startswith(f"{server['metadata']['name']}_")

    def renewed(name: str) -> bool:
        now, then = (datetime.fromisoformat(str(spec[name]["renewTime"])) for spec in (leases(), before))
        return now > then

    for name in before:
        wait_for(lambda name=name: renewed(name), f"{name} is renewed")
