"""DNS messages on the wire (RFC 1035, 3596, 2782, 6891): queries are read, answers written. No I/O.

Names are texts in lower case without the last dot; "" is the root. What a client asked stays in its own spelling in the answer.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from tiphys.machinery.frozen import frozen

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
PLAIN_SIZE_BYTES = 512
"""Of an answer over UDP to whoever does not say how much he takes."""
OWN_SIZE_BYTES = 4096
_HEADER = struct.Struct("!HHHHHH")
_NUMBERS = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_POINTER, _FARTHEST = 0xC0, 0x3FFF
_QR, _AA, _TC, _RD, _RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_DO = 0x8000
_LABEL_LIMIT, _JUMPS_LIMIT = 63, 64

Data: TypeAlias = str | bytes | tuple[int, int, int, str] | tuple[str, str, int, int, int, int, int]


class BadMessage(ValueError):
    """Not a message that can be read. `id`: what to answer, if so much could be read."""

    def __init__(self, what: str, id: int | None = None) -> None:
        super().__init__(what)
        self.id = id


@frozen
class Query:
    """`size_bytes`: how large an answer over UDP may be. `question`: as it stood in the message."""

    id: int
    name: str
    type: int
    class_: int
    question: bytes
    opcode: int = 0
    wants_recursion: bool = True
    has_edns: bool = False
    edns_version: int = 0
    wants_dnssec: bool = False
    size_bytes: int = PLAIN_SIZE_BYTES


@frozen
class Record:
    """`data`: an address or a name as text, bytes of a TXT, (priority, weight, port, target) of an SRV, or an SOA's seven fields."""

    name: str
    type: int
    ttl: int
    data: Data


@frozen
class Answer:
    code: int = NOERROR
    answers: Sequence[Record] = ()
    authority: Sequence[Record] = ()
    additional: Sequence[Record] = ()
    is_authoritative: bool = True


# Reading


def read_query(message: bytes) -> Query:
    """Raises BadMessage."""
    if len(message) < _HEADER.size:
        raise BadMessage("too short")
    id, flags, questions, answers, authorities, more = _HEADER.unpack_from(message)
    if flags & _QR:
        raise BadMessage("not a query")
    opcode = flags >> 11 & 0xF
    if questions != 1:
        raise BadMessage("not one question", id)
    try:
        name, position = _read_name(message, _HEADER.size)
        type, class_ = _NUMBERS.unpack_from(message, position)
        position += _NUMBERS.size
        query = Query(
            id=id,
            name=name,
            type=type,
            class_=class_,
            question=message[_HEADER.size : position],
            opcode=opcode,
            wants_recursion=bool(flags & _RD),
        )
        for _ in range(answers + authorities + more):
            _, type, size, more_flags, position = _read_record(message, position)
            if type == OPT:
                # The class of an OPT record is how much its sender takes; in place of a TTL there are a version and flags.
                query = replace(
                    query,
                    has_edns=True,
                    edns_version=more_flags >> 16 & 0xFF,
                    wants_dnssec=bool(more_flags & _DO),
                    size_bytes=max(size, PLAIN_SIZE_BYTES),
                )
    except (struct.error, IndexError) as error:
        raise BadMessage("it ends too early", id) from error
    except BadMessage as error:
        raise BadMessage(str(error), id) from None
    return query


def read_addresses(message: bytes) -> list[Record]:
    """The addresses and aliases in an answer of another server. Raises BadMessage."""
    try:
        _, _, questions, answers, _, _ = _HEADER.unpack_from(message)
        position = _HEADER.size
        for _ in range(questions):
            position = _read_name(message, position)[1] + _NUMBERS.size
        found = []
        for _ in range(answers):
            name, type, _, ttl, end = _read_record(message, position)
            start = _read_name(message, position)[1] + _RECORD.size
            data = message[start:end]
            if type == CNAME:
                found.append(Record(name, type, ttl, _read_name(message, start)[0]))
            elif type == A and len(data) == 4:
                found.append(Record(name, type, ttl, str(IPv4Address(data))))
            elif type == AAAA and len(data) == 16:
                found.append(Record(name, type, ttl, str(IPv6Address(data))))
            position = end
    except (struct.error, IndexError) as error:
        raise BadMessage("it ends too early") from error
    return found


def read_lifetimes(message: bytes) -> tuple[tuple[int, ...], int, int]:
    """Of an answer: where its records' TTLs stand, the shortest of them, and how many records answer. Raises BadMessage, too when it
    has options, which are for one client."""
    try:
        _, _, questions, *counts = _HEADER.unpack_from(message)
        position = _HEADER.size
        for _ in range(questions):
            position = _read_name(message, position)[1] + _NUMBERS.size
        places, shortest = [], 1 << 32
        for _ in range(sum(counts)):
            start = _read_name(message, position)[1]
            _, type, _, ttl, position = _read_record(message, position)
            if type != OPT:
                places.append(start + 4)
                shortest = min(shortest, ttl)
            elif position > start + _RECORD.size:
                raise BadMessage("it has options")
    except (struct.error, IndexError) as error:
        raise BadMessage("it ends too early") from error
    return tuple(places), shortest, counts[0]


def code_of(message: bytes) -> int:
    return message[3] & 0xF


