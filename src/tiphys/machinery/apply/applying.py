"""Server-side apply: an object that says only what somebody cares for becomes a part of the object that is there.

Pure: what comes out still has to be defaulted, admitted, checked and stored like the result of any patch.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.machinery import errors
from tiphys.machinery.apply import last_applied
from tiphys.machinery.apply.claims import Claim, merge_claim, read_claim
from tiphys.machinery.apply.conflicts import ConflictsError
from tiphys.machinery.apply.fieldset import (
    FieldSet,
    contains,
    difference,
    intersection,
    same,
)
from tiphys.machinery.apply.managers import (
    APPLY,
    BEFORE_FIRST_APPLY,
    UPDATE,
    Ownership,
    read_entries,
    write_entries,
)
from tiphys.machinery.apply.merging import prune, without_nulls
from tiphys.machinery.apply.target import (
    Differences,
    Object,
    Target,
    in_version,
    reconciled,
)
from tiphys.machinery.apply.typed import compare, everything
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
    _check_kind(target, applied)
    try:
        return _checked(target, live, applied, manager, force=force, now=now)
    except RecursionError:
        raise errors.bad_request("json: exceeded max depth") from None
    except ValueError:  # what is applied was read without one
        raise _unfit("live", live or {}, validate(target.shape, live)) from None


def _checked(
    target: Target, live: Object | None, applied: Object, manager: str, *, force: bool, now: datetime
) -> Object:
    claim = _claim(target, applied)
    kubectl = manager == last_applied.MANAGER and live is not None
    applier = Ownership(
        manager, APPLY, target.api_version, claim.fields, format_time(now), target.subresource
    )
    if live is None:
        obj: Object = without_nulls(target.shape, applied) if claim.has_nulls else applied
        return _with_owners(obj, [applier])
    try:
        result = _apply(target, live, (applied, claim), applier, force=force)
    except ConflictsError as conflicts:
        if not kubectl:
            raise conflicts.status() from None
        allowed = last_applied.unchanged_since(target.shape, live)
        if not contains(allowed, conflicts.fields()):
            raise conflicts.without(allowed).status() from None
        result = _apply(target, live, (applied, claim), applier, force=True)
    return last_applied.with_last_applied(result, applied) if kubectl else result


def _check_kind(target: Target, applied: Object) -> None:
    version, kind = applied.get("apiVersion"), applied.get("kind")
    if version != target.api_version or kind != target.kind:
        raise errors.bad_request(f"invalid object type: {_kind_text(version, kind)}")
    metadata = applied.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise errors.bad_request("metadata.managedFields must be nil")


def _claim(target: Target, applied: Object) -> Claim:
    """The fields that are applied. StatusError: the object does not fit its schema."""
    try:
        claim = read_claim(target, applied)
    except ValueError:
        raise _unfit("patch", applied, validate(target.shape, applied)) from None
    if claim.is_odd:
        found = validate(target.shape, applied)
        if found:
            raise _unfit("patch", applied, found)
    return claim


def _unfit(what: str, obj: Object, found: list[str]) -> StatusError:
    metadata = obj.get("metadata")
    where = metadata if isinstance(metadata, dict) else {}
    name = f"{where.get('namespace') or ''}/{where.get('name') or ''}"
    kind = _kind_text(obj["apiVersion"], obj["kind"])
    # Upstream has no reason for it, hence 500.
    return StatusError(500, "", f"failed to create typed {what} object ({name}; {kind}): {joined(found)}")


def _kind_text(api_version: Any, kind: Any) -> str:
    """A kind as Go prints it: `apps/v1, Kind=Deployment`, `/v1, Kind=Pod`."""
    version = str(api_version or "")
    return f"{version if '/' in version else '/' + version}, Kind={kind or ''}"


def _apply(
    target: Target, live: Object, sent: tuple[Object, Claim], applier: Ownership, *, force: bool
) -> Object:
    last: Ownership | None = None
    others = []
    for owner in _owners_of(target, live, applier.time):
        if last is None and owner.operation == APPLY and owner.identity == applier.identity:
            last = owner
        else:
            others.append(owner)
    applied, claim = sent
    new = merge_claim(target.shape, live, applied, claim.parts)
    if last is not None and not same(last.fields, applier.fields):
        new = _without_given_up(target, new, last, [*others, applier])
    after = others
    if new is not live:
        after = _take_over(others, Differences(target, live, new), force=force)
    elif last is not None and last.entry is not None and _same_claim(last, applier):
        return live
    return _with_owners(new, [*after, applier])


def _same_claim(last: Ownership, applier: Ownership) -> bool:
    return last.api_version == applier.api_version and same(last.fields, applier.fields)


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
            conflict = intersection(seen.changed, owner.fields)
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
    given_up = target.written(last.fields)
    held = _held_by_version(target, owners)
    held_here = held.pop(_version_key(target, last), [])
    for fields in held_here:
        given_up = difference(given_up, fields)
    # Nobody owns the name, but nothing takes it away.
    pruned: Object = prune(shape, start, given_up, [_NAME, *held_here])
    if pruned is start:
        return merged
    if held:
        for version, there in held.items():
            pruned = _with_held(target, start, pruned, version, there)
        pruned = prune(shape, start, given_up, [everything(shape, pruned)])
    if last.api_version == target.api_version or target.convert is None:
        return pruned
    back = target.convert(pruned, target.api_version)
    return back[0] if back is not None else merged


def _held_by_version(target: Target, owners: list[Ownership]) -> dict[str, list[FieldSet]]:
    held: dict[str, list[FieldSet]] = {}
    for owner in owners:
        held.setdefault(_version_key(target, owner), []).append(owner.fields)
    return held


def _version_key(target: Target, owner: Ownership) -> str:
    return owner.api_version if target.convert is not None else target.api_version


def _with_held(
    target: Target, start: Object, pruned: Object, api_version: str, held: list[FieldSet]
) -> Object:
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
