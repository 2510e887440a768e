"""The kinds of the apiregistration.k8s.io group."""

from __future__ import annotations

from tiphys.api.apiregistration import columns, defaults, prepare, validation
from tiphys.api.resource import STATUS_ONLY, Resource
from tiphys.machinery import names

RESOURCES = (
    Resource(
        group="apiregistration.k8s.io",
        version="v1",
        kind="APIService",
        plural="apiservices",
        namespaced=False,
        categories=("api-extensions",),
        subresources=(STATUS_ONLY,),
        type="apiregistration/v1.APIService",
        defaults=defaults.api_service,
        prepare=prepare.api_service,
        validate=validation.api_service,
        name_errors=names.path_segment_name,
        table=columns.API_SERVICE,
        unconditional_update=False,
        generation_on=(),
    ),
)
