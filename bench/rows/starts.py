"""How long one waits for a cluster, and for its API server alone."""

from __future__ import annotations

import statistics

from bench.cluster import SIMULATED, Ours
from bench.processes import free_port, start_seconds
from bench.table import Beside, Figure, Row
from bench.upstream import Upstream

ROUNDS = 5


def up(ours: Ours, *options: str) -> Figure:
    """Of a cluster that exists, until the command has returned."""
    with ours.cluster(*options) as made:
        made.up()
        times = []
        for _ in range(ROUNDS):
            made.down()
            times.append(made.up())
    return Figure(statistics.median(times))


def apiserver(ours: Ours) -> Figure:
    return Figure(start_seconds(ours.apiserver, ROUNDS), "with scheduler and controllers")


def upstreams_apiserver(upstream: Upstream) -> Figure:
    with upstream.etcd(upstream.scratch / "starts") as etcd:
        return Figure(start_seconds(lambda: upstream.apiserver(etcd.port, free_port()), ROUNDS), "etcd runs")


ROWS = [
    Row("up, existing, node Ready, containerd", "s", up, goal=2.0, needs_containers=True),
    Row("up, existing, node Ready, simulated", "s", lambda ours: up(ours, *SIMULATED), goal=1.0),
    Row(
        "apiserver process start to first /readyz 200",
        "s",
        apiserver,
        goal=0.5,
        beside=Beside(upstreams_apiserver, ("etcd", "kube-apiserver")),
    ),
]
