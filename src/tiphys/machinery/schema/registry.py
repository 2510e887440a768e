"""Finds a type by its name, reading each file and each block when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable

from tiphys.machinery.schema.model import Struct
from tiphys.machinery.schema.text import Block, read_block, split_blocks


class Types:
    """All types that a loader knows. `load("core/v1")` gives the text of that group and version, or None."""

    def __init__(self, load: Callable[[str], str | None]) -> None:
        self._load = load
        self._files: dict[str, dict[str, Block]] = {}
        self._structs: dict[str, Struct] = {}

    def struct(self, name: str) -> Struct:
        """The struct named like "core/v1.Pod". LookupError: there is none; TypesError: its block is malformed."""
        found = self._structs.get(name)
        if found is None:
            group_version, _, short_name = name.rpartition(".")
            block = self._blocks(group_version).get(short_name)
            if block is None:
                raise LookupError(f"there is no type {name}")
            found = self._structs[name] = read_block(block, self.struct)
        return found

    def names(self, group_version: str) -> tuple[str, ...]:
        """The full names of a file's types, in its order."""
        return tuple(f"{group_version}.{name}" for name in self._blocks(group_version))

    def _blocks(self, group_version: str) -> dict[str, Block]:
        blocks = self._files.get(group_version)
        if blocks is None:
            text = self._load(group_version)
            if text is None:
                raise LookupError(f"there are no types of {group_version}")
            blocks = self._files[group_version] = split_blocks(group_version, text)
        return blocks
