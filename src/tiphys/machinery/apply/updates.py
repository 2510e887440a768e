"""Ownership after an ordinary write: create, update, and every patch that is no apply.

Whoever changes a field owns it from then on, and nobody else does. Whoever leaves a field alone gets nothing and takes
nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.machinery.apply.creations import form_of
from tiphys.machinery.apply.fieldset import FieldSet, contains, difference, union
from tiphys.machinery.apply.managers import (
    UPDATE,
    Entry,
    ManagedFieldsError,
    Ownership,
    asks_for_reset,
    cap_updaters,
    new_entry,
    parse_entries,
    read_entries,
    write_entries,
)
from tiphys.machinery.apply.target import Differences, Object, Target, reconciled
from tiphys.machinery.apply.typed import Comparison
from tiphys.machinery.meta import format_time


def update(
    target: Target, live: Object | None, new: Object, manager: str, now: datetime
) -> list[Entry] | None:
    """The `managedFields` of `new`, which `manager` makes out of `live` (None: a creation). None: it has none.

    `new` is what the client wants, after defaulting, and before anybody else (admission) changes it. Its own
    `managedFields` count, as upstream has it: a client may rewrite the entries, and forgets all by [] or [{}].
    The list that `live` has comes back when nothing changed. `manager` is `managers.manager_name(…)`.
    """
    given = new["metadata"].get("managedFields")
    if live is None and given is None:
        fields = _created_fields(target, new)
        if not fields:
            return None
        return [new_entry(manager, target.api_version, fields, format_time(now), target.subresource)]
    before = live["metadata"].get("managedFields") if live is not None else None
    owners = _owners(target, before, given)
    if live is not None and not owners:
        return None
    try:
        differences = Differences(target, live or {}, new)
        if differences.own == ({}, {}) and (given is None or given == before):
            return before or None
        if live is not None:
            owners = reconciled(target, owners, live)
        return write_entries(_after_write(target, owners, differences, manager, format_time(now))) or None
    except (RecursionError, ValueError):
        # Nested too deeply, or lists whose elements have no keys: a write does not fail for its bookkeeping.
        return before or None


def _created_fields(target: Target, new: Object) -> FieldSet:
    try:
        form = form_of(new)
        fields = target.creations.find(form)
        if fields is None:
            fields = Differences(target, {}, new).own.changed
            if form is not None:
                target.creations.remember(form, fields)
    except (RecursionError, ValueError, TypeError):
        return {}  # as below; orjson cannot write what is nested too deeply
    return fields


def _owners(target: Target, before: Any, given: Any) -> list[Ownership]:
    if given is None or given == before or target.subresource:
        return read_entries(before)
    if asks_for_reset(given):
        return []
    try:
        return parse_entries(given) or read_entries(before)
    except ManagedFieldsError:
        return read_entries(before)


def _after_write(
    target: Target, owners: list[Ownership], differences: Differences, manager: str, time: str
) -> list[Ownership]:
    own = differences.own
    writer = Ownership(manager, UPDATE, target.api_version, own.changed, time, target.subresource)
    kept = []
    for owner in owners:
        seen = differences.seen_in(owner.api_version)
        if seen is None:
            continue
        if owner.identity == writer.identity:
            fields = _owned_before(owner, own)
            if own.changed:
                writer = writer.owning(union(fields, own.changed))
                continue
        else:
            fields = give_up(owner.fields, seen)
        if fields:
            kept.append(owner.owning(fields))
    if own.changed:
        kept.append(writer)
    return cap_updaters(kept)


def _owned_before(owner: Ownership, own: Comparison) -> FieldSet:
    """What the writer owned before and still does. What it changes, it owns anyway: no need to take that out first."""
    if not own.removed and contains(owner.fields, own.changed):
        return owner.fields
    return give_up(owner.fields, own)


def give_up(fields: FieldSet, seen: Comparison) -> FieldSet:
    """What an owner keeps when somebody else changes and removes fields."""
    return difference(difference(fields, seen.changed), seen.removed)
