"""DNS messages as bytes: what RFC 1035 draws, and what nobody should send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.dns import message
from tiphys.dns.message import AAAA, CNAME, PTR, SOA, SRV, TXT, A, Answer, BadMessage, Record

QUESTION = b"\x03WEB\x04shop\x00\x00\x01\x00\x01"
QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + QUESTION
EDNS = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"


def addresses(count: int) -> list[Record]:
    return [Record("web.shop", A, 30, f"10.0.{number >> 8}.{number & 255}") for number in range(count)]


def test_a_query() -> None:
    query = message.read_query(QUERY)
    assert (query.id, query.name, query.type, query.class_) == (0x1234, "web.shop", A, message.IN)
    assert query.wants_recursion
    assert message.limit_of(query) == 512


def test_how_much_its_sender_takes() -> None:
    query = message.read_query(QUERY[:11] + b"\x01" + QUESTION + EDNS)
    assert query.has_edns
    assert message.limit_of(query) == 1232


def test_an_answer_byte_by_byte() -> None:
    """The name is pointed to, so that its owner finds it in his own spelling."""
    answer = Answer(answers=[Record("web.shop", A, 30, "10.96.0.7")])
    written = message.write_answer(message.read_query(QUERY), answer, limit_bytes=512)
    assert written == (
        b"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00"
        + QUESTION
        + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x60\x00\x07"
    )


def test_records_of_every_kind() -> None:
    records = [
        Record("web.shop", AAAA, 30, "fd00::7"),
        Record("web.shop", CNAME, 30, "other.shop"),
        Record("web.shop", PTR, 30, "web.shop"),
        Record("web.shop", SRV, 30, (0, 100, 80, "a.shop")),
        Record("web.shop", TXT, 30, b"1.1.0"),
        Record("shop", SOA, 30, ("ns.shop", "who.shop", 7, 7200, 1800, 86400, 30)),
    ]
    written = message.write_answer(message.read_query(QUERY), Answer(answers=records), limit_bytes=512)
    assert written[7] == 6
    assert b"\x05other\xc0\x10" in written, "a part of a name is pointed to"
    assert b"\x00\x00\x00\x64\x00\x50\x01a\x04shop\x00" in written, "but not in an SRV record"
    assert b"\x00\x06\x051.1.0" in written
    assert b"\x02ns\xc0\x10\x03who\xc0\x10\x00\x00\x00\x07" in written


def test_what_has_no_room_is_left_out_and_told() -> None:
    query = message.read_query(QUERY)
    written = message.write_answer(query, Answer(answers=addresses(100)), limit_bytes=512)
    assert len(written) <= 512
    assert message.is_truncated(written)
    assert 0 < len(message.read_addresses(written)) < 100
    additional = Answer(answers=addresses(1), additional=addresses(100))
    written = message.write_answer(query, additional, limit_bytes=512)
    assert not message.is_truncated(written)
    with_edns = message.read_query(QUERY[:11] + b"\x01" + QUESTION + EDNS)
    written = message.write_answer(with_edns, Answer(answers=addresses(100)), limit_bytes=1232)
    assert len(written) <= 1232
    assert written[11] == 1
    assert written[-11:] == b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"


def test_others_answers_are_read() -> None:
    answer = Answer(
        answers=[
            Record("web.shop", CNAME, 9, "x.example"),
            Record("x.example", AAAA, 8, "fd00::1"),
            Record("x.example", A, 7, "10.0.0.1"),
        ]
    )
    written = message.write_answer(message.read_query(QUERY), answer, limit_bytes=512)
    assert message.read_addresses(written) == answer.answers


def test_our_own_queries_are_queries() -> None:
    query = message.read_query(message.write_query(7, "www.example.com", AAAA))
    assert (query.id, query.name, query.type) == (7, "www.example.com", AAAA)


@pytest.mark.parametrize(
    ("data", "id"),
    [
        (b"\x12", None),
        (b"\x12\x34\x81\x00\x00\x01\x00\x00\x00\x00\x00\x00" + QUESTION, None),
        (QUERY[:4] + b"\x00\x02" + QUERY[6:], 0x1234),
        (QUERY[:-1], 0x1234),
        (QUERY[:12] + b"\xc0\x0c\x00\x01\x00\x01", 0x1234),
        (QUERY[:12] + b"\x80abc\x00\x00\x01\x00\x01", 0x1234),
        (QUERY[:11] + b"\x01" + QUESTION + EDNS[:-1] + b"\x09", 0x1234),
    ],
    ids=[
        "short",
        "an answer",
        "two questions",
        "cut",
        "a name that leads to itself",
        "no such label",
        "no such data",
    ],
)
def test_what_is_no_query(data: bytes, id: int | None) -> None:
    with pytest.raises(BadMessage) as caught:
        message.read_query(data)
    assert caught.value.id == id


@given(st.binary(max_size=200), st.integers(0, 60))
def test_no_bytes_do_harm(noise: bytes, place: int) -> None:
    data = (QUERY[:11] + b"\x01" + QUESTION + EDNS)[:place] + noise
    try:
        query = message.read_query(data)
    except BadMessage:
        pass
    else:
        written = message.write_answer(
            query, Answer(answers=addresses(50)), limit_bytes=message.limit_of(query)
        )
        assert len(written) <= message.limit_of(query)
    try:
        message.read_addresses(data)
    except BadMessage:
        pass
