"""One device plugin, over gRPC on its own socket: what it has, and what containers need that use it. Made when it registers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tiphys.kubelet.devices.inventory import HEALTHY, Device, Grant
from tiphys.kubelet.runtimes.cri import wire
from tiphys.machinery.frozen import frozen
from tiphys.net.grpc_messages import FILE, pool_of

MESSAGES = Path(__file__).parent / FILE
ALLOCATE_SECONDS = 60.0
PRE_START_SECONDS = 30.0


@frozen
class Options:
    pre_start_required: bool = False
    has_preferences: bool = False


class Plugin:
    """`close` it. Calls raise RuntimeFailure."""

    def __init__(self, resource: str, socket: Path, options: Options) -> None:
        self.resource = resource
        self.options = options
        self._channel = wire.open_channel(str(socket))
        self._service = wire.Service(self._channel, "v1beta1.DevicePlugin", pool=pool_of(MESSAGES))

    async def close(self) -> None:
        await self._channel.close()

    async def devices(self) -> AsyncIterator[list[Device]]:
        """All of them, whenever something of them has changed; ends with the plugin."""
        async for answer in self._service.stream("ListAndWatch"):
            yield [
                Device(
                    device.ID,
                    is_healthy=device.health == HEALTHY,
                    nodes=tuple(node.ID for node in device.topology.nodes),
                )
                for device in answer.devices
            ]

    async def preferred(self, available: Sequence[str], must: Sequence[str], count: int) -> list[str]:
        request = {
            "available_deviceIDs": available,
            "must_include_deviceIDs": must,
            "allocation_size": count,
        }
        answer = await self._service.call(
            "GetPreferredAllocation", timeout_seconds=ALLOCATE_SECONDS, container_requests=[request]
        )
        return [id for response in answer.container_responses[:1] for id in response.deviceIDs]

    async def allocate(self, ids: Sequence[str]) -> Grant:
        answer = await self._service.call(
            "Allocate", timeout_seconds=ALLOCATE_SECONDS, container_requests=[{"devices_ids": ids}]
        )
        if not answer.container_responses:
            return Grant(tuple(ids))
        response = answer.container_responses[0]
        return Grant(
            tuple(ids),
            dict(response.envs),
            dict(response.annotations),
            tuple((mount.container_path, mount.host_path, mount.read_only) for mount in response.mounts),
            tuple(
                (device.container_path, device.host_path, device.permissions) for device in response.devices
            ),
        )

    async def pre_start(self, ids: Sequence[str]) -> None:
        await self._service.call("PreStartContainer", timeout_seconds=PRE_START_SECONDS, devices_ids=ids)
