"""Exec, attach and logs of real containers as programs ask for them: protocols, ends of all kinds, many at once, much at once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_cluster import KUBECTL, Cluster, wait_for
from stream_client import RESIZE, STDIN, StreamClient, drain
from weather import component, kill

from tiphys.net.websocket import ClientHandshake

pytestmark = pytest.mark.real
NAMESPACE = "streams"
PATIENCE_SECONDS = 120.0
BOXES = ("box-0", "box-1", "box-2")
WORDS = "container is alive"

Ask = Callable[[StreamClient], Coroutine[Any, Any, Any]]


def box(name: str, command: list[str], **container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "busybox", "command": command, **container}
    spec = {"containers": [main], "terminationGracePeriodSeconds": 0, "restartPolicy": "Never"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> Iterator[Cluster]:
    """Some that wait for commands, one that reads, and one that has spoken."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    account = ("get", "serviceaccount", "default", "-n", NAMESPACE)
    wait_for(lambda: cluster.kubectl(*account, check=False).returncode == 0, "the default service account")
    made = [
        *(box(name, ["sleep", "86400"]) for name in BOXES),
        box("reader", ["cat"], stdin=True),
        box("speaker", ["sh", "-c", f"echo {WORDS}; sleep 86400"]),
    ]
    cluster.kubectl(
        "create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    )
    cluster.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=300s", "-n", NAMESPACE)
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def ask(pods: Cluster) -> Callable[[Ask], Any]:
    """Runs what is asked of the API server, within a time that a slow machine has, too."""

    def run(work: Ask) -> Any:
        async def whole() -> Any:
            client = StreamClient(pods)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    return await work(client)
            finally:
                await client.close()

        return asyncio.run(whole())

    return run


def pod(name: str) -> str:
    return f"{NAMESPACE}/pods/{name}"


# Protocols


@pytest.mark.conformance("Pods should support remote command execution over websockets [NodeConformance]")
@pytest.mark.parametrize(
    "protocol", ["channel.k8s.io", "", "v4.channel.k8s.io", "v5.channel.k8s.io", "base64.channel.k8s.io"]
)
def test_a_command_over_websocket(ask: Callable[[Ask], Any], protocol: str) -> None:
    async def work(client: StreamClient) -> None:
        socket = await client.session(
            pod("box-0"), "exec", ["echo", "remote execution test"], protocol=protocol, container="main"
        )
        in_base64 = protocol.startswith("base64")
        ended = await drain(socket, in_base64=in_base64)
        # The first message is empty and says that the streams are there; then all is on the channel of standard output.
        assert ended.first == (b"1" if in_base64 else b"\x01")
        assert ended.stdout == b"remote execution test\n"
        assert socket.close_code == 1000

    ask(work)


@pytest.mark.conformance(
    "Pods should support retrieving logs from the container over websockets [NodeConformance]"
)
def test_a_log_over_websocket(ask: Callable[[Ask], Any]) -> None:
    async def work(client: StreamClient) -> None:
        path = f"{pod('speaker')}/log"
        status, chosen, socket = await client.open(path, [("container", "main")], "binary.k8s.io")
        assert (status, chosen) == (101, "binary.k8s.io")
        assert socket is not None
        messages = []
        while (message := await socket.receive()) is not None:
            messages.append(message[1])
        assert messages[0] == b""
        assert b"".join(messages) == f"{WORDS}\n".encode()
        await socket.close()

    ask(work)


def test_how_commands_end(ask: Callable[[Ask], Any]) -> None:
    async def work(client: StreamClient) -> None:
        ended = await client.run(pod("box-0"), "sh", "-c", "echo oops >&2; exit 7")
        assert ended.said[2] == b"oops\n"
        assert ended.status["reason"] == "NonZeroExitCode"
        assert ended.status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
        ended = await client.run(pod("box-0"), "sh", "-c", "kill -9 $$")
        assert ended.status["details"]["causes"] == [{"reason": "ExitCode", "message": "137"}]
        ended = await client.run(pod("box-0"), "true")
        assert ended.status["status"] == "Success"
        ended = await client.run(pod("box-0"), "/no/such/program")
        assert ended.status["reason"] == "InternalError"
        assert "no such file or directory" in ended.status["message"].lower()

    ask(work)


def test_a_terminal_and_its_size(ask: Callable[[Ask], Any]) -> None:
    async def work(client: StreamClient) -> None:
        options = {"tty": "1", "stdin": "1", "stderr": "0"}
        socket = await client.session(pod("box-0"), "exec", ["sh"], **options)
        await socket.send(RESIZE + b'{"Width":101,"Height":37}')
        await socket.send(RESIZE + b"no size")
        await socket.send(STDIN + b"until stty size | grep 37; do sleep 0.05; done; exit 3\n")
        ended = await drain(socket)
        assert b"37 101" in ended.stdout
        assert ended.status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]

    ask(work)


