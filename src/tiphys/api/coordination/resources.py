"""The kinds of the coordination.k8s.io group."""

from __future__ import annotations

from tiphys.api.resource import Resource

RESOURCES = (
    Resource(
        group="coordination.k8s.io",
        version="v1",
        kind="Lease",
        plural="leases",
        namespaced=True,
        type="coordination/v1.Lease",
        generation_on=(),
    ),
    Resource(
        group="coordination.k8s.io",
        version="v1beta1",
        kind="LeaseCandidate",
        plural="leasecandidates",
        namespaced=True,
        type="coordination/v1beta1.LeaseCandidate",
        generation_on=(),
    ),
    Resource(
        group="coordination.k8s.io",
        version="v1alpha2",
        kind="LeaseCandidate",
        plural="leasecandidates",
        namespaced=True,
        type="coordination/v1alpha2.LeaseCandidate",
        generation_on=(),
    ),
)
