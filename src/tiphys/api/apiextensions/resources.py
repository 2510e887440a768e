"""The kinds of the apiextensions.k8s.io group."""

from __future__ import annotations

from tiphys.api.apiextensions import advice, defaults, deletion, prepare, validation
from tiphys.api.resource import STATUS_ONLY, Resource

RESOURCES = (
    Resource(
        group="apiextensions.k8s.io",
        version="v1",
        kind="CustomResourceDefinition",
        plural="customresourcedefinitions",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=(STATUS_ONLY,),
        type="apiextensions/v1.CustomResourceDefinition",
        defaults=defaults.custom_resource_definition,
        prepare=prepare.custom_resource_definition,
        validate=validation.custom_resource_definition,
        advise=advice.custom_resource_definition,
        validate_status=validation.status,
        holds_deletion=deletion.holds,
        mark_deleted=deletion.mark,
        unconditional_update=False,
    ),
)
