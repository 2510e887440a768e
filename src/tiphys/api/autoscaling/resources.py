"""The kinds of the autoscaling group."""

from __future__ import annotations

from tiphys.api.autoscaling import columns, conversion, defaults, validation
from tiphys.api.resource import Resource, Subresource
from tiphys.machinery.gvk import GroupVersionKind

RESOURCES = (
    Resource(
        group="autoscaling",
        version="v2",
        kind="HorizontalPodAutoscaler",
        plural="horizontalpodautoscalers",
        namespaced=True,
        short_names=("hpa",),
        categories=("all",),
        subresources=(Subresource("status"),),
        type="autoscaling/v2.HorizontalPodAutoscaler",
        defaults=defaults.v2,
        validate=validation.v2,
        validate_status=validation.status,
        table=columns.HORIZONTAL_POD_AUTOSCALER,
        generation_on=(),
    ),
    Resource(
        group="autoscaling",
        version="v1",
        kind="HorizontalPodAutoscaler",
        plural="horizontalpodautoscalers",
        namespaced=True,
        short_names=("hpa",),
        categories=("all",),
        subresources=(Subresource("status"),),
        type="autoscaling/v1.HorizontalPodAutoscaler",
        stored=GroupVersionKind("autoscaling", "v2", "HorizontalPodAutoscaler"),
        conversion=conversion.HORIZONTAL_POD_AUTOSCALER,
        defaults=defaults.v1,
        validate=validation.v1,
        validate_status=validation.status,
        table=columns.HORIZONTAL_POD_AUTOSCALER_V1,
        generation_on=(),
    ),
)
