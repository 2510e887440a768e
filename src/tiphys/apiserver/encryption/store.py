"""A Store of encrypted values around the one that keeps them: everybody above sees objects, everything below sees ciphertext.

Which transformer a key has is looked up once a resource. Values of resources without one go through untouched, but an encrypted
value is never taken for an object.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Mapping, Sequence

from tiphys.apiserver.cache import prefix_of
from tiphys.apiserver.encryption.configuration import ANY, GroupResource
from tiphys.apiserver.encryption.transformers import Identity, Transformer, TransformError, Unavailable
from tiphys.apiserver.unreadable import Unreadable
from tiphys.machinery import errors
from tiphys.store.interface import Change, Entry, Listing, Store

IDENTITY = Identity()
_CORE_PATHS = {
    "replicationcontrollers": "controllers",
    "endpoints": "services/endpoints",
    "services": "services/specs",
    "nodes": "minions",
}
"""Where upstream keeps in etcd what is not kept under its own name."""
_OTHER_PATHS = {
    ("apiextensions.k8s.io", "customresourcedefinitions"): "apiextensions.k8s.io/customresourcedefinitions",
    ("apiregistration.k8s.io", "apiservices"): "apiregistration.k8s.io/apiservices",
    ("networking.k8s.io", "ingresses"): "ingress",
}


def etcd_path(key: str, *, custom: bool) -> bytes:
    """The path of an object in upstream's etcd. `custom`: of a custom resource, which are kept by their groups."""
    group, resource, rest = key.removeprefix("/registry/").split("/", 2)
    if group == "core":
        return f"/registry/{_CORE_PATHS.get(resource, resource)}/{rest}".encode()
    known = _OTHER_PATHS.get((group, resource), f"{group}/{resource}" if custom else resource)
    return f"/registry/{known}/{rest}".encode()


class EncryptedStore:
    """A `Store`. `use` exchanges the transformers while it is in use."""

    def __init__(self, store: Store, custom: Callable[[str], bool]) -> None:
        """`custom`: whether a group is of custom resources."""
        self._store, self._custom = store, custom
        self._transformers: Mapping[GroupResource, Transformer] = {}
        self._of_prefix: dict[str, Transformer | None] = {}

    def use(self, transformers: Mapping[GroupResource, Transformer]) -> None:
        self._transformers = transformers
        self._of_prefix = {}

    def is_stale(self, key: str) -> bool:
        """Whether what is stored under a key would be stored differently today."""
        transformer = self._transformer(key)
        entry = self._store.get(key) if transformer is not None else None
        if transformer is None or entry is None:
            return False
        try:
            return transformer.decrypt(entry.value, self._path(key))[1]
        except TransformError:
            return False

    def _transformer(self, key: str) -> Transformer | None:
        """None: of a key that no entry is about."""
        if key.count("/") < 4:
            return None
        prefix = prefix_of(key)
        if prefix not in self._of_prefix:
            _, _, group, resource, _ = prefix.split("/")
            group = "" if group == "core" else group
            known = self._transformers
            found = known.get((group, resource)) or known.get((group, "*")) or known.get(ANY)
            self._of_prefix[prefix] = found
        return self._of_prefix[prefix]

    def _path(self, key: str) -> bytes:
        return etcd_path(key, custom=self._custom(key.split("/", 3)[2]))

    def _plain(self, key: str, value: bytes) -> bytes:
        transformer = self._transformer(key)
        if transformer is None:
            if value[:1] == b"{":
                return value
            transformer = IDENTITY
        path = self._path(key)
        try:
            return transformer.decrypt(value, path)[0]
        except TransformError as error:
            answer = errors.internal_error(f'unable to transform key "{path.decode()}": {error}')
            # Of a plugin that is away, each object would have to be waited for.
            raise (answer if isinstance(error, Unavailable) else Unreadable(answer, key)) from None

    def _entry(self, entry: Entry) -> Entry:
        value = self._plain(entry.key, entry.value)
        return entry if value is entry.value else Entry(entry.key, value, entry.revision)

    def _change(self, change: Change) -> Change:
        if self._transformer(change.key) is None:
            return change
        return change.transformed(lambda value: self._plain(change.key, value))

    # Store

    @property
    def revision(self) -> int:
        return self._store.revision

    @property
    def compact_revision(self) -> int:
        return self._store.compact_revision

    def get(self, key: str) -> Entry | None:
        entry = self._store.get(key)
        return entry and self._entry(entry)

    def list(self, prefix: str, *, revision: int = 0, start_after: str = "", limit: int = 0) -> Listing:
        found = self._store.list(prefix, revision=revision, start_after=start_after, limit=limit)
        return Listing([self._entry(entry) for entry in found.entries], found.revision, found.remaining)

    def write(self, key: str, value: bytes | None, *, expected: int | None = None) -> Future[int]:
        transformer = self._transformer(key) if value is not None else None
        if transformer is not None and value is not None:
            try:
                value = transformer.encrypt(value, self._path(key))
            except TransformError as error:
                raise errors.internal_error(str(error)) from None
        return self._store.write(key, value, expected=expected)

    def changes(self, after: int, *, limit: int = 0) -> Sequence[Change]:
        return [self._change(change) for change in self._store.changes(after, limit=limit)]

    def subscribe(self, callback: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        return self._store.subscribe(lambda changes: callback([self._change(each) for each in changes]))

    async def compact(self, revision: int) -> None:
        await self._store.compact(revision)

    def size_bytes(self) -> int:
        return self._store.size_bytes()

    async def close(self) -> None:
        await self._store.close()
