"""The server as a whole: which protocol, which peer, where it listens, and how it stops; with clients of other makes."""

import asyncio
import http.client
import shutil
import socket
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from wire_peers import PATIENCE_SECONDS, H1Peer, Site, Watches

from conftest import Pki, Serve
from tiphys.net.http import ByteStream, Request, Response
from tiphys.net.server import PREFACE, Server
from tiphys.net.tls import Subject, client_context, subject_of


def describe(request: Request) -> Response:
    connection = request.connection
    return Response(200, body=f"{connection.protocol} tls={connection.tls} {request.path}".encode())


async def test_alpn_chooses(serve: Serve) -> None:
    site = await serve(describe, tls=True)
    h2, h1 = await site.h2(), await site.h1(alpn=("http/1.1",))
    (answer,) = await h2.ended(h2.request("/x"))
    assert answer.body == b"h2 tls=True /x"
    h1.get("/x")
    assert (await h1.answer()).body == b"h1 tls=True /x"


@pytest.mark.parametrize("tls", [False, True])
async def test_without_alpn_the_first_bytes_choose(serve: Serve, pki: Pki, tls: bool) -> None:
    site = await serve(describe, tls=tls)

    def context():  # type: ignore[no-untyped-def]
        return client_context(ca_file=pki.ca, alpn=()) if tls else None

    h2 = await site.h2(alpn=(), context=context())
    (answer,) = await h2.ended(h2.request("/x"))
    assert answer.body == f"h2 tls={tls} /x".encode()
    h1 = await site.h1(alpn=(), context=context())
    h1.get("/x")
    assert (await h1.answer()).body == f"h1 tls={tls} /x".encode()


async def test_a_preface_in_pieces(serve: Serve) -> None:
    site = await serve(describe)
    peer = await site.h2()
    stream = peer.request("/x")
    data = peer.engine.data_to_send()
    assert data.startswith(PREFACE)
    for byte in data[:30]:
        peer.writer.write(bytes([byte]))
        await asyncio.sleep(0)
    peer.writer.write(data[30:])
    (answer,) = await peer.ended(stream)
    assert answer.body == b"h2 tls=False /x"


async def test_methods_that_begin_like_the_preface(serve: Serve) -> None:
    peer = await (await serve(describe)).h1()
    for byte in b"PUT /x HTTP/1.1\r\nHost: h\r\n\r\n":
        peer.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await peer.answer()).body == b"h1 tls=False /x"


async def test_a_silent_client_is_closed(serve: Serve) -> None:
    peer = await (await serve(describe, idle_timeout_seconds=0.02)).h1()
    peer.send(b"PRI")
    assert await peer.to_end() == b""


async def test_the_peers_certificate(serve: Serve, pki: Pki) -> None:
    seen: list[Request] = []
    site = await serve(lambda request: seen.append(request) or describe(request), tls=True)
    context = client_context(ca_file=pki.ca, cert_file=pki.client_cert, key_file=pki.client_key)
    h1, h2, anonymous = await site.h1(context=context), await site.h2(context=context), await site.h1()
    for peer in (h1, anonymous):
        for _ in range(2):
            peer.get("/")
            await peer.answer()
    await h2.ended(h2.request("/"))
    certificates = [request.connection.peer_certificate for request in seen]
    assert certificates[2:4] == [None, None]
    assert certificates[0] is certificates[1]
    assert certificates[0] is not None
    assert certificates[0] == certificates[4]
    assert subject_of(certificates[0]) == Subject("tiphys", ("system:masters", "crew"))
    assert seen[0].connection is seen[1].connection
    assert seen[0].connection.peer_address.host == "127.0.0.1"


async def test_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    site = await serve(describe, path=str(path))
    assert str(site.address) == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    peer = await site.h1()
    peer.get("/x")
    assert (await peer.answer()).body == b"h1 tls=False /x"
    with pytest.raises(OSError, match="in use"):
        await site.server.listen(path=str(path))
    await site.server.shutdown(grace_seconds=1)
    assert not path.exists()


async def test_a_port_in_use(serve: Serve) -> None:
    site = await serve(describe)
    with pytest.raises(OSError, match="in use"):
        await site.server.listen(host="127.0.0.1", port=site.address.port)


