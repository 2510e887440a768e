"""Owners as the scale subresource shows them: `spec.replicas` of a Scale is some field of the object that is scaled.

Upstream's rules (apimachinery `managedfields`, scalehandler.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tiphys.machinery.apply.fieldset import FieldPath, FieldSet, difference, from_paths, has
from tiphys.machinery.apply.managers import Entry, Ownership, read_entries, write_entries

SCALE_VERSION = "autoscaling/v1"
REPLICAS: FieldPath = ("f:spec", "f:replicas")
_SCALE_FIELDS: FieldSet = {"f:spec": {"f:replicas": {}}}

ReplicasPaths = Mapping[str, "FieldPath | None"]
"""apiVersion of the object → where it keeps its replicas; None: nowhere (a custom resource without scale)."""


def scale_entries(entries: Iterable[Entry] | None, paths: ReplicasPaths) -> list[Entry]:
    """The `managedFields` of a Scale: whoever owns the replicas of the object owns those of the Scale."""
    found = []
    for owner in read_entries(entries):
        path = paths.get(owner.api_version)
        if path and has(owner.fields, path):
            found.append(replace(owner, api_version=SCALE_VERSION, fields=_SCALE_FIELDS, entry=None))
    return write_entries(found)


def parent_entries(
    entries: Iterable[Entry] | None, scale: Iterable[Entry] | None, paths: ReplicasPaths, api_version: str
) -> list[Entry]:
    """The `managedFields` of the object after a write to its Scale, whose entries are `scale`.

    `api_version` is the object's own: in its words new owners of the replicas are written down.
    """
    # An entry of an Update on the Scale names the Scale's version: manager, operation and subresource tell it apart.
    owning = {_key(owner): owner for owner in read_entries(scale)}
    result: list[Ownership] = []
    for owner in read_entries(entries):
        if owner.api_version not in paths:
            continue
        path = paths[owner.api_version]
        if not path or not has(owner.fields, path) or owning.pop(_key(owner), None) is not None:
            result.append(owner)
        else:
            result.append(owner.owning(difference(owner.fields, from_paths([path]))))
    path = paths[api_version]
    if path:
        fields = from_paths([path])
        result += [
            replace(owner, api_version=api_version, fields=fields, time="", entry=None)
            for owner in owning.values()
            if has(owner.fields, REPLICAS)
        ]
    return write_entries(result)


def _key(owner: Ownership) -> tuple[str, str, str]:
    return owner.manager, owner.operation, owner.subresource
