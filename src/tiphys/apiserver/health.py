"""/livez, /readyz and /healthz: the checks under upstream's names, and what is said when one fails.

Upstream names its checks after the work that begins with the server. Where the same work is done here, the check is about
that; a check of something that has no part of its own here is about the server having started.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tiphys.apiserver.call import Call
from tiphys.apiserver.responses import plain_error, text_response
from tiphys.machinery.metrics import STABLE, Registry
from tiphys.net.http import Response
from tiphys.store.interface import StoreError

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

Check = Callable[["APIServer"], str | None]
"""None, or what is wrong."""
ENDPOINTS = ("healthz", "livez", "readyz")
HOOK = "poststarthook/"


class HealthMetrics:
    """How the checks went, served at /metrics/slis."""

    def __init__(self, registry: Registry) -> None:
        self._last = registry.gauge(
            "kubernetes_healthcheck",
            "Result of the last run of a health check: 1 for good.",
            ("name", "type"),
            stability=STABLE,
        )
        self._total = registry.counter(
            "kubernetes_healthchecks_total",
            "Runs of health checks.",
            ("name", "type", "status"),
            stability=STABLE,
        )

    def count(self, endpoint: str, name: str, problem: str | None) -> str | None:
        """Notes a result, and gives it back."""
        self._last.set(0 if problem else 1, name, endpoint)
        self._total.inc(name, endpoint, "error" if problem else "success")
        return problem


def _well(server: APIServer) -> None:
    del server


def _store(server: APIServer) -> str | None:
    try:
        server.store.get("/health")
    except StoreError as error:
        return str(error)
    return None


def _started(server: APIServer) -> str | None:
    return None if server.started else "not finished"


def _bootstrapped(server: APIServer) -> str | None:
    return None if server.bootstrapped else "not finished"


def _consuming(server: APIServer) -> str | None:
    return None if server.upkeep is None or server.upkeep.consumed else "not finished"


def _producing(server: APIServer) -> str | None:
    return None if server.upkeep is None or server.upkeep.produced else "not finished"


def _staying(server: APIServer) -> str | None:
    return "process is shutting down" if server.shutting_down else None


_HOOKS: dict[str, Check] = {
    "start-apiserver-admission-initializer": _started,
    "generic-apiserver-start-informers": _started,
    "priority-and-fairness-config-consumer": _consuming,
    "priority-and-fairness-filter": _consuming,
    "storage-object-count-tracker-hook": _started,
    "start-apiextensions-informers": _started,
    "start-apiextensions-controllers": _started,
    "crd-informer-synced": _started,
    "start-system-namespaces-controller": _bootstrapped,
    "peer-endpoint-reconciler-controller": _started,
    "start-cluster-authentication-info-controller": _started,
    "start-kube-apiserver-identity-lease-controller": _started,
    "start-kube-apiserver-identity-lease-garbage-collector": _started,
    "storage-readiness": _started,
    "start-legacy-token-tracking-controller": _started,
    "start-service-ip-repair-controllers": _started,
    "rbac/bootstrap-roles": _bootstrapped,
    "scheduling/bootstrap-system-priority-classes": _bootstrapped,
    "priority-and-fairness-config-producer": _producing,
    "bootstrap-controller": _bootstrapped,
    "start-kubernetes-service-cidr-controller": _bootstrapped,
    "aggregator-reload-proxy-client-cert": _started,
    "start-kube-aggregator-informers": _started,
    "apiservice-status-local-available-controller": _started,
    "apiservice-status-remote-available-controller": _started,
    "apiservice-registration-controller": _started,
    "apiservice-discovery-controller": _started,
    "kube-apiserver-autoregistration": _started,
}
_OPENAPI_HOOKS: dict[str, Check] = {
    "apiservice-openapi-controller": _started,
    "apiservice-openapiv3-controller": _started,
}
_FAIRNESS_HOOKS = frozenset(
    {
        "priority-and-fairness-config-consumer",
        "priority-and-fairness-filter",
        "priority-and-fairness-config-producer",
    }
)


def _named(check: Callable[[], str | None]) -> Check:
    return lambda server: check()


def checks(server: APIServer, endpoint: str) -> dict[str, Check]:
    """The checks of an endpoint by name, in the order in which they are made."""
    found: dict[str, Check] = {"ping": _well, "log": _well}
    if endpoint == "livez":
        found["loopback-serving-certificate"] = _well  # clients in this process need none that could expire
    found["etcd"] = _store
    if endpoint == "readyz":
        found["etcd-readiness"] = _store
        found["informer-sync"] = _started
    if server.encryption is not None:
        found.update({name: _named(check) for name, check in server.encryption.health().items()})
    hooks = _HOOKS
    if server.upkeep is None:
        hooks = {name: check for name, check in _HOOKS.items() if name not in _FAIRNESS_HOOKS}
    found.update({HOOK + name: check for name, check in hooks.items()})
    found["autoregister-completion"] = lambda server: server.aggregator.registration.problem()
    found.update({HOOK + name: check for name, check in _OPENAPI_HOOKS.items()})
    if endpoint == "readyz":
        found["shutdown"] = _staying
    return found


def paths(server: APIServer) -> list[str]:
    """Every path that is served here."""
    return [
        path
        for endpoint in ENDPOINTS
        for path in (f"/{endpoint}", *(f"/{endpoint}/{name}" for name in checks(server, endpoint)))
    ]


def serve_health(call: Call) -> Response:
    """All checks of an endpoint but those that are excluded; what fails is only named, for everybody may ask."""
    endpoint = call.request.path.strip("/")
    query = call.request.query
    excluded = dict.fromkeys(query.get("exclude", ()))
    lines, failed = [], False
    metrics = call.server.health_metrics
    for name, check in checks(call.server, endpoint).items():
        if name in excluded:
            del excluded[name]
            lines.append(f"[+]{name} excluded: ok")
        elif metrics.count(endpoint, name, check(call.server)) is None:
            lines.append(f"[+]{name} ok")
        else:
            failed = True
            lines.append(f"[-]{name} failed: reason withheld")
    if excluded:
        unknown = ",".join(f'"{name}"' for name in sorted(excluded))
        lines.append(f"warn: some health checks cannot be excluded: no matches for {unknown}")
    if failed:
        return plain_error("\n".join([*lines, f"{endpoint} check failed"]), 500)
    verbose = "verbose" in query
    answer = text_response("\n".join([*lines, f"{endpoint} check passed", ""]) if verbose else "ok")
    answer.headers.append(("x-content-type-options", "nosniff"))
    return answer


def serve_check(call: Call, name: str) -> Response:
    """One check, with what is wrong."""
    endpoint = call.request.path.strip("/").split("/")[0]
    check = checks(call.server, endpoint).get(name)
    if check is None:
        return plain_error("404 page not found", 404)
    problem = call.server.health_metrics.count(endpoint, name, check(call.server))
    return text_response("ok") if problem is None else plain_error(f"internal server error: {problem}", 500)