def test_standard_input_that_ends_alone(ask: Callable[[Ask], Any]) -> None:
    """The process goes on after the end of what it reads."""

    async def work(client: StreamClient) -> None:
        ended = await client.run(pod("box-0"), "sh", "-c", "wc -c; echo and more", stdin=b"x" * 100_000)
        assert ended.stdout == b"100000\nand more\n"

    ask(work)


# Ends that nobody wants


def test_a_container_that_dies_in_the_middle(ask: Callable[[Ask], Any], pods: Cluster) -> None:
    pods.kubectl("create", "-f", "-", input=json.dumps(box("mortal", ["sleep", "86400"])))
    pods.kubectl("wait", "pod/mortal", "--for=condition=Ready", "--timeout=300s", "-n", NAMESPACE)

    async def work(client: StreamClient) -> None:
        socket = await client.session(pod("mortal"), "exec", ["sh", "-c", "echo here; sleep 86400"])
        while (message := await socket.receive()) is not None and b"here" not in message[1]:
            pass
        killing = asyncio.to_thread(pods.kubectl, "delete", "pod", "mortal", "-n", NAMESPACE, "--now")
        ended, _ = await asyncio.gather(drain(socket), killing)
        assert ended.status["details"]["causes"] == [{"reason": "ExitCode", "message": "137"}]

    ask(work)


def kubelet_has(cluster: Cluster) -> tuple[int, int]:
    """(directories of pipes, descriptors) of the node's kubelet."""
    pid = component(cluster, "kubelet")
    pipes = Path(f"/proc/{pid}/root/run/tiphys/pipes")
    return len(list(pipes.iterdir())) if pipes.exists() else 0, len(os.listdir(f"/proc/{pid}/fd"))


def test_clients_that_vanish_leave_nothing_behind(ask: Callable[[Ask], Any], pods: Cluster) -> None:
    """Their processes end, those that say nothing and those that say much, and no pipe or descriptor stays."""
    before = kubelet_has(pods)
    marks = {"quiet": "sleep 77001", "loud": "yes 77002", "waiting": "cat - 77003"}

    async def work(client: StreamClient) -> None:
        sockets = []
        for command in marks.values():
            for _ in range(4):
                socket = await client.session(
                    pod("box-1"), "exec", ["sh", "-c", f"echo in; exec {command}"], stdin="1"
                )
                while (message := await socket.receive()) is not None and b"in" not in message[1]:
                    pass
                sockets.append(socket)
        assert kubelet_has(pods)[0] >= before[0] + 12
        for socket in sockets:
            socket.abort()

    ask(work)

    def is_clean() -> bool:
        running = pods.kubectl("exec", "box-1", "-n", NAMESPACE, "--", "ps").stdout
        pipes, descriptors = kubelet_has(pods)
        return "7700" not in running and pipes <= before[0] and descriptors <= before[1] + 2

    wait_for(is_clean, "the processes of clients that are gone have ended", seconds=PATIENCE_SECONDS)


