"""Which endpoints a node sends a Service's connections to: those that are ready, near ones first where the Service or its slices say so.

Pure. The order of preference is upstream's (`pkg/proxy/topology.go`): ready endpoints; without any, those that end but still serve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tiphys.machinery.frozen import frozen

Object = dict[str, Any]
IPV4 = "IPv4"


@frozen
class Place:
    """The node whose connections are sent, and what is near it."""

    node: str
    zone: str = ""


@frozen
class Endpoint:
    """Of one port of a Service. `nodes`, `zones`: whom it is for rather than for others; None when it does not say."""

    address: str
    port: int
    node: str
    is_ready: bool
    serves: bool
    """Also while it is ending."""
    nodes: tuple[str, ...] | None = None
    zones: tuple[str, ...] | None = None


def endpoints_of(slices: Iterable[Object], port_name: str, protocol: str) -> list[Endpoint]:
    """Of the port with this name, by address, each address once."""
    found: dict[tuple[str, int], Endpoint] = {}
    for slice in slices:
        if slice.get("addressType") != IPV4:
            continue
        for port in slice.get("ports") or ():
            same = (port.get("name") or "") == port_name and (port.get("protocol") or "TCP") == protocol
            if same and port.get("port"):
                for endpoint in slice.get("endpoints") or ():
                    made = _endpoint(endpoint, port["port"])
                    known = found.get((made.address, made.port))
                    # In two slices at once, while it moves from one to the other: the better news counts.
                    if known is None or (made.is_ready and not known.is_ready):
                        found[made.address, made.port] = made
    return [found[key] for key in sorted(found)]


def _endpoint(endpoint: Object, port: int) -> Endpoint:
    conditions = endpoint.get("conditions") or {}
    is_ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    hints = endpoint.get("hints") or {}
    return Endpoint(
        address=endpoint["addresses"][0],
        port=port,
        node=endpoint.get("nodeName") or "",
        is_ready=is_ready,
        serves=bool(conditions.get("terminating")) and (is_ready if serving is None else bool(serving)),
        nodes=_names(hints.get("forNodes")),
        zones=_names(hints.get("forZones")),
    )


def _names(hints: Sequence[Object] | None) -> tuple[str, ...] | None:
    return tuple(hint["name"] for hint in hints) if hints else None


def of_the_cluster(endpoints: Sequence[Endpoint], place: Place) -> Sequence[Endpoint]:
    """Traffic policy Cluster."""
    ready = [endpoint for endpoint in endpoints if endpoint.is_ready]
    if not ready:
        return [endpoint for endpoint in endpoints if endpoint.serves]
    return (
        _hinted(ready, lambda endpoint: endpoint.nodes, place.node)
        or _hinted(ready, lambda endpoint: endpoint.zones, place.zone)
        or ready
    )


def of_the_node(endpoints: Sequence[Endpoint], place: Place) -> Sequence[Endpoint]:
    """Traffic policy Local."""
    here = [endpoint for endpoint in endpoints if endpoint.node == place.node]
    return [each for each in here if each.is_ready] or [each for each in here if each.serves]


def _hinted(
    endpoints: Sequence[Endpoint], hints: Callable[[Endpoint], tuple[str, ...] | None], name: str
) -> list[Endpoint]:
    """Hints count only if all endpoints have some: with half of them, those that have would be overrun."""
    if not name or any(hints(endpoint) is None for endpoint in endpoints):
        return []
    return [endpoint for endpoint in endpoints if name in (hints(endpoint) or ())]
