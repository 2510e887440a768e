"""How records of one kind are shown to a client: as themselves, in another version, as a Table, or as metadata only.

A view turns records into bytes. Views of the stored version in JSON hand out the record's own bytes; the others decode. Two
requests with equal views share what was made of an event (`key` says which are equal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import orjson

from tiphys.api.resource import Resource
from tiphys.apiserver.records import Record
from tiphys.apiserver.tables import TablePrinter
from tiphys.machinery import yaml
from tiphys.machinery.protobuf import watch_frame

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ListMeta:
    """What a list says of itself; `remaining` is only told when the list was not selected and goes on."""

    revision: int
    continue_token: str = ""
    remaining: int | None = None

    def to_dict(self) -> Object:
        meta: Object = {"resourceVersion": str(self.revision)}
        if self.continue_token:
            meta["continue"] = self.continue_token
        if self.remaining:
            meta["remainingItemCount"] = self.remaining
        return meta


class View(Protocol):
    key: Any
    content_type: str

    def one(self, record: Record) -> bytes: ...

    def many(self, records: Sequence[Record], meta: ListMeta) -> bytes | Sequence[bytes]: ...

    def event(self, kind: str, record: Record, *, first: bool) -> bytes: ...

    def bookmark(self, mark: Object) -> bytes: ...

    def error(self, status: Object) -> bytes: ...


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

    def one(self, record: Record) -> bytes:
        return record.data

    def many(self, records: Sequence[Record], meta: ListMeta) -> bytes | Sequence[bytes]:
        return list_pieces(
            self.row.list_kind, self.row.api_version, meta, [self.one(record) for record in records]
        )

    def event(self, kind: str, record: Record, *, first: bool) -> bytes:
        return b'{"type":"%b","object":%b}\n' % (kind.encode(), self.one(record))


def list_pieces(kind: str, api_version: str, meta: ListMeta, items: list[bytes]) -> list[bytes]:
    """A list as pieces of bytes that are never joined here: large joins cost more than many small writes."""
    head = orjson.dumps({"kind": kind, "apiVersion": api_version, "metadata": meta.to_dict()})
    pieces = [head[:-1] + b',"items":[']
    for first in range(0, len(items), 64):
        pieces.append(b",".join(items[first : first + 64]))
        pieces.append(b",")
    pieces[-1] = b"]}\n" if items else pieces[-1] + b"]}\n"
    return pieces


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
        self.key = ("metadata", version)

    def one(self, record: Record) -> bytes:
        return orjson.dumps(self.object(record))

    def object(self, record: Record) -> Object:
        metadata = record.full["metadata"]
        return {"kind": "PartialObjectMetadata", "apiVersion": self._api_version, "metadata": metadata}

    def bookmark(self, mark: Object) -> bytes:
        return super().bookmark(self.mark(mark))

    def mark(self, mark: Object) -> Object:
        return {**mark, "kind": "PartialObjectMetadata", "apiVersion": self._api_version}

    def many(self, records: Sequence[Record], meta: ListMeta) -> Sequence[bytes]:
        items = [self.one(record) for record in records]
        return list_pieces("PartialObjectMetadataList", self._api_version, meta, items)


class TableView(_JSONEvents):
    """A Table: columns and cells, and of each object as much as `includeObject` asks for."""

    content_type = "application/json"

    def __init__(
        self, printer: TablePrinter, convert: Callable[[Record], Object], now: Callable[[], datetime]
    ) -> None:
        self._printer = printer
        self._convert = convert
        self._now = now
        self.key = ("table", printer.include, printer.version)

    def _table(self, records: Iterable[Record], meta: Object, *, headers: bool = True) -> Object:
        now = self._now()
        return self._printer.table([self._convert(record) for record in records], meta, now, headers=headers)

    def one(self, record: Record) -> bytes:
        return orjson.dumps(self._table([record], {"resourceVersion": str(record.revision)}))

    def many(self, records: Sequence[Record], meta: ListMeta) -> bytes:
        return orjson.dumps(self._table(records, meta.to_dict()))

    def bookmark(self, mark: Object) -> bytes:
        """A Table as well: its one row is that of an empty object."""
        table = self._printer.table(
            [mark], {"resourceVersion": mark["metadata"]["resourceVersion"]}, self._now(), headers=False
        )
        return super().bookmark(table)

    def event(self, kind: str, record: Record, *, first: bool) -> bytes:
        table = self._table([record], {"resourceVersion": str(record.revision)}, headers=first)
        return orjson.dumps({"type": kind, "object": table}, option=orjson.OPT_APPEND_NEWLINE)


class YAMLView(_JSONEvents):
    """YAML of another view. Rare: kubectl makes its YAML itself."""

    content_type = "application/yaml"

    def __init__(self, inner: View) -> None:
        self._inner = inner
        self.key = ("yaml", inner.key)

    def one(self, record: Record) -> bytes:
        return yaml.dump(orjson.loads(self._inner.one(record)))

    def many(self, records: Sequence[Record], meta: ListMeta) -> bytes:
        whole = self._inner.many(records, meta)
        return yaml.dump(orjson.loads(whole if isinstance(whole, bytes) else b"".join(whole)))

    def event(self, kind: str, record: Record, *, first: bool) -> bytes:
        return b"---\n" + yaml.dump(orjson.loads(self._inner.event(kind, record, first=first)))


class ProtobufView:
    """Protobuf, for clients that accept nothing else; `encode(kind, api_version, object)` knows the types."""

    content_type = "application/vnd.kubernetes.protobuf"

    def __init__(self, inner: View, encode: Callable[[Object], bytes]) -> None:
        self._inner = inner
        self._encode = encode
        self.key = ("protobuf", inner.key)

    def one(self, record: Record) -> bytes:
        return self._encode(orjson.loads(self._inner.one(record)))

    def many(self, records: Sequence[Record], meta: ListMeta) -> bytes:
        whole = self._inner.many(records, meta)
        return self._encode(orjson.loads(whole if isinstance(whole, bytes) else b"".join(whole)))

    def event(self, kind: str, record: Record, *, first: bool) -> bytes:
        return watch_frame(kind, self.one(record))

    def bookmark(self, mark: Object) -> bytes:
        inner = self._inner
        return watch_frame(
            "BOOKMARK", self._encode(inner.mark(mark) if isinstance(inner, MetadataView) else mark)
        )

    def error(self, status: Object) -> bytes:
        return watch_frame("ERROR", self._encode(status))
