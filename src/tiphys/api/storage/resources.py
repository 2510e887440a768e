"""The kinds of the storage.k8s.io group."""

from __future__ import annotations

from tiphys.api.resource import Resource, Subresource

RESOURCES = (
    Resource(
        group="storage.k8s.io",
        version="v1",
        kind="CSIDriver",
        plural="csidrivers",
        namespaced=False,
        type="storage/v1.CSIDriver",
    ),
    Resource(
        group="storage.k8s.io",
        version="v1",
        kind="CSINode",
        plural="csinodes",
        namespaced=False,
        type="storage/v1.CSINode",
        generation_on=(),
    ),
    Resource(
        group="storage.k8s.io",
        version="v1",
        kind="CSIStorageCapacity",
        plural="csistoragecapacities",
        namespaced=True,
        type="storage/v1.CSIStorageCapacity",
        generation_on=(),
    ),
    Resource(
        group="storage.k8s.io",
        version="v1",
        kind="StorageClass",
        plural="storageclasses",
        namespaced=False,
        short_names=("sc",),
        type="storage/v1.StorageClass",
        generation_on=(),
    ),
    Resource(
        group="storage.k8s.io",
        version="v1",
        kind="VolumeAttachment",
        plural="volumeattachments",
        namespaced=False,
        subresources=(Subresource("status"),),
        type="storage/v1.VolumeAttachment",
        generation_on=(),
    ),
    Resource(
        group="storage.k8s.io",
        version="v1",
        kind="VolumeAttributesClass",
        plural="volumeattributesclasses",
        namespaced=False,
        short_names=("vac",),
        type="storage/v1.VolumeAttributesClass",
        generation_on=(),
    ),
    Resource(
        group="storage.k8s.io",
        version="v1beta1",
        kind="VolumeAttributesClass",
        plural="volumeattributesclasses",
        namespaced=False,
        short_names=("vac",),
        type="storage/v1beta1.VolumeAttributesClass",
        generation_on=(),
    ),
)
