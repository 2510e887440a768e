"""Defaults of storage classes, drivers and attachments (`pkg/apis/storage/v1/defaults.go`)."""

from __future__ import annotations

from tiphys.api.defaults import fill, items, part
from tiphys.api.resource import Object


def storage_class(obj: Object) -> None:
    fill(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def csi_driver(obj: Object) -> None:
    spec = part(obj, "spec")
    fill(
        spec,
        attachRequired=True,
        podInfoOnMount=False,
        storageCapacity=False,
        fsGroupPolicy="ReadWriteOnceWithFSType",
        requiresRepublish=False,
        seLinuxMount=False,
    )
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def csi_node(obj: Object) -> None:
    for driver in items(part(obj, "spec"), "drivers"):
        items(driver, "topologyKeys")


def volume_attachment(obj: Object) -> None:
    part(part(obj, "spec"), "source")
    part(obj, "status").setdefault("attached", False)
