"""EndpointSlices of every Service with a selector: which pods stand behind it, up to 100 in a slice.

Endpoints with the same ports share slices, one set of slices for each address family. What changes is written into as few slices as
possible: endpoints stay in the slice in which they are, new ones fill slices that are written anyway, then one that has room, then new
slices. The rules are upstream's `k8s.io/endpointslice`; slices go with their Service, by the garbage collector.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tiphys.client.cache import BY_NODE, Index, View
from tiphys.client.resources import ENDPOINTSLICES, NODES, PODS, SERVICES
from tiphys.client.transport import Object
from tiphys.controllers import service_pods as pods
from tiphys.controllers.actions import NOTHING, WARNING, Action, Create, Delete, Plan, RecordEvent, Update
from tiphys.controllers.executor import Failure
from tiphys.controllers.pods import is_ready, spec_of
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta
from tiphys.machinery.errors import is_conflict
from tiphys.machinery.frozen import frozen

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SERVICE_NAME = "kubernetes.io/service-name"
OURS = "endpointslice-controller.k8s.io"
ENDPOINTS_LIMIT = 100
ZONE = "topology.kubernetes.io/zone"
_RESERVED = (SERVICE_NAME, MANAGED_BY, pods.HEADLESS)
_NAME_LIMIT = 253


def _service_of(slice: Object) -> str:
    """Of a slice that is ours; else empty."""
    labels = meta.labels(slice)
    is_ours = labels.get(MANAGED_BY) == OURS and SERVICE_NAME in labels
    return f"{meta.namespace(slice)}/{labels[SERVICE_NAME]}" if is_ours else ""


BY_SERVICE = Index("managed slices by service", lambda slice: (_service_of(slice),))


@frozen
class Observed:
    """`nodes`: those of the pods that are known."""

    pods: list[Object]
    slices: list[Object]
    nodes: Mapping[str, Object]


@dataclass(slots=True)
class _Group:
    """Endpoints that have the same ports, by what makes them the same endpoint."""

    ports: list[Object]
    wanted: dict[str, Object] = field(default_factory=dict)


@dataclass(slots=True)
class _Changes:
    """Slices to be written. `touched`: names of the pods whose endpoints come or change."""

    create: list[Object] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)


def observe(service: Object, view: View) -> Observed:
    if not pods.has_own_endpoints(service):
        return Observed([], [], {})
    found = pods.pods_of(service, view)
    slices = sorted(view.by(ENDPOINTSLICES, BY_SERVICE, meta.namespaced_name(service)), key=meta.name)
    names = {spec_of(pod).get("nodeName") or "" for pod in found}
    nodes = {name: view.get(NODES, name) for name in names}
    return Observed(found, slices, {name: node for name, node in nodes.items() if node is not None})


def plan(service: Object, observed: Observed, now: datetime) -> Plan:
    if not pods.has_own_endpoints(service):
        return NOTHING
    changes = _Changes()
    families = pods.families_of(service)
    for slice in observed.slices:
        if slice["addressType"] not in families:
            changes.delete.append(slice)
    for family in families:
        _plan_family(service, observed, family, changes)
    changed = [pod for pod in observed.pods if meta.name(pod) in changes.touched]
    trigger = pods.trigger_time(service, changed, is_first=not observed.slices)
    return Plan(tuple(_actions(service, changes, trigger)))


def _plan_family(service: Object, observed: Observed, family: str, changes: _Changes) -> None:
    """The slices of one address family, by what their endpoints' ports are."""
    own = _Changes()
    existing: dict[str, list[Object]] = {}
    total = 0
    for slice in observed.slices:
        if slice["addressType"] == family:
            total += 1
            if _is_owned_by(slice, service):
                existing.setdefault(ports_key(slice.get("ports") or ()), []).append(slice)
            else:
                own.delete.append(slice)
    groups = _groups(service, observed, family)
    for key, group in groups.items():
        _plan_group(service, group, existing.get(key, []), family, own)
    for key, slices in existing.items():
        if key not in groups:
            own.delete += slices
    if total == len(own.delete) and not own.create:
        # A Service always has a slice: that nobody stands behind it can be seen, too.
        placeholder = _new_slice(service, [], family)
        if len(own.delete) == 1 and _is_same(own.delete[0], placeholder):
            own.delete.clear()
        else:
            own.create.append(placeholder)
    _reuse(service, own)
    changes.create += own.create
    changes.update += own.update
    changes.delete += own.delete
    changes.touched |= own.touched


