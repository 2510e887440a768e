"""What a control plane for tests costs: from its import to the first answer over HTTPS, again in the same process, and what tests do with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import median

from bench.cluster import Ours
from bench.table import Figure, NotMeasured, Row, once

RUNS = 7

Milliseconds = dict[str, float]

PROGRAM = """
import json, ssl, sys, time, urllib.request
begun = time.perf_counter()
seen = {}
def mark(name):
    global begun
    now = time.perf_counter()
    seen[name] = (now - begun) * 1000
    begun = now
def answered(cluster):
    context = ssl.create_default_context(cafile=str(cluster.ca_file))
    urllib.request.urlopen(cluster.server + "/version", context=context).read()
WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 2,
       "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
       "spec": {"containers": [{"name": "web", "image": "nginx"}]}}}}
CONFIGS = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{number}"}} for number in range(100)]
begun = time.perf_counter()
from tiphys.testing import Cluster
with Cluster(subprocess=sys.argv[1] == "process") as cluster:
    answered(cluster)
    mark("first answer")
    cluster.wait_for("node/node-1")
    mark("node ready")
    for kind in ("first", "next"):
        namespace = cluster.namespace()
        made = namespace.__enter__()
        mark("namespace made")
        made.load(WEB)
        made.wait_for("deployment/web", "Available")
        mark("deployment available")
        namespace.__exit__(None, None, None)
        mark("namespace gone")
    before = cluster.snapshot()
    cluster.load(CONFIGS)
    mark("100 objects")
    cluster.restore(before)
    mark("restored")
    cluster.clock.advance(3600)
    mark("an hour")
mark("stopped")
with Cluster(subprocess=sys.argv[1] == "process") as cluster:
    answered(cluster)
    mark("again")
print(json.dumps(seen))
"""


def runs(kind: str) -> list[Milliseconds]:
    """The program as anybody would run it: with what Python has compiled at hand."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found = []
    for _ in range(RUNS + 1):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, kind],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        if done.returncode:
            raise NotMeasured(done.stderr.strip().splitlines()[-1])
        found.append(json.loads(done.stdout))
    return found[1:]


@once
def in_a_thread(ours: Ours) -> list[Milliseconds]:
    return runs("thread")


@once
def in_a_process(ours: Ours) -> list[Milliseconds]:
    return runs("process")


def figure(found: list[Milliseconds], name: str, *beside: str) -> Figure:
    notes = [f"{other} {_median(found, other):.0f}" for other in beside]
    return Figure(_median(found, name), ", ".join(notes))


def _median(found: list[Milliseconds], name: str) -> float:
    return median(run[name] for run in found)


ROWS = [
    Row(
        "testing: in-process control plane to first answer",
        "ms",
        lambda ours: figure(in_a_thread(ours), "first answer", "again", "stopped"),
        goal=500,
    ),
    Row(
        "testing: control plane in a process to first answer",
        "ms",
        lambda ours: figure(in_a_process(ours), "first answer", "again", "stopped"),
        goal=600,
    ),
    Row(
        "testing: a namespace with a deployment, available",
        "ms",
        lambda ours: figure(in_a_thread(ours), "deployment available", "namespace made", "namespace gone"),
        goal=250,
    ),
    Row(
        "testing: 100 new objects, put back",
        "ms",
        lambda ours: figure(in_a_thread(ours), "restored", "100 objects"),
        goal=100,
    ),
    Row(
        "testing: an hour passes",
        "ms",
        lambda ours: figure(in_a_thread(ours), "an hour"),
        goal=1000,
    ),
]
