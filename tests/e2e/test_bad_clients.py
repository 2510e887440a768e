"""Clients that are broken, slow, greedy or gone, against a running cluster: each gets a clear answer, and nobody else notices."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e_cluster import Cluster, wait_for
from weather import component, processes

PATIENCE_SECONDS = 30.0
"""More than any answer takes, and less than the server would wait for the rest of what is none."""
LIMIT_BYTES = 3 * 1024 * 1024
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


class Door:
    """Raw TLS connections to the API server, as the administrator."""

    def __init__(self, cluster: Cluster, scratch: Path) -> None:
        config = yaml.safe_load(Path(cluster.status()["kubeconfig"]).read_text())
        host, _, port = config["clusters"][0]["cluster"]["server"].removeprefix("https://").partition(":")
        self.address = (host, int(port))
        self.pid = component(cluster, "control-plane")
        user = config["users"][0]["user"]
        pem = scratch / "admin.pem"
        pem.write_bytes(
            b"".join(map(base64.b64decode, (user["client-certificate-data"], user["client-key-data"])))
        )
        self._context = ssl.create_default_context(
            cadata=base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        )
        self._context.load_cert_chain(pem)

    def open(self, *, receive_bytes: int = 0) -> ssl.SSLSocket:
        plain = socket.socket()
        if receive_bytes:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        plain.settimeout(PATIENCE_SECONDS)
        plain.connect(self.address)
        return self._context.wrap_socket(plain, server_hostname=self.address[0])

    def send(self, data: bytes) -> bytes:
        """Everything that comes back until the server closes, which it does."""
        with closing(self.open()) as connection:
            try:
                connection.sendall(data)
            except OSError:
                pass  # it was refused before all was said, and the server does not listen for long
            return drain(connection, PATIENCE_SECONDS)

    def call(
        self, method: str, path: str, body: bytes = b"", *, length: int = 0, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """One request of its own connection: (code, document). `length`: what is said of its body, if it is not so."""
        size = f"Content-Length: {length or len(body)}"
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", size]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        answer = self.send("\r\n".join([*lines, "", ""]).encode() + body)
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head, "no answer"
        return int(head.split()[1]), json.loads(rest) if rest.startswith(b"{") else {}

    def is_served(self) -> bool:
        """Somebody else is served."""
        return self.call("GET", "/api/v1/namespaces/default")[0] == 200

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def drain(connection: ssl.SSLSocket, silence_seconds: float = 3.0) -> bytes:
    """What comes until the end, or until nothing came for a while, which must not be a long one."""
    connection.settimeout(silence_seconds)
    received = bytearray()
    try:
        while piece := connection.recv(1 << 16):
            received += piece
    except TimeoutError:
        assert silence_seconds < PATIENCE_SECONDS, f"the connection stays open after {received[:1000]!r}"
    except OSError:
        pass
    return bytes(received)


def code_of(answer: bytes) -> int:
    match = re.match(rb"HTTP/1\.1 (\d+)", answer)
    return int(match[1]) if match else 0


@pytest.fixture(scope="module")
def door(hollow: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The same control plane must live through all that happens here."""
    door = Door(hollow, tmp_path_factory.mktemp("door"))
    yield door
    assert component(hollow, "control-plane") == door.pid
    log = (hollow.home / "tiphys" / hollow.name / "logs" / "control-plane.log").read_text()
    assert "Traceback" not in log, log[-3000:]


def object_of(name: str, text: str = "") -> bytes:
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"text": text},
    }
    return json.dumps(document).encode()


# Broken requests


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame at all, but long enough to be one",
    ],
    ids=lambda data: data[:24].decode(errors="replace").splitlines()[0],
)
def test_what_is_no_http_is_refused_and_the_connection_closed(door: Door, request_bytes: bytes) -> None:
    answer = door.send(request_bytes)
    assert code_of(answer) in (0, 400, 505)
    assert door.is_served()


