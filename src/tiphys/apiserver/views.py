"""How records of one kind are shown to a client: as themselves, in another version, as a Table, or as metadata only.

A view turns records into bytes. Views of the stored version in JSON hand out the record's own bytes; the others decode. Two
requests with equal views share what was made of an event (`key` says which are equal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

import orjson

from tiphys.api.resource import Resource
from tiphys.apiserver.records import Record
from tiphys.apiserver.tables import Ages, TablePrinter
from tiphys.machinery import yaml
from tiphys.machinery.frozen import frozen
from tiphys.machinery.protobuf import list_envelope, list_item, watch_frame
from tiphys.net.exchange import SLICE_BYTES

Object = dict[str, Any]
AT_ONCE, DECODED_AT_ONCE = 16, 8
"""Records of a list whose bytes are put together before it is asked whether others should have their turn; fewer when each must be
decoded and made anew."""

PART_BYTES, MOST_AT_ONCE = SLICE_BYTES * 15 // 16, 64


@frozen
class ListMeta:
    """What a list says of itself; `remaining` is only told when the list was not selected and goes on. `revision` 0: none, for
    what is not stored."""

    revision: int
    continue_token: str = ""
    remaining: int | None = None

    def to_dict(self) -> Object:
        meta: Object = {"resourceVersion": str(self.revision)} if self.revision else {}
        if self.continue_token:
            meta["continue"] = self.continue_token
        if self.remaining:
            meta["remainingItemCount"] = self.remaining
        return meta


class View(Protocol):
    key: Any
    content_type: str
    is_ready: bool
    """Its parts are ready-made bytes, or as good as: nothing can go wrong on the way, so that they may be sent as they are made."""

    def one(self, record: Record) -> bytes: ...

    def parts(self, records: Sequence[Record], meta: ListMeta) -> Iterator[bytes]:
        """A whole list, made of a few records at a time."""

    def event(self, kind: str, record: Record, *, first: bool) -> bytes: ...

    def bookmark(self, mark: Object) -> bytes: ...

    def error(self, status: Object) -> bytes: ...


def many(view: View, records: Sequence[Record], meta: ListMeta) -> bytes | Sequence[bytes]:
    """A whole list; in pieces when it is large, for large joins cost more than many small writes."""
    return joined(list(view.parts(records, meta)))


def joined(pieces: list[bytes]) -> bytes | Sequence[bytes]:
    """What is small enough for one write as one."""
    return b"".join(pieces) if sum(map(len, pieces)) <= SLICE_BYTES else pieces


def next_step(step: int, size_bytes: int) -> int:
    """How many records come next when `step` of them were so large: what goes out in one slice need not be cut or joined again."""
    return max(1, min(step * PART_BYTES // size_bytes, MOST_AT_ONCE))


class _JSONEvents:
    """Events that carry no object of the watched kind, as JSON lines."""

    def bookmark(self, mark: Object) -> bytes:
        return orjson.dumps({"type": "BOOKMARK", "object": mark}, option=orjson.OPT_APPEND_NEWLINE)

    def error(self, status: Object) -> bytes:
        return orjson.dumps({"type": "ERROR", "object": status}, option=orjson.OPT_APPEND_NEWLINE)


class JSONView(_JSONEvents):
    """Objects of the stored version: no decoding at all."""

    content_type = "application/json"

    def __init__(self, row: Resource) -> None:
        self.row = row
        self.key: Any = "json"
        self.is_ready = type(self) is JSONView

    def one(self, record: Record) -> bytes:
        return record.data

    def parts(self, records: Sequence[Record], meta: ListMeta) -> Iterator[bytes]:
        return self._parts(self.row.list_kind, self.row.api_version, records, meta)

    def _parts(
        self, kind: str, api_version: str, records: Sequence[Record], meta: ListMeta
    ) -> Iterator[bytes]:
        head = orjson.dumps({"kind": kind, "apiVersion": api_version, "metadata": meta.to_dict()})
        yield head[:-1] + b',"items":['
        plain, first = self.is_ready, 0
        step = AT_ONCE if plain else DECODED_AT_ONCE
        while first < len(records):
            part = b",".join([self.one(record) for record in records[first : first + step]])
            yield b"," + part if first else part
            first += step
            if plain:
                step = next_step(step, len(part))
        yield b"]}\n"

    def event(self, kind: str, record: Record, *, first: bool) -> bytes:
        return b'{"type":"%b","object":%b}\n' % (kind.encode(), self.one(record))


class ConvertedView(JSONView):
    """Objects of a version that is not the stored one, or changed in any other way before they are sent."""

    def __init__(self, row: Resource, convert: Callable[[Object], Object], key: Any) -> None:
        super().__init__(row)
        self._convert = convert
        self.key = key

    def one(self, record: Record) -> bytes:
        return orjson.dumps(self._convert(record.full))


class MetadataView(JSONView):
    """PartialObjectMetadata: what caches of metadata (garbage collectors, `kubectl get` without columns) read."""

    def __init__(self, row: Resource, version: str) -> None:
        super().__init__(row)
        self._api_version = f"meta.k8s.io/{version}"
        self._head = (
            orjson.dumps({"kind": "PartialObjectMetadata", "apiVersion": self._api_version})[:-1]
            + b',"metadata":'
        )
        self.key = ("metadata", version)
        self.is_ready = True

    def one(self, record: Record) -> bytes:
        return b"%b%b}" % (self._head, record.metadata)

    def bookmark(self, mark: Object) -> bytes:
        return super().bookmark(self.mark(mark))

    def mark(self, mark: Object) -> Object:
        return {**mark, "kind": "PartialObjectMetadata", "apiVersion": self._api_version}

    def parts(self, records: Sequence[Record], meta: ListMeta) -> Iterator[bytes]:
        return self._parts("PartialObjectMetadataList", self._api_version, records, meta)


class TableView(_JSONEvents):
    """A Table: columns and cells, and of each object as much as `includeObject` asks for."""

    content_type = "application/json"

    def __init__(
        self,
        printer: TablePrinter,
        now: Callable[[], datetime],
        convert: Callable[[Object], Object] | None = None,
    ) -> None:
        """`convert`: the table is of a version that is not the stored one."""
        self._printer = printer
        self._convert = convert
        self._now = now
        self.key = ("table", printer.include, printer.version)
        self.is_ready = convert is None

    def _rows(self, records: Sequence[Record], ages: Ages) -> bytes:
        """With a comma behind each."""
        convert, printer = self._convert, self._printer
        if convert is None:
            return b"".join(printer.rows(records, ages))
        return b"".join([b"%b," % printer.row(convert(record.full), ages.now) for record in records])

    def one(self, record: Record, *, headers: bool = True) -> bytes:
        head, tail = self._printer.frame({"resourceVersion": str(record.revision)}, headers=headers)
        return head + self._rows([record], Ages(self._now()))[:-1] + tail

    def parts(self, records: Sequence[Record], meta: ListMeta) -> Iterator[bytes]:
        """All of it as of one moment."""
        head, tail = self._printer.frame(meta.to_dict())
        yield head
        ages = Ages(self._now())
        first, step = 0, AT_ONCE
        while first < len(records):
            part = self._rows(records[first : first + step], ages)
            first += step
            yield part if first < len(records) else part[:-1]
            step = next_step(step, len(part))
        yield tail

    def bookmark(self, mark: Object) -> bytes:
        """A Table as well: its one row is that of an empty object."""
        meta = {"resourceVersion": mark["metadata"]["resourceVersion"]}
        head, tail = self._printer.frame(meta, headers=False)
        return b'{"type":"BOOKMARK","object":%b}\n' % (head + self._printer.row(mark, self._now()) + tail)

    def event(self, kind: str, record: Record, *, first: bool) -> bytes:
        return b'{"type":"%b","object":%b}\n' % (kind.encode(), self.one(record, headers=first))


class YAMLView(_JSONEvents):
    """YAML of another view. Rare: kubectl makes its YAML itself."""

    content_type = "application/yaml"
    is_ready = False

    def __init__(self, inner: View) -> None:
        self._inner = inner
        self.key = ("yaml", inner.key)

    def one(self, record: Record) -> bytes:
        return yaml.dump(orjson.loads(self._inner.one(record)))

    def parts(self, records: Sequence[Record], meta: ListMeta) -> Iterator[bytes]:
        yield yaml.dump(orjson.loads(b"".join(self._inner.parts(records, meta))))

    def event(self, kind: str, record: Record, *, first: bool) -> bytes:
        return b"---\n" + yaml.dump(orjson.loads(self._inner.event(kind, record, first=first)))


class ProtobufView:
    """Protobuf, for clients that accept nothing else; `encode(kind, api_version, object)` knows the types."""

    content_type = "application/vnd.kubernetes.protobuf"
    is_ready = False

    def __init__(self, inner: View, encode: Callable[[Object], bytes]) -> None:
        self._inner = inner
        self._encode = encode
        self.key = ("protobuf", inner.key)

    def one(self, record: Record) -> bytes:
        return self._encode(orjson.loads(self._inner.one(record)))

    def parts(self, records: Sequence[Record], meta: ListMeta) -> Iterator[bytes]:
        inner = self._inner
        if not isinstance(inner, JSONView):
            yield self._encode(orjson.loads(b"".join(inner.parts(records, meta))))
            return
        items: list[bytes] = []
        for record in records:
            items.append(list_item(self.one(record)))
            if len(items) % DECODED_AT_ONCE == 0:
                yield b""  # the length of the whole comes first: nothing can be sent yet
        head, tail = list_envelope(self._encode(orjson.loads(b"".join(inner.parts((), meta)))), items)
        yield head
        for first in range(0, len(items), AT_ONCE):
            yield b"".join(items[first : first + AT_ONCE])
        yield tail

    def event(self, kind: str, record: Record, *, first: bool) -> bytes:
        return watch_frame(kind, self.one(record))

    def bookmark(self, mark: Object) -> bytes:
        inner = self._inner
        return watch_frame(
            "BOOKMARK", self._encode(inner.mark(mark) if isinstance(inner, MetadataView) else mark)
        )

    def error(self, status: Object) -> bytes:
        return watch_frame("ERROR", self._encode(status))
