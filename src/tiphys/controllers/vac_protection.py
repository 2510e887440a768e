"""volumeattributesclass-protection-controller: a class that a claim or a volume names stays until none does.

Rules are upstream's `pkg/controller/volume/vacprotection`: a claim may name the class it wants, the one it has and the one it is
being changed to.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tiphys.client.cache import Index, View
from tiphys.client.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, VOLUMEATTRIBUTESCLASSES
from tiphys.client.transport import Object
from tiphys.controllers.actions import Plan
from tiphys.controllers.pods import spec_of, status_of
from tiphys.controllers.protection import Use, protect, waits_to_go
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta

FINALIZER = "kubernetes.io/vac-protection"


def _classes_of(obj: Object) -> Iterable[str]:
    """The classes that a claim or a volume names."""
    status = status_of(obj)
    names = (
        spec_of(obj).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return {name for name in names if name}


BY_CLASS = Index("volume attributes class", _classes_of)


def observe(found: Object, view: View) -> Use:
    if not waits_to_go(found, FINALIZER):
        return Use(found=True)
    name = meta.name(found)
    users = [view.by(kind, BY_CLASS, name) for kind in (PERSISTENTVOLUMES, PERSISTENTVOLUMECLAIMS)]
    return Use(found=any(users))


def plan(found: Object, use: Use, now: datetime) -> Plan:
    return protect(VOLUMEATTRIBUTESCLASSES, found, FINALIZER, use)


def keys_of_user(obj: Object, view: View) -> Iterable[str]:
    return _classes_of(obj)


CONTROLLER = Controller(
    name="volumeattributesclass-protection-controller",
    kind=VOLUMEATTRIBUTESCLASSES,
    observe=observe,
    plan=plan,
    watches=[Watch(PERSISTENTVOLUMES, keys_of_user), Watch(PERSISTENTVOLUMECLAIMS, keys_of_user)],
)
