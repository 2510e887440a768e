"""The kubelet's own settings: a KubeletConfiguration of kubelet.config.k8s.io/v1beta1, by upstream's names and with its defaults.

`tiphys up --kubelet-config FILE` reads and checks it; every kubelet of the cluster is given the object. A setting is one line of the
class: where it is kept, its name in the file, its default, how it is read (`configuration_values.py`); what must be true of all of them
together stands in `configuration_rules.py`. What upstream has and nobody here looks at stands in
`_FIXED`: such a field is taken with its default and refused with another value, so that nobody believes that something is
switched that is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tiphys.kubelet.access import AccessSettings
from tiphys.kubelet.configuration_rules import problems_of
from tiphys.kubelet.configuration_values import (
    AUTHENTICATION,
    AUTHORIZATION,
    CRASH_LOOP_BACK_OFF,
    MemoryReservation,
    Wrong,
    authentication_settings,
    authorization_settings,
    boolean,
    crash_loop_settings,
    headers,
    integer,
    mapping,
    merged,
    quantities,
    reservations,
    seconds,
    setting,
    size,
    texts,
    word,
    words,
    written,
)
from tiphys.kubelet.eviction.thresholds import DEFAULT_HARD, Threshold, thresholds
from tiphys.kubelet.images.pull_records import POLICIES, Verification
from tiphys.kubelet.log_rotation import RotationPolicy
from tiphys.kubelet.managers import cpusets
from tiphys.kubelet.pulling import PullLimits
from tiphys.machinery import yaml
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import Quantity, from_value
from tiphys.machinery.quoting import format_value, parse_duration, quote
from tiphys.machinery.retry import CRASH_LOOP, Backoff

API_VERSION, KIND = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"


class BadConfiguration(Exception):
    """One line: everything that is wrong with it."""


@frozen
class KubeletConfiguration:
    """What a kubelet goes by. `KubeletConfiguration()` has the defaults."""

    # Its certificates: on as kubeadm has it, and the servers' ones too (decision 0030)
    rotate_certificates: bool = setting("rotateCertificates", True, boolean)
    server_tls_bootstrap: bool = setting("serverTLSBootstrap", True, boolean)
    # What the node offers
    max_pods: int = setting("maxPods", 110, integer, zero_is_unset=True)
    pods_per_core: int = setting("podsPerCore", 0, integer)
    kube_reserved: Mapping[str, Quantity] = mapping("kubeReserved", quantities)
    system_reserved: Mapping[str, Quantity] = mapping("systemReserved", quantities)
    enforce_node_allocatable: tuple[str, ...] = setting("enforceNodeAllocatable", ("pods",), words)
    # What only one container can have
    reserved_system_cpus: str = setting("reservedSystemCPUs", "", word, is_shown_empty=False)
    cpu_manager_policy: str = setting("cpuManagerPolicy", "none", word, zero_is_unset=True)
    cpu_manager_policy_options: Mapping[str, str] = mapping(
        "cpuManagerPolicyOptions", texts, is_shown_empty=False
    )
    cpu_manager_reconcile_period_seconds: float = setting(
        "cpuManagerReconcilePeriod", 10.0, seconds, zero_is_unset=True
    )
    topology_manager_policy: str = setting("topologyManagerPolicy", "none", word, zero_is_unset=True)
    topology_manager_scope: str = setting("topologyManagerScope", "container", word, zero_is_unset=True)
    topology_manager_policy_options: Mapping[str, str] = mapping(
        "topologyManagerPolicyOptions", texts, is_shown_empty=False
    )
    memory_manager_policy: str = setting("memoryManagerPolicy", "None", word, zero_is_unset=True)
    reserved_memory: tuple[MemoryReservation, ...] = setting(
        "reservedMemory", (), reservations, is_shown_empty=False
    )
    # What a pod gets
    pod_pids_limit: int = setting("podPidsLimit", -1, integer)
    cpu_cfs_quota: bool = setting("cpuCFSQuota", True, boolean)
    local_storage_capacity_isolation: bool = setting("localStorageCapacityIsolation", True, boolean)
    allowed_unsafe_sysctls: tuple[str, ...] = setting("allowedUnsafeSysctls", (), words)
    seccomp_default: bool = setting("seccompDefault", False, boolean)
    crash_loop_back_off: Mapping[str, Any] = mapping("crashLoopBackOff", crash_loop_settings)
    # When pods must go
    eviction_hard: Mapping[str, str] = mapping("evictionHard", texts, DEFAULT_HARD)
    eviction_soft: Mapping[str, str] = mapping("evictionSoft", texts)
    eviction_soft_grace_period: Mapping[str, str] = mapping("evictionSoftGracePeriod", texts)
    eviction_minimum_reclaim: Mapping[str, str] = mapping("evictionMinimumReclaim", texts)
    eviction_pressure_transition_period_seconds: float = setting(
        "evictionPressureTransitionPeriod", 300.0, seconds, zero_is_unset=True
    )
    eviction_max_pod_grace_period_seconds: int = setting("evictionMaxPodGracePeriod", 0, integer)
    kernel_memcg_notification: bool = setting("kernelMemcgNotification", False, boolean)
    merge_default_eviction_settings: bool = setting("mergeDefaultEvictionSettings", False, boolean)
    # Logs
    container_log_max_size_bytes: int = setting("containerLogMaxSize", 10 << 20, size)
    container_log_max_files: int = setting("containerLogMaxFiles", 5, integer)
    container_log_monitor_interval_seconds: float = setting("containerLogMonitorInterval", 10.0, seconds)
    enable_system_log_handler: bool = setting("enableSystemLogHandler", True, boolean)
    # Who may use its API, and for how long without saying anything
    streaming_connection_idle_timeout_seconds: float = setting(
        "streamingConnectionIdleTimeout", 4 * 3600.0, seconds
    )
    authentication: Mapping[str, Any] = mapping("authentication", authentication_settings)
    authorization: Mapping[str, Any] = mapping("authorization", authorization_settings)
    # Pods that the API server did not order
    static_pod_path: str = setting("staticPodPath", "", word)
    static_pod_url: str = setting("staticPodURL", "", word)
    static_pod_url_header: Mapping[str, Sequence[str]] = mapping("staticPodURLHeader", headers)
    file_check_frequency_seconds: float = setting("fileCheckFrequency", 20.0, seconds, zero_is_unset=True)
    http_check_frequency_seconds: float = setting("httpCheckFrequency", 20.0, seconds, zero_is_unset=True)
    # How images come
    serialize_image_pulls: bool | None = setting("serializeImagePulls", None, boolean)
    max_parallel_image_pulls: int | None = setting("maxParallelImagePulls", None, integer)
    registry_pull_qps: int = setting("registryPullQPS", 5, integer)
    registry_burst: int = setting("registryBurst", 10, integer, zero_is_unset=True)
    image_pull_credentials_verification_policy: str = setting(
        "imagePullCredentialsVerificationPolicy", POLICIES[0], word, zero_is_unset=True
    )
    preloaded_images_verification_allowlist: tuple[str, ...] = setting(
        "preloadedImagesVerificationAllowlist", (), words
    )
    node_status_max_images: int = setting("nodeStatusMaxImages", 50, integer)
    # When images must go
    image_gc_high_threshold_percent: int = setting("imageGCHighThresholdPercent", 85, integer)
    image_gc_low_threshold_percent: int = setting("imageGCLowThresholdPercent", 80, integer)
    image_minimum_gc_age_seconds: float = setting("imageMinimumGCAge", 120.0, seconds, zero_is_unset=True)
    image_maximum_gc_age_seconds: float = setting("imageMaximumGCAge", 0.0, seconds)

    @classmethod
    def parse(cls, document: Any) -> KubeletConfiguration:
        """Of the object as it stands in the file; an empty one has the defaults. Raises BadConfiguration."""
        if document in (None, {}):
            return cls()
        if not isinstance(document, dict):
            raise BadConfiguration("it is no object")
        if document.get("apiVersion") != API_VERSION or document.get("kind") != KIND:
            found = f"{document.get('kind')} of {document.get('apiVersion')}"
            raise BadConfiguration(f"it is {found}, not a {KIND} of {API_VERSION}")
        values, problems = _read(document)
        if not problems:
            found_configuration = cls(**values).with_reserved_cpus()
            problems = problems_of(found_configuration)
            if not problems:
                return found_configuration
        raise BadConfiguration(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")

    def with_reserved_cpus(self) -> KubeletConfiguration:
        """CPUs that are reserved by number replace what is reserved by amount."""
        try:
            count = len(cpusets.parse(self.reserved_system_cpus))
        except ValueError:
            return self
        if not count:
            return self
        kube = {name: amount for name, amount in self.kube_reserved.items() if name != "cpu"}
        return replace(
            self, kube_reserved=kube, system_reserved={**self.system_reserved, "cpu": from_value(count)}
        )

    @property
    def fixed_resources(self) -> set[str]:
        """Of which Guaranteed pods are given a part of the machine that stays theirs as it is."""
        found = {"cpu"} if self.cpu_manager_policy == "static" else set()
        return found | ({"memory"} if self.memory_manager_policy == "Static" else set())

    @property
    def has_managers(self) -> bool:
        """Whether something is given to one container alone, beside devices, or kept from all."""
        policies = (self.cpu_manager_policy, self.topology_manager_policy, self.memory_manager_policy)
        return policies != ("none", "none", "None") or bool(self.reserved_system_cpus)

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        hard = dict(self.eviction_hard)
        if self.merge_default_eviction_settings:
            hard = {**DEFAULT_HARD, **hard}
        return thresholds(
            hard, self.eviction_soft, self.eviction_soft_grace_period, self.eviction_minimum_reclaim
        )

    @property
    def rotation(self) -> RotationPolicy:
        return RotationPolicy(
            self.container_log_max_size_bytes,
            self.container_log_max_files,
            self.container_log_monitor_interval_seconds,
        )

    @property
    def crash_loop(self) -> Backoff:
        """How long containers wait before they are restarted."""
        longest = self.crash_loop_back_off.get("maxContainerRestartPeriod") or "5m0s"
        cap_seconds = parse_duration(longest)
        return Backoff(min(CRASH_LOOP.base_seconds, cap_seconds), cap_seconds)

    @property
    def pull_limits(self) -> PullLimits:
        parallel = self.max_parallel_image_pulls
        serialize = self.serialize_image_pulls
        return PullLimits(
            serialize_image_pulls=parallel is None or parallel < 2 if serialize is None else serialize,
            max_parallel_image_pulls=parallel,
            registry_pull_qps=float(self.registry_pull_qps),
            registry_burst=self.registry_burst,
        )

    @property
    def verification(self) -> Verification:
        return Verification(
            self.image_pull_credentials_verification_policy, self.preloaded_images_verification_allowlist
        )

    @property
    def access(self) -> AccessSettings:
        tokens, reviews = self.authentication.get("webhook") or {}, self.authorization.get("webhook") or {}
        return AccessSettings(
            anonymous=(self.authentication.get("anonymous") or {}).get("enabled", False),
            token_seconds=parse_duration(tokens.get("cacheTTL", "2m0s")),
            authorized_seconds=parse_duration(reviews.get("cacheAuthorizedTTL", "5m0s")),
            unauthorized_seconds=parse_duration(reviews.get("cacheUnauthorizedTTL", "30s")),
        )

    def document(self) -> dict[str, Any]:
        """All settings by their names, as /configz shows them."""
        values = {row.metadata["name"]: written(getattr(self, row.name), row) for row in fields(self)}
        values["serializeImagePulls"] = self.pull_limits.serialize_image_pulls
        for name, whole in _WITH_DEFAULTS.items():
            values[name] = merged(whole, values[name])
        for row in fields(self):
            if not row.metadata.get("is_shown_empty", True) and not values[row.metadata["name"]]:
                del values[row.metadata["name"]]
        said = {name: value for name, value in values.items() if value is not None}
        # Whoever may read the page need not learn what gives access elsewhere.
        if said["staticPodURLHeader"]:
            said["staticPodURLHeader"] = {name: ["<masked>"] for name in self.static_pod_url_header}
        else:
            del said["staticPodURLHeader"]
        return dict(sorted({**_FIXED, **said}.items()))


def read_document(path: Path) -> dict[str, Any]:
    """The object in a file, checked. Raises BadConfiguration."""
    try:
        document = yaml.load(path.read_bytes())
    except OSError as error:
        raise BadConfiguration(f"cannot read it: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise BadConfiguration(str(error)) from None
    KubeletConfiguration.parse(document)
    return document or {}


def _read(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    rows = {row.metadata["name"]: row for row in fields(KubeletConfiguration)}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in document.items():
        if name in ("apiVersion", "kind") or value is None:
            continue
        if name in rows:
            metadata = rows[name].metadata
            try:
                found = metadata["read"](value)
            except Wrong as error:
                problems.append(f"{name} must be {error}, not {format_value(value)}")
                continue
            if found or not metadata.get("zero_is_unset"):
                values[rows[name].name] = found
        elif name not in _FIXED:
            problems.append(f"strict decoding error: unknown field {quote(name)}")
        elif not _is_that(value, _FIXED[name]):
            default = format_value(_FIXED[name])
            problems.append(f"{name}: only {default} is supported, not {format_value(value)}")
    return values, problems


def _is_that(value: Any, only: Any) -> bool:
    """Whether it says the same, or a part of it."""
    if isinstance(value, dict) and isinstance(only, dict):
        return all(name in only and _is_that(part, only[name]) for name, part in value.items())
    return bool(value == only)


_WITH_DEFAULTS = {
    "authentication": AUTHENTICATION,
    "authorization": AUTHORIZATION,
    "crashLoopBackOff": CRASH_LOOP_BACK_OFF,
}
_FIXED: Mapping[str, Any] = {
    "address": "0.0.0.0",
    "cgroupDriver": "cgroupfs",
    "cgroupsPerQOS": True,
    "configMapAndSecretChangeDetectionStrategy": "Watch",
    "containerLogMaxWorkers": 1,
    "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
    "contentType": "application/vnd.kubernetes.protobuf",
    "cpuCFSQuotaPeriod": "100ms",
    "enableControllerAttachDetach": True,
    "enableDebuggingHandlers": True,
    "enableServer": True,
    "enableSystemLogQuery": False,
    "eventBurst": 100,
    "eventRecordQPS": 50,
    "failCgroupV1": False,
    "failSwapOn": True,
    "featureGates": {},
    "healthzBindAddress": "127.0.0.1",
    "healthzPort": 10248,
    "hairpinMode": "promiscuous-bridge",
    "kubeAPIBurst": 100,
    "kubeAPIQPS": 50,
    "maxOpenFiles": 1_000_000,
    "memorySwap": {},
    "nodeLeaseDurationSeconds": 40,
    "nodeStatusReportFrequency": "5m0s",
    "nodeStatusUpdateFrequency": "10s",
    "oomScoreAdj": -999,
    "podLogsDir": "/var/log/pods",
    "port": 10250,
    "protectKernelDefaults": False,
    "readOnlyPort": 0,
    "registerNode": True,
    "registerWithTaints": [],
    "resolvConf": "/etc/resolv.conf",
    "runtimeRequestTimeout": "2m0s",
    "shutdownGracePeriod": "0s",
    "shutdownGracePeriodCriticalPods": "0s",
    "syncFrequency": "1m0s",
    "volumePluginDir": "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/",
    "volumeStatsAggPeriod": "1m0s",
}
"""Fields that nothing here looks at, and their only value. Whoever begins to look makes a line of KubeletConfiguration of it."""
