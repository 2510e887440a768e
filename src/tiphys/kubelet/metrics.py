"""What kubelets count: /metrics and /metrics/probes of a node. One of a process; made by whoever puts it together."""

from __future__ import annotations

from tiphys.kubelet.allocation_metrics import ManagerMetrics, ResizeMetrics
from tiphys.kubelet.life_metrics import DelayMetrics, MakingMetrics, PresentMetrics
from tiphys.machinery.metrics import ALPHA, BETA, Registry, exponential

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_START_SECONDS = (
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0,
    900.0, 1200.0, 1800.0, 2700.0, 3600.0,
)  # fmt: skip
_CALL_SECONDS = exponential(0.005, 2.5, 14)

_PULL_SECONDS = (
    1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 180.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0,
)  # fmt: skip
_MEGABYTE, _GIGABYTE = 1 << 20, 1 << 30
_IMAGE_SIZES = (
    (0, "0-10MB"),
    (10 * _MEGABYTE, "10MB-100MB"),
    (100 * _MEGABYTE, "100MB-500MB"),
    (500 * _MEGABYTE, "500MB-1GB"),
    (_GIGABYTE, "1GB-5GB"),
    (5 * _GIGABYTE, "5GB-10GB"),
    (10 * _GIGABYTE, "10GB-20GB"),
    (20 * _GIGABYTE, "20GB-30GB"),
    (30 * _GIGABYTE, "30GB-40GB"),
    (40 * _GIGABYTE, "40GB-60GB"),
    (60 * _GIGABYTE, "60GB-100GB"),
    (100 * _GIGABYTE, "GT100GB"),
)
"""From so many bytes on an image is told of so."""


