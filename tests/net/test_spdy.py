"""SPDY/3.1: frames byte by byte, and sessions of both roles against each other."""

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.net.spdy import ResetStatus, SpdySession, SpdyStream, StreamReset
from tiphys.net.spdy_frames import (
    DICTIONARY,
    Data,
    Frame,
    FrameDecoder,
    FrameEncoder,
    GoAway,
    Headers,
    Ping,
    RstStream,
    Settings,
    SpdyError,
    SynReply,
    SynStream,
    WindowUpdate,
)
from tiphys.net.stream import TransportStream

Connect = Callable[[], Awaitable[tuple[TransportStream, TransportStream]]]

# --- frames ---

ids = st.integers(1, 2**31 - 1)
headers = st.dictionaries(
    st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    max_size=6,
)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(SynStream, ids, headers, st.booleans(), st.booleans(), ids, st.integers(0, 7)),
    st.builds(SynReply, ids, headers, st.booleans()),
    st.builds(Headers, ids, headers, st.booleans()),
    st.builds(RstStream, ids, st.integers(1, 11)),
    st.builds(GoAway, ids, st.integers(0, 2)),
    st.builds(WindowUpdate, ids, ids),
    st.builds(Ping, ids),
    st.builds(Settings, st.dictionaries(st.integers(1, 8), ids, max_size=4)),
    st.builds(Data, ids, st.binary(max_size=200), st.booleans()),
)


def joined(got: list[Frame]) -> list[Frame]:
    """Puts the pieces of data frames together again; a piece that carries fin ends its frame."""
    result: list[Frame] = []
    for frame in got:
        last = result[-1] if result else None
        if (
            isinstance(frame, Data)
            and isinstance(last, Data)
            and last.stream_id == frame.stream_id
            and not last.fin
        ):
            result[-1] = Data(frame.stream_id, last.payload + frame.payload, frame.fin)
        else:
            result.append(frame)
    return result


@given(st.lists(frames, max_size=8), st.integers(1, 300))
def test_frames_survive_the_wire_in_any_pieces(sent: list[Frame], step: int) -> None:
    encoder, decoder = FrameEncoder(), FrameDecoder()
    wire = b"".join(encoder.encode(frame) for frame in sent)
    got = [frame for at in range(0, len(wire), step) for frame in decoder.feed(wire[at : at + step])]
    assert joined(got) == joined(sent)


def test_the_dictionary_is_the_one_of_the_protocol() -> None:
    # Every SPDY/3 header block begins with the zlib header that names this checksum: 78 bb e3 c6 a7 c2.
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2
    block = FrameEncoder().encode(SynStream(1, {"streamtype": "error"}))[18:]
    assert block[2:6] == bytes.fromhex("e3c6a7c2")


def test_the_bytes_of_a_frame() -> None:
    assert FrameEncoder().encode(RstStream(5, 3)) == bytes.fromhex("80030003 00000008 00000005 00000003")
    assert FrameEncoder().encode(Data(7, b"hi", fin=True)) == bytes.fromhex("00000007 01000002 6869")
    assert list(FrameDecoder().feed(bytes.fromhex("80030006 00000004 00000009"))) == [Ping(9)]


def test_values_of_one_name_are_joined() -> None:
    block = b"".join(struct.pack(">I", len(text)) + text for text in (b"Name", b"a\0b"))
    compressor = zlib.compressobj(zdict=DICTIONARY)
    body = compressor.compress(struct.pack(">I", 1) + block) + compressor.flush(zlib.Z_SYNC_FLUSH)
    wire = struct.pack(">HHIIIBB", 0x8003, 1, len(body) + 10, 1, 0, 0, 0) + body
    assert list(FrameDecoder().feed(wire)) == [SynStream(1, {"name": "a, b"})]


