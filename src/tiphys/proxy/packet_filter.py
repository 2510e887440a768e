"""The packet filter of the network namespace in which this process runs: nft(8) and conntrack(8)."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence

from tiphys.proxy.flows import Flow

_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOTHING_DELETED = "0 flow entries"


class PacketFilterError(Exception):
    """nft or conntrack refused; the text is theirs."""


class PacketFilter:
    """Raises PacketFilterError."""

    async def apply(self, text: str) -> None:
        """One transaction: all of it, or nothing."""
        code, said = await _run(["nft", "-f", "-"], text)
        if code:
            raise PacketFilterError(said)

    async def forget(self, flow: Flow) -> None:
        """Harmless when there is none."""
        code, said = await _run(["conntrack", *flow.arguments], "")
        if code and _NOTHING_DELETED not in said:
            raise PacketFilterError(said)


def has_address(address: str) -> bool:
    """Whether an interface of this network namespace has it: rules for a node belong nowhere else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
    return True


async def _run(command: Sequence[str], text: str) -> tuple[int, str]:
    """(exit code, what it said)"""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": _SEARCH},
    )
    try:
        _, said = await process.communicate(text.encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, said.decode(errors="replace").strip()
