"""Defaults of ingresses, network policies and what goes with them (`pkg/apis/networking/v1/defaults.go`)."""

from __future__ import annotations

from tiphys.api.defaults import fill, part
from tiphys.api.resource import Object


def ingress(obj: Object) -> None:
    spec = part(obj, "spec")
    backends = [spec.get("defaultBackend")]
    for rule in spec.get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            backends.append(part(path, "backend"))
    for backend in backends:
        service = (backend or {}).get("service")
        if service is not None:
            part(service, "port")
    part(part(obj, "status"), "loadBalancer")


def ingress_class(obj: Object) -> None:
    parameters = part(obj, "spec").get("parameters")
    if parameters is not None:
        fill(parameters, scope="Cluster")


def network_policy(obj: Object) -> None:
    """Without policyTypes a policy is about what comes in; also about what goes out when it has rules for that."""
    spec = part(obj, "spec")
    part(spec, "podSelector")
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        for port in rule.get("ports") or ():
            fill(port, protocol="TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def service_cidr(obj: Object) -> None:
    part(obj, "spec")
    part(obj, "status")
