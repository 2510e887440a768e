"""A node in need, as pure functions: what is observed from look to look, and what the node then says, reclaims and ends.

A story gives the kubelet's settings, and moments: how much time has passed since the one before, what the node has left
(`available of capacity`), and what its pods use and request. What comes out: the node's conditions, the thresholds that it acts on,
and the pod that would go, with what it is told.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.eviction.pressure import Observation, Pressure, look, with_allocatable
from tiphys.kubelet.eviction.victims import Candidate, event_annotations, ranked, sentence
from tiphys.kubelet.stats.usage import (
    ContainerUsage,
    FilesystemUsage,
    MemoryUsage,
    PodDisks,
    PodUsage,
    VolumeUsage,
)
from tiphys.machinery import meta
from tiphys.machinery.quantity import as_value
from tiphys.testing.golden import check_story, stories

FOLDER = Path(__file__).parent / "stories"
NOON = meta.parse_time("2026-01-01T12:00:00Z")
Object = dict[str, Any]


@pytest.mark.parametrize("path", stories(FOLDER), ids=lambda path: path.stem)
def test_eviction_story(path: Path, *, update_golden: bool) -> None:
    check_story(path, tell, update=update_golden)


def tell(story: Object) -> list[Object]:
    head = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    settings = KubeletConfiguration.parse({**head, **(story.get("settings") or {})})
    thresholds = with_allocatable(settings.thresholds, is_enforced=True)
    pressure, now, moment, told = Pressure(), NOON, {}, []
    for given in story["moments"]:
        moment = {**moment, **given}
        now += timedelta(seconds=given.get("after_seconds", 0))
        seen = {signal: _observation(text) for signal, text in moment["node"].items()}
        transition = settings.eviction_pressure_transition_period_seconds
        pressure = look(pressure, thresholds, seen, now, transition)
        entry: Object = {"moment": moment["moment"], "conditions": list(pressure.conditions)}
        entry["acts_on"] = [threshold.signal for threshold in pressure.acting]
        if pressure.acting:
            candidates = [_candidate(name, pod) for name, pod in (moment.get("pods") or {}).items()]
            order = ranked(
                candidates, pressure.acting[0], has_image_disk=bool(story.get("has_image_disk", False))
            )
            entry["order"] = [meta.name(candidate.pod) for candidate in order]
            if order:
                why = sentence(
                    order[0], pressure.acting, seen, settings.eviction_max_pod_grace_period_seconds
                )
                entry |= {"grace_seconds": why.grace_seconds, "message": why.message}
                offending = event_annotations(order[0], pressure.acting[0].resource)
                entry["annotations"] = {key: value for key, value in offending.items() if value}
        told.append(entry)
    return told


def _observation(text: str) -> Observation:
    available, capacity = str(text).split(" of ")
    return Observation(as_value(available), as_value(capacity))


def _candidate(name: str, short: Object) -> Candidate:
    """`uses`, `requests`, `priority`; `logs`, `layer`, `volume`: on disk; `unknown`: nothing was measured of it."""
    requests = short.get("requests") or {}
    containers = [{"name": "main", "resources": {"requests": requests}}]
    spec = {"priority": short.get("priority", 0), "containers": containers, **(short.get("spec") or {})}
    pod = {"metadata": {"name": name, "uid": name}, "spec": spec}
    if short.get("unknown"):
        return Candidate(pod)
    used = as_value(short.get("uses", "0"))
    memory = MemoryUsage(NOON, used, used, used)
    usage = PodUsage(
        (ContainerUsage("main", "c1", NOON, memory=memory),),
        memory=memory,
        processes=short.get("processes", 1),
    )
    disks = PodDisks(
        {"main": _disk(short.get("layer"))},
        {"main": _disk(short.get("logs"))},
        (VolumeUsage("data", "emptyDir", _disk(short.get("volume")), is_ephemeral=True),),
    )
    return Candidate(pod, usage, disks)


def _disk(amount: str | None) -> FilesystemUsage:
    used = as_value(amount or "0")
    return FilesystemUsage(NOON, 0, 0, 0, 0, used_bytes=used, inodes_used=used)
