"""Kubernetes' protobuf, held against google.protobuf with descriptors made from the same model of types."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from typed_objects import canonical_objects, sample

from tiphys.api.types import TYPES, group_versions
from tiphys.machinery.protobuf import decode, decode_envelope, encode, encode_envelope, watch_frame
from tiphys.machinery.schema import (
    DecodeError,
    ListOf,
    MapOf,
    Scalar,
    ScalarKind,
    Struct,
    Type,
    Types,
    check,
    struct_of,
)

SAMPLE = sample()
FieldProto = descriptor_pb2.FieldDescriptorProto

_NUMBERS = {
    ScalarKind.BOOL: FieldProto.TYPE_BOOL,
    ScalarKind.INT32: FieldProto.TYPE_INT32,
    ScalarKind.INT64: FieldProto.TYPE_INT64,
    ScalarKind.DOUBLE: FieldProto.TYPE_DOUBLE,
    ScalarKind.STRING: FieldProto.TYPE_STRING,
    ScalarKind.BYTES: FieldProto.TYPE_BYTES,
}
_SMALL_MESSAGES: dict[ScalarKind, list[int]] = {
    ScalarKind.QUANTITY: [FieldProto.TYPE_STRING],
    ScalarKind.TIME: [FieldProto.TYPE_INT64, FieldProto.TYPE_INT32],
    ScalarKind.MICROTIME: [FieldProto.TYPE_INT64, FieldProto.TYPE_INT32],
    ScalarKind.INT_OR_STRING: [FieldProto.TYPE_INT64, FieldProto.TYPE_INT32, FieldProto.TYPE_STRING],
    ScalarKind.RAW: [FieldProto.TYPE_BYTES],
    ScalarKind.JSON: [FieldProto.TYPE_BYTES],
    ScalarKind.FIELDS: [FieldProto.TYPE_BYTES],
}


class Descriptors:
    """Makes google.protobuf's descriptors of a struct and of all that it reaches."""

    def __init__(self, struct: Struct) -> None:
        self._file = descriptor_pb2.FileDescriptorProto(name="test.proto", package="t", syntax="proto2")
        self._names: dict[str, str] = {}
        name = self._message(struct)
        pool = descriptor_pool.DescriptorPool()
        pool.Add(self._file)  # type: ignore[no-untyped-call]
        self.cls = message_factory.GetMessageClass(pool.FindMessageTypeByName(name[1:]))  # type: ignore[no-untyped-call]

    def _new(self, key: str) -> tuple[str, descriptor_pb2.DescriptorProto]:
        message = self._file.message_type.add(name=f"M{len(self._file.message_type)}")
        self._names[key] = f".t.{message.name}"
        return self._names[key], message

    def _message(self, struct: Struct) -> str:
        if struct.name in self._names:
            return self._names[struct.name]
        name, message = self._new(struct.name)
        for field in struct.own_fields:
            if field.number:
                self._field(message, field.number, field.type)
        return name

    def _field(self, message: Any, number: int, type_: Type) -> None:
        field = message.field.add(name=f"f{number}", number=number, label=FieldProto.LABEL_OPTIONAL)
        if isinstance(type_, ListOf | MapOf):
            field.label = FieldProto.LABEL_REPEATED
        if isinstance(type_, MapOf):
            entry = message.nested_type.add(name=f"F{number}Entry", options={"map_entry": True})
            self._field(entry, 1, Scalar(ScalarKind.STRING))
            self._field(entry, 2, type_.value)
            entry.field[0].name, entry.field[1].name = "key", "value"
            field.type, field.type_name = (
                FieldProto.TYPE_MESSAGE,
                f"{self._full_name(message)}.F{number}Entry",
            )
            if isinstance(type_.value, ListOf):
                items = self._new(f"list {id(field)}")
                self._field(items[1], 1, type_.value)
                entry.field[1].label = FieldProto.LABEL_OPTIONAL
                entry.field[1].type, entry.field[1].type_name = FieldProto.TYPE_MESSAGE, items[0]
            return
        self._type(field, type_.item if isinstance(type_, ListOf) else type_)

    def _full_name(self, message: Any) -> str:
        return f".t.{message.name}"

    def _type(self, field: Any, type_: Type) -> None:
        if isinstance(type_, Scalar) and type_.kind in _NUMBERS:
            field.type = _NUMBERS[type_.kind]
            return
        field.type = FieldProto.TYPE_MESSAGE
        if isinstance(type_, Scalar):
            field.type_name = self._small_message(type_.kind)
        else:
            struct = struct_of(type_)
            assert struct is not None
            field.type_name = self._message(struct)

    def _small_message(self, kind: ScalarKind) -> str:
        if kind not in self._names:
            _, message = self._new(kind)
            for number, type_ in enumerate(_SMALL_MESSAGES[kind], 1):
                message.field.add(
                    name=f"f{number}", number=number, label=FieldProto.LABEL_OPTIONAL, type=type_
                )
        return self._names[kind]


