"""The hash of a v3 document, known before the document is made: that of everything it is made from.

Clients keep documents by this hash for ever (their disk caches outlive the server), so it must change whenever the document
could: with the rows of its group version, with the types files, and with the code that writes documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import orjson

from tiphys.api import types
from tiphys.api.resource import Resource
from tiphys.apiserver.version import GIT_VERSION
from tiphys.machinery.schema import openapi


def fingerprint(document: str, rows: Iterable[Resource]) -> str:
    """Of a document and the rows of its group version: upper-case hex, as upstream's."""
    digest = hashlib.sha512(_sources())
    digest.update(f"{GIT_VERSION} {document}".encode())
    for row in rows:
        digest.update(_facts(row).encode())
        if row.schema is not None:
            digest.update(orjson.dumps(row.schema.openapi))
    return digest.hexdigest().upper()


def _facts(row: Resource) -> str:
    """Of a row, what operations are made of."""
    parts = [(each.name, each.verbs, each.kind) for each in row.subresources]
    names = (row.gvk, row.plural, row.list_kind, row.namespaced)
    return repr((names, row.verbs, row.returns_deleted, row.type, parts))


@cache
def _sources() -> bytes:
    digest = hashlib.sha512()
    here = [*Path(__file__).parent.glob("*.py"), Path(openapi.__file__)]
    for path in sorted([*here, *Path(types.__file__).parent.glob("*/*.types")]):
        digest.update(path.read_bytes())
    return digest.digest()
