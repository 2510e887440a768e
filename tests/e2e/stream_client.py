"""A client of exec and logs over WebSocket that does what it is told, also what no kubectl would do."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import yaml
from e2e_cluster import Cluster

from tiphys.net.client import ClientResponse, HTTPClient
from tiphys.net.http import ByteStream
from tiphys.net.tls import client_context
from tiphys.net.websocket import ClientHandshake, WebSocket

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = (bytes((number,)) for number in (0, 1, 2, 3, 4, 255))


@dataclass
class Ended:
    """What a session said, by channel, and how it ended."""

    said: dict[int, bytes] = field(default_factory=dict)
    first: bytes = b""
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def stdout(self) -> bytes:
        return self.said.get(1, b"")


class StreamClient:
    """As the administrator, each session over a connection of its own. `close` it."""

    def __init__(self, cluster: Cluster) -> None:
        kubeconfig = cluster.home / "tiphys" / cluster.name / "kubeconfig"
        config = yaml.safe_load(kubeconfig.read_text())
        here, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = client_context(
            ca_data=base64.b64decode(here["certificate-authority-data"]),
            cert_data=base64.b64decode(user["client-certificate-data"]),
            key_data=base64.b64decode(user["client-key-data"]),
        )
        self._http = HTTPClient(here["server"], ssl_context=context, connect_timeout_seconds=60.0)

    async def close(self) -> None:
        await self._http.close()

    async def open(
        self, path: str, query: Sequence[tuple[str, str]], protocol: str
    ) -> tuple[int, str, WebSocket | None]:
        """(status, text of a refusal or the protocol, the WebSocket)."""
        handshake = ClientHandshake([protocol] if protocol else [])
        answer, stream = await self.raw("GET", path, query, handshake.headers)
        if stream is None:
            return answer.status, answer.body.decode(errors="replace"), None
        return 101, handshake.verify(101, answer.headers), WebSocket(stream, "client")

    async def raw(
        self, method: str, path: str, query: Sequence[tuple[str, str]], headers: Mapping[str, str]
    ) -> tuple[ClientResponse, ByteStream | None]:
        """An upgrade, and what is behind it as bare bytes."""
        target = f"/api/v1/namespaces/{path}?{urlencode(query)}"
        return await self._http.upgrade(method, target, list(headers.items()))

    async def session(
        self,
        pod: str,
        verb: str,
        command: Sequence[str] = (),
        *,
        protocol: str = "v5.channel.k8s.io",
        **more: str,
    ) -> WebSocket:
        """A session that was let in. `pod` is "namespace/pods/name"."""
        wanted = {"stdout": "1", "stderr": "1", **more}
        query = [*wanted.items(), *(("command", word) for word in command)]
        status, text, socket = await self.open(f"{pod}/{verb}", query, protocol)
        assert socket is not None, (status, text)
        return socket

    async def run(self, pod: str, *command: str, stdin: bytes | None = None, **more: str) -> Ended:
        """A command, to its end."""
        options = {"stdin": "1", **more} if stdin is not None else more
        socket = await self.session(pod, "exec", command, **options)
        if stdin is not None:
            await socket.send(STDIN + stdin)
            await socket.send(CLOSE + STDIN)
        return await drain(socket)


async def drain(socket: WebSocket, *, in_base64: bool = False) -> Ended:
    ended = Ended()
    parts: dict[int, list[bytes]] = {}
    count = 0
    while (message := await socket.receive()) is not None:
        data = message[1]
        channel, text = (data[0] - 48, base64.b64decode(data[1:])) if in_base64 else (data[0], data[1:])
        if count == 0:
            ended.first = data
        count += 1
        parts.setdefault(channel, []).append(text)
    ended.said = {channel: b"".join(texts) for channel, texts in parts.items()}
    told = ended.said.get(3, b"")
    if told.startswith(b"{"):
        ended.status = json.loads(told)
    await socket.close()
    return ended
