"""Applying what others own: 409 with one cause a field, in upstream's words (apimachinery `managedfields`, conflict.go)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tiphys.machinery.apply.fieldset import FieldPath, FieldSet, from_paths, has, path_text, paths
from tiphys.machinery.apply.managers import UPDATE, Identity, Ownership
from tiphys.machinery.errors import StatusError, apply_conflict
from tiphys.machinery.quoting import quote


class Conflict(NamedTuple):
    owner: Identity
    path: FieldPath


class ConflictsError(Exception):
    """Others own what somebody applies another value of."""

    def __init__(self, conflicts: list[Conflict]) -> None:
        super().__init__(_message(conflicts))
        self.conflicts = conflicts

    @classmethod
    def of(cls, found: Iterable[tuple[Ownership, FieldSet]]) -> ConflictsError:
        """From the owners and the fields of each that are fought for."""
        by_owner = sorted((owner.identity, fields) for owner, fields in found)
        return cls([Conflict(owner, path) for owner, fields in by_owner for path in paths(fields)])

    def fields(self) -> FieldSet:
        return from_paths([conflict.path for conflict in self.conflicts])

    def without(self, allowed: FieldSet) -> ConflictsError:
        return ConflictsError([each for each in self.conflicts if not has(allowed, each.path)])

    def status(self) -> StatusError:
        causes = [
            {
                "reason": "FieldManagerConflict",
                "message": f"conflict with {_owner_text(owner)}",
                "field": path_text(path),
            }
            for owner, path in self.conflicts
        ]
        return apply_conflict(causes, str(self))


def _message(conflicts: list[Conflict]) -> str:
    if len(conflicts) == 1:
        owner, path = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {_owner_text(owner)}: {path_text(path)}"
    lines = []
    for owner in sorted({conflict.owner for conflict in conflicts}):
        lines.append(f"conflicts with {_owner_text(owner)}:")
        lines += [f"- {path_text(each.path)}" for each in conflicts if each.owner == owner]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)


def _owner_text(owner: Identity) -> str:
    text = quote(owner.manager)
    if owner.subresource:
        text = f"{text} with subresource {quote(owner.subresource)}"
    return f"{text} using {owner.api_version}" if owner.operation == UPDATE else text
