"""How stored custom resources are read: pruned and defaulted by the schema of the version they lie in, then brought to another.

The order is upstream's (apiextensions `customresource_handler.go`, the codec of the storage): prune and default in the version
found, convert, prune in the version wanted. Nothing is defaulted after a conversion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

import orjson

from tiphys.api.resource import Object, Unconverted
from tiphys.apiserver.customresources.rows import VersionSchema
from tiphys.machinery.errors import StatusError
from tiphys.machinery.schema import DecodeError

_REMEMBERED = 64


class Converter(Protocol):
    """Brings objects of one kind from version to version, by asking somebody."""

    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        """All in one question, none of them of that version already. Raises StatusError."""


class VersionReading:
    """The `Reading` of one version. Without a converter only apiVersion changes from version to version (strategy None)."""

    def __init__(
        self,
        schemas: Mapping[str, VersionSchema],
        api_version: str,
        stored_api_version: str,
        converter: Converter | None,
    ) -> None:
        self._schemas = schemas
        self._api_version = api_version
        self._stored_api_version = stored_api_version
        self._converter = converter
        self._converted: dict[tuple[bytes, str], Object] = {}
        """What `in_version` was asked for lately."""

    def read(self, obj: Object) -> Object | None:
        if obj["apiVersion"] == self._api_version:
            return self._settle(obj)
        if self._converter is not None:
            return None
        return self._prune({**self._settle(obj), "apiVersion": self._api_version})

    async def convert(self, objects: Sequence[Object]) -> list[Object]:
        assert self._converter is not None
        settled = [self._settle(obj) for obj in objects]
        return [self._prune(obj) for obj in await self._converter.convert(settled, self._api_version)]

    async def write(self, obj: Object) -> Object:
        if self._stored_api_version == self._api_version:
            return obj
        if self._converter is not None:
            converted = (await self._converter.convert([obj], self._stored_api_version))[0]
        else:
            converted = {**obj, "apiVersion": self._stored_api_version}
        return self._prune(converted)

    def in_version(self, obj: Object, api_version: str) -> Object:
        if obj["apiVersion"] == api_version:
            return obj
        if self._converter is None:
            return {**obj, "apiVersion": api_version}
        key = (orjson.dumps(obj), api_version)
        found = self._converted.get(key)
        if found is None:
            raise Unconverted(partial(self._resolve, obj, key))
        return found

    async def _resolve(self, obj: Object, key: tuple[bytes, str]) -> None:
        assert self._converter is not None
        self._converted[key] = (await self._converter.convert([obj], key[1]))[0]
        while len(self._converted) > _REMEMBERED:
            del self._converted[next(iter(self._converted))]

    def _settle(self, obj: Object) -> Object:
        """An object with the fields that its own version has today, and their defaults."""
        schema = self._schemas.get(_version(obj))
        return obj if schema is None else schema.from_store(obj)

    def _prune(self, obj: Object) -> Object:
        schema = self._schemas.get(_version(obj))
        if schema is None:
            return obj  # a version that is gone from the definition: upstream knows nothing of it either
        try:
            return schema.check(obj).object
        except DecodeError as error:
            raise StatusError(500, "", str(error)) from None


def _version(obj: Object) -> str:
    version: str = obj["apiVersion"]
    return version.rpartition("/")[2]
