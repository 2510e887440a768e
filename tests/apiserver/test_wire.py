"""Over the wire: bodies over the limit, clients that vanish or dawdle, and the end of the server."""

import http.client
import socket
import time
from collections.abc import Iterator

import orjson
import pytest
from https import PATIENCE_SECONDS, Secure, secure_server

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, signing_key: bytes) -> Iterator[Secure]:
    with secure_server(tmp_path_factory.mktemp("wire"), signing_key) as running:
        yield running


def connect(secure: Secure, *, client: bool = True) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(
        "127.0.0.1", secure.port, context=secure.tls(client=client), timeout=PATIENCE_SECONDS
    )


def ask(
    connection: http.client.HTTPSConnection, method: str, target: str, body: bytes | None = None
) -> tuple[int, bytes]:
    connection.request(method, target, body, {"content-type": "application/json"} if body else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_one_connection_serves_many_requests(secure: Secure) -> None:
    connection = connect(secure)
    assert ask(connection, "GET", "/readyz") == (200, b"ok")
    status, body = ask(connection, "POST", MAPS, b'{"metadata":{"name":"one"}}')
    assert (status, orjson.loads(body)["metadata"]["name"]) == (201, "one")
    assert ask(connection, "DELETE", f"{MAPS}/one")[0] == 200
    connection.close()


def test_a_certificate_is_an_identity_and_none_is_nobody(secure: Secure) -> None:
    nobody = connect(secure, client=False)
    assert ask(nobody, "GET", "/version")[0] == 200
    status, body = ask(nobody, "GET", MAPS)
    assert status in (401, 403)
    assert orjson.loads(body)["kind"] == "Status"


@pytest.mark.parametrize("size", [(3 << 20) - 1000, 3 << 20, (3 << 20) + 1, 5 << 20])
def test_the_limit_is_three_mebibytes(secure: Secure, size: int) -> None:
    frame = b'{"metadata":{"name":"big"},"data":{"x":"%b"}}'
    body = frame % (b"y" * (size - len(frame) + 2))
    assert len(body) == size
    try:
        status, answer = ask(connect(secure), "POST", f"{MAPS}?dryRun=All", body)
    except (BrokenPipeError, ConnectionResetError):
        assert size > 3 << 20  # the server did not wait for the rest
        return
    if size > 3 << 20:
        assert (status, orjson.loads(answer)["reason"]) == (413, "RequestEntityTooLarge")
        assert orjson.loads(answer)["message"] == "Request entity too large: limit is 3145728"
    else:
        assert status in (201, 422)  # what a ConfigMap may hold is less


def test_a_client_that_vanishes_in_the_middle_of_its_request(secure: Secure) -> None:
    for sent in (b"POST ", b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{" % MAPS.encode()):
        raw = secure.tls().wrap_socket(
            socket.create_connection(("127.0.0.1", secure.port)), server_hostname="127.0.0.1"
        )
        raw.sendall(sent)
        raw.close()
    assert ask(connect(secure), "GET", "/readyz") == (200, b"ok")


def test_a_client_that_vanishes_before_its_answer(secure: Secure) -> None:
    for number in range(10):
        raw = secure.tls().wrap_socket(
            socket.create_connection(("127.0.0.1", secure.port)), server_hostname="127.0.0.1"
        )
        body = b'{"metadata":{"name":"gone-%d"}}' % number
        head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        raw.sendall(head % (MAPS.encode(), len(body)) + body)
        raw.close()
    connection = connect(secure)
    status, body = ask(connection, "GET", MAPS)
    assert status == 200
    for item in orjson.loads(body)["items"]:
        assert ask(connection, "DELETE", f"{MAPS}/{item['metadata']['name']}")[0] == 200


def test_a_watch_streams_as_it_happens(secure: Secure) -> None:
    watching = connect(secure)
    watching.request("GET", f"{MAPS}?watch=1")
    answer = watching.getresponse()  # the head comes before the first event
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    writer = connect(secure)
    ask(writer, "POST", MAPS, b'{"metadata":{"name":"seen"}}')
    assert orjson.loads(answer.readline())["type"] == "ADDED"
    ask(writer, "DELETE", f"{MAPS}/seen")
    assert orjson.loads(answer.readline())["type"] == "DELETED"
    watching.close()


def test_the_server_ends_its_watches_properly(
    tmp_path_factory: pytest.TempPathFactory, signing_key: bytes
) -> None:
    with secure_server(tmp_path_factory.mktemp("ending"), signing_key) as secure:
        watching = connect(secure)
        watching.request("GET", f"{MAPS}?watch=1")
        answer = watching.getresponse()
        started = time.monotonic()
    assert answer.read() == b""  # a last chunk, not a cut
    assert time.monotonic() - started < 10
