"""Requests that no client would write, over real TLS: odd paths, contradictory lengths, HTTP/2's own headers, certificates of
others. Whoever sends them is nobody, and stays nobody."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import ngh2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from https import Secure, secure_server

from tiphys.cluster.pki import Authority, Leaf
from tiphys.net.tls import client_context

PATIENCE_SECONDS = 60.0
SECRETS = "/api/v1/namespaces/kube-system/secrets"
WANTED = b"c2VjcmV0"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with secure_server(tmp_path_factory.mktemp("wire"), key) as server:
        body = b'{"metadata":{"name":"password"},"data":{"key":"c2VjcmV0"}}'
        head = f"POST {SECRETS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        assert b" 201 " in exchange(server, head.encode() + body, server.tls())[:20]
        yield server


def exchange(server: Secure, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """All that the server says to these bytes until it closes the connection."""
    context = context or server.tls(client=False)
    with (
        socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure_socket,
    ):
        secure_socket.sendall(data)
        return _heard(secure_socket)


def _heard(connection: ssl.SSLSocket) -> bytes:
    """A last request that ends the connection makes waiting needless."""
    heard = b""
    try:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while piece := connection.recv(65536):
            heard += piece
    except (ssl.SSLError, ConnectionError):
        pass
    return heard


def statuses(heard: bytes) -> list[int]:
    return [int(line.split()[1]) for line in heard.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


def get(target: str, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"GET {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()


TARGETS = [
    SECRETS,
    f"{SECRETS}/",
    f"/{SECRETS}",
    f"//{SECRETS}//password",
    f"{SECRETS}/password/",
    f"{SECRETS};x=/healthz",
    f"{SECRETS}/password;/livez",
    "/api/v1/namespaces/kube-system/secrets%2fpassword",
    "/api/v1/namespaces/kube-system%2fsecrets/password",
    "/api/v1/namespaces%2Fkube-system%2Fsecrets%2Fpassword",
    "/api/v1/namespaces/kube-system/%73ecrets/password",
    "/api/v1/namespaces/kube-system/secrets/pass%00word",
    "/api/v1/namespaces/kube-system/secrets%00/password",
    "/livez/../api/v1/namespaces/kube-system/secrets/password",
    "/livez/..%2fapi/v1/namespaces/kube-system/secrets/password",
    "/livez/%2e%2e/api/v1/secrets",
    "/version/../metrics",
    "/livez/../metrics",
    "/metrics/",
    "//metrics",
    "/metrics%2f",
    "/METRICS",
    "/./metrics",
    "/api/v1/./secrets",
    "/api/../api/v1/secrets",
    "/API/v1/secrets",
    "/api/V1/secrets",
    "/api/v1/Secrets",
    "/api/v1/SECRETS",
    "/apis/../api/v1/secrets",
    "/apis//v1/secrets",
    "/api/v1/watch/secrets",
    "/api/v1/watch/../secrets",
    "/api/v1/namespaces/../secrets",
    "/api/v1/namespaces/kube-system/../kube-system/secrets/password",
    "/api/v1/secrets?x=/livez",
    "/api/v1/secrets#/livez",
    "/livez%3f/../../api/v1/secrets",
    "/livez\\..\\api\\v1\\secrets",
    "http://127.0.0.1/api/v1/secrets",
    "https://kubernetes/api/v1/secrets",
    "http://x/livez/../../api/v1/secrets",
    "http://system:masters@x/api/v1/secrets",
    "*",
    "api/v1/secrets",
    "/debug/pprof/",
    "/debug/../flagz",
    "/flagz/",
]


@pytest.mark.parametrize("target", TARGETS)
def test_no_spelling_of_a_path_opens_it(secure: Secure, target: str) -> None:
    heard = exchange(secure, get(target))
    assert WANTED not in heard
    assert statuses(heard)[0] in (400, 403, 404), heard


@pytest.mark.parametrize("target", ["/healthz/../metrics", "/version/", "/livez/ping"])
def test_what_everybody_may_see_is_only_that(secure: Secure, target: str) -> None:
    heard = exchange(secure, get(target))
    assert b"apiserver_request" not in heard


CLAIMS = [
    "X-Remote-User: admin\r\nX-Remote-Group: system:masters",
    "X-Remote-User: admin\r\nX-Remote-Group: system:masters\r\nX-Remote-Uid: 1\r\nX-Remote-Extra-Scopes: all",
    "X_Remote_User: admin\r\nX_Remote_Group: system:masters",
    "Impersonate-User: admin\r\nImpersonate-Group: system:masters",
    "impersonate-USER: kubernetes-admin",
    "Authorization: Basic YWRtaW46YWRtaW4=",
    "Authorization: bearer admin",
    "Authorization: Bearer a\r\nAuthorization: Bearer b",
    "Authorization: Negotiate AAAA",
    "Proxy-Authorization: Bearer admin",
    "X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1;by=admin",
    "X-HTTP-Method-Override: GET\r\nX-Original-URL: /livez\r\nX-Rewrite-URL: /livez",
    "Cookie: token=admin",
    "Connection: X-Remote-User\r\nX-Remote-User: admin",
]


@pytest.mark.parametrize("claim", CLAIMS)
def test_no_header_makes_somebody_of_nobody(secure: Secure, claim: str) -> None:
    heard = exchange(secure, get(SECRETS, claim))
    assert WANTED not in heard
    assert statuses(heard)[0] in (401, 403, 500), heard


_INNER = get(f"{SECRETS}?smuggled=1")
SMUGGLED = {
    "CL.TE": b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    % (5 + len(_INNER))
    + _INNER,
    "TE.CL": b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n%x\r\n"
    % len(_INNER)
    + _INNER
    + b"\r\n0\r\n\r\n",
    "two lengths": b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n"
    % len(_INNER)
    + _INNER,
    "a list of lengths": b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 0, %d\r\n\r\n" % len(_INNER)
    + _INNER,
    "a signed length": b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n" + _INNER,
    "a length in hex": b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 0x0\r\n\r\n" + _INNER,
    "a length with a space before the colon": b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\n"
    + _INNER,
    "a folded coding": b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"
    + _INNER,
    "a folded length": b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n 0\r\n\r\n" + _INNER,
    "two codings": b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    + _INNER,
    "a coding that is nearly one": b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"
    + _INNER,
    "a chunk that overflows": b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n"
    + _INNER,
    "a bare CR": b"POST /version HTTP/1.1\r\nHost: x\rContent-Length: 0\r\n\r\n" + _INNER,
    "a bare LF": b"POST /version HTTP/1.1\nHost: x\nContent-Length: 0\n\n" + _INNER,
    "a NUL in a name": b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length\x00: 0\r\n\r\n" + _INNER,
    "two hosts": b"POST /version HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + _INNER,
    "HTTP/1.0 with a coding": b"POST /version HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + _INNER,
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_request_whose_end_can_be_doubted_is_the_last_one(secure: Secure, name: str) -> None:
    """Refused, and nothing behind it is read: a proxy before us may have seen one request where we would see two."""
    heard = exchange(secure, SMUGGLED[name], secure.tls())
    assert WANTED not in heard, heard
    assert statuses(heard)[0] in (400, 501), heard
    assert len(statuses(heard)) == 1, heard


def test_an_upgrade_that_is_refused_leaves_no_door_open(secure: Secure) -> None:
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
    )
    pod = "/api/v1/namespaces/kube-system/pods/web"
    for target in (
        f"{pod}/exec?command=id",
        f"{pod}/attach",
        f"{pod}/portforward?ports=1",
        f"{pod}/proxy/",
        "/api/v1/nodes/n/proxy/",
    ):
        for method in (b"GET", b"POST"):
            heard = exchange(secure, get(target, *upgrade).replace(b"GET", method, 1) + get(SECRETS))
            assert set(statuses(heard)) <= {403, 200}, heard
            assert statuses(heard)[0] == 403, heard
            assert WANTED not in heard
    heard = exchange(
        secure,
        get(
            "/api", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"
        ),
    )
    assert 101 not in statuses(heard)


# Certificates


def other_authority(home: Path, *leaves: Leaf) -> Authority:
    authority = Authority(home, datetime.now(UTC))
    authority.ensure(list(leaves))
    return authority


def test_a_certificate_of_another_authority_is_turned_away(secure: Secure, tmp_path: Path) -> None:
    """In TLS, before any request is read; upstream lets the handshake pass and answers 401. See docs/decisions/0019."""
    other = other_authority(tmp_path, Leaf("admin", "kubernetes-admin", ("system:masters",)))
    context = client_context(
        ca_file=str(secure.home / "pki" / "ca.crt"),
        cert_file=str(other.certificate("admin")),
        key_file=str(other.key("admin")),
    )
    try:
        heard = exchange(secure, get(SECRETS), context)
    except (ssl.SSLError, ConnectionError):
        heard = b""
    assert statuses(heard) in ([], [401, 401])
    assert WANTED not in heard


def test_a_servers_certificate_of_ours_is_no_clients(secure: Secure) -> None:
    """The API server's own certificate was made to serve."""
    pki = secure.home / "pki"
    context = client_context(
        ca_file=str(pki / "ca.crt"), cert_file=str(pki / "apiserver.crt"), key_file=str(pki / "apiserver.key")
    )
    try:
        heard = exchange(secure, get(SECRETS), context)
    except (ssl.SSLError, ConnectionError):
        heard = b""
    assert WANTED not in heard


