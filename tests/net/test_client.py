"""The HTTP client against our server, and against servers that misbehave in each way that matters."""

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tiphys.net.client import ConnectError, HTTPClient, RequestTimeout, ResponseError
from tiphys.net.dial import dial
from tiphys.net.http import ByteStream, Request, Response
from tiphys.net.server import Server

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(
    scope="module", params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"]
)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return request.param()  # type: ignore[no-any-return]


async def handle(request: Request) -> Response:
    match request.path:
        case "/echo":
            return Response(200, [("content-type", "x/y"), ("x-a", "1"), ("x-a", "2")], request.body)
        case "/big":
            return Response(200, body=[bytes(65536)] * 160)
        case "/peer":
            return Response(200, body=str(request.connection.peer_address).encode())
        case "/stream":

            async def pieces() -> AsyncIterator[bytes]:
                for number in range(3):
                    yield b"piece %d;" % number

            return Response(200, body=pieces())
        case "/upgrade" if request.headers.get("upgrade") == "upper":

            async def upper(stream: ByteStream) -> None:
                await stream.write(b"hello ")
                while data := await stream.read():
                    await stream.write(data.upper())

            return Response(101, [("Connection", "Upgrade"), ("Upgrade", "upper")], upgrade=upper)
    return Response(404, body=b"no such path")


@pytest.fixture
async def client() -> AsyncIterator[HTTPClient]:
    server = Server(handle)
    address = await server.listen(host="127.0.0.1", port=0)
    made = HTTPClient(f"http://127.0.0.1:{address.port}")
    yield made
    await made.close()
    await server.shutdown(grace_seconds=0)


