"""The kinds of the scheduling.k8s.io group."""

from __future__ import annotations

from tiphys.api.columns import NAME_AND_AGE
from tiphys.api.resource import STATUS_ONLY, Resource
from tiphys.api.scheduling import columns, defaults, validation

RESOURCES = (
    Resource(
        group="scheduling.k8s.io",
        version="v1",
        kind="PriorityClass",
        plural="priorityclasses",
        namespaced=False,
        short_names=("pc",),
        type="scheduling/v1.PriorityClass",
        defaults=defaults.priority_class,
        validate=validation.priority_class,
        table=columns.PRIORITY_CLASS,
        generation_on=(),
    ),
    Resource(
        group="scheduling.k8s.io",
        version="v1alpha2",
        kind="PodGroup",
        plural="podgroups",
        namespaced=True,
        subresources=(STATUS_ONLY,),
        type="scheduling/v1alpha2.PodGroup",
        defaults=defaults.pod_group,
        validate=validation.pod_group,
        table=NAME_AND_AGE,
    ),
    Resource(
        group="scheduling.k8s.io",
        version="v1alpha2",
        kind="Workload",
        plural="workloads",
        namespaced=True,
        type="scheduling/v1alpha2.Workload",
        defaults=defaults.workload,
        validate=validation.workload,
        table=NAME_AND_AGE,
    ),
)
