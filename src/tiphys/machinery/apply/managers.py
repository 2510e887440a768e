"""Who owns which fields: `metadata.managedFields`, entry by entry.

An entry is known by manager, operation and subresource; one of an Update by its apiVersion, too. The rules and the names
are upstream's (apimachinery `util/managedfields`, KEP-555).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from tiphys.machinery.apply.fieldset import FieldSet, FieldSetError, parse, union
from tiphys.machinery.fields import FieldError, Path
from tiphys.machinery.frozen import frozen

APPLY = "Apply"
UPDATE = "Update"
BEFORE_FIRST_APPLY = "before-first-apply"
"""Owns what an object had before anybody was tracked, once somebody applies to it."""
ANCIENT_CHANGES = "ancient-changes"
"""Owns what the oldest updaters set, when there are more of them than are kept."""
UPDATER_LIMIT = 10
NAME_LIMIT = 128

Entry = dict[str, Any]
"""A ManagedFieldsEntry."""


class ManagedFieldsError(ValueError):
    """What a client sent as `managedFields` makes no sense; upstream then keeps those of the stored object."""


class Identity(NamedTuple):
    """In the order in which upstream sorts managers."""

    manager: str
    operation: str
    api_version: str
    """Empty for an Apply: whoever applies stays the same applier in every version."""
    subresource: str


@frozen
class Ownership:
    """One entry. `api_version` is the version that the field names belong to."""

    manager: str
    operation: str
    api_version: str
    fields: FieldSet
    time: str = ""
    subresource: str = ""
    entry: Entry | None = None
    """The entry that this was read from; it is written back as it is when nothing changed."""

    @property
    def identity(self) -> Identity:
        version = "" if self.operation == APPLY else self.api_version
        return Identity(self.manager, self.operation, version, self.subresource)

    def owning(self, fields: FieldSet) -> Ownership:
        """The same manager with other fields."""
        if fields is self.fields:
            return self
        return Ownership(self.manager, self.operation, self.api_version, fields, self.time, self.subresource)


# Reading and writing entries


def read_entries(entries: Iterable[Entry] | None) -> list[Ownership]:
    """The entries of a stored object, which were checked before they were stored."""
    return [
        Ownership(
            entry.get("manager", ""),
            entry["operation"],
            entry["apiVersion"],
            entry.get("fieldsV1") or {},
            entry.get("time", ""),
            entry.get("subresource", ""),
            entry,
        )
        for entry in entries or ()
    ]


def parse_entries(entries: Any) -> list[Ownership]:
    """The entries that a client sent, in canonical form. ManagedFieldsError: they make no sense."""
    if not isinstance(entries, list):
        raise ManagedFieldsError("managedFields must be a list")
    found: dict[Identity, Ownership] = {}
    for index, entry in enumerate(entries):
        owner = _parse_entry(index, entry)
        found[owner.identity] = owner
    return list(found.values())


def _parse_entry(index: int, entry: Any) -> Ownership:
    if not isinstance(entry, dict) or entry.get("operation") not in (APPLY, UPDATE):
        raise ManagedFieldsError("operation must be `Apply` or `Update`")
    if not entry.get("apiVersion"):
        raise ManagedFieldsError("apiVersion must not be empty")
    kind = entry.get("fieldsType")
    if not kind:
        raise ManagedFieldsError(f"missing fieldsType in managed fields entry {index}")
    if kind != "FieldsV1":
        raise ManagedFieldsError(f'invalid fieldsType "{kind}" in managed fields entry {index}')
    try:
        fields = parse(entry.get("fieldsV1") or {})
    except FieldSetError as error:
        raise ManagedFieldsError(f"error decoding set: {error}") from None
    return Ownership(
        entry.get("manager") or "",
        entry["operation"],
        entry["apiVersion"],
        fields,
        entry.get("time") or "",
        entry.get("subresource") or "",
    )


def write_entries(owners: Iterable[Ownership]) -> list[Entry]:
    """Entries in upstream's order: appliers before updaters, then by time."""
    kept = [owner for owner in owners if owner.fields]
    if len(kept) > 1:
        kept.sort(
            key=lambda each: (each.operation, each.time, each.manager, each.api_version, each.subresource)
        )
    return [owner.entry or _entry(owner) for owner in kept]