class KubeletMetrics:
    """`registry` is told at /metrics, `probes` at /metrics/probes."""

    def __init__(self, registry: Registry | None = None) -> None:
        self.registry = registry = registry or Registry()
        self.probes = ProbeMetrics()
        gauge, counter, histogram = registry.gauge, registry.counter, registry.histogram
        self.node_name = gauge("kubelet_node_name", "The node's name; always 1.", ("node",))
        self.running_pods = gauge("kubelet_running_pods", "Pods that have a running sandbox.")
        self.running_containers = gauge(
            "kubelet_running_containers", "Containers, by their state.", ("container_state",)
        )
        self.desired_pods = gauge("kubelet_desired_pods", "Pods that the node is to run.", ("static",))
        self.active_pods = gauge(
            "kubelet_active_pods", "Pods that the node looks after and that are not over.", ("static",)
        )
        self._started_pods = counter("kubelet_started_pods_total", "Sandboxes that were to be started.")
        self._failed_pods = counter("kubelet_started_pods_errors_total", "Sandboxes that failed to start.")
        self._started_containers = counter(
            "kubelet_started_containers_total", "Containers that were to be started.", ("container_type",)
        )
        self._failed_containers = counter(
            "kubelet_started_containers_errors_total",
            "Containers that failed to start, by the reason of their state.",
            ("container_type", "code"),
        )
        self._pod_start = histogram(
            "kubelet_pod_start_duration_seconds",
            "Time from seeing a pod first until it runs.",
            _START_SECONDS,
        )
        self._pod_start_total = histogram(
            "kubelet_pod_start_total_duration_seconds",
            "Time from the creation of a pod until it runs, images included.",
            _START_SECONDS,
        )
        self._worker = histogram(
            "kubelet_pod_worker_duration_seconds",
            "How long it took to look at a pod and do what was to do.",
            SECONDS,
            ("operation_type",),
        )
        self._relist = histogram(
            "kubelet_pleg_relist_duration_seconds", "How long it took to list all containers.", SECONDS
        )
        self._relist_interval = histogram(
            "kubelet_pleg_relist_interval_seconds", "Time between two listings of all containers.", SECONDS
        )
        self._relisted_at = gauge("kubelet_pleg_last_seen_seconds", "When all containers were last listed.")
        operation = ("operation_type",)
        self._calls = counter(
            "kubelet_runtime_operations_total", "Calls of the container runtime.", operation
        )
        self._call_errors = counter(
            "kubelet_runtime_operations_errors_total",
            "Calls of the container runtime that failed.",
            operation,
        )
        self._call_seconds = histogram(
            "kubelet_runtime_operations_duration_seconds",
            "How long calls of the container runtime took.",
            _CALL_SECONDS,
            operation,
        )
        request = ("long_running", "method", "path", "server_type")
        self._requests = counter("kubelet_http_requests_total", "Requests that were answered.", request)
        self._request_seconds = histogram(
            "kubelet_http_requests_duration_seconds", "How long answers took to begin.", SECONDS, request
        )
        self._declare_parts(registry)
        self._declare_needs(registry)

    def _declare_parts(self, registry: Registry) -> None:
        self.volumes = VolumeMetrics(registry)
        self.pulls = PullMetrics(registry)
        self.providers = ProviderMetrics(registry)
        self.delays = DelayMetrics(registry)
        self.making = MakingMetrics(registry)
        self.present = PresentMetrics(registry)

    def _declare_needs(self, registry: Registry) -> None:
        self.resizes = ResizeMetrics(registry)
        self.managers = ManagerMetrics(registry)
        counter = registry.counter
        self._rejections = counter(
            "kubelet_admission_rejections_total", "Pods that the node refused, by the reason.", ("reason",)
        )
        self._evictions = counter(
            "kubelet_evictions", "Pods that were evicted, by the signal.", ("eviction_signal",)
        )
        self._preemptions = counter(
            "kubelet_preemptions",
            "Pods that had to go for a critical one, by the resource.",
            ("preemption_signal",),
        )
        self._collected_images = counter(
            "kubelet_image_garbage_collected_total",
            "Images that were removed, by the reason: age or space.",
            ("reason",),
        )
        self._plugins = counter(
            "kubelet_device_plugin_registration_total",
            "Registrations of device plugins.",
            ("resource_name",),
        )
        self._allocations = registry.histogram(
            "kubelet_device_plugin_alloc_duration_seconds",
            "How long device plugins took to allocate.",
            SECONDS,
            ("resource_name",),
        )

    # Pods

    def sandbox_started(self, *, failed: bool) -> None:
        self._started_pods.inc()
        if failed:
            self._failed_pods.inc()

    def container_started(self, kind: str, failure: str = "") -> None:
        """`kind`: "container", "init_container" or "ephemeral_container"; `failure`: the reason of its state."""
        self._started_containers.inc(kind)
        if failure:
            self._failed_containers.inc(kind, failure)

    def pod_runs(self, since_seen_seconds: float, since_created_seconds: float) -> None:
        self._pod_start.observe(since_seen_seconds)
        self._pod_start_total.observe(since_created_seconds)

    def pod_worked(self, operation: str, seconds: float) -> None:
        """`operation`: "create" for the first look, then "sync"; "terminated" for the last."""
        self._worker.observe(seconds, operation)

    def relisted(self, duration_seconds: float, interval_seconds: float | None, at_seconds: float) -> None:
        self._relist.observe(duration_seconds)
        if interval_seconds is not None:
            self._relist_interval.observe(interval_seconds)
        self._relisted_at.set(at_seconds)

    # The node

    def rejected(self, reason: str) -> None:
        self._rejections.inc(reason)

    def evicted(self, signal: str) -> None:
        self._evictions.inc(signal)

    def preempted(self, resource: str) -> None:
        self._preemptions.inc(resource)

    def image_collected(self, reason: str) -> None:
        self._collected_images.inc(reason)

    def plugin_registered(self, resource: str) -> None:
        self._plugins.inc(resource)

    def devices_allocated(self, resource: str, seconds: float) -> None:
        self._allocations.observe(seconds, resource)

    # Others

    def runtime_called(self, operation: str, seconds: float, failed: bool) -> None:  # noqa: FBT001
        """A runtime's `observe`."""
        self._calls.inc(operation)
        self._call_seconds.observe(seconds, operation)
        if failed:
            self._call_errors.inc(operation)

    def request_answered(self, method: str, path: str, seconds: float, *, long_running: bool) -> None:
        labels = (str(long_running).lower(), method, path, "readwrite")
        self._requests.inc(*labels)
        self._request_seconds.observe(seconds, *labels)