def syn_stream(plain: bytes) -> bytes:
    compressor = zlib.compressobj(zdict=DICTIONARY)
    body = compressor.compress(plain) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return struct.pack(">HHIIIBB", 0x8003, 1, len(body) + 10, 1, 0, 0, 0) + body


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b"\x80\x02\x00\x01\0\0\0\0", "version 2"),
        (b"\x80\x03\x00\x01\x00\xff\xff\xff", "exceeds"),
        (b"\x80\x03\x00\x03\0\0\0\x04\0\0\0\x01", "too short"),
        (b"\x80\x03\x00\x04\0\0\0\x04\0\0\0\xff", "too short"),
        (b"\0\0\0\0\0\0\0\1x", "stream 0"),
        (b"\x80\x03\x00\x08\0\0\0\x08\0\0\0\x01junk", "inflated"),
        (syn_stream(struct.pack(">III", 1, 9, 0)), "too short"),
        (syn_stream(struct.pack(">I", 1) + bytes(1 << 20)), "exceeds"),
    ],
)
def test_bad_frames_are_refused(wire: bytes, message: str) -> None:
    with pytest.raises(SpdyError, match=message):
        list(FrameDecoder().feed(wire))


def test_unknown_control_frames_are_skipped() -> None:
    wire = b"\x80\x03\x00\x0a\0\0\0\x02ab" + FrameEncoder().encode(Ping(1))
    assert list(FrameDecoder().feed(wire)) == [Ping(1)]


# --- sessions ---


async def read_all(stream: SpdyStream) -> bytes:
    parts = []
    while part := await stream.read():
        parts.append(part)
    return b"".join(parts)


async def accepted(session: SpdySession) -> SpdyStream:
    stream = await session.accept()
    assert stream is not None
    await stream.reply()
    return stream


async def test_streams_carry_bytes_both_ways_with_half_close(connect: Connect) -> None:
    left, right = await connect()
    async with SpdySession(left) as server, SpdySession(right, "client") as client:
        out = await client.open({"streamtype": "stdin"})
        into = await accepted(server)
        assert await out.wait_reply() == {}
        assert into.headers == {"streamtype": "stdin"}
        data = bytes(range(256)) * 20_000

        async def produce() -> None:
            await out.write(data)
            await out.write_eof()

        producing = asyncio.ensure_future(produce())
        assert await read_all(into) == data
        await producing
        with pytest.raises(ConnectionError):
            await out.write(b"more")
        await into.write(b"and back")
        await into.write_eof()
        assert await read_all(out) == b"and back"
        await asyncio.gather(client.close(), server.close())


async def test_many_streams_at_once_keep_their_bytes_apart(connect: Connect) -> None:
    left, right = await connect()
    async with SpdySession(left) as server, SpdySession(right, "client") as client:

        async def echo(stream: SpdyStream) -> None:
            while data := await stream.read():
                await stream.write(data)
            await stream.write_eof()

        async def serve() -> None:
            echoes = []
            while (stream := await server.accept()) is not None:
                await stream.reply()
                echoes.append(asyncio.ensure_future(echo(stream)))
            await asyncio.gather(*echoes)

        async def ask(number: int) -> bytes:
            stream = await client.open({"port": str(number)})
            await stream.wait_reply()
            sending = asyncio.ensure_future(stream.write(bytes([number]) * 100_000))
            got = b""
            while len(got) < 100_000:
                got += await stream.read()
            await sending
            await stream.write_eof()
            assert await stream.read() == b""
            return got

        serving = asyncio.ensure_future(serve())
        for number, got in enumerate(await asyncio.gather(*(ask(number) for number in range(40)))):
            assert got == bytes([number]) * 100_000
        await asyncio.gather(client.close(), server.close())
        await serving


async def test_a_reader_that_is_slow_slows_the_writer(connect: Connect) -> None:
    left, right = await connect()
    async with SpdySession(left) as server, SpdySession(right, "client") as client:
        out = await client.open({})
        into = await accepted(server)
        await out.wait_reply()
        writing = asyncio.ensure_future(out.write(bytes(16 << 20)))
        for _ in range(300):
            await asyncio.sleep(0)
        assert not writing.done()
        assert into.incoming.size_bytes < 1 << 20
        got = 0
        while got < 16 << 20:
            got += len(await into.read())
        await writing
        await asyncio.gather(client.close(), server.close())


async def test_resetting_a_stream_frees_a_session_that_waits_for_it(connect: Connect) -> None:
    left, right = await connect()
    async with SpdySession(left) as server, SpdySession(right, "client") as client:
        stuck = await client.open({"name": "stuck"})
        unread = await accepted(server)
        await stuck.wait_reply()
        writing = asyncio.ensure_future(stuck.write(bytes(4 << 20)))
        for _ in range(300):
            await asyncio.sleep(0)
        unread.reset()
        with pytest.raises(StreamReset):
            await writing
        other = await client.open({"name": "other"})
        assert (await accepted(server)).headers == {"name": "other"}
        await other.wait_reply()
        await asyncio.gather(client.close(), server.close())


