"""The kubelet's own settings: a KubeletConfiguration of kubelet.config.k8s.io/v1beta1, by upstream's names and with its defaults.

`tiphys up --kubelet-config FILE` reads and checks it; every kubelet of the cluster is given the object. A setting is one line of the
class: where it is kept, its name in the file, its default, how it is read. What upstream has and nobody here looks at stands in
`_FIXED`: such a field is taken with its default and refused with another value, so that nobody believes that something is
switched that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tiphys.kubelet.eviction.thresholds import DEFAULT_HARD, BadThreshold, Threshold, thresholds
from tiphys.kubelet.sysctls import pattern_problem
from tiphys.machinery import yaml
from tiphys.machinery.quantity import Quantity
from tiphys.machinery.quantity import parse as parse_quantity
from tiphys.machinery.quoting import format_duration, format_value, parse_duration, quote

API_VERSION, KIND = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"


class BadConfiguration(Exception):
    """One line: everything that is wrong with it."""


class _Wrong(ValueError):
    """What a value must be."""


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Wrong("a whole number")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("true or false")
    return value


def _seconds(value: Any) -> float:
    try:
        return parse_duration(value)
    except (TypeError, ValueError, AttributeError):
        raise _Wrong('a duration such as "1m30s"') from None


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise _Wrong("a list of strings")
    return tuple(value)


def _texts(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _Wrong("a map of strings")
    return value


def _quantities(value: Any) -> Mapping[str, Quantity]:
    try:
        return {name: parse_quantity(amount) for name, amount in _texts(value).items()}
    except _Wrong:
        raise
    except ValueError:
        raise _Wrong("a map of quantities") from None


def _setting(name: str, default: Any, read: Callable[[Any], Any]) -> Any:
    return field(default=default, metadata={"name": name, "read": read})


def _map(name: str, read: Callable[[Any], Any], default: Mapping[str, str] | None = None) -> Any:
    return field(default_factory=lambda: default or {}, metadata={"name": name, "read": read})


@dataclass(frozen=True, slots=True)
class KubeletConfiguration:
    """What a kubelet goes by. `KubeletConfiguration()` has the defaults."""

    # Its certificates: on as kubeadm has it, and the servers' ones too (decision 0030)
    rotate_certificates: bool = _setting("rotateCertificates", True, _boolean)
    server_tls_bootstrap: bool = _setting("serverTLSBootstrap", True, _boolean)
    # What the node offers
    max_pods: int = _setting("maxPods", 110, _integer)
    pods_per_core: int = _setting("podsPerCore", 0, _integer)
    kube_reserved: Mapping[str, Quantity] = _map("kubeReserved", _quantities)
    system_reserved: Mapping[str, Quantity] = _map("systemReserved", _quantities)
    enforce_node_allocatable: tuple[str, ...] = _setting("enforceNodeAllocatable", ("pods",), _words)
    # What a pod gets
    pod_pids_limit: int = _setting("podPidsLimit", -1, _integer)
    cpu_cfs_quota: bool = _setting("cpuCFSQuota", True, _boolean)
    local_storage_capacity_isolation: bool = _setting("localStorageCapacityIsolation", True, _boolean)
    allowed_unsafe_sysctls: tuple[str, ...] = _setting("allowedUnsafeSysctls", (), _words)
    seccomp_default: bool = _setting("seccompDefault", False, _boolean)
    # When pods must go
    eviction_hard: Mapping[str, str] = _map("evictionHard", _texts, DEFAULT_HARD)
    eviction_soft: Mapping[str, str] = _map("evictionSoft", _texts)
    eviction_soft_grace_period: Mapping[str, str] = _map("evictionSoftGracePeriod", _texts)
    eviction_minimum_reclaim: Mapping[str, str] = _map("evictionMinimumReclaim", _texts)
    eviction_pressure_transition_period_seconds: float = _setting(
        "evictionPressureTransitionPeriod", 300.0, _seconds
    )
    eviction_max_pod_grace_period_seconds: int = _setting("evictionMaxPodGracePeriod", 0, _integer)
    merge_default_eviction_settings: bool = _setting("mergeDefaultEvictionSettings", False, _boolean)
    # When images must go
    image_gc_high_threshold_percent: int = _setting("imageGCHighThresholdPercent", 85, _integer)
    image_gc_low_threshold_percent: int = _setting("imageGCLowThresholdPercent", 80, _integer)
    image_minimum_gc_age_seconds: float = _setting("imageMinimumGCAge", 120.0, _seconds)
    image_maximum_gc_age_seconds: float = _setting("imageMaximumGCAge", 0.0, _seconds)

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
            found_configuration = cls(**values)
            problems = _problems(found_configuration)
            if not problems:
                return found_configuration
        raise BadConfiguration(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        hard = dict(self.eviction_hard)
        if self.merge_default_eviction_settings:
            hard = {**DEFAULT_HARD, **hard}
        return thresholds(
            hard, self.eviction_soft, self.eviction_soft_grace_period, self.eviction_minimum_reclaim
        )


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
            try:
                values[rows[name].name] = rows[name].metadata["read"](value)
            except _Wrong as error:
                problems.append(f"{name} must be {error}, not {format_value(value)}")
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


# What upstream's validation asks, in its words.


def _problems(found: KubeletConfiguration) -> list[str]:
    problems = [
        f"{name} ({flag}) {value} must not be a negative number"
        for name, flag, value in (
            ("maxPods", "--max-pods", found.max_pods),
            ("podsPerCore", "--pods-per-core", found.pods_per_core),
        )
        if value < 0
    ]
    problems += [*_image_problems(found), *_enforcement_problems(found)]
    problems = [f"invalid configuration: {problem}" for problem in problems]
    problems += [*_reserved_problems(found.kube_reserved), *_reserved_problems(found.system_reserved)]
    problems += [problem for each in found.allowed_unsafe_sysctls if (problem := pattern_problem(each))]
    try:
        _ = found.thresholds
    except BadThreshold as error:
        problems.append(str(error))
    return problems


def _image_problems(found: KubeletConfiguration) -> list[str]:
    high, low = found.image_gc_high_threshold_percent, found.image_gc_low_threshold_percent
    oldest, youngest = found.image_maximum_gc_age_seconds, found.image_minimum_gc_age_seconds
    high_name = "imageGCHighThresholdPercent (--image-gc-high-threshold)"
    low_name = "imageGCLowThresholdPercent (--image-gc-low-threshold)"
    problems = [
        f"{name} {value} must be between 0 and 100, inclusive"
        for name, value in ((high_name, high), (low_name, low))
        if not 0 <= value <= 100
    ]
    if low >= high:
        problems.append(f"{low_name} {low} must be less than {high_name} {high}")
    problems += [
        f"{name} {format_duration(value)} must not be negative"
        for name, value in (("imageMinimumGCAge", youngest), ("imageMaximumGCAge", oldest))
        if value < 0
    ]
    if 0 < oldest <= youngest:
        ages = f"{format_duration(oldest)} must be greater than imageMinimumGCAge {format_duration(youngest)}"
        problems.append(f"imageMaximumGCAge {ages}")
    return problems


_ENFORCEMENTS = ("pods", "none")


def _enforcement_problems(found: KubeletConfiguration) -> list[str]:
    """Of pods; the groups of system services are the machine's own business here."""
    name = "enforceNodeAllocatable (--enforce-node-allocatable)"
    wanted = found.enforce_node_allocatable
    problems = [
        f"option {quote(option)} specified for {name}. Valid options are {', '.join(map(quote, _ENFORCEMENTS))}"
        for option in wanted
        if option not in _ENFORCEMENTS
    ]
    if "none" in wanted and len(wanted) > 1:
        problems.append(f'{name} may not contain additional enforcements when "none" is specified')
    return problems


