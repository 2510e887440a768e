"""kubectl exec and port-forward, unmodified, over both of its protocols."""

import asyncio
import fcntl
import os
import re
import signal
import struct
import termios
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

Kubectl = Callable[..., Awaitable[asyncio.subprocess.Process]]

over_both = pytest.mark.parametrize(
    "spdy", [pytest.param(False, id="websocket"), pytest.param(True, id="spdy")]
)


async def finished(
    process: asyncio.subprocess.Process, stdin: bytes | None = None
) -> tuple[int | None, bytes, bytes]:
    stdout, stderr = await asyncio.wait_for(process.communicate(stdin), 60)
    return process.returncode, stdout, stderr


@over_both
async def test_output_and_error_come_apart(kubectl: Kubectl, cluster: Any, spdy: bool) -> None:
    process = await kubectl("exec", "x", "--", "say", "out", "err", spdy=spdy)
    assert await finished(process) == (0, b"out", b"err")
    assert cluster.protocols == ["v5.channel.k8s.io"] or spdy


@over_both
async def test_the_exit_code_arrives(kubectl: Kubectl, spdy: bool) -> None:
    process = await kubectl("exec", "x", "--", "exit", "3", spdy=spdy)
    assert await finished(process) == (3, b"", b"command terminated with exit code 3\n")


@over_both
async def test_a_failure_to_run_says_why(kubectl: Kubectl, spdy: bool) -> None:
    code, _, stderr = await finished(await kubectl("exec", "x", "--", "nonsense", spdy=spdy))
    assert code == 1
    assert b"error executing command in container: no such command: ['nonsense']" in stderr


@over_both
async def test_five_megabytes_come_back_byte_for_byte_and_stdin_ends(kubectl: Kubectl, spdy: bool) -> None:
    data = os.urandom(5 * 1024 * 1024)
    process = await kubectl("exec", "-i", "x", "--", "cat", spdy=spdy)
    assert await finished(process, data) == (0, data, b"")


@over_both
async def test_a_command_that_ends_without_reading_its_input_loses_no_output(
    kubectl: Kubectl, spdy: bool
) -> None:
    process = await kubectl("exec", "-i", "x", "--", "yes", "32", spdy=spdy)
    code, stdout, _ = await finished(process, bytes(3 * 1024 * 1024))
    assert (code, len(stdout)) == (0, 32 * 65536)


@over_both
async def test_the_size_of_the_terminal_is_followed(kubectl: Kubectl, spdy: bool) -> None:
    master, slave = os.openpty()
    resize(slave, columns=100, rows=30)
    process = await kubectl(
        "exec", "-it", "x", "--", "sizes", "2", spdy=spdy, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    await expect(master, b"100x30")
    resize(master, columns=120, rows=40)
    process.send_signal(signal.SIGWINCH)
    await expect(master, b"120x40")
    assert await asyncio.wait_for(process.wait(), 60) == 0
    os.close(master)


def resize(terminal: int, *, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


async def expect(terminal: int, text: bytes) -> None:
    """Reads the terminal until the text has come."""
    os.set_blocking(terminal, False)
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(terminal, readable.set)
    got = b""
    try:
        async with asyncio.timeout(60):
            while text not in got:
                await readable.wait()
                readable.clear()
                got += os.read(terminal, 65536)
    finally:
        asyncio.get_running_loop().remove_reader(terminal)


@over_both
async def test_an_interrupted_kubectl_ends_the_command(kubectl: Kubectl, cluster: Any, spdy: bool) -> None:
    process = await kubectl("exec", "-i", "x", "--", "hang", spdy=spdy)
    async with asyncio.timeout(60):
        while not cluster.protocols:
            await asyncio.sleep(0.01)
    process.kill()
    assert await asyncio.wait_for(cluster.ended.get(), 60) == "hang"


async def forwarded_port(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    found = re.search(rb"127.0.0.1:(\d+) ->", line)
    assert found, line
    return int(found[1])


@over_both
async def test_many_connections_are_forwarded_at_once(kubectl: Kubectl, spdy: bool) -> None:
    process = await kubectl("port-forward", "pod/x", ":80", "--address=127.0.0.1", spdy=spdy)
    port = await forwarded_port(process)

    async def ask(number: int) -> None:
        data = (b"connection %d " % number) * 20_000
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(-1), 60) == data.upper()
        writer.close()

    await asyncio.gather(*(ask(number) for number in range(20)))
    await ask(99)


@over_both
async def test_a_port_that_nobody_serves_is_an_error_of_kubectl(kubectl: Kubectl, spdy: bool) -> None:
    process = await kubectl("port-forward", "pod/x", ":9", "--address=127.0.0.1", spdy=spdy)
    reader, writer = await asyncio.open_connection("127.0.0.1", await forwarded_port(process))
    writer.write(b"hello")
    assert await asyncio.wait_for(reader.read(-1), 60) == b""
    writer.close()
    _, _, stderr = await finished(process)
    assert b"nobody listens on port 9" in stderr
