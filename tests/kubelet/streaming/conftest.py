"""A server that kubectl takes for an API server with one running pod, and kubectl itself.

Exec of the pod runs one of a few commands that live in this file, so that every byte of a protocol can be checked
without a container; port-forward answers each connection by turning what it reads into upper case.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tiphys.kubelet.streaming.channels import RemoteCommandStreams, StreamOptions
from tiphys.kubelet.streaming.port_forward import PortForwardConnection, upgrade_port_forward
from tiphys.kubelet.streaming.remote_command import upgrade_remote_command
from tiphys.kubelet.streaming.status import exit_status
from tiphys.net.http import Request, Response
from tiphys.net.server import Server

POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "x", "namespace": "default", "uid": "1"},
    "spec": {"containers": [{"name": "main", "image": "i", "stdin": True, "tty": True}]},
    "status": {"phase": "Running"},
}
PODS = {
    "name": "pods",
    "singularName": "pod",
    "namespaced": True,
    "kind": "Pod",
    "verbs": ["get"],
    "shortNames": ["po"],
}
DOCUMENTS = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [PODS]},
    "/api/v1/namespaces/default/pods/x": POD,
}


async def run_command(command: Sequence[str], streams: RemoteCommandStreams) -> int:
    """The commands that the pod knows; the exit code."""
    match command:
        case ["cat"]:
            while data := await streams.read_stdin():
                await streams.write_stdout(data)
        case ["say", out, err]:
            await streams.write_stdout(out.encode())
            await streams.write_stderr(err.encode())
        case ["exit", code]:
            return int(code)
        case ["sizes", count]:
            left = int(count)
            async for size in streams.sizes:
                await streams.write_stdout(b"%dx%d\r\n" % (size.width, size.height))
                left -= 1
                if not left:
                    break
        case ["yes", count]:  # never reads the stdin that it gets
            for _ in range(int(count)):
                await streams.write_stdout(b"y" * 65536)
        case ["hang"]:
            await streams.wait_disconnected()
        case _:
            raise ValueError(f"no such command: {command}")
    return 0


@dataclass
class TestCluster:
    __test__ = False
    port: int
    protocols: list[str] = field(default_factory=list)  # of each exec, in order
    ended: asyncio.Queue[str] = field(default_factory=asyncio.Queue)  # commands, as they end


async def forward(connection: PortForwardConnection) -> None:
    if connection.port == 9:
        raise ConnectionRefusedError("nobody listens on port 9")
    while data := await connection.data.read():
        await connection.data.write(data.upper())


def answer(cluster: TestCluster, request: Request) -> Response:
    if request.path in DOCUMENTS:
        return Response(
            200, [("Content-Type", "application/json")], json.dumps(DOCUMENTS[request.path]).encode()
        )
    if request.path.endswith("/x/exec"):
        command = request.query["command"]

        async def serve(streams: RemoteCommandStreams) -> None:
            cluster.protocols.append(streams.protocol)
            try:
                code = await run_command(command, streams)
                await streams.write_status(json.dumps(exit_status(code)).encode())
            finally:
                cluster.ended.put_nowait(command[0])

        return upgrade_remote_command(request, StreamOptions.from_query(request.query), serve)
    if request.path.endswith("/x/portforward"):
        return upgrade_port_forward(request, forward)
    return Response(404, body=b"{}")


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    made: list[TestCluster] = []
    server = Server(lambda request: answer(made[0], request))
    address = await server.listen(host="127.0.0.1", port=0)
    made.append(TestCluster(address.port))
    yield made[0]
    await server.shutdown(grace_seconds=0)


Kubectl = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def kubectl(cluster: TestCluster, tmp_path: Path) -> AsyncIterator[Kubectl]:
    """Starts a real kubectl against the cluster; `spdy=True` makes it speak SPDY instead of WebSocket."""
    beside = Path(sys.executable).with_name("kubectl")
    binary = str(beside) if beside.exists() else shutil.which("kubectl")
    if binary is None:
        pytest.skip("kubectl is not installed")
    started: list[asyncio.subprocess.Process] = []

    async def start(*arguments: str, spdy: bool = False, **options: int) -> asyncio.subprocess.Process:
        flag = "false" if spdy else "true"
        environment = {
            **os.environ,
            "HOME": str(tmp_path),
            "KUBECONFIG": "/dev/null",
            "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": flag,
            "KUBECTL_PORT_FORWARD_WEBSOCKETS": flag,
        }
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE) | options
        process = await asyncio.create_subprocess_exec(
            binary,
            f"--server=http://127.0.0.1:{cluster.port}",
            *arguments,
            env=environment,
            **pipes,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()
