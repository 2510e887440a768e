"""What a DELETE does to one object: remove it at once, or mark it and leave the rest to finalizers and the kubelet.

Pure: `plan_deletion` looks at the object and the options and says what shall be written. The rules are upstream's
(apiserver `registry/rest/delete.go` and `registry/generic/registry`): grace may be shortened but not prolonged, finalizers
keep an object until they are gone, and the propagation policy is kept as a finalizer for the garbage collector.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tiphys.api.resource import Object, Resource
from tiphys.apiserver.requests import query_integer
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupKind
from tiphys.machinery.meta import format_time, parse_time

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
_POLICIES = {"Orphan": ORPHAN, "Foreground": FOREGROUND, "Background": None}
_DELETE_OPTIONS = GroupKind("meta.k8s.io", "DeleteOptions")


@frozen
class DeleteOptions:
    """None: not said. `orphan_dependents` is the deprecated form of the policy."""

    grace_seconds: int | None = None
    uid: str | None = None
    resource_version: str | None = None
    policy: str | None = None
    orphan_dependents: bool | None = None
    dry_run: bool = False

    @property
    def tells_of_dependents(self) -> bool:
        return self.orphan_dependents is not None or self.policy is not None

    def to_dict(self) -> Object:
        """As admission is told of them."""
        conditions = {"uid": self.uid, "resourceVersion": self.resource_version}
        given = {
            "gracePeriodSeconds": self.grace_seconds,
            "preconditions": {name: value for name, value in conditions.items() if value is not None} or None,
            "orphanDependents": self.orphan_dependents,
            "propagationPolicy": self.policy,
            "dryRun": ["All"] if self.dry_run else None,
        }
        return {name: value for name, value in given.items() if value is not None}


def read_delete_options(body: Object, query: dict[str, list[str]]) -> DeleteOptions:
    """From a DeleteOptions body, or else from the query. Raises 422 for contradictions."""
    if body:
        conditions = body.get("preconditions") or {}
        options = DeleteOptions(
            grace_seconds=body.get("gracePeriodSeconds"),
            uid=conditions.get("uid"),
            resource_version=conditions.get("resourceVersion"),
            policy=body.get("propagationPolicy"),
            orphan_dependents=body.get("orphanDependents"),
            dry_run="All" in (body.get("dryRun") or query.get("dryRun") or ()),
        )
    else:
        options = _from_query(query)
    _check(options)
    return options


def _from_query(query: dict[str, list[str]]) -> DeleteOptions:
    orphan = query.get("orphanDependents", ("",))[0]
    return DeleteOptions(
        grace_seconds=query_integer(query, "gracePeriodSeconds"),
        policy=query.get("propagationPolicy", (None,))[0] or None,
        orphan_dependents=None if not orphan else orphan in ("true", "1"),
        dry_run="All" in query.get("dryRun", ()),
    )


def _check(options: DeleteOptions) -> None:
    path = Path("propagationPolicy")
    if options.policy is not None and options.orphan_dependents is not None:
        found = FieldError.invalid(
            path, options.policy, "orphanDependents and deletionPropagation cannot be both set"
        )
        raise errors.invalid(_DELETE_OPTIONS, "", [found])
    if options.policy is not None and options.policy not in _POLICIES:
        found = FieldError.not_supported(path, options.policy, ("Foreground", "Background", "Orphan", "nil"))
        raise errors.invalid(_DELETE_OPTIONS, "", [found])


def check_preconditions(row: Resource, obj: Object, options: DeleteOptions) -> None:
    """Raises 409 unless the object is the one that the client means."""
    metadata = obj["metadata"]
    if options.uid is not None and options.uid != metadata.get("uid"):
        cause = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {metadata.get('uid')}"
        raise errors.conflict(row.group_resource, metadata["name"], cause)
    if options.resource_version is not None and options.resource_version != metadata.get("resourceVersion"):
        cause = (
            f"Precondition failed: ResourceVersion in precondition: {options.resource_version}, "
            f"ResourceVersion in object meta: {metadata.get('resourceVersion')}"
        )
        raise errors.conflict(row.group_resource, metadata["name"], cause)


def plan_deletion(row: Resource, obj: Object, options: DeleteOptions, now: datetime) -> Object | None:
    """None: remove it now. Otherwise the object as it shall be written (equal to `obj`: it is dying already)."""
    metadata = dict(obj["metadata"])
    finalizers = _finalizers(row, metadata, options)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    grace = _grace(row, obj, options)
    held = bool(finalizers) or (row.holds_deletion is not None and row.holds_deletion(obj))
    if not grace and not held:
        return None
    if metadata.get("deletionTimestamp"):
        _shorten(metadata, grace)
    else:
        metadata["deletionTimestamp"] = format_time(now + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        if row.generation_on:
            metadata["generation"] = metadata.get("generation", 0) + 1
    marked = {**obj, "metadata": metadata}
    return row.mark_deleted(marked) if row.mark_deleted is not None else marked


def _grace(row: Resource, obj: Object, options: DeleteOptions) -> int:
    if row.graceful_deletion_seconds is None:
        return 0
    default = row.graceful_deletion_seconds(obj)
    if not default:
        return 0  # Nothing runs that could be given time.
    wanted = default if options.grace_seconds is None else options.grace_seconds
    return 1 if wanted < 0 else wanted


def _shorten(metadata: dict[str, Any], grace: int) -> None:
    """A second delete may only bring the end nearer."""
    before = metadata.get("deletionGracePeriodSeconds")
    if before is None or grace >= before:
        return
    end = parse_time(metadata["deletionTimestamp"]) - timedelta(seconds=before - grace)
    metadata["deletionTimestamp"] = format_time(end)
    metadata["deletionGracePeriodSeconds"] = grace


def _finalizers(row: Resource, metadata: dict[str, Any], options: DeleteOptions) -> list[str]:
    """The policy decides which of the garbage collector's two finalizers is there; the others stay."""
    current = list(metadata.get("finalizers") or ())
    if options.orphan_dependents is not None:
        wanted = ORPHAN if options.orphan_dependents else None
    elif options.policy is not None:
        wanted = _POLICIES[options.policy]
    elif row.orphans_dependents and ORPHAN not in current and FOREGROUND not in current:
        wanted = ORPHAN
    else:
        return current
    kept = [item for item in current if item not in (ORPHAN, FOREGROUND) or item == wanted]
    if wanted and wanted not in kept:
        kept.append(wanted)
    return kept


def is_finished(row: Resource, obj: Object) -> bool:
    """A dying object that nothing holds any more: an update that brings it here removes it."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if metadata.get("deletionGracePeriodSeconds"):
        return False
    return row.holds_deletion is None or not row.holds_deletion(obj)


def deleted_status(row: Resource, obj: Object) -> Object:
    """The answer to a delete that removed the object, for kinds that do not answer with the object itself."""
    metadata = obj["metadata"]
    details = {
        "name": metadata["name"],
        "group": row.group,
        "kind": row.plural,
        "uid": metadata.get("uid", ""),
    }
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {name: value for name, value in details.items() if value},
    }
