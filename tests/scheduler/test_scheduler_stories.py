"""One scheduling cycle: nodes, pods on them, and where a pod goes or why it goes nowhere.

Nodes are written short: `{name, cpu, memory, pods, labels, taints, unschedulable, images}`; pods on them too:
`{name, node, requests, ports}`. The pod in question is a PodSpec.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from tiphys.scheduler.cycle import decide, run_filters
from tiphys.scheduler.plugins import FILTERS, SCORES
from tiphys.scheduler.snapshot import PodInfo, build
from tiphys.testing.golden import check_story, stories

FOLDER = Path(__file__).parent / "stories"
Object = dict[str, Any]


@pytest.mark.parametrize("path", stories(FOLDER), ids=lambda path: path.stem)
def test_story(path: Path, *, update_golden: bool) -> None:
    check_story(path, tell, update=update_golden)


def tell(story: Object) -> Object:
    snapshot = build(map(node, story.get("nodes", [])), map(pod, story.get("pods", [])))
    wanted = PodInfo(
        {"metadata": {"name": "wanted", "namespace": "default", "uid": "w"}, "spec": story["spec"]}
    )
    decision = decide(wanted, snapshot, Random(1))
    if not decision.node:
        return {"message": decision.message, "wakes": sorted(decision.rejected_by)}
    feasible, _ = run_filters(wanted, snapshot.nodes(), FILTERS)
    scores = {
        plugin.name: dict(zip((node.name for node in feasible), plugin.score(wanted, feasible), strict=True))
        for plugin in SCORES
    }
    return {"node": decision.node, "feasible": [node.name for node in feasible], "scores": scores}


def node(short: Object) -> Object:
    allocatable = {name: str(short.get(name, default)) for name, default in DEFAULTS.items()} | short.get(
        "more", {}
    )
    spec = {name: short[name] for name in ("taints", "unschedulable") if name in short}
    status = {"allocatable": allocatable, "images": short.get("images", [])}
    return {
        "metadata": {"name": short["name"], "labels": short.get("labels", {})},
        "spec": spec,
        "status": status,
    }


DEFAULTS = {"cpu": "4", "memory": "8Gi", "pods": "110"}


def pod(short: Object) -> Object:
    container: Object = {"name": "main", "resources": {"requests": short.get("requests", {})}}
    container["ports"] = short.get("ports", [])
    metadata = {"name": short["name"], "namespace": "default", "uid": short["name"]}
    return {"metadata": metadata, "spec": {"nodeName": short["node"], "containers": [container]}}