async def test_all_addresses_and_a_given_socket(serve: Serve) -> None:
    site = await serve(describe)
    everywhere = await site.server.listen()
    sock = socket.create_server(("127.0.0.1", 0))
    given = await site.server.listen(sock=sock)
    assert given.port == sock.getsockname()[1]
    for port in (everywhere.port, given.port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        peer = H1Peer(reader, writer)
        site.peers.append(peer)
        peer.get("/x")
        assert (await peer.answer()).status == 200


@pytest.mark.parametrize("tls", [False, True])
async def test_two_hundred_watches_end_cleanly(serve: Serve, tls: bool) -> None:
    watches = Watches()
    site = await serve(watches, tls=tls)
    h1_peers = [await site.h1() for _ in range(50)]
    for h1 in h1_peers:
        h1.get("/watch")
        await h1.head()
    h2_peers = [await site.h2() for _ in range(3)]
    streams = {h2: [h2.request("/watch") for _ in range(50)] for h2 in h2_peers}
    for h2 in h2_peers:
        await h2.heard(streams[h2][-1])
    assert len(watches.sinks) == 200
    for sink in watches.sinks:
        sink.write(b"last event")
    # The grace is far longer than the test may take: it is not needed.
    stopping = asyncio.create_task(site.server.shutdown(grace_seconds=3600))
    for h1 in h1_peers:
        assert await h1.to_end() == b"a\r\nlast event\r\n0\r\n\r\n"
        await h1.close()
    for h2 in h2_peers:
        await h2.to_end()
        answers = [h2.answers[stream] for stream in streams[h2]]
        assert all(
            answer.ended and answer.reset is None and answer.body == b"last event" for answer in answers
        )
        assert h2.going_away == 0
        await h2.close()
    await asyncio.wait_for(stopping, PATIENCE_SECONDS)
    assert (watches.closed, site.server.connection_count) == (200, 0)


async def test_shutdown_lets_a_request_finish_and_takes_no_other(serve: Serve) -> None:
    running, gate = asyncio.Event(), asyncio.Event()

    async def late(request: Request) -> Response:
        running.set()
        await gate.wait()
        return describe(request)

    site = await serve(late)
    peer, idle = await site.h1(), await site.h1()
    peer.get("/1")
    peer.get("/2")
    await running.wait()
    stopping = asyncio.create_task(site.server.shutdown(grace_seconds=3600))
    assert await idle.to_end() == b""
    with pytest.raises(ConnectionError):
        await site.h1()
    gate.set()
    answer = await peer.answer()
    assert (answer.body, answer.headers["connection"]) == (b"h1 tls=False /1", "close")
    assert await peer.to_end() == b""
    await asyncio.wait_for(stopping, PATIENCE_SECONDS)


async def test_shutdown_cuts_off_what_does_not_end(serve: Serve) -> None:
    ended: list[str] = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"line\n"
                await asyncio.Event().wait()
        finally:
            ended.append("iterator")

    async def forever(request: Request) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("handler")
        return describe(request)

    async def session(stream: ByteStream) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("upgrade")

    answers = {
        "/lines": lambda request: Response(200, body=endless()),
        "/forever": forever,
        "/session": lambda request: Response(101, [("Upgrade", "x")], upgrade=session),
    }
    site = await serve(lambda request: answers[request.path](request))
    peers = [await site.h1() for _ in range(3)]
    peers[0].get("/lines")
    await peers[0].head()
    peers[1].get("/session", "Connection: Upgrade", "Upgrade: x")
    await peers[1].head()
    peers[2].get("/forever")
    h2 = await site.h2()
    lines, _ = h2.request("/lines"), h2.request("/forever")
    await h2.heard(lines, b"line")
    await site.server.shutdown(grace_seconds=0.01)
    await asyncio.sleep(0)
    assert site.server.connection_count == 0
    assert sorted(ended) == ["handler", "handler", "iterator", "iterator", "upgrade"]


async def test_a_silent_connection_does_not_delay_shutdown(serve: Serve) -> None:
    site = await serve(describe)
    peer = await site.h1()
    peer.send(b"P")
    while not site.server.connection_count:
        await asyncio.sleep(0)
    await asyncio.wait_for(site.server.shutdown(grace_seconds=3600), PATIENCE_SECONDS)


# Clients of other makes.


def echo(request: Request) -> Response:
    if request.path == "/large":
        return Response(200, body=[b"%07d" % i * 1000 for i in range(500)])
    return Response(
        200, body=f"{request.connection.protocol} {request.method} {len(request.body)}\n".encode()
    )


async def curl(site: Site, pki: Pki, *arguments: str, stdin: bytes = b"") -> bytes:
    # A pipe for nothing is closed by the time something looks at it, which uvloop takes amiss.
    given = asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-m", str(PATIENCE_SECONDS), "--cacert", pki.ca, *arguments,
        stdin=given, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(stdin or None)
    assert process.returncode == 0, err.decode()
    return out


CURL_PROTOCOLS = {
    ("--http1.1", True): b"h1",
    ("--http2", True): b"h2",
    ("--no-alpn", True): b"h1",
    ("--http1.1", False): b"h1",
    ("--http2", False): b"h1",  # curl offers an upgrade to h2c, which is declined
    ("--http2-prior-knowledge", False): b"h2",
}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("option", "tls"), CURL_PROTOCOLS)
async def test_curl(serve: Serve, pki: Pki, option: str, tls: bool) -> None:
    site = await serve(echo, tls=tls)
    # A server that refuses a body reads on for half a second, and curl may need longer to see that and stop.
    site.limit(linger_seconds=PATIENCE_SECONDS)
    protocol = CURL_PROTOCOLS[option, tls]
    # Two requests on one connection, except where curl < 8.0 cannot (https://github.com/curl/curl/pull/10643).
    urls = [site.url + "/a", site.url + "/b"][: 1 if option == "--http2-prior-knowledge" else 2]
    assert await curl(site, pki, option, *urls) == (protocol + b" GET 0\n") * len(urls)
    out = await curl(
        site,
        pki,
        option,
        "-H",
        "Expect: 100-continue",
        "--data-binary",
        "@-",
        site.url,
        stdin=b"x" * 2_000_000,
    )
    assert out == protocol + b" POST 2000000\n"
    assert await curl(site, pki, option, site.url + "/large") == b"".join(
        b"%07d" % i * 1000 for i in range(500)
    )
    head = await curl(site, pki, option, "-I", site.url + "/large")
    assert b"content-length: 3500000" in head
    out = await curl(
        site,
        pki,
        option,
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--data-binary",
        "@-",
        site.url,
        stdin=b"x" * 4_000_000,
    )
    assert out == b"413"


