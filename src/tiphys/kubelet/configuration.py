"""The kubelet's own settings: a KubeletConfiguration of kubelet.config.k8s.io/v1beta1, by upstream's names and with its defaults.

`tiphys up --kubelet-config FILE` reads and checks it; every kubelet of the cluster is given the object. A setting is one line of the
class: where it is kept, its name in the file, its default, how it is read. What upstream has and nobody here looks at stands in
`_FIXED`: such a field is taken with its default and refused with another value, so that nobody believes that something is
switched that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, field, fields
from pathlib import Path
from typing import Any

from tiphys.kubelet.access import AccessSettings
from tiphys.kubelet.eviction.thresholds import DEFAULT_HARD, BadThreshold, Threshold, thresholds
from tiphys.kubelet.images.pull_records import POLICIES, Verification
from tiphys.kubelet.log_rotation import RotationPolicy
from tiphys.kubelet.pulling import PullLimits, pull_problems
from tiphys.kubelet.sysctls import pattern_problem
from tiphys.machinery import yaml
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import BINARY_SI, Quantity, from_value
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


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong("a string")
    return value


def _texts(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _Wrong("a map of strings")
    return value


def _headers(value: Any) -> Mapping[str, Sequence[str]]:
    if not isinstance(value, dict):
        raise _Wrong("a map of lists of strings")
    return {name: _words(values) for name, values in value.items()}


def _quantities(value: Any) -> Mapping[str, Quantity]:
    try:
        return {name: parse_quantity(amount) for name, amount in _texts(value).items()}
    except _Wrong:
        raise
    except ValueError:
        raise _Wrong("a map of quantities") from None


def _size(value: Any) -> int:
    try:
        return parse_quantity(value).value
    except (TypeError, ValueError, AttributeError):
        raise _Wrong('a quantity such as "10Mi"') from None


def _setting(name: str, default: Any, read: Callable[[Any], Any], *, zero_is_unset: bool = False) -> Any:
    """`zero_is_unset`: upstream cannot tell zero from a field that is missing, and takes the default."""
    metadata = {"name": name, "read": read, "zero_is_unset": zero_is_unset}
    return field(default=default, metadata=metadata)


def _map(name: str, read: Callable[[Any], Any], default: Mapping[str, str] | None = None) -> Any:
    return field(default_factory=lambda: default or {}, metadata={"name": name, "read": read})


AUTHENTICATION: Mapping[str, Any] = {
    "anonymous": {"enabled": False},
    "webhook": {"cacheTTL": "2m0s", "enabled": True},
    "x509": {},
}
AUTHORIZATION: Mapping[str, Any] = {
    "mode": "Webhook",
    "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
}
_CHOSEN: Mapping[str, Callable[[Any], Any]] = {
    "authentication.anonymous.enabled": _boolean,
    "authentication.webhook.cacheTTL": _seconds,
    "authorization.webhook.cacheAuthorizedTTL": _seconds,
    "authorization.webhook.cacheUnauthorizedTTL": _seconds,
}
"""What can be another than above."""


def _authentication(value: Any) -> Mapping[str, Any]:
    return _checked(value, AUTHENTICATION, "authentication")


def _authorization(value: Any) -> Mapping[str, Any]:
    return _checked(value, AUTHORIZATION, "authorization")


def _checked(value: Any, whole: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong("an object")
    for name, part in value.items():
        where = f"{path}.{name}"
        if name not in whole:
            raise _Wrong(f"without {quote(where)}")
        if part is None:
            continue
        if isinstance(whole[name], dict):
            _checked(part, whole[name], where)
        elif where in _CHOSEN:
            try:
                _CHOSEN[where](part)
            except _Wrong as wrong:
                raise _Wrong(f"an object whose {where} is {wrong}") from None
        elif part != whole[name]:
            raise _Wrong(f"an object whose {where} is {format_value(whole[name])}")
    return value


@frozen
class KubeletConfiguration:
    """What a kubelet goes by. `KubeletConfiguration()` has the defaults."""

    # Its certificates: on as kubeadm has it, and the servers' ones too (decision 0030)
    rotate_certificates: bool = _setting("rotateCertificates", True, _boolean)
    server_tls_bootstrap: bool = _setting("serverTLSBootstrap", True, _boolean)
    # What the node offers
    max_pods: int = _setting("maxPods", 110, _integer, zero_is_unset=True)
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
        "evictionPressureTransitionPeriod", 300.0, _seconds, zero_is_unset=True
    )
    eviction_max_pod_grace_period_seconds: int = _setting("evictionMaxPodGracePeriod", 0, _integer)
    merge_default_eviction_settings: bool = _setting("mergeDefaultEvictionSettings", False, _boolean)
    # Logs
    container_log_max_size_bytes: int = _setting("containerLogMaxSize", 10 << 20, _size)
    container_log_max_files: int = _setting("containerLogMaxFiles", 5, _integer)
    container_log_monitor_interval_seconds: float = _setting("containerLogMonitorInterval", 10.0, _seconds)
    enable_system_log_handler: bool = _setting("enableSystemLogHandler", True, _boolean)
    # Who may use its API, and for how long without saying anything
    streaming_connection_idle_timeout_seconds: float = _setting(
        "streamingConnectionIdleTimeout", 4 * 3600.0, _seconds
    )
    authentication: Mapping[str, Any] = _map("authentication", _authentication)
    authorization: Mapping[str, Any] = _map("authorization", _authorization)
    # Pods that the API server did not order
    static_pod_path: str = _setting("staticPodPath", "", _word)
    static_pod_url: str = _setting("staticPodURL", "", _word)
    static_pod_url_header: Mapping[str, Sequence[str]] = _map("staticPodURLHeader", _headers)
    file_check_frequency_seconds: float = _setting("fileCheckFrequency", 20.0, _seconds, zero_is_unset=True)
    http_check_frequency_seconds: float = _setting("httpCheckFrequency", 20.0, _seconds, zero_is_unset=True)
    # How images come
    serialize_image_pulls: bool | None = _setting("serializeImagePulls", None, _boolean)
    max_parallel_image_pulls: int | None = _setting("maxParallelImagePulls", None, _integer)
    registry_pull_qps: int = _setting("registryPullQPS", 5, _integer)
    registry_burst: int = _setting("registryBurst", 10, _integer, zero_is_unset=True)
    image_pull_credentials_verification_policy: str = _setting(
        "imagePullCredentialsVerificationPolicy", POLICIES[0], _word, zero_is_unset=True
    )
    preloaded_images_verification_allowlist: tuple[str, ...] = _setting(
        "preloadedImagesVerificationAllowlist", (), _words
    )
    node_status_max_images: int = _setting("nodeStatusMaxImages", 50, _integer)
    # When images must go
    image_gc_high_threshold_percent: int = _setting("imageGCHighThresholdPercent", 85, _integer)
    image_gc_low_threshold_percent: int = _setting("imageGCLowThresholdPercent", 80, _integer)
    image_minimum_gc_age_seconds: float = _setting("imageMinimumGCAge", 120.0, _seconds, zero_is_unset=True)
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

    @property
    def rotation(self) -> RotationPolicy:
        return RotationPolicy(
            self.container_log_max_size_bytes,
            self.container_log_max_files,
            self.container_log_monitor_interval_seconds,
        )

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
        values = {row.metadata["name"]: _written(getattr(self, row.name), row) for row in fields(self)}
        values["serializeImagePulls"] = self.pull_limits.serialize_image_pulls
        for name, whole in (("authentication", AUTHENTICATION), ("authorization", AUTHORIZATION)):
            values[name] = _merged(whole, values[name])
        said = {name: value for name, value in values.items() if value is not None}
        # Whoever may read the page need not learn what gives access elsewhere.
        if said["staticPodURLHeader"]:
            said["staticPodURLHeader"] = {name: ["<masked>"] for name in self.static_pod_url_header}
        else:
            del said["staticPodURLHeader"]
        return dict(sorted({**_FIXED, **said}.items()))


def _written(value: Any, row: Field[Any]) -> Any:
    if row.metadata["read"] is _seconds:
        return format_duration(value)
    if row.metadata["read"] is _size:
        return str(from_value(value, BINARY_SI))
    if row.metadata["read"] is _quantities:
        return {name: str(amount) for name, amount in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _merged(whole: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    parts = {name: part for name, part in said.items() if part is not None}
    return {
        name: _merged(part, parts.get(name) or {}) if isinstance(part, dict) else parts.get(name, part)
        for name, part in whole.items()
    }


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
            except _Wrong as error:
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


# What upstream's validation asks, in its words.


def _problems(found: KubeletConfiguration) -> list[str]:
    problems = [
        f"{name} ({flag}) {value} must not be a negative number"
        for name, flag, value in (
            ("maxPods", "--max-pods", found.max_pods),
            ("podsPerCore", "--pods-per-core", found.pods_per_core),
            ("registryBurst", "--registry-burst", found.registry_burst),
            ("registryPullQPS", "--registry-qps", found.registry_pull_qps),
        )
        if value < 0
    ]
    if found.node_status_max_images < -1:
        name = "nodeStatusMaxImages (--node-status-max-images)"
        problems.append(f"{name} {found.node_status_max_images} must be -1 or greater")
    problems += pull_problems(found.pull_limits, found.verification)
    problems += [*_image_problems(found), *_enforcement_problems(found), *_log_problems(found)]
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


def _log_problems(found: KubeletConfiguration) -> list[str]:
    files, seconds = found.container_log_max_files, found.container_log_monitor_interval_seconds
    problems = []
    if files <= 1:
        problems.append(f"containerLogMaxFiles {files} must be greater than 1")
    if seconds < 3:
        problems.append(
            "containerLogMonitorInterval must be a positive time duration greater than or equal to 3s"
        )
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
    "cgroupDriver": "cgroupfs",
    "cgroupsPerQOS": True,
    "configMapAndSecretChangeDetectionStrategy": "Watch",
    "containerLogMaxWorkers": 1,
    "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
    "contentType": "application/vnd.kubernetes.protobuf",
    "cpuCFSQuotaPeriod": "100ms",
    "cpuManagerPolicy": "none",
    "cpuManagerReconcilePeriod": "10s",
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
    "memoryManagerPolicy": "None",
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
    "topologyManagerPolicy": "none",
    "topologyManagerScope": "container",
    "volumePluginDir": "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/",
    "volumeStatsAggPeriod": "1m0s",
}
"""Fields that nothing here looks at, and their only value. Whoever begins to look makes a line of KubeletConfiguration of it."""
