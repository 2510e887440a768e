"""The kinds of the discovery.k8s.io group."""

from __future__ import annotations

from tiphys.api.discovery import columns, defaults, prepare, validation
from tiphys.api.resource import Resource

RESOURCES = (
    Resource(
        group="discovery.k8s.io",
        version="v1",
        kind="EndpointSlice",
        plural="endpointslices",
        namespaced=True,
        type="discovery/v1.EndpointSlice",
        defaults=defaults.endpoint_slice,
        prepare=prepare.endpoint_slice,
        validate=validation.endpoint_slice,
        table=columns.ENDPOINT_SLICE,
        generation_on=("addressType", "endpoints", "ports"),
    ),
)
