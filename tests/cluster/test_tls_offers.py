"""What the servers' TLS takes and refuses, asked by openssl s_client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tiphys.cluster.pki import Authority, Leaf
from tiphys.net.http import Response
from tiphys.net.server import Server
from tiphys.net.tls import server_context


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    authority = Authority(tmp_path, datetime.now(UTC))
    authority.ensure([Leaf("server", "kube-apiserver", names=("localhost",))])
    context = server_context(str(authority.certificate("server")), str(authority.key("server")))
    server = Server(lambda request: Response(200, [], b""), ssl_context=context)
    yield (await server.listen(host="127.0.0.1", port=0)).port
    await server.shutdown(grace_seconds=0.1)


async def ask(port: int, *options: str) -> str:
    """What openssl says of a handshake. Its own limits are lowered, so that it is the server that refuses."""
    command = ("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode(errors="replace")


@pytest.mark.parametrize(
    ("options", "protocol"),
    [
        (("-tls1_3",), "TLSv1.3"),
        (("-tls1_2",), "TLSv1.2"),
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"), "TLSv1.2"),
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"), "TLSv1.2"),
    ],
)
async def test_what_is_taken(port: int, options: tuple[str, ...], protocol: str) -> None:
    said = await ask(port, *options, "-alpn", "h2,http/1.1")
    assert f"New, {protocol}" in said, said
    assert "ALPN protocol: h2" in said


@pytest.mark.parametrize(
    "options",
    [
        ("-tls1", "-cipher", "ALL:@SECLEVEL=0"),
        ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"),
        ("-tls1_2", "-cipher", "AES128-GCM-SHA256"),
        ("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"),
        ("-tls1_2", "-cipher", "NULL:eNULL:@SECLEVEL=0"),
    ],
)
async def test_what_is_refused(port: int, options: tuple[str, ...]) -> None:
    said = await ask(port, *options)
    assert "New, (NONE), Cipher is (NONE)" in said, said
    # It was asked, and hung up: openssl itself would have been willing.
    assert "written 0 bytes" not in said, said
    assert "unexpected eof" in said or "alert" in said, said
