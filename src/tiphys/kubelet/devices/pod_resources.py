"""The node's PodResources service, for monitoring agents: which containers have which devices. A chore of the kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiphys.kubelet import spec
from tiphys.kubelet.devices.inventory import Device
from tiphys.kubelet.devices.keeper import DeviceKeeper
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta

if TYPE_CHECKING:
    from tiphys.kubelet.managers.setup import ResourceManagers


class PodResources:
    """`socket`'s directory is made. `active()`: the pods of the node that are not over. `managers`: of CPUs and memory, if there are any."""

    def __init__(
        self,
        socket: Path,
        keeper: DeviceKeeper,
        active: Callable[[], Iterable[Object]],
        managers: ResourceManagers | None = None,
    ) -> None:
        self._socket = socket
        self._keeper = keeper
        self._active = active
        self._cpus = managers.cpus.static if managers and managers.cpus else None
        self._memory = managers.memory.static if managers and managers.memory else None

    async def run(self) -> None:
        """Until cancelled."""
        from tiphys.kubelet.devices.service import serve

        handlers = {"List": self._list, "GetAllocatableResources": self._allocatable, "Get": self._get}
        server = await serve(self._socket, "v1.PodResourcesLister", handlers)
        try:
            await asyncio.Event().wait()
        finally:
            await server.stop()

    def _list(self, request: Any) -> Any:
        return _message("ListPodResourcesResponse", pod_resources=[self._pod(pod) for pod in self._active()])

    def _get(self, request: Any) -> Any:
        from tiphys.kubelet.devices.service import Refused

        name, namespace = request.pod_name, request.pod_namespace
        for pod in self._active():
            if (meta.name(pod), meta.namespace(pod)) == (name, namespace):
                return _message("GetPodResourcesResponse", pod_resources=self._pod(pod))
        raise Refused(f"pod {name} in namespace {namespace} not found")

    def _allocatable(self, request: Any) -> Any:
        devices = [
            {"resource_name": resource, "device_ids": [device.id], **_topology(device)}
            for resource, device in self._keeper.inventory.healthy_devices()
        ]
        cpus = sorted(self._cpus.allocatable) if self._cpus else []
        return _message(
            "AllocatableResourcesResponse", devices=devices, cpu_ids=cpus, memory=self._all_memory()
        )

    def _pod(self, pod: Object) -> dict[str, Any]:
        containers = [*spec.sidecars(pod), *spec.containers(pod)]
        return {
            "name": meta.name(pod),
            "namespace": meta.namespace(pod),
            "containers": [
                {
                    "name": container["name"],
                    "devices": list(self._devices(meta.uid(pod), container["name"])),
                    "cpu_ids": self._own_cpus(meta.uid(pod), container["name"]),
                    "memory": self._own_memory(meta.uid(pod), container["name"]),
                }
                for container in containers
            ],
        }

    def _own_cpus(self, uid: str, container: str) -> list[int]:
        return sorted(self._cpus.exclusive(uid, container)) if self._cpus else []

    def _own_memory(self, uid: str, container: str) -> list[dict[str, Any]]:
        blocks = self._memory.blocks.get(uid, {}).get(container, ()) if self._memory else ()
        return [_memory(block.kind, block.size_bytes, block.nodes) for block in blocks]

    def _all_memory(self) -> list[dict[str, Any]]:
        return [
            _memory(kind, table["allocatable"], [int(node)])
            for node, state in (self._memory.machine() if self._memory else {}).items()
            for kind, table in state["memoryMap"].items()
        ]

    def _devices(self, uid: str, container: str) -> Iterator[dict[str, Any]]:
        for resource, grant in self._keeper.grants(uid, container).items():
            for id in grant.ids:
                device = self._keeper.inventory.device(resource, id)
                yield {"resource_name": resource, "device_ids": [id], **_topology(device)}


def _topology(device: Device | None) -> dict[str, Any]:
    if device is None or not device.nodes:
        return {}
    return {"topology": {"nodes": [{"ID": node} for node in device.nodes]}}


def _memory(kind: str, size_bytes: int, nodes: Iterable[int]) -> dict[str, Any]:
    return {"memory_type": kind, "size": size_bytes, "topology": {"nodes": [{"ID": node} for node in nodes]}}


def _message(name: str, **fields: Any) -> Any:
    from tiphys.kubelet.devices.service import message

    return message(f"v1.{name}")(**fields)
