"""The kinds of the scheduling.k8s.io group."""

from __future__ import annotations

from tiphys.api.resource import Resource, Subresource

RESOURCES = (
    Resource(
        group="scheduling.k8s.io",
        version="v1",
        kind="PriorityClass",
        plural="priorityclasses",
        namespaced=False,
        short_names=("pc",),
        type="scheduling/v1.PriorityClass",
        generation_on=(),
    ),
    Resource(
        group="scheduling.k8s.io",
        version="v1alpha2",
        kind="PodGroup",
        plural="podgroups",
        namespaced=True,
        subresources=(Subresource("status"),),
        type="scheduling/v1alpha2.PodGroup",
    ),
    Resource(
        group="scheduling.k8s.io",
        version="v1alpha2",
        kind="Workload",
        plural="workloads",
        namespaced=True,
        type="scheduling/v1alpha2.Workload",
    ),
)
