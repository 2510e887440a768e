"""The kinds of the internal.apiserver.k8s.io group."""

from __future__ import annotations

from tiphys.api.apiserverinternal import columns, defaults
from tiphys.api.resource import STATUS_ONLY, Resource

RESOURCES = (
    Resource(
        group="internal.apiserver.k8s.io",
        version="v1alpha1",
        kind="StorageVersion",
        plural="storageversions",
        namespaced=False,
        subresources=(STATUS_ONLY,),
        type="apiserverinternal/v1alpha1.StorageVersion",
        defaults=defaults.storage_version,
        table=columns.STORAGE_VERSION,
        unconditional_update=False,
        generation_on=(),
    ),
)
