"""What one pod adds to its kubelet's metrics: how long it took until it ran, and how long looks at it take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tiphys.kubelet import spec
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock

_KINDS: Mapping[spec.Kind, str] = {
    "init": "init_container",
    "main": "container",
    "ephemeral": "ephemeral_container",
}


class PodMetrics:
    """Made when the kubelet sees the pod first."""

    def __init__(self, metrics: KubeletMetrics, clock: Clock, pod: Object) -> None:
        self._metrics = metrics
        self._clock = clock
        self._seen_at = clock.monotonic()
        self._operation = "create"
        self._containers = len(pod["spec"].get("containers") or ())
        self._first_pull: float | None = None
        self._last_pull: float | None = None
        self._is_starting = (pod.get("status") or {}).get("phase") in (None, "", "Pending")

    @contextmanager
    def look(self) -> Iterator[None]:
        began = self._clock.monotonic()
        if self._operation == "create":
            self._metrics.delays.first_looked(began - self._seen_at, self._containers)
        yield
        self._metrics.pod_worked(self._operation, self._clock.monotonic() - began)
        self._operation = "sync"

    def reported(self, pod: Object, status: Mapping[str, Any]) -> None:
        phase = status.get("phase")
        if self._is_starting and phase != "Pending":
            self._is_starting = False
            created_at = meta.metadata(pod).get("creationTimestamp")
            if phase == "Running" and created_at:
                since_created = (self._clock.now() - meta.parse_time(created_at)).total_seconds()
                self._metrics.pod_runs(self._clock.monotonic() - self._seen_at, max(since_created, 0.0))
                excluded = self._pulling_seconds() + _init_seconds(status)
                self._metrics.delays.started(max(since_created - excluded, 0.0))

    def _pulling_seconds(self) -> float:
        """From the beginning of the first pull to the end of the last one."""
        if self._first_pull is None or self._last_pull is None:
            return 0.0
        return self._last_pull - self._first_pull

    def pull_began(self) -> None:
        if self._is_starting and self._first_pull is None:
            self._first_pull = self._clock.monotonic()

    def pull_ended(self) -> None:
        if self._is_starting:
            self._last_pull = self._clock.monotonic()

    def sandbox_started(self, handler: str, began: float, *, failed: bool = False) -> None:
        """`began`: by the clock of the node."""
        self._metrics.sandbox_started(failed=failed)
        self._metrics.making.sandbox_run(handler, self._clock.monotonic() - began, failed=failed)


def container_started(metrics: KubeletMetrics, pod: Object, name: str, failure: str = "") -> None:
    """Or not: `failure` is the reason of its state."""
    for kind, told in _KINDS.items():
        if any(container["name"] == name for container in spec.containers(pod, kind)):
            metrics.container_started(told, failure)


def _init_seconds(status: Mapping[str, Any]) -> float:
    """How long init containers ran, in whole seconds, as statuses tell it."""
    seconds = 0.0
    for entry in status.get("initContainerStatuses") or ():
        ended = (entry.get("state") or {}).get("terminated") or {}
        if ended.get("startedAt") and ended.get("finishedAt"):
            life = meta.parse_time(ended["finishedAt"]) - meta.parse_time(ended["startedAt"])
            seconds += life.total_seconds()
    return seconds
