"""Defaults of services and endpoints. Cluster IPs, node ports and IP families are allocated later, not assumed here."""

from __future__ import annotations

from tiphys.api.resource import Object

CLIENT_IP_AFFINITY_SECONDS = 10800
_PROXIED_TYPES = ("ClusterIP", "NodePort", "LoadBalancer")


def service(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("type"):
        spec["type"] = "ClusterIP"
    _session_affinity(spec)
    for port in spec.get("ports") or ():
        _port(port)
    if externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if spec["type"] in _PROXIED_TYPES and spec.get("internalTrafficPolicy") is None:
        spec["internalTrafficPolicy"] = "Cluster"
    balancer = obj.setdefault("status", {}).setdefault("loadBalancer", {})
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        for ingress in balancer.get("ingress") or ():
            if ingress.get("ip"):
                ingress.setdefault("ipMode", "VIP")


def externally_accessible(spec: Object) -> bool:
    """Traffic reaches the service from outside the cluster."""
    type = spec.get("type")
    return type in ("LoadBalancer", "NodePort") or (type == "ClusterIP" and bool(spec.get("externalIPs")))


def _session_affinity(spec: Object) -> None:
    affinity = spec.get("sessionAffinity") or "None"
    spec["sessionAffinity"] = affinity
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    elif affinity == "ClientIP":
        client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        if client_ip.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": CLIENT_IP_AFFINITY_SECONDS}}


def _port(port: Object) -> None:
    if not port.get("protocol"):
        port["protocol"] = "TCP"
    if not port.get("targetPort"):
        port["targetPort"] = port.get("port", 0)


def endpoints(obj: Object) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"
