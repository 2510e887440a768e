"""Printed columns of storage classes, drivers and attachments. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, NONE, UNSET, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import metadata, name

IS_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
IS_DEFAULT_CLASS_BETA = "storageclass.beta.kubernetes.io/is-default-class"
IS_DEFAULT_ATTRIBUTES_CLASS = "volumeattributesclass.alpha.kubernetes.io/is-default-class"


def _marked(obj: Object, *keys: str) -> str:
    """The name, with a mark when an annotation makes this class the default."""
    found = metadata(obj).get("annotations") or {}
    return f"{name(obj)} (default)" if any(found.get(key) == "true" for key in keys) else name(obj)


def _storage_class_cells(obj: Object, now: datetime) -> list[Any]:
    return [
        _marked(obj, IS_DEFAULT_CLASS, IS_DEFAULT_CLASS_BETA),
        obj.get("provisioner") or "",
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    ]


STORAGE_CLASS = Table(
    (
        NAME,
        Column("Provisioner", description="Who makes volumes of the class."),
        Column("ReclaimPolicy", description="What becomes of a volume that is released."),
        Column("VolumeBindingMode", description="When a volume is made for a claim."),
        Column("AllowVolumeExpansion", description="Whether claims may ask for more later."),
        AGE,
    ),
    _storage_class_cells,
)


def _attributes_class_cells(obj: Object, now: datetime) -> list[Any]:
    return [_marked(obj, IS_DEFAULT_ATTRIBUTES_CLASS), obj.get("driverName") or "", age(obj, now)]


VOLUME_ATTRIBUTES_CLASS = Table(
    (NAME, Column("DriverName", description="Driver that knows the attributes."), AGE),
    _attributes_class_cells,
)


def _csi_driver_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    attach = spec.get("attachRequired")
    tokens = [request.get("audience", "") for request in spec.get("tokenRequests") or ()]
    return [
        name(obj),
        True if attach is None else attach,
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        ",".join(tokens) if tokens else UNSET,
        bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
        age(obj, now),
    ]


CSI_DRIVER = Table(
    (
        NAME,
        Column(
            "AttachRequired", type="boolean", description="Whether volumes are attached before they are used."
        ),
        Column(
            "PodInfoOnMount", type="boolean", description="Whether the driver is told of the pod at mount."
        ),
        Column("StorageCapacity", type="boolean", description="Whether the driver says how much is left."),
        Column("TokenRequests", description="Audiences of the tokens that the driver gets."),
        Column("RequiresRepublish", type="boolean", description="Whether volumes are published repeatedly."),
        Column("Modes", description="Life cycles of volumes that the driver supports."),
        AGE,
    ),
    _csi_driver_cells,
)


def _csi_node_cells(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), len((obj.get("spec") or {}).get("drivers") or ()), age(obj, now)]


CSI_NODE = Table(
    (NAME, Column("Drivers", type="integer", description="Number of drivers on the node."), AGE),
    _csi_node_cells,
)


def _capacity_cells(obj: Object, now: datetime) -> list[Any]:
    capacity = obj.get("capacity")
    return [name(obj), obj.get("storageClassName") or "", UNSET if capacity is None else str(capacity)]


CSI_STORAGE_CAPACITY = Table(
    (
        NAME,
        Column("StorageClassName", description="Class that the capacity is of."),
        Column("Capacity", description="How much is left."),
    ),
    _capacity_cells,
)


def _attachment_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        name(obj),
        spec.get("attacher") or "",
        (spec.get("source") or {}).get("persistentVolumeName") or "",
        spec.get("nodeName") or "",
        bool((obj.get("status") or {}).get("attached")),
        age(obj, now),
    ]


VOLUME_ATTACHMENT = Table(
    (
        NAME,
        Column("Attacher", format="name", description="Driver that attaches the volume."),
        Column("PV", description="Volume that is attached."),
        Column("Node", description="Node that the volume is attached to."),
        Column("Attached", type="boolean", description="Whether it is attached now."),
        AGE,
    ),
    _attachment_cells,
)