async def test_pythons_http_client(serve: Serve, pki: Pki) -> None:
    site = await serve(echo, tls=True)

    def talk() -> list[bytes]:
        context = client_context(ca_file=pki.ca)
        client = http.client.HTTPSConnection(
            site.address.host, site.address.port, context=context, timeout=PATIENCE_SECONDS
        )
        bodies = []
        for method, body in (("GET", None), ("POST", b"abc"), ("PUT", iter([b"ab", b"", b"c"]))):
            client.request(method, "/", body=body, encode_chunked=method == "PUT", headers={"X": "1"})
            bodies.append(client.getresponse().read())
        client.close()
        return bodies

    assert await asyncio.to_thread(talk) == [b"h1 GET 0\n", b"h1 POST 3\n", b"h1 PUT 3\n"]


async def test_a_server_is_made_on_a_running_loop() -> None:
    def make() -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            Server(describe)

    await asyncio.to_thread(make)


@pytest.mark.slow
async def test_a_slow_reader_gets_the_end_of_a_last_answer(serve: Serve, pki: Pki) -> None:
    """Closing must wait for what is still on its way to the client, for as long as the client takes some of it."""
    body = [b"x" * (1 << 16)] * 64
    site = await serve(lambda request: Response(200, body=body), tls=True)
    context = client_context(ca_file=pki.ca, alpn=("http/1.1",))

    def read_slowly() -> int:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        plain.connect((site.address.host, site.address.port))
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            time.sleep(3.0)
            received = 0
            while piece := connection.recv(1 << 16):
                received += len(piece)
        return received

    assert await asyncio.to_thread(read_slowly) > len(body) << 16
