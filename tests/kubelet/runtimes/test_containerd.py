"""The real containerd: held to the suite, and to what only a runtime with real processes can do."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from suite import PATIENCE_SECONDS, RuntimeConformance, Subject, next_event

from tiphys.cluster.containerd import find_containerd, start_containerd, stop_containerd
from tiphys.cluster.containerd_config import probe
from tiphys.cluster.leftovers import cgroup_hierarchies
from tiphys.kubelet.registry_mirror import RegistryMirror
from tiphys.kubelet.runtimes import network_namespace
from tiphys.kubelet.runtimes.cri import wire
from tiphys.kubelet.runtimes.cri.runtime import ContainerdRuntime
from tiphys.kubelet.runtimes.interface import (
    DeadlineExceeded,
    ExecSession,
    Mount,
    Resources,
    RuntimeFailure,
    Unavailable,
)
from tiphys.kubelet.runtimes.security import ContainerSecurity
from tiphys.net.server import Server

if TYPE_CHECKING:
    from conftest import RealNode

pytestmark = pytest.mark.real

SLEEP = ("sh", "-c", "trap 'exit 0' TERM; echo ready; while true; do sleep 1000 & wait $!; done")
MIRROR = ("127.0.0.83", 5000)


@pytest.fixture
async def runtime(real_node: RealNode) -> AsyncIterator[ContainerdRuntime]:
    client = real_node.containerd.runtime()
    yield client
    await client.close()


@pytest.fixture
async def mirror(real_node: RealNode) -> AsyncIterator[None]:
    channel = wire.open_channel(real_node.containerd.socket)
    server = Server(RegistryMirror(channel).handle)
    await server.listen(sock=network_namespace.listen(real_node.containerd.node.network_namespace, *MIRROR))
    yield
    await server.shutdown(grace_seconds=1)
    await channel.close()


@pytest.fixture
def subject(real_node: RealNode, runtime: ContainerdRuntime) -> Subject:
    return Subject(
        runtime,
        image="docker.io/library/busybox:latest",
        sandbox_config=real_node.sandbox_config,
        sleep=SLEEP,
        exit_with=lambda code: ("sh", "-c", f"exit {code}"),
        log=lambda config: Path(config.log_directory) / "main" / "0.log",
    )


@pytest.mark.usefixtures("mirror")
class TestContainerd(RuntimeConformance):
    pass


async def collect(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def start(
    subject: Subject, container_id: str, command: str, *, stdin: bool = False, tty: bool = False
) -> ExecSession:
    return await subject.runtime.exec(
        container_id, ["sh", "-c", command], stdin=stdin, stdout=True, stderr=True, tty=tty
    )


# exec


async def test_exec_keeps_streams_apart_and_brings_the_exit_code(subject: Subject) -> None:
    async with subject.running() as container_id:
        session = await start(subject, container_id, "echo out; echo err >&2; exit 42")
        out, err, code = await asyncio.gather(
            collect(session.stdout), collect(session.stderr), session.wait()
        )
        assert (out, err, code) == (b"out\n", b"err\n", 42)
        await session.close()


async def test_exec_reads_all_of_stdin_until_it_is_closed(subject: Subject) -> None:
    data = os.urandom(3_000_000)
    async with subject.running() as container_id:
        session = await start(subject, container_id, "sha256sum", stdin=True)
        await session.write_stdin(data)
        await session.close_stdin()
        await session.close_stdin()
        assert (await collect(session.stdout)).split()[0].decode() == hashlib.sha256(data).hexdigest()
        assert await session.wait() == 0
        await session.close()


async def test_exec_writes_more_than_pipes_hold_while_it_reads(subject: Subject) -> None:
    data = os.urandom(1_000_000)
    async with subject.running() as container_id:
        session = await start(subject, container_id, "cat", stdin=True)
        reading = asyncio.create_task(collect(session.stdout))
        await session.write_stdin(data)
        await session.close_stdin()
        assert await reading == data
        await session.close()


async def test_a_process_that_does_not_read_its_stdin_loses_it_when_it_ends(subject: Subject) -> None:
    async with subject.running() as container_id:
        session = await start(subject, container_id, "exec true", stdin=True)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await session.write_stdin(b"x" * 3_000_000)
            assert await session.wait() == 0
        await session.write_stdin(b"more")
        await session.close()


async def test_exec_with_a_terminal_has_its_size(subject: Subject) -> None:
    async with subject.running() as container_id:
        session = await start(
            subject, container_id, "read go; stty size; echo $TERM; tty", stdin=True, tty=True
        )
        await session.resize(132, 43)
        await session.write_stdin(b"\n")
        out, err, code = await asyncio.gather(
            collect(session.stdout), collect(session.stderr), session.wait()
        )
        assert out.split() == [b"43", b"132", b"xterm", b"/dev/pts/0"]
        assert (err, code) == (b"", 0)
        await session.close()


async def test_exec_of_a_missing_program_is_refused_and_leaves_nothing(
    subject: Subject, real_node: RealNode
) -> None:
    async with subject.running() as container_id:
        with pytest.raises(
            RuntimeFailure, match="failed to exec in container: failed to start exec"
        ) as error:
            await subject.runtime.exec(
                container_id, ["/no/such"], stdin=True, stdout=True, stderr=True, tty=False
            )
        assert "no such file or directory" in error.value.message.lower()
    assert os.listdir(real_node.containerd.node.root / "run/tiphys/pipes") == []


@pytest.mark.parametrize(
    ("stdout", "stderr", "tty"),
    [(True, False, False), (False, True, False), (False, False, False), (False, False, True)],
)
async def test_only_the_streams_that_were_asked_for(
    subject: Subject, real_node: RealNode, *, stdout: bool, stderr: bool, tty: bool
) -> None:
    """The others are read all the same: the process must not wait for somebody who does."""
    script = "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; cat; exit 3"
    async with subject.running() as container_id, asyncio.timeout(PATIENCE_SECONDS):
        session = await subject.runtime.exec(
            container_id, ["sh", "-c", script], stdin=not tty, stdout=stdout, stderr=stderr, tty=tty
        )
        if tty:
            await session.close()
        else:
            await session.close_stdin()
            out, err, code = await asyncio.gather(
                collect(session.stdout), collect(session.stderr), session.wait()
            )
            assert (len(out), len(err), code) == (1_000_000 * stdout, 1_000_000 * stderr, 3)
            await session.close()
    assert os.listdir(real_node.containerd.node.root / "run/tiphys/pipes") == []


async def test_a_start_that_is_given_up_in_the_middle_leaves_nothing(
    subject: Subject, real_node: RealNode
) -> None:
    async with subject.running() as container_id, asyncio.timeout(PATIENCE_SECONDS):
        for moments in range(0, 60, 6):
            starting = asyncio.create_task(start(subject, container_id, "exec sleep 4321", stdin=True))
            for _ in range(moments):
                await asyncio.sleep(0.001)
            starting.cancel()
            given_up = (await asyncio.gather(starting, return_exceptions=True))[0]
            if not isinstance(given_up, BaseException):
                await given_up.close()
        listing = await subject.runtime.exec_sync(container_id, ["ps"], PATIENCE_SECONDS)
        assert b"4321" not in listing.stdout
    assert os.listdir(real_node.containerd.node.root / "run/tiphys/pipes") == []


async def test_sessions_of_a_kubelet_that_died_are_ended(subject: Subject, real_node: RealNode) -> None:
    async with subject.running() as container_id, asyncio.timeout(PATIENCE_SECONDS):
        loud = await start(subject, container_id, "yes 4320", stdin=True)
        quiet = await start(subject, container_id, "exec sleep 4320", stdin=True)
        over = await start(subject, container_id, "true")
        await over.wait()
        later = real_node.containerd.runtime()
        await later.end_sessions_left_behind()
        await later.end_sessions_left_behind()
        await later.close()
        listing = await subject.runtime.exec_sync(container_id, ["ps"], PATIENCE_SECONDS)
        assert b"4320" not in listing.stdout
        for session in (loud, quiet, over):
            await session.close()
    assert os.listdir(real_node.containerd.node.root / "run/tiphys/pipes") == []


async def test_closing_a_session_kills_its_process(subject: Subject) -> None:
    async with subject.running() as container_id:
        session = await start(subject, container_id, "echo ready; exec sleep 1234")
        assert await anext(session.stdout) == b"ready\n"
        await session.close()
        await session.close()
        listing = await subject.runtime.exec_sync(container_id, ["ps"], PATIENCE_SECONDS)
        assert b"1234" not in listing.stdout


async def test_closing_wakes_whoever_reads(subject: Subject) -> None:
    async with subject.running() as container_id:
        session = await start(subject, container_id, "exec sleep 1234")
        reading = asyncio.create_task(collect(session.stdout))
        await asyncio.sleep(0)
        await session.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await reading == b""


async def test_exec_runs_as_the_containers_user_with_its_environment(subject: Subject) -> None:
    security = ContainerSecurity(run_as_user=1234, run_as_group=5)
    async with subject.running(security=security, env=(("COLOUR", "blå"),)) as container_id:
        session = await start(subject, container_id, "id -u; id -g; echo $COLOUR")
        out = await collect(session.stdout)
        assert out.decode().split() == ["1234", "5", "blå"]
        await session.close()


# exec_sync


async def test_exec_sync_gives_up_after_its_time(subject: Subject) -> None:
    async with subject.running() as container_id:
        with pytest.raises(DeadlineExceeded):
            await subject.runtime.exec_sync(container_id, ["sleep", "30"], 1)


async def test_many_synchronous_execs_in_one_pod_take_turns(subject: Subject) -> None:
    async with subject.running() as container_id:
        async with asyncio.timeout(PATIENCE_SECONDS):
            results = await asyncio.gather(
                *(
                    subject.runtime.exec_sync(container_id, ["echo", str(n)], PATIENCE_SECONDS)
                    for n in range(30)
                )
            )
        assert [int(result.stdout) for result in results] == list(range(30))


# attach and ports


async def test_attach_joins_the_containers_own_streams(subject: Subject) -> None:
    command = ("sh", "-c", "while read line; do echo got $line; echo err $line >&2; done")
    async with subject.running(command=command, stdin=True) as container_id:
        session = await subject.runtime.attach(container_id, stdin=True, stdout=True, stderr=True, tty=False)
        await session.write_stdin(b"one\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await anext(session.stdout) == b"got one\n"
            assert await anext(session.stderr) == b"err one\n"
        await session.close()
        assert await collect(session.stdout) == b""
        assert (await subject.runtime.container_status(container_id)).state == "Running"


async def test_what_is_piped_into_a_container_has_an_end(subject: Subject) -> None:
    """As with `kubectl run -i`: the last byte arrives, and then the end, which is not that of the attachment."""
    command = ("sh", "-c", "wc -c; echo done")
    async with subject.running(command=command, stdin=True, stdin_once=True) as container_id:
        session = await subject.runtime.attach(container_id, stdin=True, stdout=True, stderr=True, tty=False)
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(20):
                await session.write_stdin(b"x" * 50_000)
            await session.close_stdin()
            assert await collect(session.stdout) == b"1000000\ndone\n"
            assert await session.wait() == 0
        await session.close()


async def test_a_terminal_that_is_attached_has_the_size_it_is_given(subject: Subject) -> None:
    command = ("sh", "-c", "while read line; do stty size; done")
    async with subject.running(command=command, stdin=True, tty=True) as container_id:
        session = await subject.runtime.attach(container_id, stdin=True, stdout=True, stderr=False, tty=True)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await session.resize(123, 45)
            shown = b""
            while b"45 123" not in shown:
                await session.write_stdin(b"\n")
                shown += await anext(session.stdout)
        await session.close()


async def test_attach_ends_with_the_container(subject: Subject) -> None:
    command = ("sh", "-c", "read line; echo bye; exit 3")
    async with subject.running(command=command, stdin=True) as container_id:
        session = await subject.runtime.attach(container_id, stdin=True, stdout=True, stderr=True, tty=False)
        await session.write_stdin(b"go\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await collect(session.stdout) == b"bye\n"
            assert await session.wait() == 0
        await session.close()


async def test_a_port_of_the_pods_own_loopback_can_be_reached(subject: Subject) -> None:
    command = (
        "sh",
        "-c",
        "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 127.0.0.1:8080 -h /www",
    )
    async with subject.sandbox() as (sandbox_id, config):
        await subject.runtime.start_container(await subject.create(sandbox_id, config, command=command))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    connection = await subject.runtime.open_in_sandbox(sandbox_id, 8080)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(b"GET /index.html HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"hello\n")
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await subject.runtime.open_in_sandbox(sandbox_id, 8081)


# what the kernel does


async def test_running_out_of_memory_is_told(subject: Subject) -> None:
    events = subject.runtime.events()
    await next_event(events, "relist")
    resources = Resources(memory_limit_bytes=16 << 20)
    command = ("sh", "-c", "exec tail -c 200000000 /dev/zero")
    async with subject.running(command=command, resources=resources) as container_id:
        await next_event(events, "oom", container_id)
        status = await subject.exited(container_id)
        assert (status.exit_code, status.reason) == (137, "OOMKilled")
    await events.aclose()  # type: ignore[attr-defined]


async def test_resources_change_while_it_runs(subject: Subject) -> None:
    async with subject.sandbox() as (sandbox_id, config):
        container_id = await subject.create(
            sandbox_id, config, resources=Resources(memory_limit_bytes=32 << 20)
        )
        await subject.runtime.start_container(container_id)
        assert _memory_limit(config.cgroup_parent, container_id) == 32 << 20
        await subject.runtime.update_resources(container_id, Resources(memory_limit_bytes=64 << 20))
        assert _memory_limit(config.cgroup_parent, container_id) == 64 << 20


def _memory_limit(parent: str, container_id: str) -> int:
    for hierarchy in cgroup_hierarchies():
        for name in ("memory.limit_in_bytes", "memory.max"):
            path = hierarchy / parent.strip("/") / container_id / name
            if path.exists():
                return int(path.read_text())
    raise AssertionError(f"no memory cgroup of {container_id}")


async def test_a_command_that_cannot_be_run_is_told_at_start(subject: Subject) -> None:
    async with subject.sandbox() as (sandbox_id, config):
        container_id = await subject.create(sandbox_id, config, command=("/no/such",))
        with pytest.raises(RuntimeFailure, match=r"(?i)no such file or directory"):
            await subject.runtime.start_container(container_id)
        status = await subject.exited(container_id)
        assert (status.exit_code, status.reason) == (128, "StartError")


async def test_a_stubborn_container_is_killed_after_its_grace(subject: Subject) -> None:
    deaf = "trap '' TERM; echo ready; while true; do sleep 1; done"
    async with subject.running(command=("sh", "-c", deaf)) as container_id:
        log = Path((await subject.runtime.container_status(container_id)).log_path)
        await until_logged(log, "ready")
        await subject.runtime.stop_container(container_id, 1)
        status = await subject.exited(container_id)
        assert (status.exit_code, status.reason) == (137, "Error")


async def test_volumes_are_mounted(subject: Subject, real_node: RealNode) -> None:
    volume = real_node.directory / "volume"
    volume.mkdir(exist_ok=True)
    (volume / "greeting").write_text("hello")
    mounts = (
        Mount("/data", str(volume)),
        Mount("/fixed", str(volume), read_only=True, propagation="HostToContainer"),
    )
    async with subject.running(mounts=mounts) as container_id:
        result = await subject.runtime.exec_sync(
            container_id,
            ["sh", "-c", "cat /data/greeting; echo new > /data/new; touch /fixed/x"],
            PATIENCE_SECONDS,
        )
        assert result.stdout == b"hello"
        assert b"Read-only file system" in result.stderr
        assert (volume / "new").read_text() == "new\n"


async def test_a_pod_can_share_processes_and_the_nodes_network(subject: Subject) -> None:
    async with subject.sandbox(share_process_namespace=True, host_network=True, hostname="ignored") as (
        sandbox_id,
        config,
    ):
        container_id = await subject.create(sandbox_id, config)
        await subject.runtime.start_container(container_id)
        result = await subject.runtime.exec_sync(
            container_id, ["sh", "-c", "cat /proc/1/comm; hostname"], PATIENCE_SECONDS
        )
        assert result.stdout.split() == [b"pause", b"node-1"]


async def test_nothing_leaves_the_segment(subject: Subject) -> None:
    async with subject.running() as container_id:
        result = await subject.runtime.exec_sync(
            container_id, ["ping", "-c1", "-W1", "198.18.0.1"], PATIENCE_SECONDS
        )
        assert result.exit_code != 0
        segment = await subject.runtime.exec_sync(
            container_id, ["ping", "-c1", "-W10", "10.90.0.11"], PATIENCE_SECONDS
        )
        assert segment.exit_code == 0


# logs


async def until_logged(log: Path, line: str) -> None:
    """Who is attached may hear it first."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not log.read_text().endswith(f"stdout F {line}\n"):
            await asyncio.sleep(0.01)


