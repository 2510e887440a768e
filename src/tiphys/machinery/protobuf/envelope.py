"""How an object travels: `k8s\\0`, then a runtime.Unknown that says which kind the bytes inside are.

The rules are apimachinery's `runtime/serializer/protobuf`. A watch sends WatchEvents without that prefix, each behind its length,
with the enveloped object inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tiphys.machinery.protobuf.decoder import decode
from tiphys.machinery.protobuf.encoder import encode
from tiphys.machinery.protobuf.wire import (
    BYTES,
    content_of,
    sized,
    small_message,
    tag,
    truncated,
    write_varint,
)
from tiphys.machinery.schema.errors import DecodeError
from tiphys.machinery.schema.model import Struct

PREFIX = b"k8s\0"
_LENGTH_BYTES = 4
_ITEM_TAG = tag(2, BYTES)  # of `items` in every list; `metadata` comes first


def decode_envelope(
    data: bytes, find: Callable[[str, str], Struct]
) -> tuple[tuple[str, str], dict[str, Any]]:
    """((apiVersion, kind) of the envelope, the object with both of them in it where they are not empty).

    `find(api_version, kind)` gives the type of the bytes inside; what it raises is passed on. DecodeError: malformed.
    """
    if not data.startswith(PREFIX):
        raise DecodeError(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    api_version, kind, raw = _read_unknown(data)
    obj: dict[str, Any] = {name: text for name, text in (("kind", kind), ("apiVersion", api_version)) if text}
    obj.update(decode(find(api_version, kind), raw))
    return (api_version, kind), obj


def encode_envelope(struct: Struct, obj: dict[str, Any]) -> bytes:
    """The envelope of an object that says its kind and apiVersion."""
    return PREFIX + _write_unknown(obj.get("apiVersion", ""), obj.get("kind", ""), encode(struct, obj))


def list_item(enveloped: bytes) -> bytes:
    """An object as one of a list's items."""
    return _ITEM_TAG + sized(_read_unknown(enveloped)[2])


def list_envelope(empty: bytes, items: Sequence[bytes]) -> tuple[bytes, bytes]:
    """What comes before and behind the items (made by `list_item`) of a list; `empty`: the envelope of the list without them."""
    api_version, kind, metadata = _read_unknown(empty)
    size_bytes = len(metadata) + sum(map(len, items))
    return PREFIX + _unknown_head(api_version, kind, size_bytes) + metadata, _UNKNOWN_TAIL


def watch_frame(kind: str, enveloped: bytes) -> bytes:
    """One event of a watch: `kind` is "ADDED", "MODIFIED", "DELETED", "BOOKMARK" or "ERROR"."""
    raw_extension = tag(1, BYTES) + sized(enveloped)
    event = tag(1, BYTES) + sized(kind.encode()) + tag(2, BYTES) + sized(raw_extension)
    return len(event).to_bytes(_LENGTH_BYTES, "big") + event


def _read_unknown(data: bytes) -> tuple[str, str, bytes]:
    """apiVersion, kind and the bytes of the object."""
    try:
        unknown = small_message(data, len(PREFIX), len(data))
        type_meta = content_of(unknown, 1)
        names = small_message(type_meta, 0, len(type_meta))
        return content_of(names, 1).decode(), content_of(names, 2).decode(), content_of(unknown, 2)
    except IndexError:
        raise truncated() from None
    except UnicodeDecodeError as error:
        raise DecodeError(f"proto: {error}") from None


def _write_unknown(api_version: str, kind: str, raw: bytes) -> bytes:
    return _unknown_head(api_version, kind, len(raw)) + raw + _UNKNOWN_TAIL


def _unknown_head(api_version: str, kind: str, size_bytes: int) -> bytes:
    """What comes before the bytes of the object."""
    type_meta = tag(1, BYTES) + sized(api_version.encode()) + tag(2, BYTES) + sized(kind.encode())
    return tag(1, BYTES) + sized(type_meta) + tag(2, BYTES) + write_varint(size_bytes)


# Content encoding and type are empty: plain protobuf. Upstream writes them too.
_UNKNOWN_TAIL = tag(3, BYTES) + b"\0" + tag(4, BYTES) + b"\0"
