"""Which pods stand behind a Service, and what of them its endpoints tell: for Endpoints and EndpointSlices alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tiphys.client.cache import View
from tiphys.client.parts import DELETION, LABELS, SPEC, STATUS
from tiphys.client.resources import PODS, SERVICES
from tiphys.client.transport import Object
from tiphys.controllers.pods import is_finished, is_ready, spec_of, status_of
from tiphys.machinery import meta

LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"
HEADLESS = "service.kubernetes.io/headless"
IPV4, IPV6 = "IPv4", "IPv6"


def has_own_endpoints(service: Object) -> bool:
    """Somebody else names the endpoints of a Service without a selector; one with an external name has none."""
    spec = spec_of(service)
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def is_headless(service: Object) -> bool:
    return spec_of(service).get("clusterIP") in (None, "", "None")


def families_of(service: Object) -> Sequence[str]:
    """IPv4, IPv6 or both, the first one first."""
    return spec_of(service).get("ipFamilies") or (IPV4,)


def selects(service: Object, pod: Object) -> bool:
    selector = spec_of(service).get("selector")
    if not selector:
        return False
    labels = meta.labels(pod)
    return all(labels.get(name) == value for name, value in selector.items())


def pods_of(service: Object, view: View) -> list[Object]:
    """By name, so that endpoints are always in one order."""
    found = [pod for pod in view.list(PODS, meta.namespace(service)) if selects(service, pod)]
    return sorted(found, key=meta.name)


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    """The Services that it stands behind."""
    services = view.list(SERVICES, meta.namespace(pod))
    return [meta.namespaced_name(service) for service in services if selects(service, pod)]


TOLD = LABELS | DELETION | SPEC | STATUS


def pod_changed(old: Object, new: Object) -> bool:
    """Whether endpoints may tell another thing of it."""
    return _told(old) != _told(new)


def _told(pod: Object) -> tuple[Any, ...]:
    spec = spec_of(pod)
    return (
        meta.labels(pod),
        meta.is_deleting(pod),
        is_finished(pod),
        is_ready(pod),
        addresses_of(pod),
        spec.get("nodeName"),
        spec.get("hostname"),
        spec.get("subdomain"),
    )


def addresses_of(pod: Object, family: str = "") -> list[str]:
    """Of one family, or all."""
    status = status_of(pod)
    found = [entry["ip"] for entry in status.get("podIPs") or ()]
    if not found and status.get("podIP"):
        found = [status["podIP"]]
    return [ip for ip in found if not family or (":" in ip) == (family == IPV6)]


def may_be_told(pod: Object) -> bool:
    """It has an address, and is not through with its work."""
    return not is_finished(pod) and bool(addresses_of(pod))


def target_port(pod: Object, port: Object) -> int | None:
    """Where in the pod a Service's port leads; None when no container has a port of that name."""
    target = port.get("targetPort", port.get("port"))
    if isinstance(target, int):
        return target
    spec = spec_of(pod)
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    for container in (*(spec.get("containers") or ()), *sidecars):
        for each in container.get("ports") or ():
            same_protocol = each.get("protocol", "TCP") == port.get("protocol", "TCP")
            if each.get("name") == target and same_protocol:
                return int(each["containerPort"])
    return None


def ports_of(service: Object, pod: Object) -> list[Object]:
    """As an EndpointSlice has them: those that the pod has, by the Service's names."""
    found = []
    for port in spec_of(service).get("ports") or ():
        number = target_port(pod, port)
        if number is not None:
            told = {
                "name": port.get("name") or "",
                "port": number,
                "protocol": port.get("protocol") or "TCP",
            }
            found.append(told | ({"appProtocol": port["appProtocol"]} if port.get("appProtocol") else {}))
    return found


def hostname_of(pod: Object, service: Object) -> str:
    """By which the pod has a DNS name below the Service's; empty when it has none."""
    spec = spec_of(pod)
    return str(spec.get("hostname") or "") if spec.get("subdomain") == meta.name(service) else ""


def target_reference(pod: Object) -> Object:
    return {"kind": "Pod", "namespace": meta.namespace(pod), "name": meta.name(pod), "uid": meta.uid(pod)}


def trigger_time(service: Object, changed: Iterable[Object], *, is_first: bool) -> str:
    """When that happened because of which endpoints are written: the Service was made, or the first of the changed pods became ready
    or ceased to be. Empty when it is not known. Upstream remembers what it saw; we look at what differs."""
    if is_first:
        return str(meta.metadata(service).get("creationTimestamp") or "")
    times = []
    for pod in changed:
        condition = meta.find_condition(meta.conditions(pod), "Ready")
        if condition is not None and condition.get("lastTransitionTime"):
            times.append(str(condition["lastTransitionTime"]))
    return min(times, default="")


def annotations_at(trigger: str, old: Object | None = None) -> dict[str, str]:
    """What else stands there stays."""
    kept = {name: value for name, value in meta.annotations(old or {}).items() if name != LAST_CHANGE}
    return {**kept, LAST_CHANGE: trigger} if trigger else kept


def with_annotations(obj: Object, annotations: Mapping[str, str]) -> Object:
    """Its metadata with these and no others."""
    metadata = {name: value for name, value in meta.metadata(obj).items() if name != "annotations"}
    return {**metadata, "annotations": dict(annotations)} if annotations else metadata
