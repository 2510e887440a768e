"""Fields of a service that go together: an update that changes one of them, or its type, must not leave the others behind.

Pure parts of upstream's service strategy (`pkg/registry/core/service/strategy.go`). Addresses and node ports, and what
an update keeps of them, are the allocator's of the API server.
"""

from __future__ import annotations

from tiphys.api.core.defaults.services import externally_accessible
from tiphys.api.resource import Object

HEADLESS = "None"


def prepare(new: Object, old: Object | None) -> None:
    spec = new.setdefault("spec", {})
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]  # an old client knows the first field only
    if old is not None:
        _drop_what_the_type_leaves_behind(spec, old["spec"])


def needs_health_check(spec: Object) -> bool:
    """A load balancer that sends traffic only to nodes with local endpoints must be able to ask which those are."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def is_headless(spec: Object) -> bool:
    return spec.get("clusterIPs") == [HEADLESS]


def _drop_what_the_type_leaves_behind(new: Object, old: Object) -> None:
    """Values that the client did not touch, and that mean nothing for the service's new type."""
    if externally_accessible(old) and not externally_accessible(new):
        _drop_unchanged(new, old, "externalTrafficPolicy")
    if needs_health_check(old):
        if not needs_health_check(new):
            _drop_unchanged(new, old, "healthCheckNodePort")
        elif not new.get("healthCheckNodePort") and old.get("healthCheckNodePort"):
            new["healthCheckNodePort"] = old["healthCheckNodePort"]
    if old.get("type") == "LoadBalancer" and new.get("type") != "LoadBalancer":
        _drop_unchanged(new, old, "allocateLoadBalancerNodePorts", "loadBalancerClass")


def _drop_unchanged(new: Object, old: Object, *fields: str) -> None:
    for field in fields:
        if new.get(field) == old.get(field):
            new.pop(field, None)
