"""Printed columns of persistent volumes and claims."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, UNSET, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery import meta
from tiphys.machinery.meta import is_deleting, name

CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_SHORT_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def access_modes(modes: Iterable[str] | None) -> str:
    """RWO,ROX,RWX,RWOP: each once, in this order."""
    given = set(modes or ())
    return ",".join(short for mode, short in _SHORT_MODES.items() if mode in given)


def storage_class(obj: Object) -> str:
    """The class of a volume or a claim; the old annotation wins over the field."""
    named = meta.annotations(obj).get(CLASS_ANNOTATION)
    return named if named is not None else (obj.get("spec") or {}).get("storageClassName") or ""


def _phase(obj: Object) -> str:
    return "Terminating" if is_deleting(obj) else (obj.get("status") or {}).get("phase") or ""


def _volume_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    claim = spec.get("claimRef")
    return [
        name(obj),
        (spec.get("capacity") or {}).get("storage", "0"),
        access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy") or "",
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim is not None else "",
        storage_class(obj),
        _or_unset(spec.get("volumeAttributesClassName")),
        (obj.get("status") or {}).get("reason") or "",
        age(obj, now),
        _or_unset(spec.get("volumeMode")),
    ]


def _claim_cells(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    volume = spec.get("volumeName") or ""
    return [
        name(obj),
        _phase(obj),
        volume,
        (status.get("capacity") or {}).get("storage", "0") if volume else "",
        access_modes(status.get("accessModes")) if volume else "",
        storage_class(obj),
        _or_unset(spec.get("volumeAttributesClassName")),
        age(obj, now),
        _or_unset(spec.get("volumeMode")),
    ]


def _or_unset(value: str | None) -> str:
    return UNSET if value is None else value


_VOLUME_MODE = Column("VolumeMode", priority=1, description="Filesystem or Block.")
_ATTRIBUTES_CLASS = Column(
    "VolumeAttributesClass", description="Class of the volume's changeable attributes."
)
_CLASS = Column("StorageClass", description="Class of storage that the volume comes from.")
_MODES = Column("Access Modes", description="How the volume can be mounted.")

PERSISTENT_VOLUME = Table(
    (
        NAME,
        Column("Capacity", description="Size of the volume."),
        _MODES,
        Column("Reclaim Policy", description="What becomes of the volume when its claim is gone."),
        Column("Status", description="Phase of the volume."),
        Column("Claim", description="Claim that the volume is bound to."),
        _CLASS,
        _ATTRIBUTES_CLASS,
        Column("Reason", description="Why the volume is in its phase."),
        AGE,
        _VOLUME_MODE,
    ),
    _volume_cells,
)
PERSISTENT_VOLUME_CLAIM = Table(
    (
        NAME,
        Column("Status", description="Phase of the claim."),
        Column("Volume", description="Volume that the claim is bound to."),
        Column("Capacity", description="Size of the bound volume."),
        _MODES,
        _CLASS,
        _ATTRIBUTES_CLASS,
        AGE,
        _VOLUME_MODE,
    ),
    _claim_cells,
)
