"""Stored objects as the watch cache holds them: canonical bytes, decoded only when somebody must look inside.

The store keeps `{"kind":…,"apiVersion":…,"metadata":{…},…}` without a resourceVersion (it cannot be known before the write).
A Record holds the bytes as they are sent, with the resourceVersion put in as the first field of metadata. So GET returns
the bytes, LIST joins them, and WATCH frames them, without decoding.
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.machinery import errors

_METADATA = b'"metadata":{'
_VERSION = b'"resourceVersion":"'
_ROOM = 50
"""orjson writes at most 254 levels. So many are left for what stands around an object (lists, tables, events), and for
readers in Python, which need several stack frames a level."""


def encode_stored(obj: dict[str, Any]) -> bytes:
    """The canonical bytes of an object: kind, apiVersion and metadata first, no resourceVersion. `obj` is left as it was.

    Raises 400 for one that is nested too deeply.
    """
    metadata = obj["metadata"]
    if "resourceVersion" in metadata:
        metadata = {name: value for name, value in metadata.items() if name != "resourceVersion"}
    ordered = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": metadata}
    for name, value in obj.items():
        if name not in ordered:
            ordered[name] = value
    in_lists: Any = ordered
    for _ in range(_ROOM):
        in_lists = [in_lists]
    try:
        return orjson.dumps(in_lists)[_ROOM:-_ROOM]
    except TypeError:
        raise errors.bad_request("json: exceeded max depth") from None


def with_version(stored: bytes, revision: int) -> bytes:
    """Stored bytes as they are sent: with `metadata.resourceVersion`."""
    at = stored.index(_METADATA) + len(_METADATA)
    return b'%b"resourceVersion":"%d",%b' % (stored[:at], revision, stored[at:])


def at_version(sent: bytes, revision: int) -> bytes:
    """Sent bytes with another resourceVersion: the last state of an object in the event of its deletion."""
    start = sent.index(_VERSION) + len(_VERSION)
    end = sent.index(b'"', start)
    return b"%b%d%b" % (sent[:start], revision, sent[end:])


class Record:
    """One object at one revision. Immutable; `object` is shared: copy before change."""

    __slots__ = ("_object", "data", "key", "name", "namespace", "revision")

    def __init__(self, key: str, namespace: str, name: str, revision: int, data: bytes) -> None:
        self.key = key
        self.namespace = namespace
        self.name = name
        self.revision = revision
        self.data = data
        self._object: dict[str, Any] | None = None

    @property
    def object(self) -> dict[str, Any]:
        """The decoded object, read-only, with resourceVersion."""
        if self._object is None:
            self._object = orjson.loads(self.data)
        decoded: dict[str, Any] = self._object
        return decoded

    def copy(self) -> dict[str, Any]:
        """A decoded object of the caller's own."""
        copied: dict[str, Any] = orjson.loads(self.data)
        return copied

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.object["metadata"].get("labels") or {}
        return labels

    def at(self, revision: int) -> Record:
        """The same state under another resourceVersion."""
        return Record(self.key, self.namespace, self.name, revision, at_version(self.data, revision))
