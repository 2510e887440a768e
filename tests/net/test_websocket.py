"""RFC 6455, by section: handshake (4), frames (5), closing (7)."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.net.masking import apply_mask, masked_as_integer, masked_by_table, native_mask
from tiphys.net.stream import TransportStream
from tiphys.net.websocket import (
    ClientHandshake,
    HandshakeError,
    Opcode,
    WebSocket,
    WebSocketByteStream,
    WebSocketError,
    accept_key,
    choose_subprotocol,
    server_handshake,
)
from tiphys.net.websocket_frames import Frame, FrameDecoder, encode_frame

Connect = Callable[[], Awaitable[tuple[TransportStream, TransportStream]]]

REQUEST = {
    "upgrade": "websocket",
    "connection": "keep-alive, Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


# --- handshake ---


def test_the_accept_key_of_the_rfc() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_first_subprotocol_of_the_client_that_we_support_wins() -> None:
    assert choose_subprotocol(["x", "b", "a"], ["a", "b"]) == "b"
    assert choose_subprotocol([], ["", "a"]) == ""
    assert choose_subprotocol([], ["a"]) is None
    assert choose_subprotocol(["x"], ["", "a"]) is None


def test_both_sides_of_a_handshake_agree() -> None:
    client = ClientHandshake(["v5", "v4"])
    request = {name.lower(): value for name, value in client.headers.items()}
    answer = server_handshake(request, ["v4", "v5"])
    assert answer.subprotocol == "v5"
    headers = {name.lower(): value for name, value in answer.headers}
    assert client.verify(101, headers) == "v5"
    with pytest.raises(HandshakeError, match="does not fit"):
        ClientHandshake(["v5"]).verify(101, headers)
    with pytest.raises(HandshakeError, match="status 403"):
        client.verify(403, {})
    with pytest.raises(HandshakeError, match="not offered"):
        client.verify(101, {**headers, "sec-websocket-protocol": "v9"})


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"upgrade": "SPDY/3.1"}, 400),
        ({"connection": "close"}, 400),
        ({"sec-websocket-version": "8"}, 426),
        ({"sec-websocket-key": "short"}, 400),
        ({"sec-websocket-key": "%%%"}, 400),
        ({"sec-websocket-protocol": "unknown"}, 403),
    ],
)
def test_a_bad_request_is_answered_with_its_status(changed: dict[str, str], status: int) -> None:
    with pytest.raises(HandshakeError) as caught:
        server_handshake({**REQUEST, **changed}, ["v5"])
    assert caught.value.status == status
    assert (("Sec-WebSocket-Version", "13") in caught.value.headers) == (status == 426)


# --- frames ---

frames = st.builds(
    Frame,
    st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION]),
    st.one_of(st.binary(max_size=300), st.integers(65530, 65540).map(lambda size: b"x" * size)),
    st.booleans(),
)


@given(st.lists(frames, max_size=5), st.booleans(), st.integers(1, 70000))
def test_frames_survive_the_wire_in_any_pieces(sent: list[Frame], masked: bool, step: int) -> None:
    wire = b"".join(encode_frame(frame, b"\x01\xfe\x80\x7f" if masked else None) for frame in sent)
    decoder = FrameDecoder(masked=masked, payload_limit_bytes=1 << 20)
    got = []
    for at in range(0, len(wire), step):
        decoder.feed(wire[at : at + step])
        while frame := decoder.next_frame():
            got.append(frame)
    assert got == sent


def test_a_frame_that_comes_byte_by_byte_is_kept_in_few_pieces() -> None:
    payload = bytes(range(256)) * 100
    decoder = FrameDecoder(masked=False, payload_limit_bytes=len(payload))
    for value in encode_frame(Frame(Opcode.BINARY, payload))[:-1]:
        decoder.feed(bytes((value,)))
        assert decoder.next_frame() is None
    assert len(decoder._pieces) < 10
    decoder.feed(payload[-1:])
    found = decoder.next_frame()
    assert found is not None
    assert found.payload == payload


@given(
    st.one_of(st.binary(max_size=2000), st.integers(16380, 16390).map(bytes)),
    st.binary(min_size=4, max_size=4),
)
def test_masking_is_the_xor_of_the_rfc(data: bytes, mask: bytes) -> None:
    wanted = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    native = native_mask() or masked_by_table
    for way in (apply_mask, masked_as_integer, masked_by_table, native):
        assert way(data, mask) == wanted
    assert apply_mask(memoryview(bytearray(data)), mask) == wanted


def test_unmasking_is_fast_enough_to_never_matter() -> None:
    data = bytes(range(256)) * 4096
    mask = b"\x11\x22\x33\x44"
    best = min(timed(lambda: apply_mask(data, mask)) for _ in range(5))
    loop = min(
        timed(lambda: bytes(byte ^ mask[index & 3] for index, byte in enumerate(data))) for _ in range(3)
    )
    assert loop / best > 5  # it is some 50 times as fast as a loop over bytes


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\xc2\x80\0\0\0\0", 1002),  # a reserved bit
        (b"\x83\x80\0\0\0\0", 1002),  # an unknown opcode
        (b"\x82\x00", 1002),  # a client that does not mask
        (b"\x09\x80\0\0\0\0", 1002),  # a fragmented ping
        (b"\x89\xfe\x00\x7e\0\0\0\0", 1002),  # a ping of 126 bytes
        (b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4), 1009),  # refused before its bytes are awaited
    ],
)
def test_bad_frames_are_refused(wire: bytes, code: int) -> None:
    decoder = FrameDecoder(masked=True, payload_limit_bytes=1000)
    decoder.feed(wire)
    with pytest.raises(WebSocketError) as caught:
        decoder.next_frame()
    assert caught.value.code == code


# --- messages ---


async def pair(connect: Connect, **options: int) -> tuple[WebSocket, WebSocket]:
    left, right = await connect()
    return WebSocket(left, "server", **options), WebSocket(right, "client")  # type: ignore[arg-type]


async def test_messages_go_both_ways(connect: Connect) -> None:
    server, client = await pair(connect)
    await client.send(b"\0stdin")
    await server.send(b"text", Opcode.TEXT)
    assert await server.receive() == (Opcode.BINARY, b"\0stdin")
    assert await client.receive() == (Opcode.TEXT, b"text")


async def test_fragments_are_joined_and_control_frames_may_come_between(connect: Connect) -> None:
    left, right = await connect()
    server = WebSocket(left, "server")
    mask = b"abcd"
    await right.write(
        encode_frame(Frame(Opcode.BINARY, b"one ", final=False), mask)
        + encode_frame(Frame(Opcode.PING, b"still there?"), mask)
        + encode_frame(Frame(Opcode.CONTINUATION, b"two ", final=False), mask)
        + encode_frame(Frame(Opcode.CONTINUATION, b"three"), mask)
    )
    assert await server.receive() == (Opcode.BINARY, b"one two three")
    assert await right.read() == encode_frame(Frame(Opcode.PONG, b"still there?"))


async def test_a_cancelled_receive_loses_no_fragment(connect: Connect) -> None:
    left, right = await connect()
    server = WebSocket(left, "server")
    receiving = asyncio.ensure_future(server.receive())
    await right.write(encode_frame(Frame(Opcode.BINARY, b"first ", final=False), b"abcd"))
    while not server._parts:
        await asyncio.sleep(0)
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    await right.write(encode_frame(Frame(Opcode.CONTINUATION, b"second"), b"abcd"))
    assert await server.receive() == (Opcode.BINARY, b"first second")


async def test_endless_empty_fragments_are_refused(connect: Connect) -> None:
    left, right = await connect()
    server = WebSocket(left, "server")
    empty = encode_frame(Frame(Opcode.CONTINUATION, b"", final=False), b"abcd")
    writing = asyncio.ensure_future(
        right.write(encode_frame(Frame(Opcode.BINARY, b"", final=False), b"abcd") + empty * 5000)
    )
    with pytest.raises(WebSocketError) as caught:
        await server.receive()
    assert caught.value.code == 1009
    await writing


@pytest.mark.parametrize("opcodes", [[Opcode.CONTINUATION], [Opcode.TEXT, Opcode.BINARY]])
async def test_fragments_out_of_order_end_the_connection(connect: Connect, opcodes: list[Opcode]) -> None:
    left, right = await connect()
    server = WebSocket(left, "server")
    for opcode in opcodes:
        await right.write(encode_frame(Frame(opcode, b"", final=False), b"abcd"))
    with pytest.raises(WebSocketError):
        await server.receive()
    assert (await right.read())[:4] == b"\x88" + bytes(
        (2 + len("fragments of messages are out of order"),)
    ) + b"\x03\xea"


async def test_text_must_be_utf8(connect: Connect) -> None:
    server, client = await pair(connect)
    await client.send(b"\xff", Opcode.TEXT)
    with pytest.raises(WebSocketError) as caught:
        await server.receive()
    assert caught.value.code == 1007
    assert await client.receive() is None
    assert client.close_code == 1007


async def test_a_message_over_the_limit_is_refused_also_in_fragments(connect: Connect) -> None:
    left, right = await connect()
    server = WebSocket(left, "server", message_limit_bytes=10)
    for opcode in (Opcode.BINARY, Opcode.CONTINUATION):
        await right.write(encode_frame(Frame(opcode, b"123456", final=False), b"abcd"))
    with pytest.raises(WebSocketError) as caught:
        await server.receive()
    assert caught.value.code == 1009


async def test_closing_is_agreed_upon(connect: Connect) -> None:
    server, client = await pair(connect)
    receiving = asyncio.ensure_future(client.receive())
    await server.send(b"last words")
    closing = asyncio.ensure_future(server.close(1000, "done"))
    assert await receiving == (Opcode.BINARY, b"last words")
    assert await client.receive() is None
    assert (client.close_code, client.close_reason) == (1000, "done")
    await closing
    assert server.close_code == 1000
    for side in (server, client):
        with pytest.raises(ConnectionError):
            await side.send(b"too late")


async def test_closing_does_not_wait_for_ever(connect: Connect) -> None:
    server, _ = await pair(connect)
    await server.close(timeout_seconds=0)
    assert server.close_code == 1006


async def test_close_while_another_task_receives(connect: Connect) -> None:
    server, client = await pair(connect)
    receiving = asyncio.ensure_future(server.receive())
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(server.close(1001, "restarting"))
    assert await client.receive() is None
    await closing
    assert await receiving is None
    assert client.close_code == 1001


async def test_a_lost_connection_is_an_abnormal_end(connect: Connect) -> None:
    left, right = await connect()
    server = WebSocket(left, "server")
    await right.write(b"\x82")
    right.close()
    assert await server.receive() is None
    assert server.close_code == 1006
    assert await server.receive() is None


@pytest.mark.parametrize(
    ("payload", "seen", "answered"),
    [(b"", 1005, b"\x03\xe8"), (b"\x0f\xa0later", 4000, b"\x0f\xa0"), (b"\x03\xed", None, b"\x03\xea")],
)
async def test_close_codes(connect: Connect, payload: bytes, seen: int | None, answered: bytes) -> None:
    left, right = await connect()
    server = WebSocket(left, "server")
    await right.write(encode_frame(Frame(Opcode.CLOSE, payload), b"abcd"))
    if seen is None:
        with pytest.raises(WebSocketError):
            await server.receive()
    else:
        assert await server.receive() is None
        assert server.close_code == seen
    assert (await right.read())[2:4] == answered


async def test_a_flood_of_pings_from_a_peer_that_never_reads_costs_nothing(connect: Connect) -> None:
    left, right = await connect()
    server = WebSocket(left, "server")
    receiving = asyncio.ensure_future(server.receive())
    for _ in range(50):
        await right.write(encode_frame(Frame(Opcode.PING, b"x" * 125), b"abcd") * 200)
        await asyncio.sleep(0)
    await right.write(encode_frame(Frame(Opcode.BINARY, b"after all"), b"abcd"))
    assert await asyncio.wait_for(receiving, 60) == (Opcode.BINARY, b"after all")


async def test_a_tunnel_carries_bytes_without_borders(connect: Connect) -> None:
    server, client = await pair(connect)
    here, there = WebSocketByteStream(server), WebSocketByteStream(client)
    data = bytes(range(256)) * 5000

    async def produce() -> None:
        for at in range(0, len(data), 33333):
            await there.write(memoryview(data)[at : at + 33333])
        await there.write_eof()

    producing = asyncio.ensure_future(produce())
    got = bytearray()
    while part := await here.read(10000):
        assert len(part) <= 10000
        got += part
    assert got == data
    await producing
    assert await there.read() == b""


async def test_text_in_a_tunnel_is_an_error(connect: Connect) -> None:
    server, client = await pair(connect)
    await client.send(b"hello", Opcode.TEXT)
    with pytest.raises(ConnectionError):
        await WebSocketByteStream(server).read()
    assert await client.receive() is None
    assert client.close_code == 1003