@pytest.fixture
async def scripted() -> AsyncIterator[Callable[[Script], Awaitable[HTTPClient]]]:
    """Makes a server of one function per connection, and a client for it."""
    made: list[tuple[asyncio.Server, HTTPClient]] = []

    async def start(script: Script) -> HTTPClient:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await script(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        made.append((server, HTTPClient(f"http://127.0.0.1:{port}")))
        return made[-1][1]

    yield start
    for server, http_client in made:
        await http_client.close()
        server.close()


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


# --- whole responses ---


async def test_a_request_and_its_response(client: HTTPClient) -> None:
    response = await client.request("POST", "/echo?x=1", {"X-One": "1"}, b"body")
    assert (response.status, response.body) == (200, b"body")
    assert response.headers["content-type"] == "x/y"
    assert response.headers["x-a"] == "1, 2"
    assert (await client.request("GET", "/nowhere")).status == 404


async def test_connections_that_nobody_needs_any_more_are_closed(
    scripted: Callable[[Script], Awaitable[HTTPClient]],
) -> None:
    """After a burst, once they have waited too long: the next answer is occasion enough."""
    met, closed = asyncio.Barrier(2), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await met.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert await reader.read() == b""
        closed.set()

    url = (await scripted(serve)).base_url
    client = HTTPClient(url, idle_timeout_seconds=0)
    await asyncio.gather(client.request("GET", "/"), client.request("GET", "/"))
    async with asyncio.timeout(60):
        await closed.wait()
    await client.close()


async def test_connections_are_kept_and_as_many_as_requests_at_once(client: HTTPClient) -> None:
    one = {(await client.request("GET", "/peer")).body for _ in range(5)}
    assert len(one) == 1
    many = await asyncio.gather(*(client.request("GET", "/peer") for _ in range(5)))
    assert len({response.body for response in many}) == 5
    again = await asyncio.gather(*(client.request("GET", "/peer") for _ in range(5)))
    assert {response.body for response in again} == {response.body for response in many}


async def test_head_has_no_body_and_keeps_the_connection(client: HTTPClient) -> None:
    first = (await client.request("GET", "/peer")).body
    response = await client.request("HEAD", "/peer")
    assert (response.status, response.body) == (200, b"")
    assert (await client.request("GET", "/peer")).body == first


async def test_a_large_body_both_ways(client: HTTPClient) -> None:
    body = bytes(range(256)) * 8000
    assert (await client.request("PUT", "/echo", {}, body)).body == body
    assert len((await client.request("GET", "/big")).body) == 160 * 65536


async def test_interim_responses_are_passed_over(scripted: Callable[[Script], Awaitable[HTTPClient]]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        )
        await reader.read()

    response = await (await scripted(serve)).request("GET", "/")
    assert (response.status, response.headers, response.body) == (200, {"content-length": "2"}, b"ok")


async def test_a_body_without_length_ends_with_the_connection(
    scripted: Callable[[Script], Awaitable[HTTPClient]],
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    assert (await (await scripted(serve)).request("GET", "/")).body == b"all of it"


# --- streams ---


async def test_a_stream_gives_pieces_as_they_come(client: HTTPClient) -> None:
    async with client.stream("GET", "/stream") as response:
        assert response.status == 200
        assert b"".join([piece async for piece in response]) == b"piece 0;piece 1;piece 2;"


async def test_a_stream_that_is_not_read_to_its_end_costs_the_connection(client: HTTPClient) -> None:
    first = (await client.request("GET", "/peer")).body
    async with client.stream("GET", "/big") as response:
        assert await response.read()
    assert (await client.request("GET", "/peer")).body != first


async def test_a_slow_reader_slows_the_server(scripted: Callable[[Script], Awaitable[HTTPClient]]) -> None:
    sent = 0
    size = 32 << 20

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    async with (await scripted(serve)).stream("GET", "/") as response:
        before = -1
        while before != sent:
            before = sent
            for _ in range(200):
                await asyncio.sleep(0)
        assert sent < size
        assert sum([len(piece) async for piece in response]) == size


# --- upgrades ---


async def test_an_upgrade_gives_the_raw_connection(client: HTTPClient) -> None:
    response, stream = await client.upgrade("GET", "/upgrade", {"Connection": "Upgrade", "Upgrade": "upper"})
    assert response.status == 101
    assert response.headers["upgrade"] == "upper"
    assert stream is not None
    await stream.write(b"world")
    got = b""
    while len(got) < 11:
        got += await stream.read()
    assert got == b"hello WORLD"
    await stream.write_eof()
    assert await stream.read() == b""
    stream.close()


async def test_bytes_right_behind_the_101_are_not_lost(
    scripted: Callable[[Script], Awaitable[HTTPClient]],
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nright behind")
        assert await reader.read(5) == b"reply"

    _, stream = await (await scripted(serve)).upgrade("POST", "/", {"Connection": "Upgrade", "Upgrade": "x"})
    assert stream is not None
    assert await stream.read() == b"right behind"
    await stream.write(b"reply")
    assert await stream.read() == b""
    stream.close()


async def test_a_refused_upgrade_is_a_whole_response(client: HTTPClient) -> None:
    response, stream = await client.upgrade("GET", "/nowhere", {"Connection": "Upgrade", "Upgrade": "x"})
    assert (response.status, response.body, stream) == (404, b"no such path", None)
    assert (await client.request("GET", "/echo")).status == 200


async def test_a_101_that_nobody_asked_for_is_an_error(
    scripted: Callable[[Script], Awaitable[HTTPClient]],
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        await reader.read()

    with pytest.raises(ResponseError, match="without being asked"):
        await (await scripted(serve)).request("GET", "/")


# --- stale connections ---


def closing_after_first(answers: list[int]) -> Script:
    """Answers one request a connection with 200, then closes at the next request without a word."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        answers.append(1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await head_of(reader)

    return serve


async def test_an_idempotent_request_is_sent_again_after_a_stale_connection(
    scripted: Callable[[Script], Awaitable[HTTPClient]],
) -> None:
    answers: list[int] = []
    client = await scripted(closing_after_first(answers))
    for _ in range(3):
        assert (await client.request("GET", "/")).status == 200
    assert len(answers) == 3


async def test_a_request_that_may_have_been_carried_out_is_not_sent_again(
    scripted: Callable[[Script], Awaitable[HTTPClient]],
) -> None:
    client = await scripted(closing_after_first([]))
    await client.request("GET", "/")
    with pytest.raises(ResponseError, match="before the end of the response"):
        await client.request("POST", "/", {}, b"pay")
    assert (await client.request("POST", "/", {}, b"pay")).status == 200


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used(
    scripted: Callable[[Script], Awaitable[HTTPClient]],
) -> None:
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    client = await scripted(serve)
    for _ in range(3):
        closed.clear()
        assert (await client.request("POST", "/")).status == 200
        await closed.wait()
        while client._idle and client._idle[-1].usable:
            await asyncio.sleep(0)


async def test_a_fresh_connection_that_fails_is_not_tried_again(
    scripted: Callable[[Script], Awaitable[HTTPClient]],
) -> None:
    calls = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        await head_of(reader)

    with pytest.raises(ResponseError):
        await (await scripted(serve)).request("GET", "/")
    assert calls == 1


# --- failures ---


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: yyyyyyyyyyyyyyy\r\n" * 20000,
    ],
)
async def test_what_is_no_whole_response_is_an_error(
    scripted: Callable[[Script], Awaitable[HTTPClient]], wire: bytes
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(wire)
        await writer.drain()

    with pytest.raises(ResponseError):
        await (await scripted(serve)).request("GET", "/")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 2\nX-Made-By: hand\n\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\nX-Made-By: hand\r\n\nhi",
        b"HTTP/1.1 200\nTransfer-Encoding: chunked\nX-Made-By: hand\n\n2\r\nhi\r\n0\r\n\r\n",
    ],
)
async def test_lines_of_a_head_may_end_without_cr(
    scripted: Callable[[Script], Awaitable[HTTPClient]], answer: bytes
) -> None:
    """As Go's client takes them, even in pieces."""

    async def by_hand(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await head_of(reader):
            for byte in answer:
                writer.write(bytes([byte]))
                await writer.drain()

    client = await scripted(by_hand)
    for _ in range(2):
        response = await client.request("GET", "/")
        assert (response.status, response.headers["x-made-by"], response.body) == (200, "hand", b"hi")


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n"])
async def test_a_head_without_end_is_given_up(
    scripted: Callable[[Script], Awaitable[HTTPClient]], begun: bytes
) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(begun)
        with suppress(OSError):
            while True:
                writer.write(b"a" * 1024 + (b": b\n" if begun.endswith(b"\n") else b""))
                await writer.drain()

    client = await scripted(endless)
    with pytest.raises(ResponseError, match="headers exceed 262144 bytes"):
        await client.request("GET", "/", timeout_seconds=60)


async def test_a_refused_connection_says_where_and_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectError) as caught:
        await HTTPClient(f"http://127.0.0.1:{port}").request("GET", "/")
    assert caught.value.address == f"127.0.0.1:{port}"
    assert "refused" in caught.value.reason.lower() or "Connect call failed" in caught.value.reason


async def test_a_server_that_does_not_answer_times_out(
    scripted: Callable[[Script], Awaitable[HTTPClient]],
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    client = await scripted(serve)
    with pytest.raises(RequestTimeout, match="GET /slow took longer than") as caught:
        await client.request("GET", "/slow", timeout_seconds=0.02)
    assert isinstance(caught.value, TimeoutError)
    assert not client._open


async def test_a_dial_that_never_ends_is_given_up() -> None:
    async def dial() -> socket.socket:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(ConnectError, match="timed out"):
        await HTTPClient("http://x", dial=dial, connect_timeout_seconds=0.02).request("GET", "/")


async def test_whoever_gives_up_while_it_connects_disturbs_no_other(tmp_path: Path) -> None:
    """The loop owns a socket from when it was given it: closed by another, its number would be somebody else's at once."""
    certificate_path, key_path = certificate(tmp_path)
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(certificate_path, key_path)
    server = Server(handle, ssl_context=server_context)
    port = (await server.listen(host="127.0.0.1", port=0)).port
    trusting = ssl.create_default_context(cafile=str(certificate_path))
    client = HTTPClient("https://node-a", ssl_context=trusting, dial=lambda: dial("127.0.0.1", port))
    for turns in range(25):
        given_up = asyncio.ensure_future(client.request("GET", "/echo"))
        for _ in range(turns):
            await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        (await dial("127.0.0.1", port)).close()
    assert (await client.request("GET", "/echo")).status == 200
    async with asyncio.timeout(60):
        while server.connection_count > 1:
            await asyncio.sleep(0.01)
    await client.close()
    await server.shutdown(grace_seconds=0)


async def test_a_cancelled_request_gives_its_connection_up(client: HTTPClient) -> None:
    task = asyncio.ensure_future(client.request("GET", "/big"))
    while not client._open:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not client._open
    assert (await client.request("GET", "/echo")).status == 200


@pytest.mark.parametrize("value", ["a\r\nX-Admin: yes", "a\nb", "a\0b"])
async def test_a_header_cannot_smuggle_in_another(client: HTTPClient, value: str) -> None:
    with pytest.raises(ValueError, match="forbidden character"):
        await client.request("GET", "/echo", {"X": value})


async def test_a_closed_client_refuses(client: HTTPClient) -> None:
    await client.request("GET", "/echo")
    await client.close()
    with pytest.raises(ConnectError, match="closed"):
        await client.request("GET", "/echo")


@pytest.mark.parametrize("url", ["ftp://x", "localhost:80", "http://"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        HTTPClient(url)


# --- other ways to a server ---


async def test_dialling_a_unix_socket(tmp_path: Path) -> None:
    server = Server(handle)
    path = str(tmp_path / "s")
    await server.listen(path=path)

    async def dial() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        return sock

    client = HTTPClient("http://node-a/prefix", dial=dial)
    assert (await client.request("GET", "/echo")).status == 404  # the prefix goes before the target
    await client.close()
    await server.shutdown(grace_seconds=0)


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("node-a")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / "cert.pem", folder / "key.pem"
    certificate_path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_path, key_path


async def test_tls_over_a_dialled_socket(tmp_path: Path) -> None:
    certificate_path, key_path = certificate(tmp_path)
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(certificate_path, key_path)
    server = Server(handle, ssl_context=server_context)
    address = await server.listen(host="127.0.0.1", port=0)

    async def dial() -> socket.socket:
        return socket.create_connection(("127.0.0.1", address.port))

    trusting = ssl.create_default_context(cafile=str(certificate_path))
    client = HTTPClient("https://node-a", ssl_context=trusting, dial=dial)
    body = bytes(300_000)
    assert (await client.request("POST", "/echo", {}, body)).body == body
    _, stream = await client.upgrade("GET", "/upgrade", {"Connection": "Upgrade", "Upgrade": "upper"})
    assert stream is not None
    assert await stream.read() == b"hello "
    await stream.write(b"over tls")
    assert await stream.read() == b"OVER TLS"
    stream.close()
    await client.close()

    distrusting = HTTPClient("https://node-a", dial=dial)
    with pytest.raises(ConnectError, match="certificate is not accepted"):
        await distrusting.request("GET", "/echo")
    wrong_name = HTTPClient("https://node-b", ssl_context=trusting, dial=dial)
    with pytest.raises(ConnectError, match="not valid for 'node-b'"):
        await wrong_name.request("GET", "/echo")
    await server.shutdown(grace_seconds=0)