def _groups(service: Object, observed: Observed, family: str) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    publishes_all = bool(spec_of(service).get("publishNotReadyAddresses"))
    for pod in observed.pods:
        if not pods.may_be_told(pod):
            continue
        ports = pods.ports_of(service, pod)
        group = groups.setdefault(ports_key(ports), _Group(ports))
        node = observed.nodes.get(spec_of(pod).get("nodeName") or "")
        if node is None and not publishes_all:
            continue  # its node is not known (any more): when it comes, we look again
        if pods.addresses_of(pod, family):
            endpoint = _endpoint(pod, node, service, family)
            group.wanted[identity(endpoint)] = endpoint
    return groups


def _endpoint(pod: Object, node: Object | None, service: Object, family: str) -> Object:
    serving, terminating = is_ready(pod), meta.is_deleting(pod)
    ready = bool(spec_of(service).get("publishNotReadyAddresses")) or (serving and not terminating)
    endpoint: Object = {
        "addresses": pods.addresses_of(pod, family),
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": pods.target_reference(pod),
    }
    hostname, zone = pods.hostname_of(pod, service), meta.labels(node or {}).get(ZONE)
    if hostname:
        endpoint["hostname"] = hostname
    if spec_of(pod).get("nodeName"):
        endpoint["nodeName"] = spec_of(pod)["nodeName"]
    if zone:
        endpoint["zone"] = zone
    hints = _hints(service, endpoint)
    return {**endpoint, "hints": hints} if hints else endpoint


def _hints(service: Object, endpoint: Object) -> Object:
    """Who shall use it rather than others (KEP-4444, KEP-3015); nobody, as long as it is not ready."""
    wish = spec_of(service).get("trafficDistribution") if endpoint["conditions"]["ready"] else None
    hints: Object = {}
    if wish == "PreferSameNode" and "nodeName" in endpoint:
        hints["forNodes"] = [{"name": endpoint["nodeName"]}]
    if wish in ("PreferSameNode", "PreferSameZone", "PreferClose") and "zone" in endpoint:
        hints["forZones"] = [{"name": endpoint["zone"]}]
    return hints


def _plan_group(
    service: Object, group: _Group, existing: list[Object], family: str, changes: _Changes
) -> None:
    """Endpoints of one set of ports into the slices that there are, and new ones."""
    missing = dict(group.wanted)
    written: list[Object] = []
    unchanged: list[Object] = []
    for slice in existing:
        kept, touched = [], set()
        for endpoint in slice.get("endpoints") or ():
            wanted = missing.pop(identity(endpoint), None)
            if wanted is not None:
                kept.append(wanted)
                if wanted != endpoint:
                    touched.add(wanted["targetRef"]["name"])
        changes.touched |= touched
        is_shorter = len(kept) != len(slice.get("endpoints") or ())
        if is_shorter and not kept:
            changes.delete.append(slice)
        elif touched or is_shorter or _labels(service) != dict(meta.labels(slice)):
            written.append(_changed(slice, service, kept))
        else:
            unchanged.append(slice)
    changes.touched |= {endpoint["targetRef"]["name"] for endpoint in missing.values()}
    left = list(missing.values())
    for slice in sorted(written, key=lambda each: -len(each["endpoints"])):
        left = _fill(slice, left)
    while left:
        room = _with_room(unchanged, len(left)) if len(left) < ENDPOINTS_LIMIT else None
        if room is None:
            slice = _new_slice(service, group.ports, family)
            changes.create.append(slice)
        else:
            unchanged.remove(room)
            slice = _changed(room, service, list(room.get("endpoints") or ()))
            written.append(slice)
        left = _fill(slice, left)
    changes.update += written


def _fill(slice: Object, endpoints: list[Object]) -> list[Object]:
    """What has no room in it any more."""
    room = ENDPOINTS_LIMIT - len(slice["endpoints"])
    slice["endpoints"] += endpoints[:room]
    return endpoints[room:]


def _with_room(slices: list[Object], number: int) -> Object | None:
    """The slice that is fullest afterwards, if they all go into one; an empty one would be no better than a new one."""
    sizes = [(len(slice.get("endpoints") or ()), slice) for slice in slices]
    fitting = [each for each in sizes if 0 < each[0] <= ENDPOINTS_LIMIT - number]
    return max(fitting, key=lambda each: each[0])[1] if fitting else None


def _reuse(service: Object, changes: _Changes) -> None:
    """A slice that would be deleted takes the content of one that would be created."""
    for slice in list(changes.delete):
        if not changes.create:
            return
        if _is_owned_by(slice, service):
            new = changes.create.pop()
            changes.delete.remove(slice)
            changes.update.append({**_changed(slice, service, new["endpoints"]), "ports": new["ports"]})