# HTTP/2


def ask_h2(server: Secure, *headers: tuple[str, str]) -> tuple[int, bytes]:
    """(status, body) of one request with exactly these headers; status 0 when the stream or the connection was refused."""
    pki = server.home / "pki"
    context = client_context(ca_file=str(pki / "ca.crt"), alpn=("h2",))
    engine = ngh2.Connection(ngh2.Role.CLIENT, ngh2.Configuration())
    engine.initiate_connection({})
    try:
        engine.send_request([(name.encode(), value.encode()) for name, value in headers], end_stream=True)
    except Exception:
        return 0, b""  # the library will not even send it
    status, body = 0, b""
    with (
        socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        while True:
            connection.sendall(engine.data_to_send())
            data = connection.recv(65536)
            if not data:
                return status, body
            engine.receive_data(data)
            for event in engine.events():
                match event:
                    case ngh2.ResponseReceived():
                        status = int(dict(event.headers)[b":status"])
                    case ngh2.DataReceived():
                        body += event.data
                    case ngh2.StreamClosed() | ngh2.StreamReset() | ngh2.GoAwayReceived():
                        return status, body


_H2 = ((":method", "GET"), (":scheme", "https"), (":authority", "x"))


@pytest.mark.parametrize(
    "headers",
    [
        (*_H2, (":path", SECRETS)),
        (*_H2, (":path", "/livez"), (":path", SECRETS)),
        (*_H2, (":path", SECRETS.lstrip("/"))),
        (*_H2, (":path", f"{SECRETS} HTTP/1.1\r\nX-Remote-User: admin")),
        (*_H2, (":path", f"https://x{SECRETS}")),
        (*_H2, (":path", "")),
        (*_H2, (":path", SECRETS), (":user", "admin")),
        (*_H2, (":path", SECRETS), ("x-remote-user", "admin"), ("x-remote-group", "system:masters")),
        (*_H2, (":path", SECRETS), ("impersonate-user", "admin")),
        (*_H2, (":path", SECRETS), ("transfer-encoding", "chunked")),
        (*_H2, (":path", SECRETS), ("connection", "upgrade"), ("upgrade", "websocket")),
        (*_H2, (":path", SECRETS), ("authorization", "Bearer a"), ("authorization", "Bearer b")),
        (*_H2, (":path", SECRETS), ("Impersonate-User", "admin")),
        ((":method", "CONNECT"), (":authority", "127.0.0.1:1")),
        ((":method", "GET"), (":scheme", "http"), (":authority", "admin@x"), (":path", SECRETS)),
        (*_H2, ("host", "y"), (":path", SECRETS)),
        (("x-early", "1"), *_H2, (":path", SECRETS)),
        (*_H2, (":path", SECRETS), ("content-length", "5")),
        (*_H2, (":path", SECRETS), ("content-length", "0"), ("content-length", "5")),
        (*_H2, (":path", SECRETS), ("content-length", "-1")),
        (*_H2, (":path", SECRETS), ("te", "chunked")),
        (*_H2, (":path", SECRETS), ("x-smuggled", "a\r\nX-Remote-User: admin")),
        (*_H2, (":path", SECRETS), ("x-smuggled: a", "b")),
        (*_H2, (":path", f"/livez\x00{SECRETS}")),
        (*_H2, (":path", f"/livez/..%2f{SECRETS}")),
        (*_H2, (":path", f"/livez//../{SECRETS}")),
        (*_H2, (":path", SECRETS), (":method", "POST")),
        ((":method", "GET"), *_H2, (":path", SECRETS)),
        ((":method", "CONNECT"), (":protocol", "websocket"), *_H2[1:], (":path", SECRETS)),
        ((":method", "GET"), (":scheme", "https"), (":path", SECRETS)),
        ((":status", "200"), *_H2, (":path", SECRETS)),
    ],
    ids=lambda headers: " ".join(value for _, value in headers[-2:])[:60],
)
def test_no_header_of_http_2_opens_it(secure: Secure, headers: tuple[tuple[str, str], ...]) -> None:
    status, body = ask_h2(secure, *headers)
    assert WANTED not in body
    assert status in (0, 400, 401, 403, 404, 405, 501), (status, body)
