"""Endpoints of every Service with a selector: the older form of EndpointSlices, one object a Service, at most 1,000 addresses.

The rules are upstream's `pkg/controller/endpoint`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from math import ceil
from typing import Any

from tiphys.client.cache import View
from tiphys.client.resources import ENDPOINTS, PODS, SERVICES
from tiphys.client.transport import Object
from tiphys.controllers import service_pods as pods
from tiphys.controllers.actions import NOTHING, WARNING, Create, Delete, Plan, RecordEvent, Update
from tiphys.controllers.executor import Failure
from tiphys.controllers.pods import is_ready, spec_of
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta
from tiphys.machinery.errors import is_conflict
from tiphys.machinery.frozen import frozen

ADDRESSES_LIMIT = 1000
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = ("endpoints.kubernetes.io/managed-by", "endpoint-controller")


@frozen
class Observed:
    pods: list[Object]
    endpoints: Object | None


def observe(service: Object, view: View) -> Observed:
    if not pods.has_own_endpoints(service):
        return Observed([], None)
    current = view.get(ENDPOINTS, meta.name(service), meta.namespace(service))
    return Observed(pods.pods_of(service, view), current)


def plan(service: Object, observed: Observed, now: datetime) -> Plan:
    if not pods.has_own_endpoints(service):
        return NOTHING
    current = observed.endpoints
    subsets = subsets_of(service, observed.pods)
    is_cut = _count(subsets) > ADDRESSES_LIMIT
    if is_cut:
        subsets = _cut(subsets)
    labels = _labels(service)
    if current is not None and _is_as_wanted(current, subsets, labels, is_cut=is_cut):
        return NOTHING
    trigger = pods.trigger_time(service, _changed_pods(observed, subsets), is_first=current is None)
    annotations = pods.annotations_at(trigger, current)
    annotations.pop(OVER_CAPACITY, None)
    if is_cut:
        annotations[OVER_CAPACITY] = "truncated"
    metadata = {**pods.with_annotations(current or {}, annotations), "labels": labels}
    if current is None:
        metadata |= {"name": meta.name(service), "namespace": meta.namespace(service)}
    wanted = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}
    return Plan((Create(ENDPOINTS, wanted) if current is None else Update(ENDPOINTS, wanted),))


def _is_as_wanted(current: Object, subsets: list[Object], labels: Mapping[str, str], *, is_cut: bool) -> bool:
    return (
        (current.get("subsets") or []) == subsets
        and dict(meta.labels(current)) == labels
        and (meta.annotations(current).get(OVER_CAPACITY) == "truncated") == is_cut
    )


def _labels(service: Object) -> dict[str, str]:
    own = {name: value for name, value in meta.labels(service).items() if name != pods.HEADLESS}
    headless = {pods.HEADLESS: ""} if pods.is_headless(service) else {}
    return {**own, **headless, MANAGED_BY[0]: MANAGED_BY[1]}


# Subsets


def subsets_of(service: Object, found: Iterable[Object]) -> list[Object]:
    """Addresses with the same ports are one subset; subsets by their ports, addresses in the order of their texts."""
    subsets: dict[str, Object] = {}
    publishes_all = bool(spec_of(service).get("publishNotReadyAddresses"))
    for pod in found:
        if not pods.may_be_told(pod) or (meta.is_deleting(pod) and not publishes_all):
            continue
        address, ports = _address(pod, service), [_port(port) for port in pods.ports_of(service, pod)]
        has_none = not spec_of(service).get("ports") and pods.is_headless(service)
        if address is None or not (ports or has_none):
            continue
        subset = subsets.setdefault(json.dumps(ports), {"ports": ports})
        kind = "addresses" if publishes_all or is_ready(pod) else "notReadyAddresses"
        subset.setdefault(kind, []).append(address)
    return [_tidy(subset) for _, subset in sorted(subsets.items())]


def _tidy(subset: Object) -> Object:
    """Fields as the API has them: what is empty is not there."""
    tidy: Object = {}
    for kind in ("addresses", "notReadyAddresses"):
        if subset.get(kind):
            tidy[kind] = sorted(subset[kind], key=lambda each: (each["ip"], each["targetRef"]["uid"]))
    return {**tidy, "ports": subset["ports"]} if subset["ports"] else tidy


def _address(pod: Object, service: Object) -> Object | None:
    addresses = pods.addresses_of(pod, pods.families_of(service)[0])
    if not addresses:
        return None
    told: Object = {"ip": addresses[0]}
    hostname = pods.hostname_of(pod, service)
    if hostname:
        told["hostname"] = hostname
    if spec_of(pod).get("nodeName"):
        told["nodeName"] = spec_of(pod)["nodeName"]
    return {**told, "targetRef": pods.target_reference(pod)}


def _port(port: Object) -> Object:
    """A port without a name has no field for it here."""
    return {name: value for name, value in port.items() if value != ""}


def _count(subsets: Iterable[Object]) -> int:
    return sum(
        len(subset.get(kind) or ()) for subset in subsets for kind in ("addresses", "notReadyAddresses")
    )


def _cut(subsets: list[Object]) -> list[Object]:
    """As many as there may be: ready ones first, of each subset as large a share as it has of all."""
    ready = sum(len(subset.get("addresses") or ()) for subset in subsets)
    if ready > ADDRESSES_LIMIT:
        kind, room = "addresses", ADDRESSES_LIMIT
    else:
        kind, room = "notReadyAddresses", ADDRESSES_LIMIT - ready
    total = sum(len(subset.get(kind) or ()) for subset in subsets)
    left = room
    cut = []
    for subset in subsets:
        addresses = subset.get(kind) or []
        kept = addresses[: min(ceil(len(addresses) / total * room), left)]
        left -= len(kept)
        changed = {**subset, kind: kept}
        if kind == "addresses":
            changed["notReadyAddresses"] = []
        cut.append({name: value for name, value in changed.items() if value})
    return cut


def _changed_pods(observed: Observed, subsets: list[Object]) -> list[Object]:
    """Those of which another thing is told than before."""
    told, before = _by_pod(subsets), _by_pod((observed.endpoints or {}).get("subsets") or ())
    changed = {name for name, value in told.items() if before.get(name) != value}
    return [pod for pod in observed.pods if meta.name(pod) in changed]


def _by_pod(subsets: Iterable[Object]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for subset in subsets:
        for kind in ("addresses", "notReadyAddresses"):
            for address in subset.get(kind) or ():
                name = (address.get("targetRef") or {}).get("name", "")
                found.setdefault(name, []).append((kind, address, subset.get("ports")))
    return found


# The end, and failures


def gone(key: str, view: View) -> Plan:
    """Endpoints have no owner: they go with their Service here, whoever wrote them."""
    namespace, _, name = key.partition("/")
    current = view.get(ENDPOINTS, name, namespace)
    if current is None:
        return NOTHING
    return Plan((Delete(ENDPOINTS, name, namespace, uid=meta.uid(current)),), reason="its Service is gone")


def failed(service: Object, observed: Observed, failure: Failure, now: datetime) -> Plan:
    if is_conflict(failure.error):
        return NOTHING
    name, namespace = meta.name(service), meta.namespace(service)
    match failure.action:
        case Create(_, obj):
            reason, what = "FailedToCreateEndpoint", "create endpoint for service"
        case Update(_, obj):
            reason, what = "FailedToUpdateEndpoint", "update endpoint"
        case _:
            return NOTHING
    message = f"Failed to {what} {namespace}/{name}: {failure.error}"
    return Plan((RecordEvent(WARNING, reason, message, regarding=obj),))


def keys_of_endpoints(endpoints: Object, view: View) -> Iterable[str]:
    """Ours are mended, and removed when the Service went while nobody looked; others are missed when they are gone."""
    label, value = MANAGED_BY
    is_gone = view.get(ENDPOINTS, meta.name(endpoints), meta.namespace(endpoints)) is None
    is_ours = meta.labels(endpoints).get(label) == value
    return (meta.namespaced_name(endpoints),) if is_gone or is_ours else ()


CONTROLLER = Controller(
    name="endpoints-controller",
    kind=SERVICES,
    observe=observe,
    plan=plan,
    failed=failed,
    gone=gone,
    watches=[
        Watch(PODS, pods.keys_of_pod, changed=pods.pod_changed, parts=pods.TOLD),
        Watch(ENDPOINTS, keys_of_endpoints),
    ],
    component="endpoint-controller",
)
