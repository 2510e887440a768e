"""CRI's channel on a machine that is so busy that containerd is slow to take a connection."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from slow_door import slow_door

from tiphys.kubelet.runtimes.cri import wire

VERSION = "/runtime.v1.RuntimeService/Version"


class Slow(grpc.GenericRpcHandler):  # type: ignore[misc]
    def service(self, handler_call_details: Any) -> Any:
        assert handler_call_details.method == VERSION
        return grpc.unary_unary_rpc_method_handler(self._version)

    async def _version(self, request: bytes, context: Any) -> bytes:
        return b"\x12\x04slow"  # VersionResponse: `string runtime_name = 2`


async def test_a_call_waits_until_the_connection_is_taken(tmp_path: Path) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Slow(),))
    server.add_insecure_port(f"unix:{tmp_path}/inside")
    await server.start()
    async with slow_door(lambda: asyncio.open_unix_connection(f"{tmp_path}/inside"), f"{tmp_path}/door"):
        channel = wire.open_channel(f"{tmp_path}/door")
        answer: Any = await wire.Service(channel, "runtime.v1.RuntimeService").call("Version")
        assert answer.runtime_name == "slow"
        await channel.close()
    await server.stop(None)