def _entry(owner: Ownership) -> Entry:
    return new_entry(
        owner.manager,
        owner.api_version,
        owner.fields,
        owner.time,
        owner.subresource,
        operation=owner.operation,
    )


def new_entry(
    manager: str, api_version: str, fields: FieldSet, time: str, subresource: str, *, operation: str = UPDATE
) -> Entry:
    """An entry as upstream writes it: in this order, without what is empty."""
    entry: Entry = {
        "manager": manager,
        "operation": operation,
        "apiVersion": api_version,
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    if subresource:
        entry["subresource"] = subresource
    return entry if manager and time else {name: value for name, value in entry.items() if value}


def asks_for_reset(entries: Any) -> bool:
    """Whether a client wants to forget all owners: it sends an empty list, or one empty entry."""
    return isinstance(entries, list) and (not entries or entries == [{}])


def differs_only_in_times(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """Whether nothing but the times of entries is new, which is no reason to write an object again."""
    metadata, before = new["metadata"], old["metadata"]
    if not _same_but(metadata, before, "managedFields") or not _same_but(new, old, "metadata"):
        return False
    entries, earlier = metadata.get("managedFields") or (), before.get("managedFields") or ()
    return len(entries) == len(earlier) and all(
        one is other or _same_but(one, other, "time") for one, other in zip(entries, earlier, strict=True)
    )


def _same_but(one: dict[str, Any], other: dict[str, Any], name: str) -> bool:
    return one is other or {**one, name: None} == {**other, name: None}


# Names


def manager_name(field_manager: str, user_agent: str) -> str:
    """Who writes: the `fieldManager` of the request, else the first part of its user agent, else "unknown"."""
    return field_manager or _from_user_agent(user_agent) or "unknown"


@lru_cache(maxsize=256)
def _from_user_agent(user_agent: str) -> str:
    name = "".join(filter(str.isprintable, user_agent.partition("/")[0]))
    if len(name.encode()) <= NAME_LIMIT:
        return name
    return name.encode()[:NAME_LIMIT].decode(errors="ignore")


def validate_field_manager(name: str, *, applies: bool) -> list[FieldError]:
    """What is wrong with the query parameter `fieldManager`."""
    if name.isascii() and name.isprintable() and 0 < len(name) <= NAME_LIMIT:
        return []  # nearly all are, and every character of the others is looked at
    path = Path("fieldManager")
    found = []
    if not name and applies:
        found.append(FieldError.required(path, "is required for apply patch"))
    if len(name.encode()) > NAME_LIMIT:
        found.append(FieldError.too_long(path, NAME_LIMIT))
    position = 0
    for character in name:
        if not character.isprintable():
            detail = f"invalid character U+{ord(character):04X} (at position {position})"
            found.append(FieldError.invalid(path, name, detail))
        position += len(character.encode())
    return found


# Too many updaters


def cap_updaters(owners: list[Ownership]) -> list[Ownership]:
    """At most UPDATER_LIMIT entries of updates: the oldest of the same apiVersion become one, of "ancient-changes"."""
    updaters = [owner for owner in owners if owner.operation == UPDATE]
    excess = len(updaters) - UPDATER_LIMIT
    if excess <= 0:
        return owners
    updaters.sort(key=lambda each: (each.time, each.identity))
    kept = {owner.identity: owner for owner in owners}
    first_of: dict[str, Ownership] = {}
    for owner in updaters:
        if excess <= 0:
            break
        version = owner.api_version
        first = first_of.setdefault(version, owner)
        if first is owner:
            continue
        bucket = Ownership(ANCIENT_CHANGES, UPDATE, version, {})
        existing = kept.get(bucket.identity)
        if existing is None:
            existing = kept.pop(first.identity)
        fields = union(existing.fields, owner.fields)
        kept.pop(owner.identity, None)
        # The time of the newest change that went in.
        kept[bucket.identity] = replace(bucket, fields=fields, time=owner.time)
        excess -= 1
    return list(kept.values())
