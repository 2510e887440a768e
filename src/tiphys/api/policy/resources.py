"""The kinds of the policy group."""

from __future__ import annotations

from tiphys.api.policy import columns, defaults, validation
from tiphys.api.resource import Resource, Subresource

RESOURCES = (
    Resource(
        group="policy",
        version="v1",
        kind="PodDisruptionBudget",
        plural="poddisruptionbudgets",
        namespaced=True,
        short_names=("pdb",),
        subresources=(Subresource("status"),),
        type="policy/v1.PodDisruptionBudget",
        defaults=defaults.pod_disruption_budget,
        validate=validation.pod_disruption_budget,
        validate_status=validation.status,
        table=columns.POD_DISRUPTION_BUDGET,
        unconditional_update=False,
    ),
)