WEBSOCKET = ClientHandshake(["v5.channel.k8s.io"]).headers
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}


@pytest.mark.parametrize(
    ("headers", "nonsense"),
    [
        (WEBSOCKET, b"\x82\x03abc"),  # not masked
        (WEBSOCKET, b"\x82\xff" + (1 << 60).to_bytes(8, "big") + b"abcd"),  # an exabyte to come
        (WEBSOCKET, b"\x89\x85abcdhello" * 3000),  # pings whose answers nobody reads
        (SPDY, b"GET / HTTP/1.1\r\n\r\n" * 10),
        (SPDY, b"\x80\x03\x00\x01\x00\xff\xff\xff" + bytes(100)),  # headers of 16 MB
        (SPDY, b"\x80\x03\x00\x01\x01\x00\x00\x0e" + b"\x00\x00\x00\x01" + bytes(10)),  # no zlib
    ],
    ids=lambda value: "spdy" if value is SPDY else "websocket" if value is WEBSOCKET else value[:8].hex(),
)
def test_nonsense_ends_the_session_that_it_is_sent_to(
    ask: Callable[[Ask], Any], pods: Cluster, headers: dict[str, str], nonsense: bytes
) -> None:
    kubelets = component(pods, "kubelet"), component(pods, "control-plane")
    before = kubelet_has(pods)[0]

    async def work(client: StreamClient) -> None:
        query = [("command", "cat"), ("stdin", "1"), ("stdout", "1")]
        method = "POST" if headers is SPDY else "GET"
        answer, stream = await client.raw(method, f"{pod('box-0')}/exec", query, headers)
        assert answer.status == 101
        assert stream is not None
        try:
            await stream.write(nonsense)
            await asyncio.sleep(0)
        except ConnectionError:
            pass  # it was cut off already
        stream.close()
        # Others are served.
        assert (await client.run(pod("box-0"), "echo", "well")).stdout == b"well\n"

    ask(work)
    wait_for(lambda: kubelet_has(pods)[0] <= before, "the session is over", seconds=PATIENCE_SECONDS)
    assert (component(pods, "kubelet"), component(pods, "control-plane")) == kubelets


def test_what_is_no_upgrade_that_we_know(ask: Callable[[Ask], Any]) -> None:
    async def work(client: StreamClient) -> None:
        query = [("command", "id"), ("stdout", "1")]
        path = f"{pod('box-0')}/exec"
        older = {**WEBSOCKET, "Sec-WebSocket-Protocol": "v4.channel.k8s.io"}
        for headers, code, words in (
            ({}, 400, "Upgrade request required"),
            ({"Connection": "Upgrade", "Upgrade": "tea"}, 400, "missing upgrade headers in request"),
            ({**SPDY, "X-Stream-Protocol-Version": "v9.channel.k8s.io"}, 403, "unable to negotiate protocol"),
            ({**older, "Sec-WebSocket-Version": "12"}, 426, "websocket version 13"),
            ({**older, "Sec-WebSocket-Key": "short"}, 400, "Sec-WebSocket-Key"),
            ({**WEBSOCKET, "Sec-WebSocket-Protocol": "v9.channel.k8s.io"}, 403, "not supported"),
        ):
            answer, stream = await client.raw("GET", path, query, headers)
            assert stream is None
            assert answer.status == code, (headers, answer)
            assert words in answer.body.decode(), (headers, answer)

    ask(work)


# Many, and much


def test_a_hundred_commands_at_once(ask: Callable[[Ask], Any]) -> None:
    async def work(client: StreamClient) -> None:
        commands = (
            client.run(pod(BOXES[number % len(BOXES)]), "sh", "-c", f"cat; echo {number}", stdin=b"in ")
            for number in range(100)
        )
        ended = await asyncio.gather(*commands)
        assert [one.stdout for one in ended] == [f"in {number}\n".encode() for number in range(100)]
        assert {one.status["status"] for one in ended} == {"Success"}

    ask(work)


