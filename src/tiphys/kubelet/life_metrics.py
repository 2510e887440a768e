"""What kubelets count of the lives of pods and of what they are made of: delays, sandboxes, volumes, groups, and how many there are.

Part of `metrics.KubeletMetrics`. How many there are is counted when somebody asks (`stats/present.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from tiphys.machinery.clock import Clock
from tiphys.machinery.metrics import Registry, exponential

_DELAYS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_START_SECONDS = (
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0,
    900.0, 1200.0, 1800.0, 2700.0, 3600.0,
)  # fmt: skip
_STATUS_SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0)
_STORAGE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 25.0, 50.0, 120.0, 300.0, 600.0)
_CALL_SECONDS = exponential(0.005, 2.5, 14)

Timed = Callable[[str], AbstractContextManager[None]]
"""Something of that name is done within."""


def timed(clock: Clock, observe: Callable[[str, float, bool], None]) -> Timed:
    """`observe(name, seconds, failed)` is told of what is done."""

    @contextmanager
    def within(name: str) -> Iterator[None]:
        began, has_failed = clock.monotonic(), True
        try:
            yield
            has_failed = False
        finally:
            observe(name, clock.monotonic() - began, has_failed)

    return within


def untimed(name: str) -> AbstractContextManager[None]:
    del name
    return nullcontext()


class DelayMetrics:
    """How long pods wait for the kubelet, and the API for their statuses."""

    def __init__(self, registry: Registry) -> None:
        self._start = registry.histogram(
            "kubelet_pod_start_sli_duration_seconds",
            "Time from the creation of a pod until it runs, without pulls of images and init containers.",
            _START_SECONDS,
        )
        self._first_look = registry.histogram(
            "kubelet_pod_worker_start_duration_seconds",
            "Time from seeing a pod first until somebody looks after it.",
            _DELAYS,
        )
        self._containers = registry.histogram(
            "kubelet_containers_per_pod_count", "Containers of a pod that came.", exponential(1, 2, 5)
        )
        self._status = registry.histogram(
            "kubelet_pod_status_sync_duration_seconds",
            "Time from another status of a pod until the API has it.",
            _STATUS_SECONDS,
        )
        self._orphans = registry.counter(
            "kubelet_orphaned_runtime_pods_total", "Pods that the runtime knew and nobody else any more."
        )

    def started(self, seconds: float) -> None:
        self._start.observe(seconds)

    def first_looked(self, seconds: float, containers: int) -> None:
        self._first_look.observe(seconds)
        self._containers.observe(containers)

    def status_sent(self, seconds: float) -> None:
        self._status.observe(seconds)

    def orphan_found(self) -> None:
        self._orphans.inc()


class MakingMetrics:
    """What pods are made of: sandboxes, control groups, volumes."""

    def __init__(self, registry: Registry) -> None:
        handler = ("runtime_handler",)
        self._sandboxes = registry.histogram(
            "kubelet_run_podsandbox_duration_seconds",
            "How long it took to run a sandbox, by the handler of its runtime class.",
            _CALL_SECONDS,
            handler,
        )
        self._sandbox_errors = registry.counter(
            "kubelet_run_podsandbox_errors_total",
            "Sandboxes that failed to run, by the handler of their runtime class.",
            handler,
        )
        self._groups = registry.histogram(
            "kubelet_cgroup_manager_duration_seconds",
            "How long it took to make, change or remove the control group of a pod.",
            _DELAYS,
            ("operation_type",),
        )
        self._storage = registry.histogram(
            "storage_operation_duration_seconds",
            "How long it took to make or remove a volume.",
            _STORAGE_SECONDS,
            ("volume_plugin", "operation_name", "status", "migrated"),
        )

    def sandbox_run(self, handler: str, seconds: float, *, failed: bool) -> None:
        self._sandboxes.observe(seconds, handler)
        if failed:
            self._sandbox_errors.inc(handler)

    def group_changed(self, operation: str, seconds: float, failed: bool) -> None:  # noqa: FBT001
        """`operation`: "create", "update" or "destroy"."""
        del failed
        self._groups.observe(seconds, operation)

    def volume_made(self, plugin: str, seconds: float, failed: bool) -> None:  # noqa: FBT001
        status = "fail-unknown" if failed else "success"
        self._storage.observe(seconds, plugin, "volume_mount", status, "false")


class PresentMetrics:
    """How many there are; set anew before each answer."""

    def __init__(self, registry: Registry) -> None:
        self.mirror_pods = registry.gauge(
            "kubelet_mirror_pods", "Static pods, each of which has a mirror in the API."
        )
        self.ephemeral_containers = registry.gauge(
            "kubelet_managed_ephemeral_containers", "Ephemeral containers of the pods of the node."
        )
        self.working_pods = registry.gauge(
            "kubelet_working_pods",
            "Pods that somebody looks after, by how far they are, and whether anybody else knows them.",
            ("lifecycle", "config", "static"),
        )
        self.volumes = registry.gauge(
            "volume_manager_total_volumes",
            "Volumes that there are and that there shall be, by plugin.",
            ("plugin_name", "state"),
        )
        self.cgroup_version = registry.gauge(
            "kubelet_cgroup_version", "Version of the control groups of the node."
        )
        self.log_bytes = registry.gauge(
            "kubelet_container_log_filesystem_used_bytes",
            "Bytes that the logs of a container take.",
            ("uid", "namespace", "pod", "container"),
        )
