"""One object, and people who apply to it and update it: the form of the scenarios beside this file."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import yaml

from tiphys.api.types import TYPES
from tiphys.machinery.apply import Target, apply, shape_of, update
from tiphys.machinery.apply.fieldset import FieldSet
from tiphys.machinery.apply.shapes import Shape
from tiphys.machinery.apply.structural import shape_of_schema

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
METADATA = shape_of(TYPES.struct("meta/v1.ObjectMeta"))
Object = dict[str, Any]


def built_in(type_: str, api_version: str, **more: Any) -> Target:
    """The target of a built-in kind: `built_in("core/v1.Pod", "v1")`."""
    struct = TYPES.struct(type_)
    return Target(api_version=api_version, kind=struct.short_name, shape=shape_of(struct), **more)


def custom(properties: str | None, api_version: str = "example.com/v1", **more: Any) -> Target:
    """The target of a custom kind whose schema has these properties (YAML); None: without a schema."""
    schema = None if properties is None else {"type": "object", "properties": yaml.safe_load(properties)}
    return Target(api_version=api_version, kind="Thing", shape=custom_shape(schema), **more)


def custom_shape(schema: Any) -> Shape:
    return shape_of_schema(schema, METADATA)


def canonical(obj: Any) -> Any:
    """What a round trip through the store makes of it."""
    return orjson.loads(orjson.dumps(obj))


class Stage:
    """The object as it is stored. Every write comes one second after the one before."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.live: Object | None = None
        self.now = START

    def read(self, body: str | Object, target: Target) -> Object:
        obj = yaml.safe_load(body) if isinstance(body, str) else copy.deepcopy(body)
        obj = {"apiVersion": target.api_version, "kind": target.kind, **(obj or {})}
        obj["metadata"] = {"name": "x", "namespace": "default", **(obj.get("metadata") or {})}
        return obj

    def apply(
        self, manager: str, body: str | Object, *, force: bool = False, target: Target | None = None
    ) -> Object:
        target = target or self.target
        self.now += timedelta(seconds=1)
        before = copy.deepcopy(self.live)
        seen = self.live
        if seen is not None and target.convert is not None and target is not self.target:
            seen = self.seen_in(target.api_version)
        result = apply(target, seen, self.read(body, target), manager, force=force, now=self.now)
        assert self.live == before, "an input was changed in place"
        self._store(result)
        return result

    def update(self, manager: str, body: str | Object, *, target: Target | None = None) -> Object:
        """Puts the whole object; the identity of the live one is filled in."""
        target = target or self.target
        self.now += timedelta(seconds=1)
        before = copy.deepcopy(self.live)
        new = self.read(body, target)
        seen = self.seen_in(target.api_version) if target.convert is not None else self.live
        if seen is not None:
            new["metadata"].setdefault("uid", seen["metadata"]["uid"])
        entries = update(target, seen, new, manager, self.now)
        assert self.live == before, "an input was changed in place"
        new["metadata"].pop("managedFields", None)
        if entries is not None:
            new["metadata"]["managedFields"] = entries
        self._store(new)
        return new

    def seen_in(self, api_version: str) -> Object | None:
        if self.live is None or self.target.convert is None:
            return self.live
        found = self.target.convert(self.live, api_version)
        assert found is not None
        return found[0]

    def _store(self, obj: Object) -> None:
        obj = canonical(obj)
        if obj["apiVersion"] != self.target.api_version:
            assert self.target.convert is not None
            back = self.target.convert(obj, self.target.api_version)
            assert back is not None
            obj = back[0]
        obj["metadata"].setdefault("uid", "6b0e")
        self.live = obj

    # What is there

    @property
    def object(self) -> Object:
        assert self.live is not None
        return self.live

    @property
    def content(self) -> Object:
        """The object without what every object has."""
        return {
            name: value
            for name, value in self.object.items()
            if name not in ("apiVersion", "kind", "metadata")
        }

    @property
    def entries(self) -> list[Object]:
        found: list[Object] = self.object["metadata"].get("managedFields", [])
        return found

    @property
    def owners(self) -> dict[str, FieldSet]:
        """Manager → the fields of its only entry."""
        found = {entry["manager"]: entry["fieldsV1"] for entry in self.entries}
        assert len(found) == len(self.entries)
        return found

    def entry(self, manager: str) -> Object:
        [found] = [entry for entry in self.entries if entry["manager"] == manager]
        return found