def test_those_who_wait_in_the_queue_of_another_pod_do_not_keep_us(ask: Callable[[Ask], Any]) -> None:
    """Thirty sessions that last are in one pod; a command there, and one in another pod, is served all the same."""

    async def work(client: StreamClient) -> None:
        lasting = await asyncio.gather(
            *(client.session(pod("box-2"), "exec", ["sleep", "86400"]) for _ in range(30))
        )
        for name in ("box-2", "box-0"):
            assert (await client.run(pod(name), "echo", name)).stdout == f"{name}\n".encode()
        for socket in lasting:
            socket.abort()

    ask(work)


def test_what_is_copied_is_the_same_byte_for_byte(pods: Cluster, tmp_path: Path) -> None:
    """64 MiB with `kubectl cp`, there and back; the bench does it with 1 GiB."""
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(os.urandom(1 << 20) * 64)
    pods.kubectl("cp", str(there), f"{NAMESPACE}/box-0:/tmp/cargo", timeout=PATIENCE_SECONDS)
    counted = pods.kubectl("exec", "box-0", "-n", NAMESPACE, "--", "md5sum", "/tmp/cargo").stdout.split()[0]
    assert counted == hashlib.md5(there.read_bytes()).hexdigest()
    pods.kubectl("cp", f"{NAMESPACE}/box-0:tmp/cargo", str(back), timeout=PATIENCE_SECONDS)
    assert back.read_bytes() == there.read_bytes()


def test_a_reader_that_does_not_read_holds_the_writer_back(pods: Cluster) -> None:
    """Nobody keeps what it writes in memory."""
    pid = component(pods, "kubelet")
    kubeconfig = str(pods.home / "tiphys" / pods.name / "kubeconfig")
    command = [str(KUBECTL), "exec", "box-0", "-n", NAMESPACE, "--", "cat", "/dev/zero"]
    environment = {**pods.environment, "KUBECONFIG": kubeconfig}
    before = resident_bytes(pid)
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        try:
            for _ in range(20):  # twenty megabytes, so that everything on the way is full
                assert len(process.stdout.read(1 << 20)) == 1 << 20
            wait_for(lambda: is_asleep(pods), "the writer waits", seconds=PATIENCE_SECONDS)
            assert resident_bytes(pid) - before < 32 << 20
        finally:
            process.kill()


def is_asleep(cluster: Cluster) -> bool:
    """`cat` has stood still, in a write to its pipe, twice in a row."""
    script = 'for p in /proc/[0-9]*; do grep -q "^cat" $p/cmdline 2>/dev/null && cat $p/io; done | grep write_bytes; true'
    looked = [
        cluster.kubectl(
            "exec", "box-0", "-n", NAMESPACE, "--", "sh", "-c", script.replace("write_bytes", "wchar")
        )
        for _ in range(2)
    ]
    first, second = (look.stdout for look in looked)
    return bool(first) and first == second


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_sessions_end_with_the_kubelet_that_had_them(pods: Cluster) -> None:
    """The next one ends what nobody else would; pods live on."""
    kubeconfig = str(pods.home / "tiphys" / pods.name / "kubeconfig")
    command = [str(KUBECTL), "exec", "box-1", "-n", NAMESPACE, "--", "sh", "-c", "echo in; exec sleep 88001"]

    def processes() -> str:
        return pods.kubectl("exec", "box-1", "-n", NAMESPACE, "--", "ps", check=False).stdout

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**pods.environment, "KUBECONFIG": kubeconfig}
    ) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == "in\n"
        assert "88001" in processes()
        kill(component(pods, "kubelet"))
        session.wait(timeout=PATIENCE_SECONDS)
    wait_for(
        lambda: "sleep 86400" in (found := processes()) and "88001" not in found,
        "the new kubelet has ended the session",
        seconds=PATIENCE_SECONDS,
    )