def is_truncated(message: bytes) -> bool:
    return bool(message[2] & 0x02)


def _read_record(message: bytes, position: int) -> tuple[str, int, int, int, int]:
    """(name, type, class, ttl, where it ends)"""
    name, position = _read_name(message, position)
    type, class_, ttl, size = _RECORD.unpack_from(message, position)
    end = position + _RECORD.size + size
    if end > len(message):
        raise BadMessage("it ends too early")
    return name, type, class_, ttl, end


def _read_name(message: bytes, position: int) -> tuple[str, int]:
    """(name, where it ends)"""
    labels: list[str] = []
    end = 0
    for _ in range(_JUMPS_LIMIT * 2):
        size = message[position]
        if size & _POINTER == _POINTER:
            end = end or position + 2
            position = (size & 0x3F) << 8 | message[position + 1]
        elif size & _POINTER:
            raise BadMessage("a label of a kind that there is not")
        elif size == 0:
            return ".".join(labels), end or position + 1
        else:
            label = message[position + 1 : position + 1 + size]
            if len(label) < size:
                raise BadMessage("it ends too early")
            labels.append(label.decode("latin-1").lower().replace(".", "\\."))
            position += 1 + size
    raise BadMessage("a name without end")


# Writing


def write_query(id: int, name: str, type: int) -> bytes:
    header = _HEADER.pack(id, _RD, 1, 0, 0, 0)
    return header + _plain_name(name) + _NUMBERS.pack(type, IN)


def write_answer(query: Query, answer: Answer, *, limit_bytes: int) -> bytes:
    """At most so long; what has no room is left out, which is told by a flag unless it is only additional."""
    writer = _Writer(query, limit_bytes - (11 if query.has_edns else 0))
    counts = [writer.add(section) for section in (answer.answers, answer.authority, answer.additional)]
    is_cut = counts[0] < len(answer.answers) or counts[1] < len(answer.authority)
    flags = _QR | _RA | query.opcode << 11 | answer.code & 0xF
    flags |= (_AA if answer.is_authoritative else 0) | (_TC if is_cut else 0)
    flags |= _RD if query.wants_recursion else 0
    message = writer.message
    if query.has_edns:
        more_flags = answer.code >> 4 << 24 | (_DO if query.wants_dnssec else 0)
        message += b"\0" + _RECORD.pack(OPT, OWN_SIZE_BYTES, more_flags, 0)
        counts[2] += 1
    message[: _HEADER.size] = _HEADER.pack(query.id, flags, 1 if query.question else 0, *counts)
    return bytes(message)


def write_error(id: int, code: int) -> bytes:
    """To a message of which nothing else is known."""
    return _HEADER.pack(id, _QR | code, 0, 0, 0, 0)


def limit_of(query: Query) -> int:
    """How long an answer over UDP may be."""
    return min(query.size_bytes, OWN_SIZE_BYTES)


class _Writer:
    """Names that were written before are pointed to."""

    def __init__(self, query: Query, limit_bytes: int) -> None:
        self.message = bytearray(_HEADER.size) + query.question
        self._limit = limit_bytes
        self._places: dict[str, int] = {}
        if query.question:
            self._remember(query.name, _HEADER.size)

    def add(self, records: Sequence[Record]) -> int:
        """How many of them had room."""
        for number, record in enumerate(records):
            before, places = len(self.message), dict(self._places)
            self._record(record)
            if len(self.message) > self._limit:
                del self.message[before:]
                self._places = places
                return number
        return len(records)

    def _record(self, record: Record) -> None:
        self._name(record.name)
        self.message += _RECORD.pack(record.type, IN, record.ttl, 0)
        start = len(self.message)
        self._data(record)
        self.message[start - 2 : start] = struct.pack("!H", len(self.message) - start)

    def _data(self, record: Record) -> None:
        data = record.data
        match data:
            case bytes():
                self.message += bytes([len(data)]) + data
            case str() if record.type == A:
                self.message += IPv4Address(data).packed
            case str() if record.type == AAAA:
                self.message += IPv6Address(data).packed
            case str():
                self._name(data)
            case (priority, weight, port, target):
                # RFC 2782: no pointers in here.
                self.message += struct.pack("!HHH", priority, weight, port) + _plain_name(target)
            case (server, person, *numbers):
                self._name(server)
                self._name(person)
                self.message += struct.pack("!IIIII", *numbers)

    def _name(self, name: str) -> None:
        while name:
            if (place := self._places.get(name)) is not None:
                self.message += struct.pack("!H", _POINTER << 8 | place)
                return
            self._remember_one(name, len(self.message))
            label, _, name = name.partition(".")
            self.message += _label(label)
        self.message += b"\0"

    def _remember(self, name: str, place: int) -> None:
        while name:
            self._remember_one(name, place)
            label, _, name = name.partition(".")
            place += len(label) + 1

    def _remember_one(self, name: str, place: int) -> None:
        if place <= _FARTHEST:
            self._places.setdefault(name, place)


def _plain_name(name: str) -> bytes:
    return b"".join(map(_label, name.split("."))) + b"\0" if name else b"\0"


def _label(label: str) -> bytes:
    encoded = label.encode("latin-1", errors="replace")[:_LABEL_LIMIT]
    return bytes([len(encoded)]) + encoded
