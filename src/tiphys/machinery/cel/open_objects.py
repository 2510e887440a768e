"""Objects that expressions make without knowing their fields: `Object{spec: Object.spec{replicas: 3}}`.

Any name below a root is a type, and a type has any field (apiserver `pkg/cel/mutation`). What is made is a dict that remembers
the name it was made by; whether the names fit the places where they stand can only be seen then (`misplaced`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tiphys.machinery.cel.types import DYN, OBJECT, Field, Type
from tiphys.machinery.quoting import quote


class OpenObject(dict[str, Any]):
    """A value of an open type; each type has a class of its own."""

    type_name = ""


class _AnyField(Mapping[str, Field]):
    def __getitem__(self, name: str) -> Field:
        return Field(name, DYN)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


_ANY_FIELD = _AnyField()


class OpenTypes(Mapping[str, Type]):
    """The types below `root`, made when they are named, over others that are known."""

    def __init__(self, root: str, known: Mapping[str, Type]) -> None:
        self._root = root
        self._known = dict(known)

    def __getitem__(self, name: str) -> Type:
        found = self._known.get(name)
        if found is not None:
            return found
        if name != self._root and not name.startswith(f"{self._root}."):
            raise KeyError(name)
        made = type(name, (OpenObject,), {"type_name": name, "__slots__": ()})
        found = self._known[name] = Type(OBJECT, name, fields=_ANY_FIELD, python=(made,))
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def misplaced(value: Any, path: str) -> list[str]:
    """What is wrong with the names of open objects: each must be that of the path to its place, lists and maps not counting."""
    found: list[str] = []
    if isinstance(value, OpenObject):
        if value.type_name != path:
            found.append(
                f"unexpected type name {quote(value.type_name)}, expected {quote(path)}, "
                "which matches field name path from root Object type"
            )
        for name, each in value.items():
            found += misplaced(each, f"{path}.{name}")
    elif isinstance(value, dict):
        for each in value.values():
            found += misplaced(each, path)
    elif isinstance(value, list | tuple):
        for each in value:
            found += misplaced(each, path)
    return found