async def test_a_refused_stream_tells_its_opener(connect: Connect) -> None:
    left, right = await connect()
    async with SpdySession(left) as server, SpdySession(right, "client") as client:
        stream = await client.open({})
        offered = await server.accept()
        assert offered is not None
        with pytest.raises(RuntimeError):
            await offered.write(b"too early")
        offered.reset(ResetStatus.REFUSED_STREAM)
        with pytest.raises(StreamReset) as caught:
            await stream.wait_reply()
        assert caught.value.status == ResetStatus.REFUSED_STREAM
        await asyncio.gather(client.close(), server.close())


async def test_everything_sent_arrives_before_the_session_ends(connect: Connect) -> None:
    left, right = await connect()

    async def serve() -> None:
        async with SpdySession(left) as server:
            stream = await accepted(server)
            await stream.write(b"x" * 500_000)
            await stream.write_eof()

    serving = asyncio.ensure_future(serve())
    async with SpdySession(right, "client") as client:
        stream = await client.open({})
        await stream.wait_reply()
        chatter = asyncio.ensure_future(stream.write(b"nobody reads this" * 50_000))
        assert len(await read_all(stream)) == 500_000
        assert await client.accept() is None
        await client.close()
        await asyncio.gather(chatter, return_exceptions=True)
    await serving


async def test_a_lost_connection_ends_streams_and_accept(connect: Connect) -> None:
    left, right = await connect()
    async with SpdySession(left) as server, SpdySession(right, "client") as client:
        stream = await client.open({})
        into = await accepted(server)
        await stream.wait_reply()
        right.close()
        with pytest.raises(StreamReset):
            await into.read()
        assert await server.accept() is None
        assert server.ended.is_set()
        with pytest.raises(ConnectionError):
            await into.write(b"x")
        with pytest.raises(ConnectionError):
            await client.open({})


async def exchange(connect: Connect, sent: list[Frame], expected: int) -> list[Frame]:
    left, right = await connect()
    encoder, decoder = FrameEncoder(), FrameDecoder()
    got: list[Frame] = []
    async with SpdySession(left):
        await right.write(b"".join(encoder.encode(frame) for frame in sent))
        while len(got) < expected:
            got += decoder.feed(await right.read())
        right.close()
    return got


async def test_pings_of_the_peer_are_echoed_and_echoes_are_not(connect: Connect) -> None:
    assert await exchange(connect, [Ping(2), Ping(1), Settings({4: 9}), WindowUpdate(1, 5), Ping(3)], 2) == [
        Ping(1),
        Ping(3),
    ]


async def test_stream_ids_must_rise_and_be_odd(connect: Connect) -> None:
    got = await exchange(connect, [SynStream(5, {}), SynStream(2, {}), SynStream(5, {}), SynStream(3, {})], 3)
    assert got == [RstStream(number, ResetStatus.PROTOCOL_ERROR) for number in (2, 5, 3)]


async def test_what_belongs_to_no_stream_is_ignored(connect: Connect) -> None:
    sent = [Data(9, b"x"), RstStream(9, 5), SynReply(9, {}), Headers(9, {}), Ping(1)]
    assert await exchange(connect, sent, 1) == [Ping(1)]


async def test_a_peer_that_breaks_the_protocol_is_told_so(connect: Connect) -> None:
    left, right = await connect()
    async with SpdySession(left) as server:
        await right.write(b"\x80\x02\x00\x01\0\0\0\0")
        assert list(FrameDecoder().feed(await right.read())) == [GoAway(0, 1)]
        await server.ended.wait()
        assert await server.accept() is None


async def test_a_flood_of_pings_that_nobody_reads_ends_the_session(connect: Connect) -> None:
    left, right = await connect()
    async with SpdySession(left) as server:
        flood = FrameEncoder().encode(Ping(1)) * 10_000

        async def write_on() -> None:
            while not server.ended.is_set():
                await right.write(flood)
                await asyncio.sleep(0)

        await asyncio.wait_for(write_on(), 60)
        assert len(server._control) < 10_000
