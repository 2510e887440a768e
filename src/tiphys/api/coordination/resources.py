"""The kinds of the coordination.k8s.io group."""

from __future__ import annotations

from tiphys.api.coordination import columns, defaults, validation
from tiphys.api.resource import Resource
from tiphys.machinery.gvk import GroupVersionKind

RESOURCES = (
    Resource(
        group="coordination.k8s.io",
        version="v1",
        kind="Lease",
        plural="leases",
        namespaced=True,
        type="coordination/v1.Lease",
        defaults=defaults.lease,
        validate=validation.lease,
        table=columns.LEASE,
        create_on_update=True,
        unconditional_update=False,
        generation_on=(),
    ),
    Resource(
        group="coordination.k8s.io",
        version="v1beta1",
        kind="LeaseCandidate",
        plural="leasecandidates",
        namespaced=True,
        type="coordination/v1beta1.LeaseCandidate",
        validate=validation.lease_candidate,
        table=columns.LEASE_CANDIDATE,
        create_on_update=True,
        unconditional_update=False,
        generation_on=(),
    ),
    Resource(
        group="coordination.k8s.io",
        version="v1alpha2",
        kind="LeaseCandidate",
        plural="leasecandidates",
        namespaced=True,
        type="coordination/v1alpha2.LeaseCandidate",
        stored=GroupVersionKind("coordination.k8s.io", "v1beta1", "LeaseCandidate"),
        validate=validation.lease_candidate,
        table=columns.LEASE_CANDIDATE,
        create_on_update=True,
        unconditional_update=False,
        generation_on=(),
    ),
)
