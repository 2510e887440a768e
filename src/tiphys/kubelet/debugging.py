"""What a kubelet tells of its process: /statusz and /flagz; and /debug/flags/v, which makes its log say more, or less.

Profiles (/debug/pprof) are not there: upstream's are those of its Go runtime.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from tiphys.kubelet.access import Refusal
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.node import KUBELET_VERSION
from tiphys.machinery import zpages
from tiphys.machinery.clock import Clock
from tiphys.net.http import Request, Response

COMPONENT = "kubelet"
VERBOSE = 4
"""From this verbosity on all is told that there is to tell."""
_PATHS = ("/configz", "/flagz", "/healthz", "/metrics", "/statusz")
_TEXT = [("content-type", "text/plain; charset=utf-8")]
_JSON = [("content-type", "application/json")]
_FLAGS: Mapping[str, str] = {
    "address": "address",
    "allowed-unsafe-sysctls": "allowedUnsafeSysctls",
    "anonymous-auth": "authentication.anonymous.enabled",
    "authentication-token-webhook": "authentication.webhook.enabled",
    "authentication-token-webhook-cache-ttl": "authentication.webhook.cacheTTL",
    "authorization-mode": "authorization.mode",
    "authorization-webhook-cache-authorized-ttl": "authorization.webhook.cacheAuthorizedTTL",
    "authorization-webhook-cache-unauthorized-ttl": "authorization.webhook.cacheUnauthorizedTTL",
    "cgroup-driver": "cgroupDriver",
    "cgroups-per-qos": "cgroupsPerQOS",
    "container-log-max-files": "containerLogMaxFiles",
    "container-log-max-size": "containerLogMaxSize",
    "container-runtime-endpoint": "containerRuntimeEndpoint",
    "cpu-cfs-quota": "cpuCFSQuota",
    "cpu-manager-policy": "cpuManagerPolicy",
    "enforce-node-allocatable": "enforceNodeAllocatable",
    "eviction-hard": "evictionHard",
    "eviction-max-pod-grace-period": "evictionMaxPodGracePeriod",
    "eviction-minimum-reclaim": "evictionMinimumReclaim",
    "eviction-pressure-transition-period": "evictionPressureTransitionPeriod",
    "eviction-soft": "evictionSoft",
    "eviction-soft-grace-period": "evictionSoftGracePeriod",
    "fail-swap-on": "failSwapOn",
    "file-check-frequency": "fileCheckFrequency",
    "http-check-frequency": "httpCheckFrequency",
    "image-gc-high-threshold": "imageGCHighThresholdPercent",
    "image-gc-low-threshold": "imageGCLowThresholdPercent",
    "kube-api-burst": "kubeAPIBurst",
    "kube-api-qps": "kubeAPIQPS",
    "kube-reserved": "kubeReserved",
    "max-pods": "maxPods",
    "memory-manager-policy": "memoryManagerPolicy",
    "node-status-max-images": "nodeStatusMaxImages",
    "node-status-update-frequency": "nodeStatusUpdateFrequency",
    "pod-manifest-path": "staticPodPath",
    "pod-max-pids": "podPidsLimit",
    "pods-per-core": "podsPerCore",
    "port": "port",
    "protect-kernel-defaults": "protectKernelDefaults",
    "read-only-port": "readOnlyPort",
    "registry-burst": "registryBurst",
    "registry-qps": "registryPullQPS",
    "resolv-conf": "resolvConf",
    "rotate-certificates": "rotateCertificates",
    "rotate-server-certificates": "serverTLSBootstrap",
    "runtime-request-timeout": "runtimeRequestTimeout",
    "seccomp-default": "seccompDefault",
    "serialize-image-pulls": "serializeImagePulls",
    "streaming-connection-idle-timeout": "streamingConnectionIdleTimeout",
    "sync-frequency": "syncFrequency",
    "system-reserved": "systemReserved",
    "topology-manager-policy": "topologyManagerPolicy",
    "topology-manager-scope": "topologyManagerScope",
    "volume-stats-agg-period": "volumeStatsAggPeriod",
}
"""Flags of upstream's kubelet, and the setting that each is."""


class DebuggingPages:
    """`flags`: those that are no setting; `pages` is for the process's KubeletServer."""

    def __init__(
        self, configuration: KubeletConfiguration, clock: Clock, flags: Mapping[str, str] | None = None
    ) -> None:
        self._configuration = configuration
        self._clock = clock
        self._flags = flags or {}
        self._facts = zpages.Facts(
            clock.now(),
            f"python{sys.version_info.major}.{sys.version_info.minor}",
            KUBELET_VERSION.removeprefix("v"),
            ".".join(KUBELET_VERSION.removeprefix("v").split(".")[:2]),
            _PATHS,
        )
        self.pages = {"statusz": self._statusz, "flagz": self._flagz, "debug": self._debug}

    async def _statusz(self, request: Request) -> Response:
        version = _version(request, "/statusz", "Statusz")
        return _answer(zpages.statusz(COMPONENT, self._facts, self._clock.now(), version))

    async def _flagz(self, request: Request) -> Response:
        version = _version(request, "/flagz", "Flagz")
        return _answer(zpages.flagz(COMPONENT, self.flags(), version))

    def flags(self) -> dict[str, str]:
        settings = self._configuration.document()
        found = {name: _text(_part(settings, path)) for name, path in _FLAGS.items()}
        return {**found, **self._flags, "v": _verbosity()}

    async def _debug(self, request: Request) -> Response:
        if request.path != "/debug/flags/v":
            raise Refusal(404, "404 page not found\n")
        if request.method != "PUT":
            raise Refusal(406, "unsupported http method")
        said = request.body.decode(errors="replace")
        try:
            verbosity = int(said)
        except ValueError:
            why = f'strconv.ParseInt: parsing "{said}": invalid syntax'
            raise Refusal(400, f"failed set klog.logging.verbosity {said}: {why}") from None
        logging.getLogger().setLevel(logging.DEBUG if verbosity >= VERBOSE else logging.INFO)
        return Response(200, _TEXT, f"successfully set klog.logging.verbosity to {said}".encode())


def _version(request: Request, path: str, kind: str) -> str:
    if request.path != path:
        raise Refusal(404, "404 page not found\n")
    if request.method != "GET":
        raise Refusal(405, "405: Method Not Allowed", (("Allow", "GET"),))
    version = zpages.wanted_version(request.headers.get("accept", ""), kind)
    if version is None:
        accepted = ", ".join(zpages.MEDIA_TYPES)
        raise Refusal(406, f"only the following media types are accepted: {accepted}")
    return version


def _answer(page: zpages.Page) -> Response:
    if isinstance(page, str):
        return Response(200, _TEXT, page.encode())
    return Response(200, _JSON, orjson.dumps(page))


def _part(settings: Mapping[str, Any], path: str) -> Any:
    found: Any = settings
    for name in path.split("."):
        found = found.get(name)
    return found


def _text(value: Any) -> str:
    """As flags are written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    if isinstance(value, dict):
        return ",".join(f"{name}={part}" for name, part in sorted(value.items()))
    return "" if value is None else str(value)


def _verbosity() -> str:
    return str(VERBOSE if logging.getLogger().isEnabledFor(logging.DEBUG) else 0)