class PullMetrics:
    """Of images that containers want."""

    def __init__(self, registry: Registry) -> None:
        self._wanted = registry.counter(
            "kubelet_image_manager_ensure_image_requests_total",
            "Images that containers wanted, by what was to do for them.",
            ("pull_policy", "present_locally", "pull_required"),
        )
        self._seconds = registry.histogram(
            "kubelet_image_pull_duration_seconds",
            "How long pulls took, waiting for their turn included, by the size of the image.",
            _PULL_SECONDS,
            ("image_size_in_bytes",),
        )

    def wanted(self, policy: str, *, is_present: bool | None, is_pulled: bool | None) -> None:
        """None: it was not looked at."""
        told = ("unknown" if fact is None else str(fact).lower() for fact in (is_present, is_pulled))
        self._wanted.inc(policy.lower(), *told)

    def pulled(self, size_bytes: int, seconds: float) -> None:
        name = next(name for least, name in reversed(_IMAGE_SIZES) if size_bytes >= least)
        self._seconds.observe(seconds, name)


class ProviderMetrics:
    """Of plugins that give credentials for images."""

    def __init__(self, registry: Registry) -> None:
        labels = ("plugin_name",)
        self._errors = registry.counter(
            "kubelet_credential_provider_plugin_errors_total",
            "Plugins for credentials that could not be run to their end, or failed.",
            labels,
        )
        self._seconds = registry.histogram(
            "kubelet_credential_provider_plugin_duration",
            "How long plugins for credentials ran, in seconds.",
            SECONDS,
            labels,
        )
        self._info = registry.gauge(
            "kubelet_credential_provider_config_info",
            "The digest of the configuration of plugins for credentials; always 1.",
            ("hash",),
        )

    def configured(self, digest: str) -> None:
        self._info.set(1, digest)

    def asked(self, name: str, seconds: float, *, has_failed: bool) -> None:
        self._seconds.observe(seconds, name)
        if has_failed:
            self._errors.inc(name)


class VolumeMetrics:
    """Of volumes that are persistent volume claims; set anew before each answer."""

    def __init__(self, registry: Registry) -> None:
        labels = ("namespace", "persistentvolumeclaim")
        self.gauges = {
            field: registry.gauge(f"kubelet_volume_stats_{name}", text, labels)
            for field, name, text in (
                ("available_bytes", "available_bytes", "Bytes that are free in the volume."),
                ("capacity_bytes", "capacity_bytes", "Capacity of the volume in bytes."),
                ("inodes", "inodes", "Most inodes that the volume can have."),
                ("inodes_free", "inodes_free", "Inodes that are free in the volume."),
                ("inodes_used", "inodes_used", "Inodes that are used in the volume."),
                ("used_bytes", "used_bytes", "Bytes that are used in the volume."),
            )
        }


class ProbeMetrics:
    """`prober_*`: of probes of containers that there are now."""

    def __init__(self) -> None:
        self.registry = Registry()
        of_container = ("probe_type", "container", "pod", "namespace")
        self._results = self.registry.counter(
            "prober_probe_total",
            "Probes of a container, by their kind and result.",
            ("probe_type", "result", "container", "pod", "namespace", "pod_uid"),
            stability=BETA,
        )
        self._seconds = self.registry.histogram(
            "prober_probe_duration_seconds",
            "How long probes of a container took that did not fail.",
            SECONDS,
            of_container,
            stability=ALPHA,
        )

    def probed(self, whose: tuple[str, str, str, str, str], result: str, seconds: float) -> None:
        """`whose`: (kind, container, pod, namespace, uid); `result`: "successful", "failed" or "unknown"."""
        kind, container, pod, namespace, uid = whose
        self._results.inc(kind, result, container, pod, namespace, uid)
        if result != "failed":
            self._seconds.observe(seconds, kind, container, pod, namespace)

    def forget(self, whose: tuple[str, str, str, str, str]) -> None:
        kind, container, pod, namespace, uid = whose
        for result in ("successful", "failed", "unknown"):
            self._results.remove(kind, result, container, pod, namespace, uid)
        self._seconds.remove(kind, container, pod, namespace)
