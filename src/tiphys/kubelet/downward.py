"""The downward API: fields of a pod and resources of its containers as texts, for environments and volumes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from tiphys.kubelet import spec
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import Quantity, parse
from tiphys.machinery.quoting import quote

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


@frozen
class Surroundings:
    """What a pod can be told besides its own object: the node's name and addresses, its own addresses, what the node can give."""

    node: str
    host_ips: Sequence[str]
    pod_ips: Sequence[str]
    allocatable: Mapping[str, Quantity]


class UnknownField(ValueError):
    """No such field, or no such container; the message is fit for an event."""


def field_value(pod: Object, path: str, around: Surroundings) -> str:
    """The value of a fieldRef. Raises UnknownField."""
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        return str((meta.metadata(pod).get(subscript[1]) or {}).get(subscript[2], ""))
    values: dict[str, Callable[[], str]] = {
        "metadata.name": lambda: meta.name(pod),
        "metadata.namespace": lambda: meta.namespace(pod),
        "metadata.uid": lambda: meta.uid(pod),
        "metadata.labels": lambda: _lines(meta.labels(pod)),
        "metadata.annotations": lambda: _lines(meta.annotations(pod)),
        "spec.nodeName": lambda: around.node,
        "spec.serviceAccountName": lambda: pod["spec"].get("serviceAccountName") or "",
        "status.hostIP": lambda: next(iter(around.host_ips), ""),
        "status.hostIPs": lambda: ",".join(around.host_ips),
        "status.podIP": lambda: next(iter(around.pod_ips), ""),
        "status.podIPs": lambda: ",".join(around.pod_ips),
    }
    if path not in values:
        raise UnknownField(f"unsupported fieldPath: {path}")
    return values[path]()


def _lines(entries: Mapping[str, str]) -> str:
    """`key="value"` a line, sorted, quoted as Go quotes."""
    return "\n".join(f"{key}={quote(entries[key])}" for key in sorted(entries))


def resource_value(pod: Object, container: Object | None, reference: Object, around: Surroundings) -> str:
    """The value of a resourceFieldRef; a limit that is not set is what the node can give. Raises UnknownField."""
    name = reference.get("containerName")
    found = spec.find_container(pod, name) if name else container
    if found is None:
        raise UnknownField(f"container {name} not found")
    kind, _, resource = reference["resource"].partition(".")
    amounts = (found.get("resources") or {}).get(kind) or {}
    amount = parse(amounts[resource]) if resource in amounts else _default(kind, resource, around)
    divisor = parse(reference.get("divisor") or "1")
    nanos = divisor.nanos or 10**9
    return str(-(-amount.nanos // nanos))


def _default(kind: str, resource: str, around: Surroundings) -> Quantity:
    if kind == "limits" and resource in around.allocatable:
        return around.allocatable[resource]
    return Quantity(0)