# Slices


def _new_slice(service: Object, ports: list[Object], family: str) -> Object:
    name = meta.name(service)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name}-" if len(name) < _NAME_LIMIT else name,
            "namespace": meta.namespace(service),
            "labels": _labels(service),
            "ownerReferences": [meta.controller_reference(service)],
        },
        "addressType": family,
        "endpoints": [],
        "ports": ports,
    }


def _changed(slice: Object, service: Object, endpoints: list[Object]) -> Object:
    metadata = {**meta.metadata(slice), "labels": _labels(service)}
    return {**slice, "metadata": metadata, "endpoints": endpoints}


def _labels(service: Object) -> dict[str, str]:
    """The Service's own, but for those that say whose slice it is."""
    own = {name: value for name, value in meta.labels(service).items() if name not in _RESERVED}
    headless = {pods.HEADLESS: ""} if pods.is_headless(service) else {}
    return {**own, **headless, SERVICE_NAME: meta.name(service), MANAGED_BY: OURS}


def _is_owned_by(slice: Object, service: Object) -> bool:
    return any(owner.get("uid") == meta.uid(service) for owner in meta.owner_references(slice))


def _is_same(slice: Object, placeholder: Object) -> bool:
    return (
        not slice.get("endpoints")
        and not slice.get("ports")
        and dict(meta.labels(slice)) == placeholder["metadata"]["labels"]
        and list(meta.owner_references(slice)) == placeholder["metadata"]["ownerReferences"]
    )


def ports_key(ports: Iterable[Object]) -> str:
    return json.dumps(sorted(json.dumps(port, sort_keys=True) for port in ports))


def identity(endpoint: Object) -> str:
    """What makes two endpoints the same one, however its condition changes."""
    target = endpoint.get("targetRef") or {}
    parts = (*endpoint["addresses"], endpoint.get("hostname"), target.get("namespace"), target.get("name"))
    return "|".join(map(str, parts))


# Writing


def _actions(service: Object, changes: _Changes, trigger: str) -> Iterable[Action]:
    if not meta.is_deleting(service):
        # Of a Service that goes, the garbage collector deletes them just now.
        for slice in changes.create:
            yield Create(ENDPOINTSLICES, _at(slice, trigger))
    for slice in changes.update:
        yield Update(ENDPOINTSLICES, _at(slice, trigger))
    for slice in changes.delete:
        yield Delete(ENDPOINTSLICES, meta.name(slice), meta.namespace(slice), uid=meta.uid(slice))


def _at(slice: Object, trigger: str) -> Object:
    return {**slice, "metadata": pods.with_annotations(slice, pods.annotations_at(trigger, slice))}


def failed(service: Object, observed: Observed, failure: Failure, now: datetime) -> Plan:
    if is_conflict(failure.error):
        return NOTHING
    where = f"{meta.namespace(service)}/{meta.name(service)}"
    match failure.action:
        case Create():
            what = f"failed to create EndpointSlice for Service {where}"
        case Update(_, obj):
            what = f"failed to update {meta.name(obj)} EndpointSlice for Service {where}"
        case _:
            name = getattr(failure.action, "name", "")
            what = f"failed to delete {name} EndpointSlice for Service {where}"
    message = f"Error updating Endpoint Slices for Service {where}: {what}: {failure.error}"
    return Plan((RecordEvent(WARNING, "FailedToUpdateEndpointSlices", message),))


# Who concerns whom


def keys_of_slice(slice: Object, view: View) -> Iterable[str]:
    key = _service_of(slice)
    return (key,) if key else ()


def keys_of_node(node: Object, view: View) -> Iterable[str]:
    return {key for pod in view.by(PODS, BY_NODE, meta.name(node)) for key in pods.keys_of_pod(pod, view)}


def _zone_changed(old: Object, new: Object) -> bool:
    return meta.labels(old).get(ZONE) != meta.labels(new).get(ZONE)


CONTROLLER = Controller(
    name="endpointslice-controller",
    kind=SERVICES,
    observe=observe,
    plan=plan,
    failed=failed,
    watches=[
        Watch(PODS, pods.keys_of_pod, changed=pods.pod_changed, parts=pods.TOLD),
        Watch(ENDPOINTSLICES, keys_of_slice),
        Watch(NODES, keys_of_node, changed=_zone_changed),
    ],
    component="endpoint-slice-controller",
)
