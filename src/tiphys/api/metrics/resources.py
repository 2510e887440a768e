"""The kinds of the metrics.k8s.io group: what metrics-server serves elsewhere, and this API server serves itself."""

from __future__ import annotations

from tiphys.api.metrics import columns
from tiphys.api.resource import Resource

READ_ONLY = ("get", "list")

RESOURCES = (
    Resource(
        group="metrics.k8s.io",
        version="v1beta1",
        kind="NodeMetrics",
        plural="nodes",
        kind_of_list="NodeMetricsList",
        namespaced=False,
        verbs=READ_ONLY,
        type="metrics/v1beta1.NodeMetrics",
        table=columns.NODE_METRICS,
        generation_on=(),
        virtual=True,
    ),
    Resource(
        group="metrics.k8s.io",
        version="v1beta1",
        kind="PodMetrics",
        plural="pods",
        kind_of_list="PodMetricsList",
        namespaced=True,
        verbs=READ_ONLY,
        type="metrics/v1beta1.PodMetrics",
        table=columns.POD_METRICS,
        generation_on=(),
        virtual=True,
    ),
)
