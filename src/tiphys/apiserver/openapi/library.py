"""All OpenAPI documents of a server, kept group version by group version, made when somebody first asks for them.

v3 has a document for each group version; its hash is known before it is made, so that none must be made for the index. v2 is
one document of everything: it is put together from encoded pieces, of which only those that are new are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Protocol

import orjson

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme
from tiphys.apiserver.documents import Document
from tiphys.apiserver.openapi import protobuf, v2, v3
from tiphys.apiserver.openapi.contents import FIXED
from tiphys.apiserver.openapi.fingerprints import fingerprint
from tiphys.apiserver.version import GIT_VERSION
from tiphys.machinery.gvk import GroupVersion


class EncodedPiece:
    """What some group versions bring to v2."""

    def __init__(self, piece: v2.Piece) -> None:
        self.paths = orjson.dumps(piece.paths)[1:-1]
        self.definitions = {name: orjson.dumps(each) for name, each in piece.definitions.items()}
        self.parameters = {name: orjson.dumps(each) for name, each in piece.parameters.items()}

    @cached_property
    def protobuf(self) -> bytes:
        """The piece as a part of a document in protobuf; made when somebody asks for that."""
        return protobuf.encode(orjson.loads(b"{%b}" % b",".join(_sections([self]))))


class Others(Protocol):
    """The documents of other servers. `revision` rises whenever one of them may have changed."""

    @property
    def revision(self) -> int: ...

    def index(self) -> Mapping[str, str]:
        """v3 documents: name → the URL, relative to this server, at which one is to be had."""

    def made_here(self, name: str) -> Document | None:
        """A v3 document of a server that has none itself."""

    def pieces(self, own: EncodedPiece) -> Iterable[EncodedPiece]:
        """What they bring to v2, beside what this server has of its own."""


class _Volume:
    """One document of v3, and the piece of v2 when it is of custom resources."""

    def __init__(self, scheme: Scheme, name: str, version: GroupVersion, rows: tuple[Resource, ...]) -> None:
        self._scheme = scheme
        self.name = name
        self.version = version
        self.rows = rows

    @cached_property
    def etag(self) -> str:
        return fingerprint(self.name, self.rows)

    @property
    def url(self) -> str:
        return f"/openapi/v3/{self.name}?hash={self.etag}"

    @cached_property
    def document(self) -> Document:
        made = v3.document(self._scheme, self.name, version=GIT_VERSION, rows=self.rows)
        return Document(orjson.dumps(made), etag=self.etag)

    @property
    def has_piece(self) -> bool:
        return "piece" in self.__dict__

    @cached_property
    def piece(self) -> EncodedPiece:
        return EncodedPiece(v2.custom_piece(self._scheme, self.version, self.rows))


class Library:
    """Reads are synchronous; whatever has changed since the last one is made when it is asked for."""

    def __init__(self, scheme: Scheme, others: Others) -> None:
        self._scheme = scheme
        self._others = others
        self._seen = (-1, -1)
        self._volumes: dict[str, _Volume] = {}
        self._built_in: tuple[tuple[Resource, ...], EncodedPiece] | None = None
        self._index: Document | None = None
        self._v2: Document | None = None
        self._v2_protobuf: Document | None = None

    def index(self) -> Document:
        """/openapi/v3."""
        self._refresh()
        if self._index is None:
            urls = {name: volume.url for name, volume in self._volumes.items()} | dict(self._others.index())
            paths = {name: {"serverRelativeURL": urls[name]} for name in sorted(urls)}
            self._index = Document(orjson.dumps({"paths": paths}))
        return self._index

    def v3(self, name: str) -> Document | None:
        """/openapi/v3/{name}; None when this server has none of that name."""
        self._refresh()
        made = self._others.made_here(name)
        if made is not None:
            return made
        volume = self._volumes.get(name)
        return None if volume is None else volume.document

    async def prepare_v2(self) -> None:
        """Makes what v2 needs piece by piece: with hundreds of large definitions that takes a while, in which others are served."""
        self._refresh()
        self._built_in_piece()
        for name in list(self._volumes):
            volume = self._volumes.get(name)
            if volume is not None and _is_custom(volume.rows) and not volume.has_piece:
                _ = volume.piece
                await asyncio.sleep(0)
                self._refresh()  # of a definition that went meanwhile nothing can be made any more

    def v2(self) -> Document:
        """/openapi/v2."""
        self._refresh()
        if self._v2 is None:
            head, tail = orjson.dumps(v2.head(GIT_VERSION))[:-1], orjson.dumps(v2.TAIL)[1:]
            self._v2 = Document(b",".join([head, *_sections(self._pieces()), tail]))
        return self._v2

    def v2_protobuf(self) -> Document:
        """/openapi/v2, in protobuf."""
        self._refresh()
        if self._v2_protobuf is None:
            about = protobuf.encode({**v2.head(GIT_VERSION), **v2.TAIL})
            self._v2_protobuf = Document(b"".join([about, *(piece.protobuf for piece in self._pieces())]))
        return self._v2_protobuf

    def _pieces(self) -> list[EncodedPiece]:
        own = self._built_in_piece()
        custom = (volume.piece for volume in self._volumes.values() if _is_custom(volume.rows))
        return [own, *custom, *self._others.pieces(own)]

    def _built_in_piece(self) -> EncodedPiece:
        rows = tuple(row for row in self._scheme if row.schema is None)
        if self._built_in is None or not same_rows(self._built_in[0], rows):
            self._built_in = (rows, EncodedPiece(v2.built_in_piece(self._scheme)))
        return self._built_in[1]

    def _refresh(self) -> None:
        now = (self._scheme.revision, self._others.revision)
        if now == self._seen:
            return
        rows: dict[GroupVersion, list[Resource]] = {}
        for row in self._scheme:
            rows.setdefault(row.group_version, []).append(row)
        volumes = {name: self._volume(name, GroupVersion("", ""), ()) for name in FIXED}
        for version, found in rows.items():
            if version.group:
                group = f"apis/{version.group}"
                volumes[group] = self._volume(group, GroupVersion(version.group, ""), ())
            name = f"apis/{version}" if version.group else f"api/{version}"
            volumes[name] = self._volume(name, version, tuple(found))
        self._seen, self._volumes = now, volumes
        self._index = self._v2 = self._v2_protobuf = None

    def _volume(self, name: str, version: GroupVersion, rows: tuple[Resource, ...]) -> _Volume:
        known = self._volumes.get(name)
        if known is not None and same_rows(known.rows, rows):
            return known
        return _Volume(self._scheme, name, version, rows)


def _sections(pieces: list[EncodedPiece]) -> list[bytes]:
    """The members of the document that pieces make up, encoded."""
    parts = (
        (b'"paths"', (piece.paths for piece in pieces)),
        (b'"definitions"', (_members(piece.definitions) for piece in pieces)),
        (b'"parameters"', (_members(piece.parameters) for piece in pieces)),
    )
    return [b"%b:{%b}" % (name, b",".join(filter(None, contents))) for name, contents in parts]


def _members(encoded: Mapping[str, bytes]) -> bytes:
    return b",".join(b"%b:%b" % (orjson.dumps(name), value) for name, value in encoded.items())


def _is_custom(rows: tuple[Resource, ...]) -> bool:
    return any(row.schema is not None for row in rows)


def same_rows(known: tuple[Resource, ...], found: tuple[Resource, ...]) -> bool:
    """Rows are never changed: what was made of the same ones is still right."""
    return len(known) == len(found) and all(a is b for a, b in zip(known, found, strict=True))
