"""A device plugin as a vendor would write it: its own gRPC server, which registers with the kubelet's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from tiphys.kubelet.devices.service import message
from tiphys.kubelet.runtimes.interface import RuntimeFailure

DEVICE = "/dev/null"


class FakePlugin:
    """`directory`: of the kubelet's sockets. Each device is /dev/null under the name of its id."""

    def __init__(self, directory: Path, resource: str = "example.com/toy", **options: bool) -> None:
        self._directory = directory
        self._resource = resource
        self._options = options
        self._endpoint = f"{resource.replace('/', '-')}.sock"
        self._healthy: dict[str, bool] = {}
        self._changed = asyncio.Event()
        self._server: Any = None
        self.allocated: list[list[str]] = []
        self.pre_started: list[list[str]] = []
        self.refusal = ""

    async def start(self, **healthy: bool) -> None:
        self._healthy = dict(healthy)
        handlers = {
            "ListAndWatch": grpc.unary_stream_rpc_method_handler(self._list, **_codec("Empty")),
            "Allocate": grpc.unary_unary_rpc_method_handler(self._allocate, **_codec("AllocateRequest")),
            "GetPreferredAllocation": grpc.unary_unary_rpc_method_handler(
                self._prefer, **_codec("PreferredAllocationRequest")
            ),
            "PreStartContainer": grpc.unary_unary_rpc_method_handler(
                self._pre_start, **_codec("PreStartContainerRequest")
            ),
        }
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", handlers),)
        )
        self._server.add_insecure_port(f"unix:{self._directory / self._endpoint}")
        await self._server.start()
        await self.register()

    async def register(self, version: str = "v1beta1") -> None:
        """Raises RuntimeFailure when the kubelet refuses."""
        request = message("v1beta1.RegisterRequest")(
            version=version, endpoint=self._endpoint, resource_name=self._resource, options=self._options
        )
        async with grpc.aio.insecure_channel(f"unix:{self._directory / 'kubelet.sock'}") as channel:
            call = channel.unary_unary(
                "/v1beta1.Registration/Register",
                request_serializer=lambda value: value.SerializeToString(),
                response_deserializer=message("v1beta1.Empty").FromString,  # type: ignore[attr-defined]
            )
            try:
                await call(request, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                raise RuntimeFailure(error.details() or "") from None

    def set_health(self, **healthy: bool) -> None:
        self._healthy = dict(healthy)
        self._changed.set()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)

    async def _list(self, request: Any, context: Any) -> AsyncIterator[Any]:
        while True:
            self._changed.clear()
            devices = [
                {"ID": id, "health": "Healthy" if is_well else "Unhealthy"}
                for id, is_well in self._healthy.items()
            ]
            yield message("v1beta1.ListAndWatchResponse")(devices=devices)
            await self._changed.wait()

    async def _allocate(self, request: Any, context: Any) -> Any:
        if self.refusal:
            await context.abort(grpc.StatusCode.INTERNAL, self.refusal)
        ids = list(request.container_requests[0].devices_ids)
        self.allocated.append(ids)
        response = {
            "envs": {"TOYS": ",".join(ids), "NAME": "of the plugin"},
            "annotations": {"example.com/toys": str(len(ids))},
            "mounts": [{"container_path": "/toys", "host_path": str(self._directory), "read_only": True}],
            "devices": [
                {"container_path": f"/dev/{id}", "host_path": DEVICE, "permissions": "rw"} for id in ids
            ],
        }
        return message("v1beta1.AllocateResponse")(container_responses=[response])

    async def _prefer(self, request: Any, context: Any) -> Any:
        """The last ones."""
        wanted = request.container_requests[0]
        ids = sorted(wanted.available_deviceIDs, reverse=True)[: wanted.allocation_size]
        return message("v1beta1.PreferredAllocationResponse")(container_responses=[{"deviceIDs": ids}])

    async def _pre_start(self, request: Any, context: Any) -> Any:
        self.pre_started.append(list(request.devices_ids))
        return message("v1beta1.Empty")()


def _codec(request: str) -> dict[str, Any]:
    return {
        "request_deserializer": message(f"v1beta1.{request}").FromString,  # type: ignore[attr-defined]
        "response_serializer": lambda value: value.SerializeToString(),
    }


async def _main(directory: Path) -> None:
    """python fake_plugin.py DIRECTORY: two toys, until it is ended."""
    plugin = FakePlugin(directory)
    await plugin.start(toy1=True, toy2=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
