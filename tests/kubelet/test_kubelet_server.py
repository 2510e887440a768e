"""The kubelet's own API: who may use it, what it answers, and its words when it cannot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from node_world import NODE, NodeWorld

from tiphys.kubelet.access import KubeletAccess, Question, Refusal, User
from tiphys.kubelet.kubelet import Dispatcher
from tiphys.kubelet.log_source import container_id
from tiphys.kubelet.runtimes.interface import ContainerConfig, ExecResult, RuntimeFailure, SandboxConfig
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.kubelet.server import KubeletServer, stream_options
from tiphys.kubelet.sessions import serve_command, serve_port
from tiphys.kubelet.streaming.channels import RemoteCommandStreams, StreamOptions, TerminalSizes
from tiphys.kubelet.streaming.port_forward import PortForwardConnection
from tiphys.machinery.clock import Clock
from tiphys.net.http import ByteStream, Connection, Request, Response

ADMINISTRATOR = User("kube-apiserver-kubelet-client", ("system:masters",))


class AdministratorsOnly:
    """Reviews of a cluster that has no other rules."""

    async def user_of(self, token: str) -> User | None:
        return None

    async def is_allowed(self, question: Question) -> bool:
        return "system:masters" in question.user.groups


class Logging(SimulatedRuntime):
    """Containers leave a line in their log."""

    def __init__(self, clock: Clock, directory: Path) -> None:
        super().__init__(clock)
        self._directory = directory

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        from dataclasses import replace

        log = self._directory / f"{sandbox.name}-{config.name}-{config.attempt}.log"
        log.write_text(f"2026-01-01T00:00:00.5Z stdout F life {config.attempt} of {config.name}\n")
        logged = replace(config, log_path=log.name)
        return await super().create_container(
            sandbox_id, logged, replace(sandbox, log_directory=str(self._directory))
        )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[NodeWorld]:
    world = NodeWorld()
    world.runtime = Logging(world.clock, tmp_path)
    await world.start()
    yield world
    await world.stop()


@pytest.fixture
def server(world: NodeWorld, tmp_path: Path) -> KubeletServer:
    kubelets = Dispatcher()
    kubelets.add(world.kubelet)
    return KubeletServer(
        kubelets,
        world.clock,
        KubeletAccess(AdministratorsOnly(), world.clock),
        logs={"pods": tmp_path / "pods"},
    )


async def ask(
    server: KubeletServer,
    target: str,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    user: User | None = ADMINISTRATOR,
) -> Response:
    connection = Connection(peer_certificate=b"verified" if user else None)
    connection.context = user
    return await server.handle(Request(method, target, dict(headers or {}), connection=connection))


async def text(response: Response) -> str:
    if isinstance(response.body, bytes):
        return response.body.decode()
    assert isinstance(response.body, AsyncIterator)
    return b"".join([piece async for piece in response.body]).decode()


# The node


@pytest.mark.parametrize(
    ("user", "status"),
    [
        (None, 401),
        (User("jane", ("developers",)), 403),
        (User("system:node:node-1", ("system:nodes",)), 403),
        (ADMINISTRATOR, 200),
    ],
)
async def test_not_everybody_may_ask(server: KubeletServer, user: User | None, status: int) -> None:
    assert (await ask(server, "/pods", user=user)).status == status
    assert (await ask(server, "/healthz", user=user)).status == status


async def test_health(server: KubeletServer) -> None:
    for path in ("/healthz", "/healthz/ping", "/healthz/log", "/healthz/syncloop"):
        assert await text(await ask(server, path)) == "ok"
    assert (await text(await ask(server, "/healthz?verbose"))).endswith(
        "[+]syncloop ok\nhealthz check passed\n"
    )
    assert (await ask(server, "/healthz/tea")).status == 404


async def test_pods(server: KubeletServer, world: NodeWorld) -> None:
    world.create()
    await world.settle()
    [pod] = json.loads(await text(await ask(server, "/pods")))["items"]
    assert pod["spec"]["nodeName"] == NODE
    assert "kind" not in pod


async def test_running_pods(server: KubeletServer, world: NodeWorld) -> None:
    world.create()
    world.create({"containers": [{"name": "main", "image": "busybox", "command": ["false"]}]}, name="ended")
    await world.settle()
    [pod] = json.loads(await text(await ask(server, "/runningpods/")))["items"]
    assert (pod["metadata"]["namespace"], pod["metadata"]["name"]) == ("default", "web")
    assert [container["name"] for container in pod["spec"]["containers"]] == ["main"]


async def test_configuration(server: KubeletServer) -> None:
    shown = json.loads(await text(await ask(server, "/configz")))["kubeletconfig"]
    assert (shown["containerLogMaxSize"], shown["containerLogMaxFiles"]) == ("10Mi", 5)
    assert shown["authentication"]["webhook"] == {"enabled": True, "cacheTTL": "2m0s"}
    assert shown["nodeStatusReportFrequency"] == "5m0s"


async def test_there_is_no_such_page(server: KubeletServer) -> None:
    assert (await ask(server, "/nothing/here")).status == 404
    assert (await ask(server, "/exec/default/web")).status == 404
    refused = await ask(server, "/pods", method="POST")
    assert (refused.status, dict(refused.headers)["Allow"]) == (405, "GET")


async def test_a_page_of_somebody_else(server: KubeletServer, world: NodeWorld) -> None:
    async def page(request: Request) -> Response:
        return Response(200, [], request.path.encode())

    kubelets = Dispatcher()
    server = KubeletServer(
        kubelets, world.clock, KubeletAccess(AdministratorsOnly(), world.clock), pages={"stats": page}
    )
    assert await text(await ask(server, "/stats/summary")) == "/stats/summary"


async def test_logs_of_the_node(server: KubeletServer, tmp_path: Path) -> None:
    place = tmp_path / "pods"
    (place / "a pod").mkdir(parents=True)
    (place / "a pod" / "0.log").write_text("hello")
    (place / "out").symlink_to(tmp_path)
    assert '<a href="pods/">pods/</a>' in await text(await ask(server, "/logs/"))
    assert '<a href="a%20pod/">a pod/</a>' in await text(await ask(server, "/logs/pods/"))
    moved = await ask(server, "/logs/pods/a%20pod")
    assert (moved.status, dict(moved.headers)["location"]) == (301, "a pod/")
    assert await text(await ask(server, "/logs/pods/a%20pod/0.log")) == "hello"
    for outside in ("pods/../secret", "pods/out/secret", "pods/%2e%2e/secret", "pods/none", "etc/passwd"):
        (tmp_path / "secret").write_text("secret")
        assert (await ask(server, f"/logs/{outside}")).status == 404, outside


async def test_a_checkpoint_is_what_the_runtime_cannot_do(server: KubeletServer, world: NodeWorld) -> None:
    world.create()
    await world.settle()
    refused = await ask(server, "/checkpoint/default/web/main", method="POST")
    assert refused.status == 500
    assert (await text(refused)).startswith(
        "checkpointing of default/web/main failed (rpc error: code = Unimplemented"
    )
    refused = await ask(server, "/checkpoint/default/web/none", method="POST")
    assert (refused.status, await text(refused)) == (404, "container none does not exist")


async def test_run(server: KubeletServer, world: NodeWorld) -> None:
    world.create()
    await world.settle()
    assert await text(await ask(server, "/run/default/web/main?cmd=echo+hi", method="POST")) == "hi\n"
    refused = await ask(server, "/run/default/web/main?cmd=false", method="POST")
    assert (refused.status, await text(refused)) == (500, "command 'false' exited with 1: ")


# Logs


async def test_a_log(server: KubeletServer, world: NodeWorld) -> None:
    world.create()
    await world.settle()
    response = await ask(server, "/containerLogs/default/web/main")
    assert (response.status, await text(response)) == (200, "life 0 of main\n")
    response = await ask(server, "/containerLogs/default/web/main?timestamps=true&limitBytes=12")
    assert await text(response) == "2026-01-01T0"


async def test_a_log_of_the_life_before(server: KubeletServer, world: NodeWorld) -> None:
    spec = {"containers": [{"name": "main", "image": "busybox", "command": ["false"]}]}
    world.create(spec)
    await world.settle()
    # Its second life has failed, too; it waits for the third one.
    assert await text(await ask(server, "/containerLogs/default/web/main")) == "life 1 of main\n"
    assert (
        await text(await ask(server, "/containerLogs/default/web/main?previous=true")) == "life 1 of main\n"
    )


@pytest.mark.parametrize(
    ("target", "status", "message"),
    [
        ("/containerLogs/default/none/main", 404, 'pod "none" does not exist'),
        ("/containerLogs/default/web/none", 404, 'container "none" not found in pod "web"'),
        ("/containerLogs/default/web/main?tailLines=x", 400, '{"message": "Unable to decode query."}'),
        ("/containerLogs/default/web/main?tailLines=-1", 422, '{"message": "Invalid request."}'),
        ("/containerLogs/default/web/main?stream=Tea", 422, '{"message": "Invalid request."}'),
        (
            "/containerLogs/default/web/main?previous=true",
            400,
            'previous terminated container "main" in pod "web" not found',
        ),
        ("/exec/default/web/main?command=ls", 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("/exec/default/web/main?output=1", 400, "you must specify at least 1 command for the pod"),
        ("/exec/default/web/none?command=ls&output=1", 404, 'container not found ("none")'),
        ("/exec/default/web/main?command=ls&output=1", 400, "missing upgrade headers"),
        ("/exec/default/none/main?command=ls&output=1", 404, "pod does not exist"),
        ("/exec/default/web/some-uid/main?command=ls&output=1", 404, 'container not found ("main")'),
        ("/portForward/default/none", 404, "pod does not exist"),
        ("/portForward/default/web/some-uid", 404, "pod not found"),
    ],
)
async def test_refusals(
    server: KubeletServer, world: NodeWorld, target: str, status: int, message: str
) -> None:
    world.create()
    await world.settle()
    response = await ask(server, target)
    assert response.status == status
    assert message in await text(response)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"waiting": {"reason": "ContainerCreating"}},
            'container "c" in pod "p" is waiting to start: ContainerCreating',
        ),
        (
            {"waiting": {"reason": "ErrImagePull"}},
            'container "c" in pod "p" is waiting to start: image can\'t be pulled',
        ),
        (
            {"waiting": {"reason": "ImagePullBackOff"}},
            'container "c" in pod "p" is waiting to start: trying and failing to pull image',
        ),
        ({"terminated": {"exitCode": 1}}, 'container "c" in pod "p" is terminated'),
        ({}, 'container "c" in pod "p" is waiting to start - no logs yet'),
    ],
)
def test_a_container_that_never_ran_has_no_log(state: dict[str, Any], message: str) -> None:
    with pytest.raises(Refusal) as caught:
        container_id({"state": state, "lastState": {}}, "c", "p", previous=False)
    assert (caught.value.code, str(caught.value)) == (400, message)


async def test_the_log_of_a_container_that_was_removed(server: KubeletServer, world: NodeWorld) -> None:
    spec = {"containers": [{"name": "main", "image": "busybox", "command": ["false"]}]}
    world.create(spec)
    await world.settle()
    [first, *_] = sorted(await world.runtime.list_containers(), key=lambda container: container.attempt)
    worker = world.kubelet.worker(world.pod()["metadata"]["uid"])
    assert worker is not None
    reported = worker.reported("main")
    assert reported is not None
    reported["lastState"] = {"terminated": {"containerID": "simulated://gone"}}
    response = await ask(server, "/containerLogs/default/web/main?previous=true")
    assert (response.status, await text(response)) == (
        200,
        "unable to retrieve container logs for simulated://gone",
    )
    assert first.attempt == 0


def test_streams_by_the_kubelets_names() -> None:
    request = Request("GET", "/exec/a/b/c?input=1&output=1&tty=1&error=1")
    assert stream_options(request) == StreamOptions(stdin=True, stdout=True, stderr=False, tty=True)


@pytest.mark.parametrize("path", ["exec/default/web/main?command=ls&output=1", "portForward/default/web"])
async def test_streams_are_upgrades(server: KubeletServer, world: NodeWorld, path: str) -> None:
    world.create()
    await world.settle()
    headers = {
        "connection": "Upgrade",
        "upgrade": "SPDY/3.1",
        "x-stream-protocol-version": "v4.channel.k8s.io, portforward.k8s.io",
    }
    response = await ask(server, f"/{path}", headers)
    assert response.status == 101
    assert response.upgrade is not None


# Sessions


class FakeStreams(RemoteCommandStreams):
    """A client that sends `stdin` and then ends it, or leaves."""

    def __init__(self, *stdin: bytes, leaves: bool = False) -> None:
        self.options = StreamOptions(stdin=True, stdout=True, stderr=True)
        self.protocol = "v5.channel.k8s.io"
        self.sizes = TerminalSizes()
        self.sizes.feed(b'{"Width":80,"Height":24}')
        self._stdin = list(stdin)
        self.left = asyncio.Event()
        if leaves:
            self.left.set()
        self.stdout = self.stderr = b""
        self.status: dict[str, Any] = {}

    async def read_stdin(self, n: int = 65536) -> bytes:
        return self._stdin.pop(0) if self._stdin else b""

    async def write_stdout(self, data: bytes) -> None:
        self.stdout += data

    async def write_stderr(self, data: bytes) -> None:
        self.stderr += data

    async def write_status(self, status: bytes) -> None:
        self.status = json.loads(status)

    async def wait_disconnected(self) -> None:
        await self.left.wait()

    async def close(self) -> None:
        self.sizes.end()


class FakeSession:
    """A process like `cat`: what it reads it writes, and ends with its stdin. `forever`: it never does."""

    def __init__(self, exit_code: int = 0, *, forever: bool = False) -> None:
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._exit_code = exit_code
        self._forever = forever
        self.sizes: list[tuple[int, int]] = []
        self.is_closed = False

    @property
    async def stdout(self) -> AsyncIterator[bytes]:
        while data := await self._lines.get():
            yield data

    @property
    async def stderr(self) -> AsyncIterator[bytes]:
        yield b"warning"

    async def write_stdin(self, data: bytes) -> None:
        self._lines.put_nowait(data)

    async def close_stdin(self) -> None:
        if not self._forever:
            self._lines.put_nowait(b"")

    async def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    async def wait(self) -> int:
        return self._exit_code

    async def close(self) -> None:
        self.is_closed = True


async def test_a_commands_streams_and_exit_code() -> None:
    streams, session = FakeStreams(b"one", b"two"), FakeSession(exit_code=3)

    async def start() -> Any:
        return session

    await serve_command(streams, start)
    assert (streams.stdout, streams.stderr) == (b"onetwo", b"warning")
    assert streams.status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert session.sizes == [(80, 24)]
    assert session.is_closed


async def test_a_client_that_leaves_ends_the_session() -> None:
    streams, session = FakeStreams(leaves=True), FakeSession(forever=True)

    async def start() -> Any:
        return session

    await serve_command(streams, start)
    assert session.is_closed
    assert streams.status == {}


async def test_a_command_that_cannot_be_run() -> None:
    streams = FakeStreams()

    async def start() -> Any:
        raise RuntimeFailure("no such file")

    await serve_command(streams, start)
    assert streams.status["reason"] == "InternalError"
    assert "no such file" in streams.status["message"]


class Memory(ByteStream):
    def __init__(self, *reads: bytes) -> None:
        self._reads = list(reads)
        self.written = b""
        self.has_ended = asyncio.Event()

    async def read(self, n: int = 65536) -> bytes:
        if not self._reads:
            await self.has_ended.wait()
            return b""
        return self._reads.pop(0)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    async def write_eof(self) -> None:
        pass

    def close(self) -> None:
        pass


class Ports(SimulatedRuntime):
    """Every port answers what it was sent, in capitals."""

    async def open_in_sandbox(self, sandbox_id: str, port: int) -> Any:
        import socket

        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)

        async def answer() -> None:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(theirs, (await loop.sock_recv(theirs, 100)).upper())
            theirs.close()

        self.answering = asyncio.create_task(answer())
        return ours


async def test_a_forwarded_port(world: NodeWorld) -> None:
    connection = PortForwardConnection(80, Memory(b"hello"), Memory())
    await serve_port(connection, Ports(world.clock), "s")
    assert isinstance(connection.data, Memory)
    assert connection.data.written == b"HELLO"


async def test_a_port_where_nobody_listens(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    [sandbox] = await world.runtime.list_sandboxes()
    with pytest.raises(ConnectionError) as failed:
        await serve_port(PortForwardConnection(80, Memory(), Memory()), world.runtime, sandbox.id)
    cause = "connect: nothing listens at port 80 of a simulated pod"
    assert str(failed.value) == (
        f"error forwarding port 80 to pod {sandbox.id}, uid : failed to execute portforward in network namespace: "
        f'failed to connect to localhost:80 inside namespace "{sandbox.id}", '
        f"IPv4: dial tcp4 127.0.0.1:80: {cause} IPv6 dial tcp6 [::1]:80: {cause} "
    )


async def test_exec_in_a_simulated_container(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    [container] = await world.runtime.list_containers()
    assert await world.runtime.exec_sync(container.id, ["echo", "hi"], 0) == ExecResult(b"hi\n", b"", 0)
