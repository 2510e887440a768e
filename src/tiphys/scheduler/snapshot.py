"""What the scheduler knows of nodes and the pods on them, kept up to date by small changes.

Numbers are plain integers: cpu in millicores, everything else in its own unit (bytes, pods, devices). A NodeInfo is all that a
plugin may look at; plugins are given a whole list of them at once, so that a loop over nodes can become an array operation
inside the plugin without anybody else noticing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tiphys.api.core.pod_resources import pod_requests
from tiphys.api.core.taints import toleration_of
from tiphys.client.transport import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import Quantity, parse
from tiphys.machinery.selectors import NodeSelector

Amounts = dict[str, int]

# What a container that asks for nothing is taken to use when nodes are scored: else all such pods would land on one node.
UNSTATED_CPU = 100
UNSTATED_MEMORY = 200 * 1024 * 1024


def amount(name: str, quantity: Quantity) -> int:
    return quantity.milli if name == "cpu" else quantity.value


@frozen
class HostPort:
    """A port on the node's own addresses; `ip` "0.0.0.0" is all of them."""

    ip: str
    protocol: str
    port: int

    def conflicts_with(self, other: HostPort) -> bool:
        if (self.protocol, self.port) != (other.protocol, other.port):
            return False
        return "0.0.0.0" in (self.ip, other.ip) or self.ip == other.ip


@dataclass(frozen=True)
class PodInfo:
    """A pod with what scheduling needs of it, worked out once."""

    obj: Object

    @cached_property
    def uid(self) -> str:
        return meta.uid(self.obj)

    @cached_property
    def key(self) -> str:
        return meta.namespaced_name(self.obj)

    @property
    def spec(self) -> dict[str, Any]:
        return self.obj.get("spec") or {}

    @property
    def node_name(self) -> str:
        return self.spec.get("nodeName") or ""

    @property
    def priority(self) -> int:
        return self.spec.get("priority") or 0

    @property
    def tolerations(self) -> list[dict[str, Any]]:
        return self.spec.get("tolerations") or []

    @cached_property
    def requests(self) -> Amounts:
        return {name: amount(name, quantity) for name, quantity in pod_requests(self.spec).items()}

    @cached_property
    def scored_requests(self) -> tuple[int, int]:
        """(cpu, memory) with a guess for each container that states nothing."""
        cpu, memory = self.requests.get("cpu", 0), self.requests.get("memory", 0)
        pod_level = (self.spec.get("resources") or {}).get("requests") or {}
        for container in self.spec.get("containers") or ():
            stated = (container.get("resources") or {}).get("requests") or {}
            cpu += 0 if "cpu" in stated or "cpu" in pod_level else UNSTATED_CPU
            memory += 0 if "memory" in stated or "memory" in pod_level else UNSTATED_MEMORY
        return cpu, memory

    @cached_property
    def host_ports(self) -> tuple[HostPort, ...]:
        sidecars = (c for c in self.spec.get("initContainers") or () if c.get("restartPolicy") == "Always")
        return tuple(
            HostPort(port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
            for container in (*(self.spec.get("containers") or ()), *sidecars)
            for port in container.get("ports") or ()
            if port.get("hostPort")
        )

    @cached_property
    def images(self) -> tuple[str, ...]:
        containers = (*(self.spec.get("initContainers") or ()), *(self.spec.get("containers") or ()))
        return tuple(normalized_image(container.get("image") or "") for container in containers)

    @cached_property
    def required_nodes(self) -> NodeSelector | None:
        """The required node affinity; None: no such rule."""
        required = self._node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        return NodeSelector(required) if required is not None else None

    @cached_property
    def preferred_nodes(self) -> tuple[tuple[int, NodeSelector], ...]:
        """(weight, preference); an empty preference matches no node."""
        preferred = self._node_affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        return tuple(
            (term.get("weight", 0), NodeSelector({"nodeSelectorTerms": [term.get("preference") or {}]}))
            for term in preferred
        )

    @property
    def _node_affinity(self) -> dict[str, Any]:
        return (self.spec.get("affinity") or {}).get("nodeAffinity") or {}

    def tolerates(self, taint: Mapping[str, Any]) -> bool:
        return toleration_of(self.tolerations, taint) is not None


def normalized_image(name: str) -> str:
    """With the tag that is meant when there is none."""
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"


@dataclass
class NodeInfo:
    """A node and the sums over its pods. `obj` None: pods are known that name it, the node itself is not (yet)."""

    name: str
    obj: Object | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, Any], ...] = ()
    unschedulable: bool = False
    allocatable: Amounts = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    pods: dict[str, PodInfo] = field(default_factory=dict)
    requested: Counter[str] = field(default_factory=Counter)
    scored_cpu: int = 0
    scored_memory: int = 0

    def set_node(self, obj: Object) -> None:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        self.obj = obj
        self.labels = meta.labels(obj)
        self.taints = tuple(spec.get("taints") or ())
        self.unschedulable = bool(spec.get("unschedulable"))
        allocatable = status.get("allocatable") or {}
        self.allocatable = {name: amount(name, parse(text)) for name, text in allocatable.items()}
        self.images = {
            normalized_image(name): image.get("sizeBytes", 0)
            for image in status.get("images") or ()
            for name in image.get("names") or ()
        }

    def add(self, pod: PodInfo) -> None:
        self.pods[pod.uid] = pod
        self._count(pod, 1)

    def remove(self, uid: str) -> None:
        pod = self.pods.pop(uid, None)
        if pod is not None:
            self._count(pod, -1)

    def _count(self, pod: PodInfo, sign: int) -> None:
        for name, number in pod.requests.items():
            self.requested[name] += sign * number
        cpu, memory = pod.scored_requests
        self.scored_cpu += sign * cpu
        self.scored_memory += sign * memory


class Snapshot:
    """All nodes by name. Pods are placed by uid: placing one again moves it, which makes assuming and confirming one thing."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeInfo] = {}
        self._places: dict[str, str] = {}

    def nodes(self) -> list[NodeInfo]:
        """The nodes that exist, in the order in which they came."""
        return [node for node in self._nodes.values() if node.obj is not None]

    def node(self, name: str) -> NodeInfo | None:
        return self._nodes.get(name)

    def set_node(self, obj: Object) -> None:
        self._node(meta.name(obj)).set_node(obj)

    def remove_node(self, name: str) -> None:
        node = self._nodes.get(name)
        if node is None:
            return
        node.obj = None
        if not node.pods:
            del self._nodes[name]

    def place(self, pod: PodInfo, node_name: str) -> None:
        self.remove_pod(pod.uid)
        self._places[pod.uid] = node_name
        self._node(node_name).add(pod)

    def remove_pod(self, uid: str) -> None:
        name = self._places.pop(uid, None)
        if name is None:
            return
        node = self._nodes[name]
        node.remove(uid)
        if node.obj is None and not node.pods:
            del self._nodes[name]

    def place_of(self, uid: str) -> str | None:
        return self._places.get(uid)

    def _node(self, name: str) -> NodeInfo:
        if name not in self._nodes:
            self._nodes[name] = NodeInfo(name)
        return self._nodes[name]


def build(nodes: Iterable[Object], pods: Iterable[Object]) -> Snapshot:
    """A snapshot of objects: for tests and for what-if questions."""
    snapshot = Snapshot()
    for node in nodes:
        snapshot.set_node(node)
    for pod in pods:
        info = PodInfo(pod)
        if info.node_name:
            snapshot.place(info, info.node_name)
    return snapshot
