"""EndpointSlices of Endpoints that somebody else writes, for Services without a selector: proxies and DNS look at slices only.

A slice for each set of ports and each address family, with up to 1,000 endpoints. The rules and words are upstream's
`pkg/controller/endpointslicemirroring`; whoever writes slices himself labels his Endpoints so that they are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from tiphys.client.cache import Index, View
from tiphys.client.resources import ENDPOINTS, ENDPOINTSLICES, SERVICES
from tiphys.client.transport import Object
from tiphys.controllers import service_pods as pods
from tiphys.controllers.actions import WARNING, Action, Create, Delete, Plan, RecordEvent, Update
from tiphys.controllers.endpointslice import MANAGED_BY, SERVICE_NAME, identity, ports_key
from tiphys.controllers.pods import spec_of
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

OURS = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
ENDPOINTS_LIMIT = 1000
_NAME_LIMIT = 253


def _mirrors(slice: Object) -> str:
    """Which Endpoints a slice of ours mirrors; else empty."""
    labels = meta.labels(slice)
    is_ours = labels.get(MANAGED_BY) == OURS and SERVICE_NAME in labels
    return f"{meta.namespace(slice)}/{labels[SERVICE_NAME]}" if is_ours else ""


BY_ENDPOINTS = Index("mirrored slices by endpoints", lambda slice: (_mirrors(slice),))


@frozen
class Observed:
    service: Object | None
    slices: list[Object]


@dataclass(slots=True)
class _Group:
    """Endpoints of one family that have the same ports, by what makes them the same endpoint."""

    family: str
    ports: list[Object]
    wanted: dict[str, Object] = field(default_factory=dict)


def observe(endpoints: Object, view: View) -> Observed:
    service = view.get(SERVICES, meta.name(endpoints), meta.namespace(endpoints))
    return Observed(service, _slices(meta.namespaced_name(endpoints), view))


def _slices(key: str, view: View) -> list[Object]:
    return sorted(view.by(ENDPOINTSLICES, BY_ENDPOINTS, key), key=meta.name)


def plan(endpoints: Object, observed: Observed, now: datetime) -> Plan:
    if not _is_to_be_mirrored(endpoints, observed.service):
        return Plan(tuple(map(_delete, observed.slices)))
    groups, skipped = _groups(endpoints)
    existing: dict[tuple[str, str], list[Object]] = {}
    for slice in observed.slices:
        existing.setdefault((slice["addressType"], ports_key(slice.get("ports") or ())), []).append(slice)
    create: list[Object] = []
    update: list[Object] = []
    delete: list[Object] = []
    for key, group in groups.items():
        # One slice is enough for them all.
        slices = existing.pop(key, [])
        wanted = _slice(endpoints, group, slices[0] if slices else None)
        if not slices:
            create.append(wanted)
        elif wanted != slices[0]:
            update.append(wanted)
        delete += slices[1:]
    delete += [slice for slices in existing.values() for slice in slices]
    _reuse(create, update, delete)
    return Plan(tuple(_actions(endpoints, create, update, delete, skipped=skipped)))


def _is_to_be_mirrored(endpoints: Object, service: Object | None) -> bool:
    if meta.labels(endpoints).get(SKIP) == "true" or LEADER in meta.annotations(endpoints):
        return False
    return service is not None and not spec_of(service).get("selector")


def _groups(endpoints: Object) -> tuple[dict[tuple[str, str], _Group], int]:
    """(by family and ports, how many addresses had no room)"""
    groups: dict[tuple[str, str], _Group] = {}
    skipped = 0
    for subset in endpoints.get("subsets") or ():
        ports = [_port(port) for port in subset.get("ports") or ()]
        addresses = [
            (address, is_ready)
            for kind, is_ready in (("addresses", True), ("notReadyAddresses", False))
            for address in subset.get(kind) or ()
        ]
        skipped += max(len(addresses) - ENDPOINTS_LIMIT, 0)
        for address, is_ready in addresses[:ENDPOINTS_LIMIT]:
            family = pods.IPV6 if ":" in address["ip"] else pods.IPV4
            group = groups.setdefault((family, ports_key(ports)), _Group(family, ports))
            endpoint = _endpoint(address, is_ready=is_ready)
            group.wanted.setdefault(identity(endpoint), endpoint)
    return groups, skipped


def _port(port: Object) -> Object:
    told = {"name": port.get("name") or "", "port": port["port"], "protocol": port.get("protocol") or "TCP"}
    return told | ({"appProtocol": port["appProtocol"]} if port.get("appProtocol") else {})


def _endpoint(address: Object, *, is_ready: bool) -> Object:
    told = {name: address[name] for name in ("hostname", "targetRef", "nodeName") if address.get(name)}
    return {"addresses": [address["ip"]], "conditions": {"ready": is_ready}, **told}


def _slice(endpoints: Object, group: _Group, current: Object | None) -> Object:
    name = meta.name(endpoints)
    new = {
        "namespace": meta.namespace(endpoints),
        "generateName": f"{name}-" if len(name) < _NAME_LIMIT else name,
    }
    metadata: Object = {
        **(new if current is None else meta.metadata(current)),
        "labels": {**meta.labels(endpoints), SERVICE_NAME: name, MANAGED_BY: OURS},
        "ownerReferences": [meta.controller_reference(endpoints)],
    }
    left_out = (pods.LAST_CHANGE, LAST_APPLIED)
    annotations = {key: value for key, value in meta.annotations(endpoints).items() if key not in left_out}
    slice: Object = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **(current or {})}
    wanted = list(group.wanted.values())[:ENDPOINTS_LIMIT]
    # In the order in which they stand there already, so that nothing is written for the sake of order.
    places = {identity(endpoint): number for number, endpoint in enumerate(slice.get("endpoints") or ())}
    wanted.sort(key=lambda endpoint: places.get(identity(endpoint), len(places)))
    has_same_ports = ports_key(slice.get("ports") or ()) == ports_key(group.ports)
    return {
        **slice,
        "metadata": pods.with_annotations({"metadata": metadata}, annotations),
        "addressType": group.family,
        "endpoints": wanted,
        "ports": slice["ports"] if current is not None and has_same_ports else group.ports,
    }


def _reuse(create: list[Object], update: list[Object], delete: list[Object]) -> None:
    """A slice that would be deleted takes the content of one that would be created."""
    for new in list(create):
        old = next((slice for slice in delete if slice["addressType"] == new["addressType"]), None)
        if old is not None:
            create.remove(new)
            delete.remove(old)
            metadata = {name: value for name, value in meta.metadata(new).items() if name != "generateName"}
            kept = {name: value for name, value in meta.metadata(old).items() if name != "annotations"}
            update.append({**new, "metadata": {**kept, **metadata}})


def _actions(
    endpoints: Object, create: list[Object], update: list[Object], delete: list[Object], *, skipped: int
) -> Iterable[Action]:
    if skipped and (create or update or delete):
        message = (
            f"A max of {ENDPOINTS_LIMIT} addresses can be mirrored to EndpointSlices per Endpoints subset. "
            f"{skipped} addresses were skipped"
        )
        yield RecordEvent(WARNING, "TooManyAddressesToMirror", message)
    if not meta.is_deleting(endpoints):
        yield from (Create(ENDPOINTSLICES, slice) for slice in create)
    yield from (Update(ENDPOINTSLICES, slice) for slice in update)
    yield from map(_delete, delete)


def _delete(slice: Object) -> Delete:
    return Delete(ENDPOINTSLICES, meta.name(slice), meta.namespace(slice), uid=meta.uid(slice))


def gone(key: str, view: View) -> Plan:
    return Plan(tuple(map(_delete, _slices(key, view))), reason="its Endpoints are gone")


def keys_of_slice(slice: Object, view: View) -> Iterable[str]:
    key = _mirrors(slice)
    return (key,) if key else ()


def keys_of_service(service: Object, view: View) -> Iterable[str]:
    return (meta.namespaced_name(service),)


def _selector_changed(old: Object, new: Object) -> bool:
    return bool(spec_of(old).get("selector")) != bool(spec_of(new).get("selector"))


CONTROLLER = Controller(
    name="endpointslice-mirroring-controller",
    kind=ENDPOINTS,
    observe=observe,
    plan=plan,
    gone=gone,
    watches=[
        Watch(SERVICES, keys_of_service, changed=_selector_changed),
        Watch(ENDPOINTSLICES, keys_of_slice),
    ],
    component="endpoint-slice-mirroring-controller",
)