def test_headers_without_end(door: Door) -> None:
    assert code_of(door.send(b"GET / HTTP/1.1\r\nX: " + b"y" * (1 << 20))) in (0, 431)
    assert code_of(door.send(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n")) in (0, 431)
    assert door.is_served()


def test_a_body_that_is_too_large(door: Door) -> None:
    # Whoever goes on sending what was refused may lose the answer: so it is only begun.
    code, status = door.call(
        "POST", CONFIG_MAPS, b'{"data": {"', Content_Type="application/json", length=LIMIT_BYTES + 1
    )
    assert (code, status["kind"], status["reason"]) == (413, "Status", "RequestEntityTooLarge")
    assert door.is_served()


@pytest.mark.parametrize(
    ("content_type", "body", "code", "words"),
    [
        ("text/plain", object_of("a"), 415, "the body of the request was in an unknown format"),
        ("application/json", b"[" * 100_000, 400, ""),
        ("application/json", b'{"a":' * 100_000, 400, ""),
        ("application/yaml", b"[" * 10_000, 400, ""),
        ("application/json", b'{"kind": "ConfigMap", "data": {"a": "\xff\xfe"}}', 400, ""),
        ("application/yaml", b"kind: \xff\xfe", 400, ""),
        ("application/json", b"", 400, ""),
        ("application/json", b"\x00" * 100, 400, ""),
        ("application/vnd.kubernetes.protobuf", b"k8s\x00" + b"\xff" * 200, 400, ""),
    ],
    ids=["type", "arrays", "objects", "yaml arrays", "utf-8", "yaml utf-8", "empty", "zeros", "protobuf"],
)  # fmt: skip
def test_a_body_that_is_no_object(door: Door, content_type: str, body: bytes, code: int, words: str) -> None:
    answered, status = door.call("POST", CONFIG_MAPS, body, Content_Type=content_type)
    assert (answered, status.get("kind"), status.get("code")) == (code, "Status", code)
    assert words in status["message"]
    assert door.is_served()


def test_many_aliases_are_not_many_bytes(door: Door) -> None:
    """A few hundred bytes of YAML that stand for billions of nodes."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    code, _ = door.call("POST", CONFIG_MAPS, "\n".join(lines).encode(), Content_Type="application/yaml")
    assert 400 <= code < 500
    assert door.is_served()


# Slow and idle ones


def test_those_who_dawdle_do_not_keep_others_waiting(door: Door) -> None:
    """Heads that come a byte at a time, bodies that stop half way, connections that say nothing, and hellos that never come."""
    before = door.descriptors()
    dawdlers: list[socket.socket] = [door.open() for _ in range(40)]
    for connection in dawdlers:
        connection.sendall(b"G")
    halves = [door.open() for _ in range(20)]
    for half in halves:
        half.sendall(f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
    idle = [door.open() for _ in range(60)]
    silent = [socket.create_connection(door.address) for _ in range(100)]
    for letter in b"ET / HTT":
        for connection in dawdlers:
            connection.sendall(bytes([letter]))
        assert door.is_served()
    for connection in (*dawdlers, *halves, *idle, *silent):
        connection.close()
    wait_for(lambda: door.descriptors() <= before, "the server has forgotten them")
    code, listing = door.call("GET", CONFIG_MAPS)
    assert code == 200
    assert "half" not in json.dumps(listing)


# Watches


WATCH = f"GET {CONFIG_MAPS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def test_watchers_that_vanish_are_forgotten(door: Door) -> None:
    before = door.descriptors()
    for _ in range(3):
        watchers = [door.open() for _ in range(50)]
        for watcher in watchers:
            watcher.sendall(WATCH)
        for watcher in watchers:
            assert b"200 OK" in watcher.recv(4096)
        for number, watcher in enumerate(watchers):
            if number % 2:  # no goodbye, but a reset
                watcher.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(watcher.detach())
            else:
                watcher.close()
    door.call("POST", CONFIG_MAPS, object_of("after-all-left"), Content_Type="application/json")
    door.call("DELETE", f"{CONFIG_MAPS}/after-all-left")
    wait_for(lambda: door.descriptors() <= before, "the server has forgotten them")


def read_names(watcher: ssl.SSLSocket, seen: list[str]) -> None:
    rest = b""
    try:
        while piece := watcher.recv(1 << 20):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"{"):
                    seen.append(json.loads(line)["object"]["metadata"]["name"])
    except OSError:
        pass


def test_a_watcher_that_never_reads_is_cut_off_and_others_see_everything(door: Door) -> None:
    before = door.descriptors()
    asleep = door.open(receive_bytes=1 << 14)
    asleep.sendall(WATCH)
    awake = door.open()
    awake.sendall(WATCH)
    seen: list[str] = []
    reader = threading.Thread(target=read_names, args=(awake, seen))
    reader.start()
    names = [f"heavy-{number}" for number in range(60)]
    for name in names:
        body = object_of(name, name * 60_000)
        assert door.call("POST", CONFIG_MAPS, body, Content_Type="application/json")[0] == 201
    wait_for(lambda: seen[-len(names) :] == names, "the other one has seen all")
    wait_for(lambda: door.descriptors() <= before + 1, "the sleeper was cut off")
    assert sum(map(len, iter(lambda: drain(asleep), b""))) < 20 << 20
    awake.shutdown(socket.SHUT_RDWR)
    reader.join(5)
    awake.close()
    asleep.close()
    assert door.call("DELETE", CONFIG_MAPS)[0] == 200
    wait_for(lambda: door.descriptors() <= before, "the server has forgotten them")


def test_nobody_of_the_cluster_was_hurt(door: Door, hollow: Cluster) -> None:
    assert hollow.status()["ready"] is True
    assert len(processes(hollow, "tiphys.cluster")) == 3
    assert door.is_served()
