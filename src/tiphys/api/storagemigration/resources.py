"""The kinds of the storagemigration.k8s.io group."""

from __future__ import annotations

from tiphys.api.columns import NAME_AND_AGE
from tiphys.api.resource import STATUS_ONLY, Resource
from tiphys.api.storagemigration import validation

RESOURCES = (
    Resource(
        group="storagemigration.k8s.io",
        version="v1beta1",
        kind="StorageVersionMigration",
        plural="storageversionmigrations",
        namespaced=False,
        subresources=(STATUS_ONLY,),
        type="storagemigration/v1beta1.StorageVersionMigration",
        validate=validation.storage_version_migration,
        table=NAME_AND_AGE,
        unconditional_update=False,
        generation_on=(),
    ),
)
