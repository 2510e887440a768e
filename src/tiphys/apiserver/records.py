"""Stored objects as the watch cache holds them: canonical bytes, decoded only when somebody must look inside.

The store keeps `{"kind":…,"apiVersion":…,"metadata":{…},…}` without a resourceVersion (it cannot be known before the write).
A Record holds the bytes as they are sent, with the resourceVersion put in as the first field of metadata. So GET returns
the bytes, LIST joins them, and WATCH frames them, without decoding.

`managedFields` is often half of an object, and few look at it. It comes first in metadata, with a tab before each entry and
behind the last one: white space to readers of JSON, and to us the places to cut, since no other tab can stand in the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from tiphys.machinery import errors

if TYPE_CHECKING:
    from tiphys.api.resource import Reading
    from tiphys.apiserver.tables import Printed

_METADATA = b'"metadata":{'
_ENCRYPTED = b"k8s:enc:"
_VERSION = b'"resourceVersion":"'
_LEVELS, _ROOM = 254, 50
"""orjson writes at most so many levels. This many are left for what stands around an object (lists, tables, events), and for
readers in Python, which need several stack frames a level."""
_OWNERS = b'"managedFields":['
_FIELDS = b'"fieldsV1":'
_METADATA_BYTES = 4096
"""Most metadata is not longer; what follows it may be."""
_DECODER = json.JSONDecoder()
_FIELD_SETS = 512
"""How many sets of fields are remembered: objects made from one template have the same."""


class StoredEntry(dict[str, Any]):
    """One entry of managedFields as it was read, with its bytes: most are written back as they are."""

    __slots__ = ("source",)
    source: bytes


def encode_stored(obj: dict[str, Any]) -> bytes:
    """The canonical bytes of an object: kind, apiVersion and metadata first, no resourceVersion. `obj` is left as it was.

    Raises 400 for one that is nested too deeply.
    """
    metadata = {**obj["metadata"]}
    owners = metadata.pop("managedFields", None)
    metadata.pop("resourceVersion", None)
    ordered = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": metadata, **obj}
    ordered["metadata"] = metadata
    try:
        stored = orjson.dumps(ordered)
        if _levels_at_most(stored) > _LEVELS - _ROOM:
            orjson.dumps(_in_lists(ordered))
        return _with_owners(stored, owners) if owners else stored
    except TypeError:
        raise errors.bad_request("json: exceeded max depth") from None


def _levels_at_most(stored: bytes) -> int:
    """How often something that may hold something else begins, strings included; the innermost may be an empty object.

    `bytes.count` looks at each byte when it counts one character: a search for two, or for the next one, is much faster.
    """
    return stored.count(b'{"') + 1 + len(stored) - len(stored.replace(b"[", b""))


def _in_lists(obj: Any) -> Any:
    for _ in range(_ROOM):
        obj = [obj]
    return obj


def _with_owners(stored: bytes, owners: list[dict[str, Any]]) -> bytes:
    at = stored.index(_METADATA) + len(_METADATA)
    entries = b",\t".join([_encode_entry(entry) for entry in owners])
    return b"%b%b\t%b\t],%b" % (stored[:at], _OWNERS, entries, stored[at:])


def _encode_entry(entry: dict[str, Any]) -> bytes:
    """An entry with its fields at the end, where they are found again."""
    if isinstance(entry, StoredEntry):
        return entry.source
    rest = {**entry}
    fields = rest.pop("fieldsV1", None) or {}
    return b"%b,%b%b}" % (orjson.dumps(rest)[:-1], _FIELDS, orjson.dumps(fields))


def _decode_entry(source: bytes) -> StoredEntry:
    at = source.index(_FIELDS)
    entry = StoredEntry(orjson.loads(source[: at - 1] + b"}"))
    entry["fieldsV1"] = _decode_fields(source[at + len(_FIELDS) : -1])
    entry.source = source
    return entry


@lru_cache(maxsize=_FIELD_SETS)
def _decode_fields(source: bytes) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = orjson.loads(source)
    return fields


def with_version(stored: bytes, revision: int) -> bytes:
    """Stored bytes as they are sent: with `metadata.resourceVersion`. Raises 500 for what is encrypted and nobody decrypts."""
    if stored.startswith(_ENCRYPTED):
        raise errors.internal_error("identity transformer tried to read encrypted data")
    at = stored.index(_METADATA) + len(_METADATA)
    return b'%b"resourceVersion":"%d",%b' % (stored[:at], revision, stored[at:])


def at_version(sent: bytes, revision: int) -> bytes:
    """Sent bytes with another resourceVersion: the last state of an object in the event of its deletion."""
    start = sent.index(_VERSION) + len(_VERSION)
    end = sent.index(b'"', start)
    return b"%b%d%b" % (sent[:start], revision, sent[end:])


def _end_of_object(data: bytes) -> int:
    """Where the object ends that these bytes begin with. ValueError if it does not."""
    text = data.decode()
    _, end = _DECODER.raw_decode(text)
    return end if len(text) == len(data) else len(text[:end].encode())


def _owned(obj: dict[str, Any], owners: list[dict[str, Any]]) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "managedFields": owners}} if owners else obj


class Record:
    """One object at one revision. Immutable; `object` is shared: copy before change."""

    __slots__ = ("_object", "data", "key", "name", "namespace", "printed", "readings", "revision", "settled")

    def __init__(self, key: str, namespace: str, name: str, revision: int, data: bytes) -> None:
        self.key = key
        self.namespace = namespace
        self.name = name
        self.revision = revision
        self.data = data
        self._object: dict[str, Any] | None = None
        self.settled = False
        """This process has written it: its defaults are in it, all that this version of the server knows."""
        self.readings: dict[str, tuple[Reading, Record | None]] | None = None
        """What `registry/translation.py` made of it, by version. None for the record: itself."""
        self.printed: Printed | None = None
        """What `tables.py` keeps of its row, once somebody has asked for it."""

    @property
    def object(self) -> dict[str, Any]:
        """The decoded object, read-only, with resourceVersion and without managedFields."""
        if self._object is None:
            self._object = self.copy()
        return self._object

    def peek(self) -> dict[str, Any]:
        """The same for who looks once: it is not kept."""
        return self.copy() if self._object is None else self._object

    def metadata_span(self, metadata: dict[str, Any]) -> tuple[int, int] | None:
        """Where it stands in `data`, managedFields and all; `metadata` is that of `object`. None: we did not write it."""
        data, begin = self.data, self.data.index(_METADATA) + len(_METADATA) - 1
        rest = orjson.dumps(metadata)
        if data.find(b"\t") >= 0:
            rest = rest[rest.index(b",") + 1 :]
            end = data.rindex(b"\t") + 3 + len(rest)
        else:
            end = begin + len(rest)
        return (begin, end) if data.startswith(rest, end - len(rest)) else None

    @property
    def metadata(self) -> bytes:
        """All of `metadata` as it is sent, managedFields too, found without decoding the rest."""
        data = self.data
        begin = data.index(_METADATA) + len(_METADATA) - 1
        tab = data.rfind(b"\t")
        # What stands behind managedFields, as if it stood alone.
        rest = tab + 3 if tab >= 0 else begin + 1
        try:
            end = _end_of_object(b"{" + data[rest : rest + _METADATA_BYTES])
        except ValueError:  # cut off in the middle of something
            end = _end_of_object(b"{" + data[rest:])
        return data[begin : rest + end - 1]

    def take(self, obj: dict[str, Any]) -> None:
        """What the bytes say, from whoever has just written them; nobody changes it any more."""
        # In the order of the bytes: what is encoded of it is found there again.
        metadata = {"resourceVersion": "", **obj["metadata"]}
        metadata.pop("managedFields", None)
        metadata["resourceVersion"] = str(self.revision)
        taken = self._object = {**obj}
        taken["metadata"] = metadata
        self.settled = True

    def copy(self) -> dict[str, Any]:
        """The same, to be changed."""
        data = self.data
        begin = data.find(b"\t")
        if begin >= 0:
            data = data[: begin - len(_OWNERS)] + data[data.rindex(b"\t") + 3 :]
        decoded: dict[str, Any] = orjson.loads(data)
        return decoded

    @property
    def owners(self) -> list[dict[str, Any]]:
        """The entries of managedFields, read-only."""
        pieces = self.data.split(b"\t")[1:-1]
        return [_decode_entry(piece[:-1] if piece.endswith(b",") else piece) for piece in pieces]

    @property
    def full(self) -> dict[str, Any]:
        """The object with everything, read-only."""
        return _owned(self.object, self.owners)

    @property
    def printable(self) -> dict[str, Any]:
        """As `full`, to be written with orjson and not looked into: managedFields stays the bytes that it is."""
        data, obj = self.data, self.object
        begin = data.find(b"\t")
        if begin < 0:
            return obj
        owners = orjson.Fragment(data[begin - 1 : data.rindex(b"\t") + 2])
        return {**obj, "metadata": {**obj["metadata"], "managedFields": owners}}

    def states(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The object with everything, read-only, and once more to be changed: only managedFields is shared."""
        owners = self.owners
        return _owned(self.object, owners), _owned(self.copy(), owners)

    def become(self, obj: dict[str, Any]) -> bytes:
        """The bytes of another form of this object; what it says of its owners, or else the same owners."""
        if "managedFields" not in obj["metadata"]:
            obj = _owned(obj, self.owners)
        stored = encode_stored(obj)
        return with_version(stored, self.revision) if self.revision else stored

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.object["metadata"].get("labels") or {}
        return labels

    def at(self, revision: int) -> Record:
        """The same state under another resourceVersion."""
        same = Record(self.key, self.namespace, self.name, revision, at_version(self.data, revision))
        if self.readings:
            same.readings = {
                version: (reading, made.at(revision) if made is not None else None)
                for version, (reading, made) in self.readings.items()
            }
        return same
