"""The kinds of the apiregistration.k8s.io group."""

from __future__ import annotations

from tiphys.api.resource import Resource, Subresource

RESOURCES = (
    Resource(
        group="apiregistration.k8s.io",
        version="v1",
        kind="APIService",
        plural="apiservices",
        namespaced=False,
        categories=("api-extensions",),
        subresources=(Subresource("status"),),
        type="apiregistration/v1.APIService",
        generation_on=(),
    ),
)
