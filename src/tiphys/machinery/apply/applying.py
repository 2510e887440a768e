"""Server-side apply: an object that says only what somebody cares for becomes a part of the object that is there.

Pure: what comes out still has to be defaulted, admitted, checked and stored like the result of any patch.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from tiphys.machinery import errors
from tiphys.machinery.apply import last_applied
from tiphys.machinery.apply.conflicts import ConflictsError
from tiphys.machinery.apply.fieldset import (
    FieldSet,
    contains,
    intersection,
    recursive_difference,
    union,
)
from tiphys.machinery.apply.managers import (
    APPLY,
    BEFORE_FIRST_APPLY,
    UPDATE,
    Ownership,
    read_entries,
    write_entries,
)
from tiphys.machinery.apply.merging import merge, prune, without_nulls
from tiphys.machinery.apply.target import (
    Differences,
    Object,
    Target,
    in_version,
    owned,
    reconciled,
    without_unowned,
)
from tiphys.machinery.apply.typed import compare, everything, fields_of
from tiphys.machinery.apply.updates import give_up
from tiphys.machinery.apply.validation import joined, validate
from tiphys.machinery.errors import StatusError
from tiphys.machinery.meta import format_time

_NAME: FieldSet = {"f:metadata": {"f:name": {}}}


def apply(
    target: Target, live: Object | None, applied: Object, manager: str, *, force: bool, now: datetime
) -> Object:
    """The object as it is after `manager` applied, with its new `managedFields`; `live` itself when nothing changed.

    `live` None: there is none yet. `applied` is the body as it was sent, nulls and all. StatusError: the body is wrong
    (400, or 500 where upstream has no better word), or others own what it changes (409, unless `force`).
    """
    _check_body(target, applied)
    kubectl = manager == last_applied.MANAGER and live is not None
    try:
        result = _apply(target, live, applied, manager, force=force, now=now)
    except ConflictsError as conflicts:
        if not kubectl:
            raise conflicts.status() from None
        assert live is not None
        allowed = last_applied.unchanged_since(target.shape, live)
        if not contains(allowed, conflicts.fields()):
            raise conflicts.without(allowed).status() from None
        result = _apply(target, live, applied, manager, force=True, now=now)
    return last_applied.with_last_applied(result, applied) if kubectl else result


def _check_body(target: Target, applied: Object) -> None:
    """Is it the kind that the request speaks of, and does it fit its schema?"""
    version, kind = applied.get("apiVersion"), applied.get("kind")
    if version != target.api_version or kind != target.kind:
        raise errors.bad_request(f"invalid object type: {_kind_text(version, kind)}")
    metadata = applied.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise errors.bad_request("metadata.managedFields must be nil")
    found = validate(target.shape, applied)
    if found:
        where = metadata if isinstance(metadata, dict) else {}
        name = f"{where.get('namespace') or ''}/{where.get('name') or ''}"
        message = (
            f"failed to create typed patch object ({name}; {_kind_text(version, kind)}): {joined(found)}"
        )
        # Upstream has no reason for it, hence 500.
        raise StatusError(500, "", message)


def _kind_text(api_version: Any, kind: Any) -> str:
    """A kind as Go prints it: `apps/v1, Kind=Deployment`, `/v1, Kind=Pod`."""
    version = str(api_version or "")
    return f"{version if '/' in version else '/' + version}, Kind={kind or ''}"


def _apply(
    target: Target, live: Object | None, applied: Object, manager: str, *, force: bool, now: datetime
) -> Object:
    time = format_time(now)
    fields = owned(fields_of(target.shape, without_unowned(applied)), target.ignored)
    applier = Ownership(manager, APPLY, target.api_version, fields, time, target.subresource)
    if live is None:
        return _with_owners(without_nulls(target.shape, applied), [applier])
    before = _owners_of(target, live, time)
    last = next((owner for owner in before if owner.identity == applier.identity), None)
    others = [owner for owner in before if owner is not last]
    new: Object = merge(target.shape, live, applied)
    if last is not None:
        new = _without_given_up(
            target, new, replace(last, fields=_considered(target, last)), [*others, applier]
        )
    after = others
    if new is not live:
        after = _take_over(others, Differences(target, live, new), force=force)
    elif last is not None and _same_claim(last, applier) and last.entry is not None:
        return live
    return _with_owners(new, [*after, applier])


def _considered(target: Target, last: Ownership) -> FieldSet:
    return recursive_difference(last.fields, target.ignored)


def _same_claim(last: Ownership, applier: Ownership) -> bool:
    return last.api_version == applier.api_version and last.fields == applier.fields


def _owners_of(target: Target, live: Object, time: str) -> list[Ownership]:
    """Who owns what so far. An object that was never tracked belongs to nobody in particular."""
    owners = read_entries(live["metadata"].get("managedFields"))
    if owners:
        return reconciled(target, owners, live)
    fields = Differences(target, {}, live).own.changed
    if not fields:
        return []
    return [Ownership(BEFORE_FIRST_APPLY, UPDATE, target.api_version, fields, time, target.subresource)]


def _take_over(others: list[Ownership], differences: Differences, *, force: bool) -> list[Ownership]:
    """What others still own. ConflictsError: they own what changes, and that is not to be forced."""
    kept = []
    fought: list[tuple[Ownership, FieldSet]] = []
    for owner in others:
        seen = differences.seen_in(owner.api_version)
        if seen is None:
            continue
        if not force:
            conflict = intersection(owner.fields, seen.changed)
            if conflict:
                fought.append((owner, conflict))
        kept.append(owner.owning(give_up(owner.fields, seen)))
    if fought:
        raise ConflictsError.of(fought)
    return kept


def _with_owners(obj: Object, owners: list[Ownership]) -> Object:
    metadata: Object = dict(obj.get("metadata") or {})
    entries = write_entries(owners)
    if entries:
        metadata["managedFields"] = entries
    else:
        metadata.pop("managedFields", None)
    return {**obj, "metadata": metadata}


# What the applier no longer applies


def _without_given_up(target: Target, merged: Object, last: Ownership, owners: list[Ownership]) -> Object:
    """The object without what the applier owned and no longer applies, unless somebody else owns it, too.

    Owners name fields in the version that they wrote in, so the question is asked once in each version.
    """
    seen = in_version(target, merged, last.api_version)
    if seen is None:
        return merged
    start, shape = seen
    held = _held_by_version(target, owners)
    # Nobody owns the name, but nothing takes it away.
    held_here = union(_NAME, held.pop(_version_key(target, last), {}))
    pruned: Object = prune(shape, start, last.fields, held_here)
    if pruned is start:
        return merged
    if held:
        for version, fields in held.items():
            pruned = _with_held(target, start, pruned, version, fields)
        pruned = prune(shape, start, last.fields, everything(shape, pruned))
    if last.api_version == target.api_version or target.convert is None:
        return pruned
    back = target.convert(pruned, target.api_version)
    return back[0] if back is not None else merged


def _held_by_version(target: Target, owners: list[Ownership]) -> dict[str, FieldSet]:
    held: dict[str, FieldSet] = {}
    for owner in owners:
        version = _version_key(target, owner)
        held[version] = union(held.get(version, {}), owner.fields)
    return held


def _version_key(target: Target, owner: Ownership) -> str:
    return owner.api_version if target.convert is not None else target.api_version


def _with_held(target: Target, start: Object, pruned: Object, api_version: str, held: FieldSet) -> Object:
    """The pruned object with what is held in another version put back."""
    assert target.convert is not None
    start_there, pruned_there = target.convert(start, api_version), target.convert(pruned, api_version)
    if start_there is None or pruned_there is None:
        return pruned
    obj, shape = start_there
    gone = compare(shape, obj, pruned_there[0]).removed
    restored: Object = prune(shape, obj, gone, held)
    back = target.convert(restored, start["apiVersion"])
    return back[0] if back is not None else pruned