SAMPLE_MESSAGE: Any = Descriptors(SAMPLE).cls


def reencoded(data: bytes) -> bytes:
    """What google.protobuf makes of a message when it reads and writes it; it must know every field."""
    message = SAMPLE_MESSAGE()
    message.ParseFromString(data)
    before = message.ByteSize()
    message.DiscardUnknownFields()
    assert message.ByteSize() == before
    result: bytes = message.SerializeToString(deterministic=True)
    return result


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


@given(canonical_objects(SAMPLE, numbered=True))
@settings(max_examples=150, deadline=None)
def test_a_round_trip_changes_nothing(obj: dict[str, Any]) -> None:
    assert decode(SAMPLE, encode(SAMPLE, obj)) == obj


@given(canonical_objects(SAMPLE, numbered=True))
@settings(max_examples=100, deadline=None)
def test_google_protobuf_reads_what_we_write_and_writes_what_we_read(obj: dict[str, Any]) -> None:
    assert decode(SAMPLE, reencoded(encode(SAMPLE, obj))) == obj


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_garbage_is_a_decode_error_and_nothing_else(data: bytes) -> None:
    try:
        decode(SAMPLE, data)
    except DecodeError:
        pass


@given(canonical_objects(SAMPLE, numbered=True), st.data())
@settings(max_examples=150, deadline=None)
def test_spoilt_messages_are_a_decode_error_and_nothing_else(
    obj: dict[str, Any], data: st.DataObject
) -> None:
    message = bytearray(encode(SAMPLE, obj))
    if message:
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(SAMPLE, bytes(message[: data.draw(st.integers(0, len(message)))]))
    except DecodeError:
        pass


def test_a_pod_round_trips() -> None:
    pod = {
        "metadata": {"name": "web", "labels": {"app": "web"}, "creationTimestamp": "2026-11-22T10:00:00Z"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "web",
                    "resources": {"limits": {"cpu": "500m"}},
                    "env": [
                        {
                            "name": "A",
                            "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y", "optional": False}},
                        }
                    ],
                    "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 3},
                }
            ],
            "volumes": [{"name": "a", "emptyDir": {}}],
        },
        "status": {"startTime": "1969-12-31T23:59:59Z"},
    }
    assert decode(TYPES.struct("core/v1.Pod"), encode(TYPES.struct("core/v1.Pod"), pod)) == pod


def test_every_built_in_type_has_a_decoder_and_an_encoder() -> None:
    for group_version in group_versions():
        for name in TYPES.names(group_version):
            struct = TYPES.struct(name)
            assert decode(struct, encode(struct, {})) == {}


def test_what_go_writes_for_nothing_is_dropped() -> None:
    """Go writes every field that is no pointer, empty ones too."""
    empty_time, empty_text, zero, no_bool = field(13, b""), field(3, b""), b"\x28\x00", b"\x40\x00"
    assert decode(SAMPLE, empty_time + empty_text + zero + no_bool + field(10, b"")) == {}


def test_an_explicit_zero_behind_a_pointer_is_kept() -> None:
    assert decode(SAMPLE, field(4, b"") + b"\x30\x00" + b"\x48\x00") == {
        "note": "",
        "total": 0,
        "wanted": False,
    }


def test_empty_messages_stay() -> None:
    assert decode(SAMPLE, field(1, b"") + field(11, b"") + field(12, b"")) == {
        "metadata": {},
        "amount": "0",
        "port": 0,
    }


def test_numbers_may_be_packed_or_not() -> None:
    packed = field(18, varint(1) + varint(300) + varint(2**64 - 1))
    single = b"".join(varint(18 << 3) + varint(number) for number in (1, 300, 2**64 - 1))
    assert decode(SAMPLE, packed) == decode(SAMPLE, single) == {"numbers": [1, 300, -1]}
    assert decode(SAMPLE, field(20, b"\x00" * 6 + b"\xf8\x3f")) == {"ratios": [1.5]}


def test_a_message_that_comes_in_pieces_is_merged() -> None:
    first, second = field(1, field(1, b"name")), field(1, field(2, field(1, b"a") + field(2, b"b")))
    assert decode(SAMPLE, first + second) == {"metadata": {"name": "name", "labels": {"a": "b"}}}


def test_a_map_entry_may_lack_its_key_or_value() -> None:
    assert decode(SAMPLE, field(21, b"") + field(21, field(1, b"a"))) == {"tags": {"": "", "a": ""}}
    assert decode(SAMPLE, field(22, field(1, b"a")) + field(24, field(1, b"b"))) == {
        "amounts": {"a": "0"},
        "extra": {"b": []},
    }


