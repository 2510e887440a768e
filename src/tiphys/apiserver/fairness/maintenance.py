"""Keeps the mandatory and suggested objects as they must be: what to create, change and remove. Pure.

Mandatory objects are always put right. A suggested one that somebody has changed is theirs: whether the server keeps it up to
date is said by its annotation `apf.kubernetes.io/autoupdate-spec`; without one, an object whose spec was never changed
(generation 1) is the server's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.apiserver.fairness.objects import (
    MANDATORY_LEVELS,
    MANDATORY_SCHEMAS,
    SUGGESTED_LEVELS,
    SUGGESTED_SCHEMAS,
)
from tiphys.machinery.frozen import frozen

Object = dict[str, Any]
AUTO_UPDATE = "apf.kubernetes.io/autoupdate-spec"
LEVELS, SCHEMAS = "prioritylevelconfigurations", "flowschemas"
PERIOD_SECONDS = 60.0


@frozen
class Create:
    obj: Object


@frozen
class Update:
    """The annotation is set; the spec is replaced unless None."""

    name: str
    annotation: str
    spec: Object | None


@frozen
class Remove:
    name: str


Change = Create | Update | Remove


def plan(plural: str, stored: Mapping[str, Object]) -> list[Change]:
    """What must be done with the objects of one kind; suggested ones come before mandatory ones, as upstream makes them."""
    mandatory, suggested = (
        (MANDATORY_LEVELS, SUGGESTED_LEVELS) if plural == LEVELS else (MANDATORY_SCHEMAS, SUGGESTED_SCHEMAS)
    )
    changes: list[Change] = []
    for objects, always in ((suggested, False), (mandatory, True)):
        for wanted in objects:
            known = stored.get(wanted["metadata"]["name"])
            if known is None:
                changes.append(Create(_annotated(wanted)))
            elif (change := _correction(known, wanted, always=always)) is not None:
                changes.append(change)
    names = {obj["metadata"]["name"] for obj in (*mandatory, *suggested)}
    return changes + [
        Remove(name)
        for name, obj in stored.items()
        if name not in names and _annotations(obj).get(AUTO_UPDATE) == "true"
    ]


def _annotations(obj: Object) -> dict[str, str]:
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found


def _annotated(wanted: Object) -> Object:
    metadata = {**wanted["metadata"], "annotations": {AUTO_UPDATE: "true"}}
    return {**wanted, "metadata": metadata}


def _correction(known: Object, wanted: Object, *, always: bool) -> Update | None:
    given = _annotations(known).get(AUTO_UPDATE, "")
    if always or given == "true":
        automatic = True
    else:
        automatic = given not in ("true", "false") and known["metadata"].get("generation") == 1
    annotation = "true" if automatic else "false"
    spec = wanted["spec"] if automatic and known["spec"] != wanted["spec"] else None
    if spec is None and given == annotation:
        return None
    return Update(known["metadata"]["name"], annotation, spec)
