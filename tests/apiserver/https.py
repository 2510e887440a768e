"""A real HTTPS server around an API server, in a thread of its own, for clients that are other programs."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from served import running

from tiphys.apiserver.aggregation.identity import FrontProxy
from tiphys.apiserver.pipeline import too_large
from tiphys.apiserver.server import BODY_LIMIT_BYTES
from tiphys.client import kubeconfig
from tiphys.client.kubeconfig import Access
from tiphys.cluster.pki import Authority, Leaf
from tiphys.machinery.clock import SystemClock
from tiphys.net.server import Server
from tiphys.net.tls import client_context, server_context

KUBECTL = Path(sys.executable).parent / "kubectl"
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Secure:
    """Where the server is, and how its administrator gets in."""

    port: int
    home: Path
    kubeconfig: Path

    def tls(self, *, client: bool = True) -> ssl.SSLContext:
        pki = self.home / "pki"
        files = {"cert_file": f"{pki}/admin.crt", "key_file": f"{pki}/admin.key"} if client else {}
        return client_context(ca_file=f"{pki}/ca.crt", **files)

    def command(self, *arguments: str, program: Path = KUBECTL) -> tuple[list[str], dict[str, str]]:
        environment = {"HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig), "PATH": os.environ["PATH"]}
        return [str(program), *arguments], environment

    def kubectl(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        """What kubectl says, on both of its outputs."""
        command, environment = self.command(*arguments)
        done = subprocess.run(
            command,
            env=environment,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout
        return done.stdout


@contextmanager
def secure_server(
    home: Path, signing_key: bytes, *, front_proxy: FrontProxy | None = None, **settings: Any
) -> Iterator[Secure]:
    authority = Authority(home / "pki", datetime.now(UTC))
    authority.ensure(
        [
            Leaf("apiserver", "kube-apiserver", names=("127.0.0.1", "localhost")),
            Leaf("admin", "kubernetes-admin", ("system:masters",)),
        ]
    )
    started = threading.Event()
    found: dict[str, object] = {}

    async def serve() -> None:
        stop = asyncio.Event()
        found["loop"], found["stop"] = asyncio.get_running_loop(), stop
        context = server_context(
            str(authority.certificate("apiserver")),
            str(authority.key("apiserver")),
            str(authority.certificate_file),
        )
        async with running(SystemClock(), signing_key, front_proxy=front_proxy, **settings) as api:
            listener = Server(
                api.handle, ssl_context=context, body_limit_bytes=BODY_LIMIT_BYTES, on_too_large=too_large
            )
            found["port"] = (await listener.listen(host="127.0.0.1", port=0)).port
            started.set()
            await stop.wait()
            await api.close()
            await listener.shutdown(grace_seconds=1)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="secure-server")
    thread.start()
    try:
        assert started.wait(PATIENCE_SECONDS)
        port = found["port"]
        assert isinstance(port, int)
        access = Access(
            f"https://127.0.0.1:{port}",
            certificate_authority=authority.certificate_file.read_bytes(),
            client_certificate=authority.certificate("admin").read_bytes(),
            client_key=authority.key("admin").read_bytes(),
        )
        path = home / "kubeconfig"
        kubeconfig.save(path, kubeconfig.make("test", access))
        yield Secure(port, home, path)
    finally:
        loop, stop = found["loop"], found["stop"]
        assert isinstance(loop, asyncio.AbstractEventLoop)
        assert isinstance(stop, asyncio.Event)
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_SECONDS)