def test_values_come_in_canonical_form() -> None:
    nanos = b"\x08\x01\x10" + varint(999_999_999)
    assert decode(SAMPLE, field(11, field(1, b"1000m"))) == {"amount": "1"}
    assert decode(SAMPLE, field(13, nanos)) == {"seen": "1970-01-01T00:00:01Z"}
    assert decode(SAMPLE, field(14, nanos)) == {"exact": "1970-01-01T00:00:01.999999Z"}


@pytest.mark.parametrize(
    ("type_name", "value"), [("schema", False), ("schema", True), ("schema", {"name": "a"}), ("schemas", [])]
)
def test_what_has_several_forms_in_json_has_a_field_for_each(type_name: str, value: Any) -> None:
    expected = {} if value == [] else {type_name: value}
    assert decode(SAMPLE, encode(SAMPLE, {type_name: value})) == expected


def test_unknown_numbers_are_skipped() -> None:
    group = varint(90 << 3 | 3) + varint(91 << 3) + b"\x05" + field(92, b"x") + varint(90 << 3 | 4)
    fixed = varint(93 << 3 | 1) + b"12345678" + varint(94 << 3 | 5) + b"1234"
    assert decode(SAMPLE, group + fixed + varint(95 << 3) + b"\x07" + field(2, b"a")) == {"name": "a"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0a", "unexpected EOF"),
        (b"\x0a\x05a", "unexpected EOF"),
        (field(1, b"\x0a\x05a"), "unexpected EOF"),
        (b"\x28\xff", "unexpected EOF"),
        (b"\xff" * 11, "integer overflow"),
        (b"\x10\x01", "proto: wrong wireType = 0 for field 2"),
        (field(5, b""), "proto: wrong wireType = 2 for field 5"),
        (b"\x00\x00", "illegal tag 0"),
        (b"\x02\x00", "illegal tag 0"),
        (field(2, b"\xff"), "utf-8"),
        (field(11, field(1, b"lots")), "quantities must match the regular expression"),
        (field(12, b"\x08\x07"), "impossible IntOrString.Type"),
        (field(13, b"\x08" + varint(2**62)), "proto: "),
        (field(15, field(1, b"{")), "proto: "),
        (b"\x39" + b"\x00" * 6 + b"\xf0\x7f", "a number that JSON cannot hold"),
        (varint(90 << 3 | 4), "unexpected end of group"),
        (varint(90 << 3 | 3) * 200, "nested too deeply"),
        (varint(90 << 3 | 7), "illegal wireType 7"),
    ],
)
def test_what_is_wrong_with_a_message(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(SAMPLE, data)
    assert message in str(caught.value)


def test_deep_nesting_is_refused() -> None:
    part = Types({"a/v1": "type A\n  1 a A\n"}.get).struct("a/v1.A")
    data = b""
    for _ in range(3000):
        data = field(1, data)
    with pytest.raises(DecodeError, match="nested too deeply"):
        decode(part, data)


def test_an_envelope_says_what_is_in_it() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}
    data = encode_envelope(TYPES.struct("core/v1.Pod"), pod)
    assert data.startswith(b"k8s\0")
    asked: list[tuple[str, str]] = []

    def find(api_version: str, kind: str) -> Struct:
        asked.append((api_version, kind))
        return TYPES.struct("core/v1.Pod")

    assert decode_envelope(data, find) == (("v1", "Pod"), pod)
    assert asked == [("v1", "Pod")]


def test_an_envelope_without_names_gives_an_object_without_them() -> None:
    data = b"k8s\0" + field(2, field(2, b"a"))
    assert decode_envelope(data, lambda _version, _kind: SAMPLE) == (("", ""), {"name": "a"})


@pytest.mark.parametrize(
    "data", [b"", b'{"kind":"Pod"}', b"k8s\0\x0a", b"k8s\0" + field(1, field(1, b"\xff"))]
)
def test_a_broken_envelope(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_envelope(data, lambda _version, _kind: SAMPLE)


def test_a_watch_event_stands_behind_its_length() -> None:
    enveloped = encode_envelope(SAMPLE, {"kind": "Sample", "apiVersion": "v1", "name": "a"})
    frame = watch_frame("ADDED", enveloped)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert frame[4:] == field(1, b"ADDED") + field(2, field(1, enveloped))


@given(canonical_objects(SAMPLE, numbered=True))
@settings(max_examples=100, deadline=None)
def test_what_comes_by_protobuf_needs_no_second_check(obj: dict[str, Any]) -> None:
    decoded = decode(SAMPLE, encode(SAMPLE, obj))
    assert check(SAMPLE, decoded).object == decoded