async def test_a_log_is_written_and_reopened(subject: Subject) -> None:
    command = ("sh", "-c", "while read line; do echo $line; done")
    async with subject.running(command=command, stdin=True) as container_id:
        log = Path((await subject.runtime.container_status(container_id)).log_path)
        session = await subject.runtime.attach(container_id, stdin=True, stdout=True, stderr=True, tty=False)
        await session.write_stdin(b"one\n")
        await anext(session.stdout)
        await until_logged(log, "one")
        log.rename(log.with_suffix(".old"))
        await subject.runtime.reopen_log(container_id)
        await session.write_stdin(b"two\n")
        await anext(session.stdout)
        await session.close()
        await until_logged(log, "two")
        assert log.with_suffix(".old").read_text().endswith("stdout F one\n")
    async with subject.running(command=("true",)) as container_id:
        await subject.exited(container_id)
        with pytest.raises(RuntimeFailure):
            await subject.runtime.reopen_log(container_id)


# restarts


async def test_pods_and_events_outlive_containerd(subject: Subject, real_node: RealNode) -> None:
    events = subject.runtime.events()
    await next_event(events, "relist")
    async with (
        subject.running() as survivor,
        subject.running(command=("sh", "-c", "sleep 0.5; exit 5")) as short,
    ):
        session = await start(subject, survivor, "read line; echo $line; exit 9", stdin=True)
        assert stop_containerd(real_node.containerd)
        with pytest.raises(Unavailable):
            await subject.runtime.version()
        assert find_containerd(real_node.containerd.node, real_node.settings) is None
        real_node.containerd = await start_containerd(real_node.containerd.node, real_node.settings, probe())
        await next_event(events, "relist")
        assert (await subject.exited(short)).exit_code == 5
        assert (await subject.runtime.container_status(survivor)).state == "Running"
        await session.write_stdin(b"still here\n")
        assert await collect(session.stdout) == b"still here\n"
        assert await session.wait() == 9
        await session.close()
        await subject.runtime.stop_container(survivor, 10)
        await next_event(events, "exited", survivor)
    await events.aclose()  # type: ignore[attr-defined]
