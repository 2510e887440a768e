"""What is counted of objects, watches and admission, and what this server is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiphys.apiserver.version import VERSION
from tiphys.machinery.metrics import BETA, STABLE, Buckets, Registry, Value, exponential

if TYPE_CHECKING:
    from tiphys.api.resource import Resource
    from tiphys.apiserver.admission.plans import Plan
    from tiphys.apiserver.allocators import Allocators
    from tiphys.apiserver.server import APIServer

_SAMPLES = 50
_RESOURCE = ("group", "version", "resource")
FEATURES = {
    "AllowParsingUserUIDFromCertAuth": "BETA",
    "APIResponseCompression": "BETA",
    "ComponentFlagz": "BETA",
    "ComponentStatusz": "BETA",
    "SizeBasedListCostEstimate": "BETA",
    "WatchList": "BETA",
    "StreamingCollectionEncodingToJSON": "",
}
"""Upstream's gates for what is served here, and their stages in v1.36 ("": it can no longer be switched off)."""


class ObjectMetrics:
    """How many objects are stored, looked up when somebody scrapes: of the resources that somebody has asked for."""

    def __init__(self, registry: Registry, server: APIServer) -> None:
        self._server = server
        self._objects = registry.gauge(
            "apiserver_resource_objects", "Objects that are stored, by kind.", ("group", "resource")
        )
        self._stored = registry.gauge(
            "apiserver_storage_objects",
            "(Deprecated since 1.34.0) Objects that are stored, by kind.",
            ("resource",),
            stability=STABLE,
        )
        self._bytes = registry.gauge(
            "apiserver_resource_size_estimate_bytes",
            "Bytes of the objects that are stored, estimated by some of them.",
            ("group", "resource"),
        )
        self._size = registry.gauge(
            "apiserver_storage_size_bytes",
            "Bytes that the store takes of its disk.",
            ("storage_cluster_id",),
            stability=STABLE,
        )
        build = registry.gauge(
            "kubernetes_build_info",
            "Always 1; its labels say what was built from what.",
            ("major", "minor", "git_version", "git_commit", "git_tree_state", "build_date", "go_version", "compiler", "platform"),
        )  # fmt: skip
        build.set(
            1,
            *(
                VERSION[name]
                for name in ("major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate")
            ),
            *(VERSION[name] for name in ("goVersion", "compiler", "platform")),
        )
        features = registry.gauge(
            "kubernetes_feature_enabled", "Which features are on.", ("name", "stage"), stability=BETA
        )
        for name, stage in FEATURES.items():
            features.set(1, name, stage)
        registry.before_scrape(self._collect)

    def _collect(self) -> None:
        for family in (self._objects, self._stored, self._bytes):
            family.clear()
        self._size.set(self._server.store.size_bytes(), "etcd-0")
        for prefix, cache in self._server.cache.loaded.items():
            group, resource = prefix.strip("/").split("/")[1:3]
            group = "" if group == "core" else group
            self._objects.set(len(cache), group, resource)
            self._bytes.set(cache.average_bytes(_SAMPLES) * len(cache), group, resource)
            self._stored.set(len(cache), f"{resource}.{group}" if group else resource)


class AllocatorMetrics:
    """Cluster IPs and node ports that are taken and free, counted when somebody scrapes."""

    def __init__(self, registry: Registry, allocators: Allocators) -> None:
        self._allocators = allocators
        self._allocated = registry.gauge(
            "kube_apiserver_clusterip_allocator_allocated_ips", "Cluster IPs that are taken.", ("cidr",)
        )
        self._available = registry.gauge(
            "kube_apiserver_clusterip_allocator_available_ips", "Cluster IPs that are free.", ("cidr",)
        )
        self._allocated_ports = registry.gauge(
            "kube_apiserver_nodeport_allocator_allocated_ports", "Node ports that are taken."
        )
        self._available_ports = registry.gauge(
            "kube_apiserver_nodeport_allocator_available_ports", "Node ports that are free."
        )
        registry.before_scrape(self._collect)

    def _collect(self) -> None:
        addresses, ports = self._allocators.occupancy()
        self._allocated.clear()
        self._available.clear()
        for network, (taken, free) in addresses.items():
            self._allocated.set(taken, network)
            self._available.set(free, network)
        self._allocated_ports.set(ports[0])
        self._available_ports.set(ports[1])


class WatchMetrics:
    """Events that went to watches."""

    def __init__(self, registry: Registry) -> None:
        self._events = registry.counter("apiserver_watch_events_total", "Events sent to watches.", _RESOURCE)
        self._sizes = registry.histogram(
            "apiserver_watch_events_sizes",
            "Bytes of events sent to watches.",
            exponential(1024, 2, 8),
            _RESOURCE,
        )

    def of(self, row: Resource) -> tuple[Value, Buckets]:
        labels = (row.group, row.version, row.plural)
        return self._events.labels(*labels), self._sizes.labels(*labels)


class AdmissionMetrics:
    """How long plugins took. `step` is that of the whole chain, changing or refusing."""

    def __init__(self, registry: Registry) -> None:
        self.plugin = registry.histogram(
            "apiserver_admission_controller_admission_duration_seconds",
            "How long an admission plugin took.",
            (0.005, 0.025, 0.1, 0.5, 1.0, 2.5),
            ("name", "operation", "rejected", "type"),
            stability=STABLE,
        )
        self.step = registry.histogram(
            "apiserver_admission_step_admission_duration_seconds",
            "How long all admission plugins of a step took.",
            (0.005, 0.025, 0.1, 0.5, 1.0, 2.5),
            ("operation", "rejected", "type"),
            stability=STABLE,
        )
        self.plans: dict[Plan, None] = {}
        """Those that count what was done by them when they are read."""
        registry.before_scrape(self._fold)

    def _fold(self) -> None:
        for plan in self.plans:
            plan.fold()