def _reserved_problems(reserved: Mapping[str, Quantity]) -> list[str]:
    problems = []
    for name, amount in reserved.items():
        if name not in ("cpu", "memory", "ephemeral-storage", "pid"):
            problems.append(f"cannot reserve {quote(name)} resource")
        elif amount.nanos < 0:
            problems.append(f"resource quantity for {quote(name)} cannot be negative: {amount}")
    return problems


_FIXED: Mapping[str, Any] = {
    "address": "0.0.0.0",
    "authentication": {
        "anonymous": {"enabled": False},
        "webhook": {"cacheTTL": "2m0s", "enabled": True},
        "x509": {},
    },
    "authorization": {
        "mode": "Webhook",
        "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
    },
    "cgroupDriver": "cgroupfs",
    "cgroupsPerQOS": True,
    "configMapAndSecretChangeDetectionStrategy": "Watch",
    "containerLogMaxFiles": 5,
    "containerLogMaxSize": "10Mi",
    "containerLogMaxWorkers": 1,
    "containerLogMonitorInterval": "10s",
    "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
    "contentType": "application/vnd.kubernetes.protobuf",
    "cpuCFSQuotaPeriod": "100ms",
    "cpuManagerPolicy": "none",
    "cpuManagerReconcilePeriod": "10s",
    "enableControllerAttachDetach": True,
    "enableDebuggingHandlers": True,
    "enableServer": True,
    "eventBurst": 100,
    "eventRecordQPS": 50,
    "failCgroupV1": False,
    "failSwapOn": True,
    "featureGates": {},
    "fileCheckFrequency": "20s",
    "hairpinMode": "promiscuous-bridge",
    "httpCheckFrequency": "20s",
    "kubeAPIBurst": 100,
    "kubeAPIQPS": 50,
    "maxOpenFiles": 1_000_000,
    "memoryManagerPolicy": "None",
    "memorySwap": {},
    "nodeLeaseDurationSeconds": 40,
    "nodeStatusMaxImages": 50,
    "nodeStatusReportFrequency": "5m0s",
    "nodeStatusUpdateFrequency": "10s",
    "oomScoreAdj": -999,
    "podLogsDir": "/var/log/pods",
    "port": 10250,
    "protectKernelDefaults": False,
    "readOnlyPort": 0,
    "registerNode": True,
    "registerWithTaints": [],
    "registryBurst": 10,
    "registryPullQPS": 5,
    "resolvConf": "/etc/resolv.conf",
    "runtimeRequestTimeout": "2m0s",
    "serializeImagePulls": True,
    "shutdownGracePeriod": "0s",
    "shutdownGracePeriodCriticalPods": "0s",
    "staticPodPath": "",
    "staticPodURL": "",
    "streamingConnectionIdleTimeout": "4h0m0s",
    "syncFrequency": "1m0s",
    "topologyManagerPolicy": "none",
    "topologyManagerScope": "container",
    "volumePluginDir": "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/",
    "volumeStatsAggPeriod": "1m0s",
}
"""Fields that nothing here looks at, and their only value. Whoever begins to look makes a line of KubeletConfiguration of it."""
