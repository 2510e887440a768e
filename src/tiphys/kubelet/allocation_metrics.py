"""What kubelets count of resources that are granted anew (in-place resizes), and of those that are given to one container alone."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.machinery.metrics import Registry, exponential

_RESIZE_MILLISECONDS = exponential(10, 2, 19)
_ADMISSION_MILLISECONDS = exponential(0.05, 2, 15)


class ResizeMetrics:
    """`pending` (deferred, infeasible) and `in_progress` are set anew before each answer."""

    def __init__(self, registry: Registry) -> None:
        counter = registry.counter
        self._requested = counter(
            "kubelet_container_requested_resizes_total",
            "Changes that resizes asked for, by the resource, whether it is a request or a limit, and what became of it.",
            ("resource", "requirement", "operation"),
        )
        self._seconds = registry.histogram(
            "kubelet_pod_resize_duration_milliseconds",
            "How long it took to bring a pod's containers to what it was granted.",
            _RESIZE_MILLISECONDS,
            ("success",),
        )
        self._infeasible = counter(
            "kubelet_pod_infeasible_resizes_total",
            "Resizes that the node can never grant, by the reason.",
            ("reason_detail",),
        )
        self._accepted = counter(
            "kubelet_pod_deferred_accepted_resizes_total",
            "Resizes that were granted after they had to wait, by what they were tried again for.",
            ("retry_trigger",),
        )
        self._pending = registry.gauge(
            "kubelet_pod_pending_resizes", "Pods whose resize is not granted, by the reason.", ("reason",)
        )
        self._in_progress = registry.gauge(
            "kubelet_pod_in_progress_resizes", "Pods whose resize is granted and not complete."
        )

    def requested(self, changes: Iterable[tuple[str, str, str]]) -> None:
        for resource, requirement, operation in changes:
            self._requested.inc(resource, requirement, operation)

    def actuated(self, seconds: float, *, success: bool) -> None:
        self._seconds.observe(seconds * 1000, str(success).lower())

    def infeasible(self, detail: str) -> None:
        self._infeasible.inc(detail)

    def accepted_later(self, trigger: str) -> None:
        self._accepted.inc(trigger)

    def seen(self, pending: Iterable[str], in_progress: int) -> None:
        """`pending`: a reason for each pod that waits."""
        counts = {"deferred": 0, "infeasible": 0}
        for reason in pending:
            counts[reason.lower()] += 1
        self._pending.clear()
        for reason, count in counts.items():
            if count:
                self._pending.set(count, reason)
        self._in_progress.set(in_progress)


class ManagerMetrics:
    """Of the managers of CPUs, of memory and of topology; there are none on most nodes, and all stays 0."""

    def __init__(self, registry: Registry) -> None:
        counter, gauge = registry.counter, registry.gauge
        self._pinnings = counter(
            "kubelet_cpu_manager_pinning_requests_total", "Containers that were to have CPUs of their own."
        )
        self._failures = counter(
            "kubelet_cpu_manager_pinning_errors_total", "Containers that could not have CPUs of their own."
        )
        self._shared = gauge(
            "kubelet_cpu_manager_shared_pool_size_millicores",
            "What containers share that have no CPUs of their own.",
        )
        self._exclusive = gauge(
            "kubelet_cpu_manager_exclusive_cpu_allocation_count", "CPUs that belong to one container alone."
        )
        self._memory_pinnings = counter(
            "kubelet_memory_manager_pinning_requests_total",
            "Containers that were to have memory of certain NUMA nodes.",
        )
        self._memory_failures = counter(
            "kubelet_memory_manager_pinning_errors_total",
            "Containers that could not have memory of certain NUMA nodes.",
        )
        self._admissions = counter(
            "kubelet_topology_manager_admission_requests_total",
            "Pods that were to get all that they have from the same NUMA nodes.",
        )
        self._refusals = counter(
            "kubelet_topology_manager_admission_errors_total",
            "Pods that could not get all that they have from the same NUMA nodes.",
        )
        self._seconds = registry.histogram(
            "kubelet_topology_manager_admission_duration_ms",
            "How long it took to give pods what only one can have.",
            _ADMISSION_MILLISECONDS,
        )

    def pinned(self, *, failed: bool) -> None:
        self._pinnings.inc()
        if failed:
            self._failures.inc()

    def memory_pinned(self, *, failed: bool) -> None:
        self._memory_pinnings.inc()
        if failed:
            self._memory_failures.inc()

    def pools(self, shared: int, exclusive: int) -> None:
        """How many CPUs."""
        self._shared.set(shared * 1000)
        self._exclusive.set(exclusive)

    def admitted(self, seconds: float, *, refused: bool) -> None:
        self._admissions.inc()
        self._seconds.observe(seconds * 1000)
        if refused:
            self._refusals.inc()
