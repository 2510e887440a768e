"""What of a Service is on this node, for those who are told: load balancers that send only where it is, and metrics. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.machinery.frozen import frozen
from tiphys.proxy.backends import Object, Place, endpoints_of

INTERNAL, EXTERNAL = "internal", "external"


@frozen
class Local:
    """`health_port`: where load balancers ask, or 0. `ready_here`: addresses that are ready on this node. `lacks`: for which of its
    traffic policies that are Local there is nobody here, though somewhere else."""

    health_port: int = 0
    ready_here: int = 0
    lacks: tuple[str, ...] = ()


def local_of(service: Object, slices: Sequence[Object], place: Place) -> Local:
    spec = service["spec"]
    policies = {
        INTERNAL: spec.get("internalTrafficPolicy") == "Local",
        EXTERNAL: spec.get("externalTrafficPolicy") == "Local",
    }
    if not any(policies.values()):
        return Local()
    endpoints = [
        endpoint
        for port in spec.get("ports") or ()
        for endpoint in endpoints_of(slices, port.get("name") or "", port.get("protocol") or "TCP")
    ]
    usable = [endpoint for endpoint in endpoints if endpoint.is_ready or endpoint.serves]
    is_elsewhere_only = bool(usable) and not any(endpoint.node == place.node for endpoint in usable)
    here = {endpoint.address for endpoint in usable if endpoint.is_ready and endpoint.node == place.node}
    is_balanced = spec.get("type") == "LoadBalancer" and policies[EXTERNAL]
    return Local(
        health_port=(spec.get("healthCheckNodePort") or 0) if is_balanced else 0,
        ready_here=len(here),
        lacks=tuple(name for name, is_local in policies.items() if is_local and is_elsewhere_only),
    )
