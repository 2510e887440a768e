"""The kubelet's process: where it listens, and with what it shows itself."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from tiphys.cluster import kubelet_process
from tiphys.cluster.kubelet_process import access, listen
from tiphys.cluster.kubelet_settings import KubeletSettings
from tiphys.net.http import Request, Response
from tiphys.net.server import Server


def settings(directory: Path, port: int = 0, runtime: str = "simulated") -> KubeletSettings:
    return KubeletSettings(
        node="node-1",
        nodes=["node-1"],
        runtime=runtime,
        server="https://127.0.0.1:6443",
        pki=str(directory),
        certificate="kubelet-node-1",
        serving="kubelet-node-1",
        address="127.0.0.1",
        directory=str(directory),
        cgroup="/t",
        images=str(directory),
        port=port,
    )


def answer(request: Request) -> Response:
    return Response(200)


def test_it_shows_the_certificate_of_its_node(tmp_path: Path) -> None:
    for name in ("ca.crt", "kubelet-node-1.crt", "kubelet-node-1.key"):
        (tmp_path / name).write_text(name)
    given = access(settings(tmp_path))
    assert (given.client_certificate, given.client_key) == (b"kubelet-node-1.crt", b"kubelet-node-1.key")
    assert given.certificate_authority == b"ca.crt"


async def test_it_listens_where_it_was_told_to(tmp_path: Path) -> None:
    server = Server(answer)
    port = await listen(server, settings(tmp_path))
    assert port > 0
    await server.shutdown(grace_seconds=0)


async def test_simulated_nodes_take_another_port_when_theirs_is_taken(tmp_path: Path) -> None:
    first, second = Server(answer), Server(answer)
    taken = (await first.listen(host="127.0.0.1", port=0)).port
    assert await listen(second, settings(tmp_path, taken)) not in (0, taken)
    for server in (first, second):
        await server.shutdown(grace_seconds=0)


@pytest.mark.slow
async def test_a_real_node_insists_on_its_port(tmp_path: Path) -> None:
    first = Server(answer)
    taken = (await first.listen(host="127.0.0.1", port=0)).port
    wanted = replace(settings(tmp_path, taken), runtime="containerd")
    assert kubelet_process.LISTEN_ATTEMPTS * kubelet_process.RETRY_SECONDS < 10
    with pytest.raises(OSError, match="in use") as caught:
        await listen(Server(answer), wanted)
    assert caught.value.errno == errno.EADDRINUSE
    await first.shutdown(grace_seconds=0)
